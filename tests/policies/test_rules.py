"""Rules: when a condition holds, use, allow only, or avoid some models."""

from __future__ import annotations

import pytest

from modelrouter import ConfigurationError, Policy, Rule, Task
from tests.policies.conftest import SIGNALS, prediction


def test_use_puts_a_model_first_and_keeps_the_others_as_fallback(context):
    policy = Policy.best(rules=[Rule.when(kind="chat").use(tier="slm")])
    decision = policy.decide(context(prediction("acme/large", 0.99), prediction("small", 0.6)))
    assert [c.model for c in decision.feasible] == ["small", "acme/large"]
    assert "preferred by the rule" in decision.reason


def test_use_does_not_override_a_hard_constraint(context):
    policy = Policy.best(rules=[Rule.when(kind="chat").use("small")])
    decision = policy.decide(
        context(prediction("acme/large", 0.99), prediction("small", 0.9, context_window=10))
    )
    assert decision.model == "acme/large"


def test_only_holds_for_every_fallback(context):
    policy = Policy.best(rules=[Rule.when(contains_pii=True).only(location="local")])
    given = (prediction("acme/large", 0.99), prediction("small", 0.6))
    private = policy.decide(context(*given, pii=("email",)))
    open_ = policy.decide(context(*given))
    assert [c.model for c in private.feasible] == ["small"]
    assert open_.model == "acme/large"


def test_avoid_forbids_a_model(context):
    policy = Policy.best(rules=[Rule.when(kind="chat").avoid("acme/large")])
    decision = policy.decide(context(prediction("acme/large", 0.99), prediction("small", 0.6)))
    assert [c.model for c in decision.feasible] == ["small"]


def test_the_first_matching_use_rule_counts(context):
    policy = Policy.best(
        rules=[Rule.when(kind="math").use("acme/large"), Rule.when(kind="chat").use("small")]
    )
    decision = policy.decide(context(prediction("acme/large", 0.99), prediction("small", 0.6)))
    assert decision.model == "small"


@pytest.mark.parametrize(
    ("condition", "holds"),
    [
        (Rule.when(kind=["math", "chat"]), True),
        (Rule.when(kind="math"), False),
        (Rule.when(language="en"), True),
        (Rule.when(min_complexity=0.3), True),
        (Rule.when(min_complexity=0.31), False),
        (Rule.when(max_complexity=0.2), False),
        (Rule.when(min_context_tokens=150, max_context_tokens=150), True),
        (Rule.when(needs="tools"), False),
        (Rule.when(metadata={"team": "legal"}), True),
        (Rule.when(metadata={"team": "sales"}), False),
        (Rule.when(kind="math") | Rule.when(language="en"), True),
        (Rule.when(kind="math") & Rule.when(language="en"), False),
        (~Rule.when(kind="math"), True),
        (~(Rule.when(kind="chat") & Rule.when(language="en")), False),
        (Rule.when(lambda task: task.metadata.get("team") == "legal"), True),
        (Rule.when(), True),
    ],
)
def test_conditions(condition, holds):
    assert condition.matches(Task.of("x", metadata={"team": "legal"}), SIGNALS) is holds


def test_a_policy_survives_toml_and_json():
    policy = Policy.private(
        min_quality=0.7,
        rules=[
            (Rule.when(kind="grammar") & ~Rule.when(language="de")).use(tier="slm"),
            Rule.when(metadata={"team": "legal"}).only("openai/gpt-4o"),
        ],
    )
    assert Policy.from_toml(policy.to_toml()) == policy
    assert Policy.from_json(policy.to_json()) == policy


def test_a_rule_with_a_function_says_that_no_file_can_hold_it():
    policy = Policy(rules=[Rule.when(kind="chat").avoid("a"), Rule.when(lambda t: True).use("b")])
    with pytest.raises(ConfigurationError, match=r"rules\[1\].*function"):
        policy.to_toml()


def test_a_function_inside_a_combination_is_found_too():
    nested = Rule.when(kind="chat") & (Rule.when(language="en") | Rule.when(lambda t: True))
    with pytest.raises(ConfigurationError, match="function"):
        Policy(rules=[nested.use("b")]).to_json()


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: Rule.when(kind="grammer"), "kind"),
        (lambda: Rule.when(knd="grammar"), "knd"),
        (lambda: Rule.when("grammar"), "keywords"),
        (lambda: Rule.when(kind="chat").use(), "names no model"),
        (lambda: Rule.when(kind="chat").only(location="moon"), "location"),
        (lambda: Rule.when(min_complexity=2), "min_complexity"),
    ],
)
def test_a_misspelt_rule_is_refused(make, says):
    with pytest.raises(ConfigurationError, match=says):
        make()


@pytest.mark.parametrize("text", ["[[[", 'name = "x"\nmin_qualty = 1', "rules = 3"])
def test_a_broken_policy_file_is_refused(text):
    with pytest.raises(ConfigurationError):
        Policy.from_toml(text)
