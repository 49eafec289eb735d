"""Finding cards by name."""

from __future__ import annotations

import pytest

from modelrouter.catalog import Catalog, ModelCard
from modelrouter.catalog.discovery import builtin_cards
from modelrouter.exceptions import UnknownModelError

BUILTIN = Catalog(builtin_cards())


def card(name: str, **fields: object) -> ModelCard:
    return ModelCard(
        **{
            "name": name,
            "families": ["llm"],
            "location": "hosted",
            "backend": "litellm",
            "context_window": 100,
            **fields,
        }
    )


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ("openai/gpt-4o", "openai/gpt-4o"),
        ("gpt-4o", "openai/gpt-4o"),
        ("GPT-4", "openai/gpt-4"),
        ("OpenAI/GPT-4o", "openai/gpt-4o"),
        ("tiny-editor", "modelrouter/tiny-editor"),
        ("tiny_editor", "modelrouter/tiny-editor"),
        ("Phi-2", "phi-2"),
        ("Mistral 7B", "mistral-7b"),
        ("Llama 3 8B", "llama-3-8b"),
    ],
)
def test_a_model_is_found_by_what_people_call_it(asked: str, found: str) -> None:
    assert BUILTIN.get(asked).name == found


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("openai/gpt4o", "openai/gpt-4o"),
        ("gpt4o-mini", "openai/gpt-4o-mini"),
        ("phi2", "phi-2"),
        ("anthropic/claude-sonet-5", "anthropic/claude-sonnet-5"),
        ("tiny-editr", "modelrouter/tiny-editor"),
    ],
)
def test_a_misspelt_name_brings_the_nearest(asked: str, nearest: str) -> None:
    with pytest.raises(UnknownModelError, match="Did you mean") as caught:
        BUILTIN.get(asked)
    assert nearest in caught.value.nearest
    assert len(caught.value.nearest) <= 3
    assert caught.value.name == asked


@pytest.mark.parametrize("asked", ["", "zzzzzzzzzzzz", "/", "\0"])
def test_a_name_like_no_other_says_where_to_look(asked: str) -> None:
    with pytest.raises(UnknownModelError, match="modelrouter models") as caught:
        BUILTIN.get(asked)
    assert caught.value.nearest == ()


def test_a_short_name_that_two_models_share_is_asked_back() -> None:
    catalog = Catalog([card("openai/gpt-4o"), card("azure/gpt-4o")])
    with pytest.raises(UnknownModelError) as caught:
        catalog.get("gpt-4o")
    assert set(caught.value.nearest) == {"openai/gpt-4o", "azure/gpt-4o"}
    assert catalog.get("azure/gpt-4o").name == "azure/gpt-4o"


def test_an_exact_name_wins_over_a_short_one() -> None:
    catalog = Catalog([card("acme/phi-2"), card("phi-2")])
    assert catalog.get("phi-2").name == "phi-2"


def test_a_later_card_replaces_one_of_the_same_name_in_its_place() -> None:
    first = Catalog([card("a"), card("b")])
    second = first.with_cards([card("a", context_window=7), card("c")])
    assert [c.name for c in second] == ["a", "b", "c"]
    assert second.get("a").context_window == 7
    assert first.get("a").context_window == 100
    assert (len(first), len(second)) == (2, 3)
    assert "c" in second
    assert "c" not in first


def test_cards_are_chosen_by_family_location_and_kind() -> None:
    small = BUILTIN.where(family="slm", location="local")
    assert "phi-2" in small
    assert all("slm" in c.families and c.location == "local" for c in small)
    for_pictures = BUILTIN.where(kind="image_generation", family="foundation")
    assert "openai/dall-e-3" in for_pictures
    assert "modelrouter/tiny-editor" not in for_pictures
    assert len(BUILTIN.where()) == len(BUILTIN)


def test_an_empty_catalog_is_one() -> None:
    assert list(Catalog()) == []
    with pytest.raises(UnknownModelError):
        Catalog().get("gpt-4o")
    assert repr(Catalog([card("a"), card("b")])) == "Catalog(a, b)"
