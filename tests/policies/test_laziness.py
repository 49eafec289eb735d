"""What a decision works out at once agrees with what it works out when looked at."""

from __future__ import annotations

import copy
import pickle
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter import Decision, Difficulty, ModelCard, Objective, Policy, Rule, Signals, Task
from modelrouter.catalog import Price, Speed, Unavailable, discover
from modelrouter.catalog.cost import expected_cost_usd
from modelrouter.policies.constraints import BOUNDS
from modelrouter.scoring import CandidateSet, HeuristicScorer, assess
from modelrouter.signals import read
from tests.policies.conftest import card, prediction

CARDS = tuple(discover({}).catalog)
TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {}}}
TEXTS = (
    "Fix the grammar: she go home.",
    "Prove that the square root of 2 is irrational.",
    "Übersetze ins Englische: Guten Tag, wie geht es dir heute?",
    "Write a story about a lighthouse. " * 40,
    "word " * 60_000,
)
RULES = (
    Rule.when(language="en").use(tier="slm"),
    Rule.when(min_complexity=0.2).avoid(location="local"),
    Rule.when(lambda task: len(task.text) > 60).only(location="hosted"),
)


class Counting(HeuristicScorer):
    """Counts the predictions it is asked for."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    def p_quality(self, card: ModelCard, task: Task, signals: Signals) -> float:
        self.asked.append(card.name)
        return super().p_quality(card, task, signals)


limits = st.none() | st.floats(0.001, 1)
policies = st.builds(
    Policy,
    objective=st.builds(
        Objective,
        quality=st.floats(0.1, 1),
        cost=st.floats(0, 1),
        latency=st.floats(0, 1),
        enough=st.floats(0.3, 1),
        value_usd=st.none() | st.floats(0.001, 1),
    ),
    min_quality=limits,
    max_cost_usd=limits,
    max_latency_s=st.none() | st.floats(0.1, 30),
    location=st.sampled_from(["any", "local"]),
    rules=st.lists(st.sampled_from(RULES), max_size=2),
)
tasks = st.builds(
    Task.of,
    st.sampled_from(TEXTS)
    | st.sampled_from(TEXTS).map(
        lambda text: [
            {"role": "system", "content": "Be brief. " * 30},
            {"role": "user", "content": "hello"},
            {"role": "user", "content": text},
        ]
    ),
    tools=st.none() | st.just([TOOL]),
)


@given(policies, tasks, st.sets(st.sampled_from([c.name for c in CARDS])))
def test_the_chosen_candidate_is_the_one_that_ranking_puts_first(policy, task, missing):
    candidate_set = CandidateSet(CARDS, {name: Unavailable("no key") for name in missing})
    decision = policy.decide(assess(task, read(task), candidate_set, HeuristicScorer()))
    first = decision.candidates[0]
    if first.feasible:
        assert decision.chosen == first
    else:
        assert not decision.feasible
        with pytest.raises(Exception, match=r"No eligible|No model|more than any"):
            _ = decision.chosen


@given(st.permutations(["b", "a", "d", "c"]))
def test_equals_are_told_apart_as_ranking_does(names):
    candidate_set = CandidateSet([card(name) for name in names])
    decision = Policy.best().decide(
        assess(Task.of("hi"), read(Task.of("hi")), candidate_set, Same())
    )
    assert decision.model == decision.candidates[0].model == "a"


class Same(HeuristicScorer):
    """Finds all models equally good."""

    def p_quality(self, card: ModelCard, task: Task, signals: Signals) -> float:
        return 0.5


def test_only_what_can_be_chosen_is_predicted_until_the_decision_is_looked_at():
    scorer = Counting()
    candidate_set = CandidateSet(
        CARDS, {c.name: Unavailable("no key") for c in CARDS if c.location == "hosted"}
    )
    task = Task.of(TEXTS[1])
    decision = Policy.best().decide(assess(task, read(task), candidate_set, scorer))
    hosted = {c.name for c in CARDS if c.location == "hosted"}
    assert hosted.isdisjoint(scorer.asked)
    assert len(decision.candidates) == len(CARDS)
    assert sorted(scorer.asked) == sorted(c.name for c in CARDS)


def test_a_predicate_is_called_once_however_often_the_decision_is_looked_at():
    calls: list[str] = []

    def predicate(task: Task) -> bool:
        calls.append(task.text)
        return True

    policy = Policy.best(rules=[Rule.when(predicate).use(tier="slm")])
    task = Task.of("hello there")
    decision = policy.decide(assess(task, read(task), CandidateSet(CARDS), HeuristicScorer()))
    decision.explain()
    decision.model_dump()
    assert decision.chosen == decision.candidates[0]
    assert calls == ["hello there"]


def decide(text: str = TEXTS[1], policy: Policy | None = None) -> Decision:
    task = Task.of(text)
    context = assess(task, read(task), CandidateSet(CARDS), HeuristicScorer())
    return (policy or Policy.balanced()).decide(context)


@pytest.mark.parametrize(
    "again", [copy.copy, copy.deepcopy, lambda d: pickle.loads(pickle.dumps(d))]
)
def test_copies_are_equal_and_keep_no_function(again):
    decision = decide(policy=Policy.balanced(rules=RULES))
    other = again(decision)
    assert other == decision
    assert hash(other) == hash(decision)
    assert other.explain() == decision.explain()
    assert other.chosen == decision.chosen
    assert other.what_if(Policy.best()) == decision.what_if(Policy.best())


def test_a_decision_cannot_be_changed():
    decision = decide()
    with pytest.raises(AttributeError, match="policy"):
        decision.policy = "other"  # type: ignore[misc]
    with pytest.raises(AttributeError, match="context"):
        del decision.context


def test_threads_see_the_same_candidates():
    decision = decide()
    with ThreadPoolExecutor(8) as pool:
        seen = list(pool.map(lambda _: decision.candidates, range(64)))
    assert all(candidates == seen[0] for candidates in seen)
    assert decide() == decision != decide("hi")


def test_expected_costs_are_those_of_the_price():
    task = Task.of(TEXTS[1])
    signals = read(task)
    for found in assess(task, signals, CandidateSet(CARDS), HeuristicScorer()).predictions:
        tokens = (signals.prompt_tokens, signals.output_tokens)
        assert found.cost_usd == expected_cost_usd(found.card, *tokens)
        assert found.latency_s == found.card.speed.latency_s(*tokens)
        if found.card.location == "hosted" and found.card.price is not None:
            assert found.cost_usd == found.card.price.cost_usd(*tokens)


def test_a_measured_speed_stands_in_place_of_the_cards():
    task = Task.of("hello")
    candidate_set = CandidateSet([card("quick"), card("slow", price=Price(input=0, output=0))])
    measured = {"slow": Speed(first_token_s=42.0)}
    context = assess(task, read(task), candidate_set, HeuristicScorer(), measured)
    by_name = {p.card.name: p.latency_s for p in context.predictions}
    assert by_name["slow"] > 42 > by_name["quick"]


def test_a_skill_read_from_the_text_reaches_the_prediction():
    class Skilled:
        def read(self, text: str, kind: str) -> Difficulty:
            return Difficulty(0.4, (0.25,))

        def p_quality(self, card: ModelCard, task: Task, signals: Signals) -> float:
            return signals.difficulty[0]

    task, scorer = Task.of("hello"), Skilled()
    context = assess(task, read(task, difficulty=scorer.read), CandidateSet(CARDS), scorer)
    assert {p.p_quality for p in context.predictions} == {0.25}


BOUNDED = {
    "context_window": ({"context_window": 200}, {"prompt_tokens": 151, "output_tokens": 50}),
    "prompt_length": ({"max_prompt_tokens": 99}, {"prompt_tokens": 100}),
    "system_prompt": ({"max_system_tokens": 9}, {"system_tokens": 10}),
    "turns": ({"max_user_turns": 1}, {"user_turns": 2}),
}


@pytest.mark.parametrize("bound", BOUNDS, ids=lambda bound: bound.code)
def test_what_rules_out_at_once_is_what_is_said_when_asked(bound, context):
    """Both ways read the same table: a bound that is added there has to be tried here."""
    fields, signals = BOUNDED[bound.code]
    made = context(prediction("small", 0.9, **fields), **signals)
    decision = Policy.best().decide(made)
    assert decision.best is None
    assert [r.code for r in decision.candidates[0].reasons] == [bound.code]
    at_the_bound = {name: value - 1 for name, value in signals.items() if value > 1}
    assert Policy.best().decide(context(prediction("small", 0.9, **fields), **at_the_bound)).best
