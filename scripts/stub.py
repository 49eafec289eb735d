"""Writes src/modelrouter/__init__.pyi from the list of public names in __init__.py.

python scripts/stub.py          # after a change of the list; a test compares the two
"""

from __future__ import annotations

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[1] / "src" / "modelrouter"
HEAD = "# Written by scripts/stub.py from the list in __init__.py.\n\n__version__: str\n\n"


def homes(source: str) -> dict[str, tuple[str, ...]]:
    """The public names by the module they are in."""
    for node in ast.parse(source).body:
        if isinstance(node, ast.AnnAssign) and ast.unparse(node.target) == "_HOMES":
            assert node.value is not None
            found: dict[str, tuple[str, ...]] = ast.literal_eval(node.value)
            return found
    raise SystemExit("__init__.py has no _HOMES")


def stub(source: str) -> str:
    """What type checkers are to read instead of ``__init__.py``."""
    lines = [
        f"from modelrouter.{home} import {name} as {name}\n"
        for home, names in sorted(homes(source).items())
        for name in sorted(names)
    ]
    return HEAD + "".join(lines)


if __name__ == "__main__":
    (PACKAGE / "__init__.pyi").write_text(stub((PACKAGE / "__init__.py").read_text("utf-8")))
