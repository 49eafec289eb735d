"""Thresholds: a wish is fulfilled as well as can be, told honestly, and taken as a policy."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter import ConfigurationError, InvalidExamplesError, ModelCard, Policy, Router, Task
from modelrouter.catalog import Catalog, Price
from modelrouter.fitting.examples import Example
from modelrouter.fitting.predictions import UNKNOWN_DOUBT, PredictionTable, predict
from modelrouter.fitting.thresholds import threshold
from modelrouter.fitting.value import choose
from modelrouter.scoring import HeuristicScorer
from modelrouter.testing import EchoBackend, example_card

CHEAP, DEAR = 0.001, 0.01


def two_models(prompts: int = 200, seed: int = 0) -> PredictionTable:
    rng = np.random.default_rng(seed)
    weak = rng.uniform(0.1, 0.9, prompts)
    quality = np.stack([weak, np.minimum(1.0, weak + rng.uniform(0.0, 0.4, prompts))], axis=1)
    return PredictionTable(("weak", "strong"), quality, np.tile([CHEAP, DEAR], (prompts, 1)))


@settings(max_examples=30, deadline=None)
@given(st.floats(CHEAP, 0.012), st.integers(0, 50))
def test_no_other_choice_of_the_same_cost_promises_more(wish: float, seed: int) -> None:
    given_ = two_models(seed=seed)
    found = threshold(given_, max_cost=wish, resamples=20)
    assert found.cost_usd.value <= wish + 1e-9
    # The best that so much money buys: the greatest gains first.
    gains = np.sort(given_.quality[:, 1] - given_.quality[:, 0])[::-1]
    affordable = int((wish - CHEAP) * len(gains) / (DEAR - CHEAP) + 1e-6)
    best = given_.quality[:, 0].mean() + gains[:affordable].sum() / len(gains)
    assert found.quality.value == pytest.approx(best, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.floats(0.0, 1.0), st.integers(0, 50))
def test_the_strong_model_gets_at_most_the_share_wished_for(wish: float, seed: int) -> None:
    given_ = two_models(seed=seed)
    found = threshold(given_, strong_share=wish, resamples=20)
    assert wish - 1 / 200 < found.strong_share.value + 1e-9 <= wish + 1e-6
    assert found.shares["strong"] == pytest.approx(found.strong_share.value)
    assert sum(found.shares.values()) == pytest.approx(1.0)


def test_the_least_cost_for_a_quality() -> None:
    given_ = two_models()
    found = threshold(given_, min_quality=0.6)
    assert found.quality.value >= 0.6
    slightly_less = choose(given_.quality, given_.costs, found.value_usd * 0.98)
    assert given_.quality[range(200), slightly_less].mean() <= found.quality.value
    assert found.quality.value < 0.6 + 0.4 / 200 + 1e-9
    assert found.quality.low < found.quality.value < found.quality.high
    assert not found.measured


def test_intervals_hold_for_other_prompts_of_the_same_source() -> None:
    inside = 0
    for seed in range(40):
        found = threshold(two_models(seed=seed), strong_share=0.5, resamples=200, seed=seed)
        other = two_models(4_000, seed=1_000 + seed)
        chosen = choose(other.quality, other.costs, found.value_usd)
        real = float(other.quality[range(4_000), chosen].mean())
        inside += found.quality.low <= real <= found.quality.high
    assert inside >= 33


def test_a_promise_is_doubted_by_the_calibration_error_of_the_models_chosen() -> None:
    sure = two_models()
    doubted = replace(sure, doubts=(0.0, 0.1))
    one, other = threshold(sure, strong_share=0.5), threshold(doubted, strong_share=0.5)
    assert other.quality.value == one.quality.value
    assert other.quality.high == pytest.approx(one.quality.high + 0.05)
    assert other.quality.low == pytest.approx(one.quality.low - 0.05)
    # Two hundred answers, each a matter of chance: plus or minus 1.96 * sqrt(p * (1 - p) / 200).
    half = (one.quality.high - one.quality.low) / 2
    assert half == pytest.approx(
        1.96 * (one.quality.value * (1 - one.quality.value) / 200) ** 0.5, rel=0.15
    )


class Fitted(HeuristicScorer):
    """A scorer that was tried on one model's held-out answers."""

    about: ClassVar = {"held_out": {"weak": {"calibration_error": 0.02}}}


