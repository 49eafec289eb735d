"""The flow of a call under any sequence of events: it ends, once, and nobody is forgotten."""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter import (
    APIConnectionError,
    AuthenticationError,
    BackendTimeoutError,
    BadRequestError,
    Catalog,
    LowConfidenceError,
    MalformedResponseError,
    ModelRouterError,
    Policy,
    RateLimitError,
    Reason,
    RetryPolicy,
    Router,
    ServerError,
    Task,
    Timeout,
)
from modelrouter.dispatch.acceptance import Rejection
from modelrouter.dispatch.flow import dispatch
from modelrouter.dispatch.steps import (
    Admit,
    Also,
    Answered,
    Ask,
    Broken,
    Call,
    Failed,
    First,
    Leave,
    Left,
    Settle,
    Slow,
    Wait,
)
from modelrouter.guards import Guards, Permit, Refusal
from modelrouter.response import Usage
from modelrouter.scoring import RoutingContext
from modelrouter.testing import EchoBackend, example_card
from tests.policies.conftest import SIGNALS, prediction

NAMES = ("a", "b", "c", "d")
TOTAL_S = 20.0
seconds = st.floats(0.0, 6.0)


def errors():
    return st.sampled_from(
        [
            lambda: ServerError("500"),
            lambda: RateLimitError("429", retry_after=1.0),
            lambda: RateLimitError("429", retry_after=900.0),
            lambda: APIConnectionError("reset"),
            lambda: BackendTimeoutError("late"),
            lambda: AuthenticationError("401"),
            lambda: BadRequestError("400"),
            lambda: MalformedResponseError("no json"),
            lambda: LowConfidenceError("unsure", partial_text="", confidence=0.1),
        ]
    ).map(lambda make: make())


def refusals():
    return st.builds(
        lambda code, wait, final: Refusal(Reason(code, "not now"), wait, final),
        st.sampled_from(["budget", "cooling_down", "rate_limit"]),
        st.none() | st.floats(0.01, 40.0),
        st.booleans(),
    )


def outcomes():
    plain = st.builds(Answered, st.integers(0, 9), seconds) | st.builds(Failed, errors(), seconds)
    return plain | st.builds(Broken, st.just(asyncio.CancelledError()), seconds)


class World:
    """What answers the flow's steps, by chance, and keeps the books."""

    def __init__(self, data: st.DataObject) -> None:
        self.data = data
        self.open: Counter[int] = Counter()  # agreements of guards that nobody settled
        self.kept: list[Permit] = []
        self.running: list[Ask | Also] = []
        self.asked: list[str] = []
        self.clock = 0.0

    def draw(self, strategy, label: str):
        return self.data.draw(strategy, label)

    def reply(self, step):
        if isinstance(step, Admit):
            if self.draw(st.integers(0, 3), "agreed"):
                permit = Permit(step.intent)
                self.kept.append(permit)
                self.open[id(permit)] += 1
                return permit
            return self.draw(refusals(), "refusal")
        if isinstance(step, Wait):
            assert step.seconds >= 0
            self.clock += step.seconds
            return None
        if isinstance(step, Settle):
            self.settle(step.permit)
            return None
        if isinstance(step, (Ask, Also)):
            self.asked.append(step.request.card.name)
            self.running.append(step)
        return self.heard(step)

    def heard(self, step):
        if isinstance(step, Leave):
            (left,) = self.running
            self.gone(left)
            return Left(0.1)
        if (
            isinstance(step, Ask)
            and step.patience_s is not None
            and self.draw(st.booleans(), "slow")
        ):
            self.clock += step.patience_s
            return Slow()
        outcome = self.draw(outcomes(), "outcome")
        if isinstance(outcome, Broken):
            for each in list(self.running):
                self.gone(each)
            return outcome
        which = self.draw(st.integers(0, len(self.running) - 1), "which")
        self.running.pop(which)
        self.clock += outcome.duration_s
        return First(which, outcome) if isinstance(step, Also) else outcome

    def gone(self, step: Ask | Also) -> None:
        self.running.remove(step)
        if step.permit is not None:
            self.settle(step.permit)

    def settle(self, permit: Permit) -> None:
        assert self.open[id(permit)] == 1, "settled twice"
        self.open[id(permit)] -= 1


