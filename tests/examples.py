"""Reads the Python programs out of a Markdown page and runs them as a reader would."""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

__all__ = ["Block", "blocks", "run"]

_BLOCK = re.compile(
    r"^(?P<mark><!-- *test: *(?P<needs>[\w-]+) *-->\s*\n)?^```python[^\n]*\n(?P<code>.*?)^```",
    re.MULTILINE | re.DOTALL,
)
MARKS = {None, "python", "needs-provider"}


@dataclass(frozen=True)
class Block:
    """One program of a page; ``line`` is where its code begins."""

    page: Path
    line: int
    code: str
    needs_provider: bool


def blocks(page: Path) -> Iterator[Block]:
    """The ``python`` blocks of a page, in order.

    A block below ``<!-- test: needs-provider -->`` is run with a hosted model within reach.
    """
    text = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(text):
        if found["needs"] not in MARKS:
            raise ValueError(f"{page}: unknown mark {found['mark']!r}")
        line = text.count("\n", 0, found.start("code")) + 1
        yield Block(page, line, found["code"], found["needs"] == "needs-provider")


def run(block: Block, namespace: dict[str, Any]) -> None:
    """Run a block in a namespace; ``await`` at top level works as it does in a notebook."""
    code = compile(
        "\n" * (block.line - 1) + block.code,  # tracebacks then name the page's own lines
        str(block.page),
        "exec",
        flags=ast.PyCF_ALLOW_TOP_LEVEL_AWAIT,
    )
    if code.co_flags & inspect.CO_COROUTINE:
        asyncio.run(eval(code, namespace))
    else:
        exec(code, namespace)
