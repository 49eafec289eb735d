"""Guards together: all agree or none has reserved, each is settled once, errors say what to do."""

from __future__ import annotations

import threading

import pytest

from modelrouter import BudgetExceededError, CoolingDownError, NotAdmittedError
from modelrouter.decision import Reason
from modelrouter.guards import Admitted, Refusal, Settlement
from modelrouter.guards.chain import Guards, Passed, refused
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
    passed = guards.admit(intent())
    assert isinstance(passed, Passed)
    done = answered()
    guards.settle(passed, done)
    guards.settle(passed, Settlement(cancelled=True))
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
    passed = guards.admit(intent())
    guards.settle(passed, answered())
    assert len(one.heard) == len(other.heard) == 1
    assert "could not be settled" in caplog.text


def test_threads_that_settle_at_once_settle_once():
    guards = Guards([recorder := Recorder()])
    for _ in range(200):
        passed = guards.admit(intent())
        threads = [
            threading.Thread(target=guards.settle, args=(passed, answered())) for _ in range(3)
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
