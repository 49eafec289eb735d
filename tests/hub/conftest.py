"""A hub on loopback with tiny models, and a models folder of the test's own."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.gguf_factory import make_tiny_gguf
from tests.support.hub_server import HubServer

PHI_2 = "TheBloke/phi-2-GGUF"


@pytest.fixture(scope="session")
def small(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A model that loads, half a megabyte."""
    return make_tiny_gguf(tmp_path_factory.mktemp("hub") / "small.gguf").read_bytes()


@pytest.fixture(scope="session")
def larger(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """Another one, larger."""
    return make_tiny_gguf(tmp_path_factory.mktemp("hub") / "larger.gguf", layers=4).read_bytes()


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch, small: bytes, larger: bytes) -> Iterator[HubServer]:
    """The hub that HF_ENDPOINT names, with two quantizations of Phi-2 and what else lies there."""
    from huggingface_hub import constants

    with HubServer() as server:
        server.add(
            PHI_2,
            {
                "README.md": b"a card",
                "phi-2.Q4_K_M.gguf": small,
                "phi-2.Q8_0.gguf": larger,
                "phi-2-mmproj-f16.gguf": small,
            },
            licence="mit",
        )
        monkeypatch.setenv("HF_ENDPOINT", server.endpoint)
        monkeypatch.setenv("HF_HUB_OFFLINE", "0")
        # huggingface_hub reads the variable once, when it is imported.
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        yield server


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The models folder; not there yet."""
    path = tmp_path / "data" / "models"
    monkeypatch.setenv("MODELROUTER_MODELS_DIR", str(path))
    return path
