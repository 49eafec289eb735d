"""Rate limits: never passed in any 60 seconds, used as far as they go, first come first served."""

from __future__ import annotations

import heapq
import itertools
import threading

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from modelrouter import ConfigurationError, ModelCard, RateLimit
from modelrouter.guards import Admitted, OneCall, Rates, Refusal, Settlement
from modelrouter.guards.window import Entry, Window
from modelrouter.testing import example_card
from tests.guards.intents import HOSTED, LOCAL, Clock, answered, intent


@pytest.fixture
def clock() -> Clock:
    return Clock(1_000.0)


def lets(rates: Rates, **fields) -> bool:
    return isinstance(rates.admit(intent(**fields)), Admitted)


def test_so_many_requests_go_through_and_the_next_is_told_when_its_turn_is(clock):
    rates = Rates(RateLimit(rpm=2), clock=clock)
    assert lets(rates)
    clock.now += 10
    assert lets(rates)
    refused = rates.admit(intent())
    assert isinstance(refused, Refusal)
    assert refused.retry_in_s == 50.0
    assert refused.pause_s == 1.0
    assert refused.reason.code == "rate_limit"
    assert refused.reason.text == (
        "its limit of 2 requests a minute is reached; room for this call in 50.0 s"
    )


def test_tokens_count_at_their_worst_until_they_are_known(clock):
    rates = Rates(RateLimit(tpm=250), clock=clock)
    first = intent(tokens=200)
    ticket = rates.admit(first).ticket
    waiting = intent(tokens=100)
    assert rates.admit(waiting).retry_in_s == 60.0
    rates.settle(first, ticket, answered(tokens=20))
    assert isinstance(rates.admit(waiting), Admitted)


def test_what_was_never_asked_and_what_nobody_counted(clock):
    rates = Rates(RateLimit(rpm=2, tpm=1_000), clock=clock)
    asked = intent()
    rates.settle(asked, rates.admit(asked).ticket, Settlement(asked=False))
    rates.settle(asked, rates.admit(asked).ticket, Settlement(cancelled=True))
    assert lets(rates, tokens=900)
    assert not lets(rates, tokens=1)


def test_a_request_larger_than_a_minute_gets_a_minute_to_itself(clock):
    rates = Rates(RateLimit(tpm=100), clock=clock)
    assert lets(rates, tokens=5_000)
    later = intent(tokens=5_000)
    assert rates.admit(later).retry_in_s == 60.0
    clock.now += 60
    assert isinstance(rates.admit(later), Admitted)


def test_who_came_first_goes_first(clock):
    rates = Rates(RateLimit(rpm=1), clock=clock)
    assert lets(rates)
    first, second = intent(), intent()
    assert rates.admit(first).retry_in_s == 60.0
    assert rates.admit(second).retry_in_s == 120.0
    for _ in range(60):
        clock.now += 1
        newcomer_refused = isinstance(rates.admit(intent()), Refusal)
        if clock.now < 1_060:
            rates.admit(first)
        rates.admit(second)
        assert newcomer_refused
    assert isinstance(rates.admit(first), Admitted)
    assert isinstance(rates.admit(second), Refusal)


def test_who_does_not_come_back_loses_the_place(clock):
    rates = Rates(RateLimit(rpm=1), clock=clock)
    assert lets(rates)
    gone = [intent() for _ in range(20)]
    assert rates.admit(gone[-1]).retry_in_s == 60.0
    for each in gone:
        rates.admit(each)
    clock.now += 2
    assert rates.admit(intent()).retry_in_s == 58.0


def test_limits_hold_by_deployment_and_come_from_the_router_or_the_card(clock):
    own = example_card("acme/own", rate_limit=RateLimit(rpm=1))
    named = example_card("acme/named", rate_limit=RateLimit(rpm=9))
    rates = Rates({"acme/named": RateLimit(rpm=1)}, clock=clock)
    assert [lets(rates, card=own) for _ in range(2)] == [True, False]
    assert [lets(rates, card=named) for _ in range(2)] == [True, False]
    assert all(lets(rates, card=HOSTED) for _ in range(9))
    other_key = example_card("acme/own", rate_limit=RateLimit(rpm=1), api_key="another")
    assert lets(rates, card=other_key)
    every = Rates(RateLimit(rpm=1), clock=clock)
    assert all(lets(every, card=LOCAL) for _ in range(9))
    assert [lets(every, card=HOSTED) for _ in range(2)] == [True, False]