@settings(max_examples=400, deadline=None)
@given(data=st.data())
def test_whatever_happens_the_call_ends_once_and_every_agreement_is_settled(data):
    names = NAMES[: data.draw(st.integers(1, 4), "models")]
    barred = data.draw(st.sets(st.sampled_from(names)), "barred")
    rejected = data.draw(st.sets(st.integers(0, 9)), "rejected")
    check = data.draw(st.sampled_from(["confidence", "form", "accept"]), "check")
    whole = data.draw(st.booleans(), "whole")
    hedged = data.draw(st.booleans(), "hedged")
    predictions = tuple(prediction(n, 0.9 - i / 10) for i, n in enumerate(names))
    task = Task.of("x")
    call = Call(
        task,
        Policy.best().decide(RoutingContext(task, SIGNALS, predictions)),
        lambda c: (Reason("location", "barred"),) if c.model in barred else (),
        retry=RetryPolicy(jitter_s=0),
        timeout=Timeout(total=TOTAL_S, attempt=5),
        guards=Guards([]) if data.draw(st.booleans(), "guards") else None,
        judge=lambda c, value: Rejection("no", check, value / 10) if value in rejected else None,
        spent=lambda card, value: (Usage(), 0.001) if whole else (None, None),
        floor=lambda c: 0.5,
        patience=lambda c: 0.5 if hedged else None,
    )
    world = World(data)
    flow, send, steps = dispatch(call), None, 0
    result = error = None
    while True:
        try:
            step = flow.send(send)
        except StopIteration as stop:
            result = stop.value
            break
        except (ModelRouterError, asyncio.CancelledError) as caught:
            error = caught
            break
        steps += 1
        assert steps < 500, "it does not end"
        send = world.reply(step)
    assert (result is None) != (error is None)
    if result is not None and result.permit is not None:
        world.settle(result.permit)  # a stream's, settled when it ends
    assert not any(world.open.values()), "an agreement was forgotten"
    assert not world.running, "a model was forgotten"
    assert not barred & set(world.asked)
    if result is not None:
        assert result.value not in rejected or check != "accept"
        assert any(a.outcome in ("answered", "rejected") for a in result.attempts)
    elif not isinstance(error, asyncio.CancelledError):
        assert error.trace is not None
    # A model that was asked in time may take its time; nobody is asked after it.
    assert world.clock <= TOTAL_S + 2 * 6.0 + 1.0


CARDS = [example_card("acme/a"), example_card("acme/b", general_strength=0.6)]
parts = st.dictionaries(st.sampled_from(["type", "text", "image_url"]), st.text(max_size=20))
content = st.text(max_size=200) | st.none() | st.integers() | st.lists(parts, max_size=3)
messages = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool", "nobody", ""])},
        optional={"content": content, "tool_calls": st.just([]), "name": st.text(max_size=9)},
    )
    | st.text(max_size=9)
    | st.none(),
    max_size=5,
)


@pytest.fixture(scope="module")
def router() -> Router:
    return Router(catalog=Catalog(CARDS), backends={"test": EchoBackend()})


@settings(max_examples=300, deadline=None)
@given(text=st.text(max_size=400))
def test_any_text_is_routed_or_refused_in_words(router, text):
    with contextlib.suppress(ModelRouterError):
        decision = router.route(text)
        assert decision.model in {"acme/a", "acme/b"}
        assert decision.explain()


@settings(max_examples=300, deadline=None)
@given(given_messages=messages)
def test_any_messages_are_routed_or_refused_in_words(router, given_messages):
    with contextlib.suppress(ModelRouterError):
        assert router.route(messages=given_messages).model in {"acme/a", "acme/b"}