def test_doubts_are_what_the_scorer_found_on_held_out_answers() -> None:
    cards = [example_card("weak"), example_card("strong")]
    assert predict(Fitted(), ["x"], cards).doubts == (0.02, UNKNOWN_DOUBT)
    assert predict(HeuristicScorer(), ["x"], cards).doubts == (UNKNOWN_DOUBT, UNKNOWN_DOUBT)


def test_labelled_examples_tell_what_is_measured_rather_than_promised() -> None:
    cards = [example_card("weak"), example_card("strong", price=Price(input=1e-5, output=1e-5))]
    rows = [
        Example.of(f"What is {i} plus {i}?", model, score)
        for i in range(40)
        for model, score in (("weak", 0.25), ("strong", 0.75))
    ]
    found = threshold(HeuristicScorer(), rows, cards, strong_share=0.0)
    assert found.measured
    assert found.quality.value == pytest.approx(0.25)
    assert "measured quality 0.25" in str(found)
    with pytest.raises(InvalidExamplesError, match="no answer of 'third'"):
        threshold(HeuristicScorer(), rows, [*cards, example_card("third")], strong_share=0.0)


def test_a_threshold_is_a_policy() -> None:
    given_ = two_models()
    found = threshold(given_, strong_share=0.4)
    policy = Policy.of(found)
    assert policy.objective.value_usd == found.value_usd
    assert Policy.from_toml(policy.to_toml()).objective == policy.objective
    objective = policy.objective
    chosen = choose(given_.quality, given_.costs, found.value_usd)
    for row, quality in enumerate(given_.quality):
        utilities = [
            objective.utility(p, c, 1.0) for p, c in zip(quality, given_.costs[row], strict=True)
        ]
        assert int(np.argmax(utilities)) == chosen[row]


def test_a_router_follows_the_threshold() -> None:
    cards = [
        ModelCard(
            **{**dict(example_card(name)), "price": Price(input=p, output=p), "strengths": {}}
            | {"general_strength": strength}
        )
        for name, p, strength in (("weak", 1e-7, 0.6), ("strong", 1e-5, 0.95))
    ]
    prompts = [f"Prove lemma {i}." if i % 2 else f"Say hello, {i}." for i in range(40)]
    scorer = HeuristicScorer()
    found = threshold(scorer, prompts, cards, strong_share=0.5)
    router = Router(catalog=Catalog(cards), backends={"test": EchoBackend()}, policy=found)
    routed = [router.route(prompt).model for prompt in prompts]
    assert routed.count("strong") / 40 == pytest.approx(found.strong_share.value)
    assert predict(scorer, [Task.of("x"), "y"], cards).quality.shape == (2, 2)


@pytest.mark.parametrize(
    ("wish", "message"),
    [
        ({}, "Give exactly one of max_cost, min_quality, strong_share, not none"),
        ({"max_cost": 1, "min_quality": 0.5}, "not max_cost, min_quality"),
        ({"min_quality": 1.5}, "min_quality=1.5 is out of range. Use 0 to 1"),
        ({"max_cost": float("nan")}, "max_cost=nan is out of range. Use USD a task"),
        ({"strong_share": "half"}, "strong_share='half' is out of range"),
        ({"min_quality": 0.99}, r"out of reach: the best .* of weak, strong is 0\.\d+"),
        ({"max_cost": 0.0001}, "out of reach: the cheapest of weak, strong cost 0.001 USD"),
    ],
)
def test_wishes_that_make_no_sense(wish: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        threshold(two_models(), **wish)


def test_too_few_prompts_or_models() -> None:
    with pytest.raises(ConfigurationError, match="19 prompts are too few"):
        threshold(two_models(19), strong_share=0.5)
    with pytest.raises(ConfigurationError, match="nothing to choose between"):
        threshold(HeuristicScorer(), ["x"] * 30, [example_card()], strong_share=0.5)


def test_prompts_may_be_any_iterable_but_one_text() -> None:
    cards = [example_card("weak"), example_card("strong")]
    prompts = (f"Say {i}." for i in range(30))
    assert threshold(HeuristicScorer(), prompts, cards, strong_share=0.0).prompts == 30
    with pytest.raises(ConfigurationError, match="prompts is one str, not several"):
        threshold(HeuristicScorer(), "Say something, all thirty of you.", cards, strong_share=0.0)


def test_models_of_one_price_differ_by_quality_alone() -> None:
    quality = np.tile([0.3, 0.8], (30, 1))
    same = PredictionTable(("a", "b"), quality, np.full((30, 2), 0.01))
    found = threshold(same, strong_share=0.0)
    assert found.shares == {"a": 0.0, "b": 1.0}
    assert found.strong_share.value == 0.0
