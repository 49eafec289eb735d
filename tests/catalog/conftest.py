"""What the catalog's tests share: a small model on disk, written byte by byte."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.catalog.gguf_file import GGUFFile, tiny_llama

Put = Callable[..., Path]


@pytest.fixture
def put(tmp_path: Path) -> Put:
    """Writes a GGUF, or any bytes, under a name and gives the path."""

    def write(file: GGUFFile | bytes | None = None, name: str = "model.gguf") -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        file = tiny_llama() if file is None else file
        path.write_bytes(file if isinstance(file, bytes) else file.write())
        return path

    return write
