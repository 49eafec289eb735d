"""A policy orders the candidates and says why."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter import (
    ConfigurationError,
    ContextWindowExceededError,
    NoEligibleModelError,
    Objective,
    Policy,
    Task,
    UnsupportedModalityError,
)
from modelrouter.catalog import Unavailable
from modelrouter.scoring import RoutingContext
from tests.policies.conftest import SIGNALS, prediction


def test_best_takes_the_highest_quality(context):
    decision = Policy.best().decide(
        context(prediction("small", 0.7, 0.0), prediction("acme/large", 0.95, 0.05))
    )
    assert decision.model == "acme/large"
    assert [c.model for c in decision.candidates] == ["acme/large", "small"]


def test_cheapest_takes_the_least_cost_at_an_acceptable_quality(context):
    decision = Policy.cheapest().decide(
        context(
            prediction("poor", 0.2, 0.0),
            prediction("acme/mini", 0.8, 0.001),
            prediction("acme/large", 0.99, 0.05),
        )
    )
    assert decision.model == "acme/mini"
    assert decision.candidates[-1].model == "poor"
    assert decision.candidates[-1].reasons[0].code == "min_quality"


def test_fastest_takes_the_least_latency(context):
    decision = Policy.fastest().decide(
        context(prediction("acme/slow", 0.95, latency_s=9.0), prediction("acme/quick", 0.8))
    )
    assert decision.model == "acme/quick"


def test_balanced_prefers_a_free_model_of_like_quality(context):
    decision = Policy.balanced().decide(
        context(prediction("acme/large", 0.9, 0.01), prediction("small", 0.85, 0.0))
    )
    assert decision.model == "small"


def test_balanced_takes_the_smallest_model_that_does_it_well(context):
    decision = Policy.balanced().decide(
        context(
            prediction("acme/large", 0.99, 0.01),
            prediction("acme/mini", 0.9, 0.0002),
            prediction("small", 0.76, 0.0),
            prediction("smaller", 0.6, 0.0),
        )
    )
    assert [c.model for c in decision.candidates] == ["small", "acme/mini", "smaller", "acme/large"]


def test_private_never_lets_a_hosted_model_be_eligible(context):
    given_ = context(prediction("acme/large", 0.99), prediction("small", 0.6, 0.0))
    decision = Policy.private().decide(given_)
    assert [c.model for c in decision.feasible] == ["small"]
    assert Policy.private(location="any").location == "local"


def test_private_without_a_local_model_raises_and_says_why(context):
    decision = Policy.private().decide(context(prediction("acme/large", 0.99)))
    with pytest.raises(NoEligibleModelError, match="local models only") as caught:
        _ = decision.model
    assert caught.value.decision is decision


@pytest.mark.parametrize(
    ("code", "fields", "signals"),
    [
        ("modality", {}, {"needs": frozenset({"vision"})}),
        ("modality", {}, {"kind": "image_generation"}),
        ("scope", {"scope": {"grammar"}}, {"kind": "math"}),
        ("language", {"languages": {"en"}}, {"language": "de"}),
        ("context_window", {"context_window": 120}, {}),
        ("prompt_length", {"max_prompt_tokens": 99}, {}),
        ("turns", {"max_user_turns": 1}, {"user_turns": 2}),
        ("system_prompt", {"max_system_tokens": 10}, {"system_tokens": 11}),
        ("tools", {}, {"needs": frozenset({"tools"})}),
        ("json_schema", {}, {"needs": frozenset({"json_schema"})}),
    ],
)
def test_a_model_that_cannot_is_ruled_out(context, code, fields, signals):
    decision = Policy.best().decide(context(prediction("acme/unfit", 0.99, **fields), **signals))
    assert code in [r.code for r in decision.candidates[0].reasons]
    assert decision.feasible == ()


def test_the_estimates_error_counts_against_the_window(context):
    fits = context(prediction("acme/large", context_window=160), token_error=0.0)
    might_not = context(prediction("acme/large", context_window=160), token_error=0.2)
    assert Policy.best().decide(fits).feasible
    assert not Policy.best().decide(might_not).feasible


def test_limits_of_cost_and_latency_rule_out(context):
    decision = Policy(max_cost_usd=0.01, max_latency_s=2).decide(
        context(prediction("acme/dear", cost_usd=0.02), prediction("acme/slow", latency_s=3.0))
    )
    codes = {c.model: c.reasons[0].code for c in decision.candidates}
    assert codes == {"acme/dear": "max_cost", "acme/slow": "max_latency"}


def test_every_obstacle_is_named_not_the_first_only(context):
    decision = Policy.private(min_quality=0.9).decide(
        context(prediction("acme/large", 0.5), needs=frozenset({"vision", "tools"}))
    )
    codes = {r.code for r in decision.candidates[0].reasons}
    assert codes == {"location", "modality", "tools", "min_quality"}


def test_a_model_without_a_key_is_the_best_if_enabled(context):
    missing = Unavailable("ACME_KEY is not set", "export ACME_KEY=...")
    decision = Policy.balanced().decide(
        context(
            prediction("small", 0.1),
            prediction("acme/large", 0.9, unavailable=missing),
            prediction("acme/poor", 0.2, unavailable=missing),
        )
    )
    assert decision.best_if_enabled is not None
    assert decision.best_if_enabled.model == "acme/large"
    with pytest.raises(NoEligibleModelError, match="export ACME_KEY"):
        decision.chosen  # noqa: B018 (raises)


def test_an_image_that_no_model_sees_has_its_own_error(context):
    decision = Policy.best().decide(context(prediction("small"), needs=frozenset({"vision"})))
    with pytest.raises(UnsupportedModalityError):
        decision.chosen  # noqa: B018 (raises)


def test_a_prompt_longer_than_every_window_has_its_own_error(context):
    decision = Policy.best().decide(
        context(prediction("small"), prediction("acme/large"), prompt_tokens=90_000)
    )
    with pytest.raises(ContextWindowExceededError, match="90,050"):
        decision.chosen  # noqa: B018 (raises)


def test_what_if_answers_the_same_task_under_another_policy(context):
    decision = Policy.best().decide(
        context(prediction("acme/large", 0.95, 0.05), prediction("acme/mini", 0.8, 0.001))
    )
    other = decision.what_if(Policy.cheapest())
    assert (decision.model, other.model) == ("acme/large", "acme/mini")
    assert other.signals is decision.signals


def test_explain_shows_every_candidate_and_its_reason(context):
    text = (
        Policy.private()
        .decide(context(prediction("acme/large"), prediction("small", 0.9, 0.0)))
        .explain()
    )
    assert "1. small" in text
    assert "acme/large" in text
    assert "local models only" in text


def test_model_dump_is_plain_data_without_the_tasks_text(context):
    import json

    decision = Policy.best().decide(context(prediction("small"), task=Task.of("my secret")))
    text = json.dumps(decision.model_dump())
    assert "my secret" not in text
    assert '"model": "small"' in text


names = st.sampled_from(["a", "b", "c/x", "d/y", "e/z"])
predictions = st.lists(
    st.builds(
        prediction,
        names,
        st.floats(0, 1),
        st.floats(0, 10),
        st.floats(0, 100),
    ),
    unique_by=lambda p: p.card.name,
    max_size=5,
)


@given(predictions, st.sampled_from(["balanced", "cheapest", "best", "fastest", "private"]))
def test_decisions_do_not_depend_on_the_order_of_the_cards(given_prospects, preset):
    policy = Policy.preset(preset)
    forward = policy.decide(RoutingContext(Task.of("x"), SIGNALS, tuple(given_prospects)))
    backward = policy.decide(RoutingContext(Task.of("x"), SIGNALS, tuple(given_prospects[::-1])))
    assert forward == backward


@given(predictions)
def test_feasible_candidates_come_first_and_keep_every_limit(given_prospects):
    policy = Policy(min_quality=0.5, max_cost_usd=1.0, max_latency_s=10, location="local")
    decision = policy.decide(RoutingContext(Task.of("x"), SIGNALS, tuple(given_prospects)))
    flags = [c.feasible for c in decision.candidates]
    assert flags == sorted(flags, reverse=True)
    for c in decision.feasible:
        assert c.p_quality >= 0.5
        assert c.cost_usd <= 1.0
        assert c.latency_s <= 10
        assert c.card.location == "local"
    utilities = [c.utility for c in decision.feasible]
    assert utilities == sorted(utilities, reverse=True)


@given(st.floats(0, 1), st.floats(0, 1e6), st.floats(0, 1e6))
def test_utility_stays_within_bounds_and_rises_with_quality(p, cost, latency):
    objective = Objective()
    value = objective.utility(p, cost, latency)
    assert -1 <= value <= 1
    assert objective.utility(min(1.0, p + 0.1), cost, latency) >= value


@pytest.mark.parametrize(
    ("fields", "says"),
    [
        ({"min_quality": 1.5}, "min_quality"),
        ({"max_cost_usd": -1}, "max_cost_usd"),
        ({"objective": {"quality": 0, "cost": 0, "latency": 0}}, "weight above 0"),
        ({"min_qualty": 0.5}, "min_qualty"),
        ({"location": "moon"}, "location"),
    ],
)
def test_a_policy_that_makes_no_sense_is_refused_by_field(fields, says):
    with pytest.raises(ConfigurationError, match=says):
        Policy(**fields)


def test_an_unknown_preset_is_refused_with_the_known_ones():
    with pytest.raises(ConfigurationError, match="balanced, cheapest"):
        Policy.of("cheepest")
