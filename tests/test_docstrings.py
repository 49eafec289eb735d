"""What docstrings say is true: examples run, and the tree of errors is the tree that there is."""

from __future__ import annotations

import ast
import doctest
import importlib
import re
import textwrap
from collections.abc import Iterator

import pytest

import modelrouter
from modelrouter import exceptions
from tests.package import FILES


def docstrings(module: str) -> Iterator[tuple[str, str]]:
    """Every docstring of a module with its place."""
    for node in ast.walk(ast.parse(FILES[module].read_text(encoding="utf-8"))):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and (
            text := ast.get_docstring(node)
        ):
            yield f"{module}.{getattr(node, 'name', '')}".rstrip("."), text


def programs(docstring: str) -> Iterator[str]:
    """The indented blocks of a docstring that import from this package."""
    for block in re.findall(r"(?:^[ ]{4}.*\n?|^\n)+", docstring + "\n", re.MULTILINE):
        code = textwrap.dedent(block).strip()
        if re.search(r"^(from|import) modelrouter\b", code, re.MULTILINE):
            yield code


PROGRAMS = [
    pytest.param(code, id=place)
    for module in FILES
    for place, text in docstrings(module)
    for code in programs(text)
]


def public_names() -> dict[str, object]:
    return {name: getattr(modelrouter, name) for name in modelrouter.__all__}


def test_interactive_examples_give_what_they_show() -> None:
    for module in FILES:
        if not module.endswith("__main__"):
            result = doctest.testmod(
                importlib.import_module(module),
                extraglobs=public_names(),
                optionflags=doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE,
            )
            assert result.failed == 0, module


@pytest.mark.parametrize("code", PROGRAMS)
def test_programs_in_docstrings_run(code: str) -> None:
    exec(compile(code, "docstring", "exec"), public_names())


def test_there_are_programs_to_run() -> None:
    assert PROGRAMS


def test_the_tree_of_errors_is_drawn_as_it_is() -> None:
    drawn: list[tuple[str, str]] = []
    above: list[str] = []
    for line in (exceptions.__doc__ or "").splitlines():
        found = re.match(r"    ([│├└─ ]*)(\w+Error)\b", line)
        if found:
            depth = len(found[1]) // 4
            del above[depth:]
            drawn.append((found[2], above[-1] if above else "Exception"))
            above.append(found[2])
    actual = [(name, getattr(exceptions, name).__mro__[1].__name__) for name in exceptions.__all__]
    assert sorted(drawn) == sorted(actual)
