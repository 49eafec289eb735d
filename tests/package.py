"""The package under test as files: what is in it, by module name, without importing any."""

from __future__ import annotations

from pathlib import Path

import modelrouter

__all__ = ["FILES", "PACKAGE", "ROOT"]

PACKAGE = "modelrouter"
ROOT = Path(modelrouter.__file__).parent


def _module_name(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join((PACKAGE, *(parts[:-1] if parts[-1] == "__init__" else parts)))


FILES = {_module_name(path): path for path in sorted(ROOT.rglob("*.py"))}
