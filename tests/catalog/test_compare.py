"""Models side by side, and the comparison of families as data on every card."""

from __future__ import annotations

import pytest

from modelrouter import UnknownModelError
from modelrouter.catalog import discover
from modelrouter.catalog.card import Axes

CATALOG = discover({}).catalog


def test_two_models_are_compared_line_by_line():
    rows = CATALOG.compare("phi-2", "GPT 4")
    assert rows["model"] == ["phi-2", "openai/gpt-4"]
    assert set(Axes.model_fields) <= set(rows)
    assert rows["runs"] == ["on this machine", "hosted"]
    assert rows["price"][0] == "free"
    assert rows["in_service"][1].startswith("no, since")
    assert all(len(cells) == 2 and all(cells) for cells in rows.values())


def test_an_unknown_name_gives_the_nearest():
    with pytest.raises(UnknownModelError, match="phi-2"):
        CATALOG.compare("phi2", "gpt-4")


@pytest.mark.parametrize("name", ["mistral-7b", "gpt-4"])
def test_a_model_of_two_families_has_both_their_scopes(name):
    card = CATALOG.get(name)
    assert len(card.families) == 2
    assert "language tasks" in card.axes.scope
    assert ";" in card.axes.scope


def test_every_built_in_card_says_where_its_figures_come_from():
    assert all(card.axes is not None for card in CATALOG)
    assert all(card.strengths_source for card in CATALOG)


def test_published_accuracies_are_strengths_and_say_so():
    card = CATALOG.get("llama-3-8b")
    assert card.strengths["question_answering"] == card.benchmarks["mmlu"]
    assert card.strengths["math"] == pytest.approx((0.796 + 0.3) / 2)
    assert "MMLU" in card.strengths_source


def test_no_two_local_models_read_alike():
    local = [card for card in CATALOG if card.location == "local"]
    assert len({card.axes.efficiency for card in local}) == len(local)
    assert len({card.axes.training_data for card in local}) == len(local)


def test_every_successor_is_in_the_catalog():
    assert all(card.successor in CATALOG for card in CATALOG if card.successor is not None)