def test_limits_that_make_no_sense_are_refused():
    with pytest.raises(ConfigurationError, match=r"rpm=\.\.\. or tpm"):
        RateLimit()
    with pytest.raises(ConfigurationError, match="rpm"):
        RateLimit(rpm=0)
    with pytest.raises(ConfigurationError, match=r"limits\['a'\] must be a RateLimit, got 5"):
        Rates({"a": 5})  # type: ignore[dict-item]  # what a user might try
    with pytest.raises(
        ConfigurationError, match="limits must be a RateLimit or a mapping of them, got 5"
    ):
        Rates(5)  # type: ignore[arg-type]  # what a user might try
    with pytest.raises(ConfigurationError, match="rate_limit"):
        ModelCard.hosted("openai/gpt-4o", rate_limit={"rpm": -1})


def test_threads_do_not_pass_a_limit_together():
    rates = Rates(RateLimit(rpm=50))
    through: list[bool] = []

    def ask() -> None:
        for _ in range(20):
            through.append(lets(rates))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(through) == 50


arrivals = st.lists(
    st.tuples(st.floats(0, 90), st.integers(1, 400), st.floats(0, 1), st.booleans()), max_size=60
)


@given(arrivals, st.integers(1, 10), st.one_of(st.none(), st.integers(100, 1_000)))
@settings(deadline=None, max_examples=200)
def test_calls_that_wait_all_go_through_in_order_and_within_the_limit(calls, rpm, tpm):
    """Each asks again when told to, or goes elsewhere; time goes by as they say."""
    window = Window(RateLimit(rpm=rpm, tpm=tpm))
    queue = [(at, n, n, OneCall()) for n, (at, *_) in enumerate(calls)]
    heapq.heapify(queue)
    let: list[tuple[float, int, int]] = []
    turns = 0
    while queue:
        now, _, number, call = heapq.heappop(queue)
        _, tokens, share, patient = calls[number]
        result = window.admit(call, tokens, now)
        if isinstance(result, Entry):
            window.settle(result, used := int(result.tokens * share))
            let.append((now, number, used))
        elif patient:
            heapq.heappush(queue, (now + min(result, 1.0), turns, number, call))
        turns += 1
        assert turns < 60 * 60 * 60, "nobody gets through"
    for now, _, _ in let:
        minute = [entry for entry in let if now - 60 < entry[0] <= now]
        assert len(minute) <= rpm
        assert tpm is None or sum(used for _, _, used in minute) <= tpm
    assert {n for n, c in enumerate(calls) if c[3]} <= {number for _, number, _ in let}


@given(st.lists(st.floats(0, 30), min_size=2, max_size=40), st.integers(1, 5))
@example([0.0, 0.0, 1.0, 0.9921875], 2)
@settings(deadline=None, max_examples=300)
def test_patient_calls_are_served_in_the_order_in_which_they_came(times, rpm):
    times.sort()
    window = Window(RateLimit(rpm=rpm))
    queue = [(at, n, OneCall()) for n, at in enumerate(times)]
    served: dict[int, float] = {}
    while queue:
        now, number, call = heapq.heappop(queue)
        result = window.admit(call, 1, now)
        if isinstance(result, Entry):
            served[number] = now
        else:
            heapq.heappush(queue, (now + min(result, 1.0), number, call))
    # Nobody waits longer than who came later, but for a moment between asking and asking again.
    order = [served[number] for number in range(len(times))]
    assert all(one <= other + 0.02 for one, other in itertools.combinations(order, 2))
    # And no time is lost: full minutes, one after another.
    assert max(order) <= times[-1] + 60.0 * ((len(times) - 1) // rpm) + 0.5
