"""The flow of a call, driven step by step without any I/O."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter import (
    AllCandidatesFailedError,
    APIConnectionError,
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    BadRequestError,
    NoEligibleModelError,
    Policy,
    RateLimitError,
    Reason,
    RetryPolicy,
    ServerError,
    Task,
    Timeout,
)
from modelrouter.dispatch.flow import dispatch
from modelrouter.dispatch.steps import Answered, Ask, Call, Failed, Wait
from modelrouter.scoring import RoutingContext
from tests.policies.conftest import SIGNALS, prediction

PROMPT = RetryPolicy(max_attempts=3, initial_s=0.5, max_s=8, jitter_s=0)


def call(*names: str, recheck=lambda candidate: (), **fields) -> Call:
    """A call whose candidates are asked in the order of their names."""
    predictions = tuple(prediction(n, 0.9 - i / 10) for i, n in enumerate(names))
    task = Task.of("x")
    decision = Policy.best().decide(RoutingContext(task, SIGNALS, predictions))
    return Call(task, decision, recheck, **{"retry": PROMPT, **fields})


def run(flow, outcomes):
    """Drive the flow with prepared outcomes; the steps it took, and its result."""
    outcomes = iter(outcomes)
    steps, send = [], None
    while True:
        try:
            step = flow.send(send)
        except StopIteration as stop:
            return steps, stop.value
        steps.append(step.request.card.name if isinstance(step, Ask) else step)
        send = next(outcomes) if isinstance(step, Ask) else None


def failed(error: BackendError, seconds: float = 0.1) -> Failed:
    return Failed(error, seconds)


def test_the_first_candidate_that_answers_ends_the_call():
    steps, result = run(dispatch(call("a", "b")), [Answered("yes", 0.2)])
    assert steps == ["a"]
    assert (result.value, result.card.name) == ("yes", "a")
    assert [a.outcome for a in result.attempts] == ["answered"]


def test_a_passing_error_is_retried_after_a_growing_wait():
    outcomes = [failed(ServerError("500")), failed(ServerError("500")), Answered("yes", 0.1)]
    steps, result = run(dispatch(call("a")), outcomes)
    assert steps == ["a", Wait(0.5), "a", Wait(1.0), "a"]
    assert [a.outcome for a in result.attempts] == ["failed", "failed", "answered"]


def test_retry_after_is_honoured_when_it_is_longer():
    outcomes = [failed(RateLimitError("429", retry_after=7)), Answered("yes", 0.1)]
    steps, _ = run(dispatch(call("a")), outcomes)
    assert steps == ["a", Wait(7.0), "a"]


def test_a_retry_after_beyond_patience_falls_back_at_once():
    outcomes = [failed(RateLimitError("429", retry_after=3600)), Answered("yes", 0.1)]
    steps, _ = run(dispatch(call("a", "b")), outcomes)
    assert steps == ["a", "b"]


def test_a_lasting_error_is_not_retried():
    outcomes = [failed(AuthenticationError("401")), Answered("yes", 0.1)]
    steps, _ = run(dispatch(call("a", "b")), outcomes)
    assert steps == ["a", "b"]


def test_when_the_only_model_fails_its_own_error_is_raised_with_the_trace():
    with pytest.raises(BadRequestError, match="400") as caught:
        run(dispatch(call("a")), [failed(BadRequestError("400"))])
    assert caught.value.model == "a"
    assert [a.outcome for a in caught.value.trace.attempts] == ["failed"]


def test_when_several_fail_each_ones_last_error_is_kept():
    outcomes = [failed(BadRequestError("400")), failed(AuthenticationError("401"))]
    with pytest.raises(AllCandidatesFailedError, match=r"(?s)a: .*400.*b: .*401") as caught:
        run(dispatch(call("a", "b")), outcomes)
    assert [e.model for e in caught.value.errors] == ["a", "b"]
    assert caught.value.__cause__ is caught.value.errors[-1]


def test_a_candidate_that_is_no_longer_feasible_is_skipped_before_the_hop():
    too_long = Reason("context_window", "it does not fit any more")
    one = call("a", "b", recheck=lambda c: (too_long,) if c.model == "a" else ())
    steps, result = run(dispatch(one), [Answered("yes", 0.1)])
    assert steps == ["b"]
    assert [(a.model, a.outcome) for a in result.attempts] == [("a", "skipped"), ("b", "answered")]


def test_the_deadline_covers_retries_and_waits():
    one = call("a", "b", timeout=Timeout(total=2, attempt=10))
    with pytest.raises(BackendError) as caught:
        run(dispatch(one), [failed(BackendTimeoutError("slow"), 2.0)])
    assert len(caught.value.trace.attempts) == 1


def test_an_attempt_gets_only_the_time_that_is_left():
    flow = dispatch(call("a", timeout=Timeout(total=5, attempt=60)))
    first = next(flow)
    assert first.request.timeout_s == 5
    flow.send(failed(ServerError("500"), 3.0))
    second = flow.send(None)
    assert second.request.timeout_s == pytest.approx(1.5)


def test_no_limit_means_no_limit():
    flow = dispatch(call("a", timeout=Timeout.of(None)))
    assert next(flow).request.timeout_s is None


def test_without_an_eligible_model_nothing_is_asked():
    one = call("a")
    nobody = Policy.private(min_quality=1.0).decide(one.decision.context)
    with pytest.raises(NoEligibleModelError):
        next(dispatch(Call(one.task, nobody, lambda c: ())))


errors = st.sampled_from(
    [
        ServerError("500"),
        RateLimitError("429", retry_after=2.0),
        RateLimitError("429"),
        APIConnectionError("refused"),
        AuthenticationError("401"),
        BadRequestError("400"),
        BackendTimeoutError("slow"),
    ]
)
outcomes = st.one_of(
    st.builds(Failed, errors, st.floats(0, 5)), st.builds(Answered, st.just("yes"), st.floats(0, 5))
)


@given(st.lists(outcomes, min_size=20, max_size=20), st.integers(1, 4), st.floats(0.5, 30))
def test_any_sequence_of_faults_ends_in_one_outcome_within_the_deadline(faults, models, total):
    one = call(*"abcd"[:models], timeout=Timeout(total=total, attempt=total))
    flow = dispatch(one)
    spent, asked, send = 0.0, [], None
    pending = iter(faults)
    try:
        while True:
            step = flow.send(send)
            assert spent < total, "a step began after the deadline"
            if isinstance(step, Wait):
                spent, send = spent + step.seconds, None
                continue
            asked.append(step.request.card.name)
            assert step.request.timeout_s <= total - spent + 1e-6
            send = next(pending)
            spent += send.duration_s
    except StopIteration as stop:
        answer, attempts = stop.value.value, stop.value.attempts
    except (BackendError, AllCandidatesFailedError) as error:
        answer, attempts = "yes", error.trace.attempts
    assert answer == "yes"
    assert [a.model for a in attempts] == asked
    assert all(asked.count(name) <= 3 for name in set(asked))
    assert asked == sorted(asked), "a model was asked again after a later one"
