"""Prices and windows: litellm's own figures, without litellm."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from modelrouter.catalog.prices import look_up

PRICE_FILE = "model_prices_and_context_window_backup.json"


def python(code: str, *path: Path) -> Any:
    """Run code in a Python of its own, with these folders first on its path; what it prints."""
    paths = [*map(str, path), os.environ.get("PYTHONPATH", "")]
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_a_price_is_in_usd_a_token() -> None:
    entry = look_up("openai/gpt-4o-mini")
    assert entry is not None
    assert entry.input is not None
    assert entry.output is not None
    assert 1e-8 < entry.input < entry.output < 1e-4
    assert (entry.provider, entry.mode) == ("openai", "chat")
    assert entry.context_window is not None
    assert entry.context_window > 100_000
    assert entry.vision
    assert entry.tools
    assert entry.json_schema


def test_the_provider_may_be_left_out_as_in_litellm() -> None:
    assert look_up("gpt-4o-mini") == look_up("openai/gpt-4o-mini")


@pytest.mark.parametrize("name", ["anthropic/gpt-4o-mini", "nobody/gpt-4o-mini", "openai/no", ""])
def test_another_provider_s_price_is_no_answer(name: str) -> None:
    assert look_up(name) is None


def test_a_provider_that_the_file_splits_is_found() -> None:
    table = json.loads(price_file().read_bytes())
    split = [
        (name, provider)
        for name, raw in table.items()
        if "/" not in name
        and (provider := str(raw.get("litellm_provider"))).startswith("vertex_ai-")
        and f"vertex_ai/{name}" not in table
    ]
    name, provider = split[0]
    entry = look_up(f"vertex_ai/{name}")
    assert entry is not None
    assert entry.provider == provider


def price_file() -> Path:
    import importlib.util

    spec = importlib.util.find_spec("litellm")
    assert spec is not None
    assert spec.submodule_search_locations
    return Path(spec.submodule_search_locations[0]) / PRICE_FILE


def test_every_entry_of_the_file_can_be_read() -> None:
    names = list(json.loads(price_file().read_bytes()))
    entries = [entry for name in names if (entry := look_up(name)) is not None]
    assert len(entries) == len(names)
    for entry in entries:
        assert all(p is None or 0 <= p < 100 for p in (entry.input, entry.output))
        assert entry.context_window is None or entry.context_window > 0


def test_litellm_itself_is_not_imported() -> None:
    code = """
import json, sys
from modelrouter import ModelCard
card = ModelCard.hosted("openai/gpt-4o-mini")
print(json.dumps([card.price is not None, [m for m in ("litellm", "openai") if m in sys.modules]]))
"""
    assert python(code) == [True, []]


def test_litellm_says_the_same_of_every_built_in_model() -> None:
    code = """
import json
from modelrouter.catalog.discovery import builtin_cards
from modelrouter.catalog.prices import look_up
import litellm
different = []
compared = 0
for card in builtin_cards():
    entry = look_up(card.name) if card.location == "hosted" else None
    if entry is None:
        continue
    theirs = litellm.get_model_info(card.name)
    compared += 1
    ours = [entry.input or 0, entry.output or 0, entry.vision, entry.tools, entry.mode]
    if ours != [
        theirs["input_cost_per_token"],
        theirs["output_cost_per_token"] or theirs.get("output_cost_per_image_token") or 0,
        bool(theirs["supports_vision"]),
        bool(theirs["supports_function_calling"]),
        theirs["mode"],
    ]:
        different.append(card.name)
print(json.dumps([compared, different]))
"""
    compared, different = python(code)
    assert different == []
    assert compared >= 10


ASK = """
import json
from modelrouter.catalog.prices import look_up
from modelrouter.exceptions import ConfigurationError
try:
    found = look_up("openai/gpt-4o")
    print(json.dumps({"found": found is not None}))
except ConfigurationError as error:
    print(json.dumps({"error": str(error), "hint": error.hint, "type": type(error).__name__}))
"""


@pytest.mark.parametrize(
    "content", [None, b"", b"{", b"[1, 2]", b'"text"', b"\xff\xfe", b'{"a": 1}\x00']
)
def test_a_missing_or_damaged_file_says_how_to_get_it_back(
    tmp_path: Path, content: bytes | None
) -> None:
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").write_text("raise AssertionError('litellm was imported')")
    if content is not None:
        (package / PRICE_FILE).write_bytes(content)
    answer = python(ASK, tmp_path)
    assert answer["type"] == "ConfigurationError"
    assert str(package / PRICE_FILE) in answer["error"]
    assert "pip install --force-reinstall litellm" in answer["hint"]


def test_an_entry_of_a_strange_shape_harms_no_other(tmp_path: Path) -> None:
    package = tmp_path / "litellm"
    package.mkdir()
    (package / "__init__.py").touch()
    table = {
        "sample_spec": "text",
        "gpt-4o": {
            "litellm_provider": "openai",
            "max_input_tokens": "many",
            "input_cost_per_token": -1,
            "mode": None,
            "deprecation_date": "",
        },
    }
    (package / PRICE_FILE).write_text(json.dumps(table))
    assert python(ASK, tmp_path) == {"found": True}
