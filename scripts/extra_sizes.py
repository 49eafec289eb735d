#!/usr/bin/env python3
"""What an installation takes on disk: without extras, and what each extra adds.

    python scripts/extra_sizes.py

Requirements are those of pyproject.toml; sizes are counted from the files of the distributions that
are installed beside this Python, with all that they require. What is not installed is named, and
its row is then too small.
"""

from __future__ import annotations

from importlib.metadata import Distribution, PackageNotFoundError, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from modelrouter._common.toml import loads

ROOT = Path(__file__).parents[1]


def closure(lines: list[str]) -> tuple[dict[str, Distribution], set[str]]:
    """The distributions that these requirements bring, and the names of those not here."""
    found: dict[str, Distribution] = {}
    missing: set[str] = set()
    seen: set[tuple[str, str]] = set()
    todo = [(Requirement(line), "") for line in lines]
    while todo:
        required, extra_of_parent = todo.pop()
        if required.marker is not None and not required.marker.evaluate({"extra": extra_of_parent}):
            continue
        name = canonicalize_name(required.name)
        try:
            dist = found[name] = distribution(name)
        except PackageNotFoundError:
            missing.add(name)
            continue
        for extra in {"", *required.extras} - {e for n, e in seen if n == name}:
            seen.add((name, extra))
            todo += [(Requirement(line), extra) for line in dist.requires or ()]
    return found, missing


def size(dist: Distribution) -> int:
    """Bytes of its files."""
    paths = (Path(str(dist.locate_file(file))) for file in dist.files or ())
    return sum(path.stat().st_size for path in paths if path.is_file())


def row(name: str, count: int, total: int, missing: set[str]) -> None:
    """Print a line of the table."""
    absent = f"   not installed here: {', '.join(sorted(missing))}" if missing else ""
    print(f"{name:<20}{count:>14}{total / 1e6:>9.1f}{absent}")


def main() -> None:
    """Print the table."""
    project = loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    package = ROOT / "src" / "modelrouter"
    own = sum(p.stat().st_size for p in package.rglob("*") if "__pycache__" not in p.parts)
    base, absent = closure(project["dependencies"])
    print(f"{'':<20}{'distributions':>14}{'MB':>9}")
    row("modelrouter", 1, own, set())
    row("+ its requirements", len(base), sum(map(size, base.values())), absent)
    for extra, lines in project["optional-dependencies"].items():
        more, missing = closure(lines)
        added = [dist for name, dist in more.items() if name not in base]
        row(f"+ [{extra}]", len(added), sum(map(size, added)), missing)


if __name__ == "__main__":
    main()
