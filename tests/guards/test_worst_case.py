"""The worst case of an attempt: no provider counts more."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter import GenerationSettings, ModelCard, Task
from modelrouter.catalog import Price
from modelrouter.guards import OneCall
from modelrouter.guards.worst_case import intent_of
from modelrouter.testing import example_card

CARD = example_card(context_window=100_000, max_output_tokens=4_000)
PICTURE = {"type": "image_url", "image_url": {"url": "https://pictures.example/cat.png"}}


def worst(task, card: ModelCard = CARD, **settings):
    return intent_of(card, Task.of(task), GenerationSettings(**settings), {}, OneCall())


@given(st.text(min_size=1).filter(str.strip))
def test_a_text_has_no_more_tokens_than_bytes(text):
    found = worst(text, max_tokens=10)
    assert len(text.encode("utf-8", "surrogatepass")) <= found.prompt_tokens <= CARD.context_window
    assert found.worst_cost_usd == pytest.approx(found.prompt_tokens * 1e-6 + 10 * 2e-6)


def test_an_answer_is_as_long_as_is_allowed_times_their_number():
    assert worst("hello").output_tokens == 4_000
    assert worst("hello", max_tokens=100).output_tokens == 100
    assert worst("hello", max_tokens=9_000).output_tokens == 4_000
    assert worst("hello", max_tokens=100, extra={"n": 3}).output_tokens == 300
    assert worst("hello", max_tokens=100, extra={"extra_body": {"n": 2}}).output_tokens == 8_000


def test_what_is_thought_may_come_on_top_of_max_tokens():
    thinking = worst("hello", max_tokens=100, extra={"reasoning_effort": "high"})
    assert thinking.output_tokens == 4_000


def test_pictures_count_by_the_model_and_not_by_their_bytes():
    task = [{"role": "user", "content": [{"type": "text", "text": "what is it?"}, PICTURE]}]
    sees = {"modalities_in": {"text", "image"}, "context_window": 200_000}
    for name, least in (
        ("openai/gpt-4o-mini", 48_169),
        ("gemini/gemini-2.5-pro", 31_218),
        ("openai/gpt-4o", 1_105),
        ("anthropic/claude-sonnet-4-5", 1_600),
    ):
        found = worst(task, example_card(name, **sees))
        assert least < found.prompt_tokens < 60_000


def test_tools_bring_their_own_words_and_the_providers():
    tool = {"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}
    plain = worst("hello").prompt_tokens
    found = intent_of(
        CARD, Task.of("hello", tools=[tool]), GenerationSettings(), {}, OneCall()
    ).prompt_tokens
    assert found >= plain + len(json.dumps(tool)) - 8 + 700  # Claude's words about tools: under 700


def test_no_price_is_no_cost_that_is_known_and_local_models_are_free():
    assert worst("hello", example_card(price=None)).worst_cost_usd is None
    free = example_card(location="local", price=Price(input=1.0, output=1.0))
    assert worst("hello", free).worst_cost_usd == 0.0


def test_a_prompt_that_is_written_to_a_cache_or_is_long_costs_its_dearest_price():
    written = Price(input=1e-6, output=0.0, cache_write=1.25e-6)
    found = worst("hello", example_card(price=written))
    assert found.worst_cost_usd == pytest.approx(found.prompt_tokens * 1.25e-6)
    long = Price(
        input=1e-6, output=0.0, long_prompt_tokens=50, long_prompt=Price(input=2e-6, output=0.0)
    )
    found = worst("hello " * 50, example_card(price=long))
    assert found.worst_cost_usd == pytest.approx(found.prompt_tokens * 2e-6)
