"""Guards together: all agree or none has reserved, each is settled once, errors say what to do."""

from __future__ import annotations

import threading

import pytest

from modelrouter import (
    BudgetExceededError,
    Catalog,
    CoolingDownError,
    NotAdmittedError,
    Router,
    ServerError,
)
from modelrouter.guards import (
    Admitted,
    BreakerPolicy,
    Budget,
    Guards,
    Permit,
    Refusal,
    Settlement,
    SqliteStore,
    refused,
)
from modelrouter.policies.decision import Reason
from modelrouter.testing import EchoBackend, example_card
from tests.guards.intents import answered, intent


class Recorder:
    """A guard that answers as told and remembers what it heard."""

    def __init__(self, admission=None, *, raises: Exception | None = None) -> None:
        self.admission = admission
        self.raises = raises
        self.heard: list[tuple[object, Settlement]] = []

    def admit(self, intent, /):
        if self.raises is not None:
            raise self.raises
        return Admitted(f"ticket {id(self)}") if self.admission is None else self.admission

    def settle(self, intent, ticket, settlement, /):
        self.heard.append((ticket, settlement))


COOLING = Refusal(Reason("cooling_down", "failed 5 times"), retry_in_s=2.5)
BROKE = Refusal(Reason("budget", "$5.00 are spent", (), "raise the budget"))


def test_all_agree_and_each_hears_once_what_came():
    one, other = Recorder(), Recorder()
    guards = Guards([one, other])
    permit = guards.admit(intent())
    assert isinstance(permit, Permit)
    done = answered()
    guards.settle(permit, done)
    guards.settle(permit, Settlement(cancelled=True))
    assert [one.heard, other.heard] == [
        [(f"ticket {id(one)}", done)],
        [(f"ticket {id(other)}", done)],
    ]


def test_those_before_a_refusal_hear_that_nothing_was_asked():
    before, after = Recorder(), Recorder()
    assert Guards([before, Recorder(COOLING), after]).admit(intent()) is COOLING
    assert [s.asked for _, s in before.heard] == [False]
    assert after.heard == []


def test_a_guard_that_raises_keeps_the_model_from_being_asked():
    before = Recorder()
    with pytest.raises(KeyError):
        Guards([before, Recorder(raises=KeyError("broken"))]).admit(intent())
    assert [s.asked for _, s in before.heard] == [False]


def test_a_guard_that_fails_to_settle_loses_neither_the_answer_nor_the_others(caplog):
    class Broken(Recorder):
        def settle(self, intent, ticket, settlement, /):
            raise ZeroDivisionError

    one, other = Recorder(), Recorder()
    guards = Guards([one, Broken(), other])
    permit = guards.admit(intent())
    guards.settle(permit, answered())
    assert len(one.heard) == len(other.heard) == 1
    assert "could not be settled" in caplog.text


def test_threads_that_settle_at_once_settle_once():
    guards = Guards([recorder := Recorder()])
    for _ in range(200):
        permit = guards.admit(intent())
        threads = [
            threading.Thread(target=guards.settle, args=(permit, answered())) for _ in range(3)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(recorder.heard) == 200


def test_the_error_of_a_refused_call_says_why_and_when():
    error = refused([("a", COOLING), ("b", COOLING)])
    assert isinstance(error, CoolingDownError)
    assert error.retry_in_s == 2.5
    assert str(error) == (
        "Every model that may do the task cools down after failures; the next try makes sense "
        "in 2.5 s:\n  a: failed 5 times\n  b: failed 5 times"
    )
    error = refused([("a", BROKE)])
    assert isinstance(error, BudgetExceededError)
    assert error.retry_in_s is None
    assert "$5.00 are spent (raise the budget)" in str(error)
    mixed = refused([("a", COOLING), ("b", BROKE)])
    assert type(mixed) is NotAdmittedError
    assert [model for model, _ in mixed.refusals] == ["a", "b"]
    final = Refusal(BROKE.reason, final=True)
    assert isinstance(refused([("a", COOLING), ("b", final)]), BudgetExceededError)


def test_a_decision_puts_what_cools_down_behind_the_others_and_says_so():
    cards = [example_card("acme/best", general_strength=0.95), example_card("acme/good")]
    router = Router(catalog=Catalog(cards), backends={"test": EchoBackend()}, policy="best")
    guards = Guards.of()
    decision = router.route("Hello there, how are you today?")
    assert decision.model == "acme/best"
    assert guards.seen(decision) is decision
    for _ in range(5):
        permit = guards.admit(intent(card=cards[0]))
        assert isinstance(permit, Permit)
        guards.settle(permit, Settlement(error=ServerError("down", status=503)))
    seen = guards.seen(decision)
    assert [c.model for c in seen.feasible] == ["acme/good", "acme/best"]
    assert [r.code for r in seen.feasible[0].reasons] == ["chosen"]
    assert [r.code for r in seen.feasible[1].reasons] == ["cooling_down", "fallback"]
    assert "failed 5 times in a row, last with ServerError (503)" in seen.explain()
    assert [h.state for h in guards.health(cards)] == ["open", "closed"]


def test_the_only_model_stays_though_it_cools_down():
    card = example_card("acme/only")
    router = Router(catalog=Catalog([card]), backends={"test": EchoBackend()})
    guards = Guards.of(breakers=BreakerPolicy(failures=1))
    permit = guards.admit(intent(card=card))
    guards.settle(permit, Settlement(error=ServerError("down", status=503)))
    seen = guards.seen(router.route("Hello there, how are you today?"))
    assert seen.model == "acme/only"
    assert [r.code for r in seen.chosen.reasons] == ["cooling_down", "chosen"]


def test_guards_are_made_of_what_a_router_is_given(tmp_path):
    store = SqliteStore(tmp_path / "b.db")
    guards = Guards.of(budgets=[Budget(usd=0.01)], store=store, guards=[late := Recorder()])
    assert isinstance(guards.admit(intent(0.02)), Refusal)
    assert late.heard == []
    assert isinstance(guards.admit(intent(0.01)), Permit)
    assert guards.statuses()[0].reserved_usd == 0.01
    off = Guards.of(breakers=False)
    for _ in range(9):
        permit = off.admit(intent())
        assert isinstance(permit, Permit)
        off.settle(permit, Settlement(error=ServerError("down", status=503)))
    store.close()
