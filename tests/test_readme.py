"""Every program in the README and the docs runs, top to bottom, one namespace a page."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.examples import blocks, run
from tests.support.scripted_server import ScriptedServer

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
WITH_PROGRAMS = [page for page in PAGES if any(blocks(page))]


@pytest.mark.parametrize("page", WITH_PROGRAMS, ids=lambda page: page.name)
def test_programs_of_a_page_run(
    page: Path,
    provider: ScriptedServer,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {"__name__": "__main__"}
    for block in blocks(page):
        with monkeypatch.context() as environment:
            if block.needs_provider:
                environment.setenv("OPENAI_API_KEY", "sk-for-tests")
                environment.setenv("OPENAI_BASE_URL", provider.base_url)
            run(block, namespace)


def test_the_readme_has_programs() -> None:
    assert ROOT / "README.md" in WITH_PROGRAMS


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_inside_the_repository_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:|mailto:|#)([^)#\s]+)", page.read_text("utf-8"))
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_make_targets_that_are_named_exist() -> None:
    makefile = (ROOT / "Makefile").read_text("utf-8")
    known = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    pages = [*PAGES, ROOT / "CONTRIBUTING.md"]
    named = {
        name for page in pages for name in re.findall(r"`make ([a-z-]+)", page.read_text("utf-8"))
    }
    assert named
    assert named <= known
