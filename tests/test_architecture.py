"""What docs/architecture.md and CONTRIBUTING.md say of the house is so: what they name is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.package import ROOT

REPOSITORY = Path(__file__).parents[1]
ARCHITECTURE = (REPOSITORY / "docs" / "architecture.md").read_text("utf-8")
RECIPES = (REPOSITORY / "CONTRIBUTING.md").read_text("utf-8")


def section(text: str, title: str) -> str:
    return text.partition(f"## {title}\n")[2].partition("\n## ")[0]


WALKS = [
    tuple(cell.strip() for cell in line.strip("|").split("|"))
    for line in section(ARCHITECTURE, "Where to look").splitlines()
    if line.startswith("|") and not line.startswith(("| looking", "| ---"))
]


def test_there_are_twelve_walks() -> None:
    assert len(WALKS) == 12


@pytest.mark.parametrize("walk", WALKS, ids=lambda walk: walk[0])
def test_a_walk_ends_where_it_says(walk: tuple[str, str, str]) -> None:
    """The second column names a file or folder; the third a file, there or beside, and a name."""
    _, begin, end = walk
    start = re.findall(r"`([\w/.]+)`", begin)
    folder = ROOT / start[0] if start else ROOT
    assert folder.exists(), begin
    for name in re.findall(r"`([\w/]+\.(?:py|toml))`", end):
        assert (ROOT / name).is_file() or (folder / name).is_file(), end
    for file, name in re.findall(r"`([\w/.]+\.py)`: `([\w.]+)`", f"{begin}\n{end}"):
        assert name.rpartition(".")[2] in (ROOT / file).read_text("utf-8"), f"{file}: {name}"


def test_every_module_at_the_root_and_every_part_is_described() -> None:
    table = section(ARCHITECTURE, "Layout")
    parts = {p.name for p in ROOT.glob("*.py")} - {"__init__.py"}
    parts |= {f"{p.parent.name}/" for p in ROOT.glob("*/__init__.py")}
    assert {part for part in parts if f"`{part}`" not in table} == set()


def test_the_root_stays_small() -> None:
    assert len(list(ROOT.glob("*.py"))) <= 12


def test_recipes_name_files_that_are_there() -> None:
    named = re.findall(r"`((?:tests/|scripts/|docs/)?[\w/]+\.(?:py|toml|jsonl))`", RECIPES)
    missing = [
        name
        for name in named
        if not ((ROOT / name).is_file() or (REPOSITORY / name).is_file() or "/" not in name)
    ]
    assert named
    assert missing == []
