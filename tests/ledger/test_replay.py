"""Decisions made again under another policy, from what a ledger stored."""

from __future__ import annotations

import pytest

from modelrouter import Catalog, Ledger, Policy, Router, Rule
from modelrouter.testing import FunctionBackend
from tests.ledger.conftest import LARGE, LOCAL, SMALL, router_with

TASKS = [
    "Prove that the square root of 2 is irrational.",
    "Translate into French: Good morning, my friends.",
    "Write a limerick about a cat in Rome.",
    "What is the capital of Peru?",
    "Summarize: The cat sat on the mat, and the dog lay beside it until evening came.",
]


def fill(ledger, policy, **more):
    router = router_with(ledger, lambda r: "ok", LARGE, SMALL, LOCAL, policy=policy)
    return [router.completion(task, **more) for task in TASKS]


@pytest.mark.parametrize("policy", ["cheapest", "best", "fastest", "balanced", "private"])
def test_a_replay_decides_as_the_router_itself_would(ledger, policy):
    replies = fill(ledger, "best")
    found = ledger.replay(policy)
    wanted = [reply.decision.what_if(Policy.of(policy)) for reply in replies]
    assert [call.row.id for call in found.calls] == [reply.trace.id for reply in replies]
    for call, decision in zip(found.calls, wanted, strict=True):
        feasible = decision.feasible
        assert (call.after.model if call.after else None) == (
            feasible[0].model if feasible else None
        )


def test_the_difference_is_said_in_numbers_and_words(ledger):
    fill(ledger, "best")
    found = ledger.replay("cheapest")
    sums = found.sums()
    assert sums["cost_usd"][1] < sums["cost_usd"][0]
    assert sums["p_quality"][1] <= sums["p_quality"][0]
    assert found.paid_usd == pytest.approx(sum(row.cost_usd for row in ledger.rows()))
    text = str(found)
    assert "5 of 5 calls decided again under 'cheapest'." in text
    assert "would go to another model" in text
    assert f"${sums['cost_usd'][0]:.6f} before, ${sums['cost_usd'][1]:.6f} after (-" in text
    assert "acme/large to acme/" in text
    dumped = found.model_dump()
    assert dumped["cost_usd"] == {"before": sums["cost_usd"][0], "after": sums["cost_usd"][1]}
    assert sum(move["calls"] for move in dumped["moves"]) == dumped["moved"]


def test_the_same_policy_changes_nothing(ledger):
    fill(ledger, "best")
    found = ledger.replay("best")
    assert found.moves.total() == 0
    before, after = found.sums()["cost_usd"]
    assert before == after


def test_what_no_model_may_do_is_counted_and_not_compared(ledger):
    fill(ledger, "best")
    found = ledger.replay(Policy(min_quality=0.9999))
    assert found.refused == len(TASKS)
    assert "No model may do 5 of them" in str(found)
    assert "would go" not in str(found)


def test_a_model_that_could_not_do_a_task_then_cannot_in_a_replay(ledger):
    short = LARGE.model_copy(update={"context_window": 40})
    router = router_with(ledger, lambda r: "ok", short, SMALL)
    router.completion("word " * 200)
    (call,) = ledger.replay("best").calls
    assert call.after.model == "acme/small"
    assert not next(c for c in call.row.decision["candidates"] if c["model"] == LARGE.name)[
        "feasible"
    ]


def test_rules_by_kind_location_and_tier_need_no_text(ledger):
    fill(ledger, "best")
    local = Policy(rules=[Rule.when(kind="translation").only(location="local")])
    moved = [call.row.kind for call in ledger.replay(local).calls if call.after.model == LOCAL.name]
    assert moved == ["translation"]
    tier = Policy(rules=[Rule.when().use(tier="llm")])
    assert len(ledger.replay(tier).calls) == len(TASKS)


def test_rules_that_read_the_task_need_its_text(tmp_path):
    policy = Policy(name="legal", rules=[Rule.when(metadata={"team": "legal"}).use("acme/local")])
    predicate = Policy(rules=[Rule.when(lambda task: "limerick" in task.text).use("acme/local")])
    with Ledger(tmp_path / "hash") as ledger:
        fill(ledger, "best", metadata={"team": "legal"})
        found = ledger.replay(policy)
    assert found.calls == ()
    assert "Not replayed: 5 calls, because a rule reads the task's text or metadata" in str(found)
    with Ledger(tmp_path / "keep", text="keep") as ledger:
        fill(ledger, "best", metadata={"team": "legal"})
        found, by_text = ledger.replay(policy), ledger.replay(predicate)
    assert {call.after.model for call in found.calls} <= {LOCAL.name, LARGE.name, SMALL.name}
    assert LOCAL.name in {call.after.model for call in found.calls}
    assert [c.row.kind for c in by_text.calls if c.after.model == LOCAL.name] == [
        "creative_writing"
    ]


def test_failed_calls_without_a_model_are_said_to_be_left_out(ledger):
    router = router_with(ledger, lambda r: "ok", SMALL)
    with pytest.raises(Exception, match="No eligible model"):
        router.completion(TASKS[0], policy="private")
    assert "1 calls, because no model was chosen for them" in str(ledger.replay("best"))


def test_the_shipped_catalogue_replays_too(ledger, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    with Router() as known:
        catalog = known.catalog
        decision = known.route(TASKS[0])
    backend = FunctionBackend(lambda r: "ok")
    router = Router(
        catalog=Catalog(catalog), backends={"litellm": backend, "llamacpp": backend}, ledger=ledger
    )
    router.completion(TASKS[0])
    (call,) = ledger.replay("best").calls
    assert call.before.model == decision.model
    assert call.after.model == decision.what_if(Policy.best()).model
