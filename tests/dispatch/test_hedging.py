"""A slow model and the next beside it: the first answer counts, the other model is left."""

from __future__ import annotations

import asyncio
import time

import pytest

from modelrouter import AllCandidatesFailedError, Catalog, Policy, RetryPolicy, Router, ServerError
from modelrouter.backends.base import Request
from modelrouter.guards import Admitted
from modelrouter.testing import FunctionBackend, example_card

SLOW = example_card("acme/slow", general_strength=0.8, price={"input": 1e-6, "output": 1e-6})
QUICK = example_card("acme/quick", general_strength=0.95, price={"input": 1e-3, "output": 1e-3})
HEDGED = Policy.cheapest(hedge=0.05)


class Timed(FunctionBackend):
    """Answers awaited calls after so many seconds; notes who was cancelled."""

    def __init__(self, answer=lambda request: f"by {request.card.name}", **seconds: float) -> None:
        super().__init__(answer)
        self._seconds = seconds
        self.cancelled: list[str] = []

    async def _wait(self, request: Request) -> None:
        try:
            await asyncio.sleep(self._seconds.get(request.card.name.rpartition("/")[2], 0.0))
        except asyncio.CancelledError:
            self.cancelled.append(request.card.name)
            raise

    async def acomplete(self, request: Request):
        await self._wait(request)
        return self.complete(request)

    async def astream(self, request: Request):
        await self._wait(request)
        for chunk in self.stream(request):
            yield chunk


class Watching:
    """A guard that agrees to all and counts what is settled."""

    def __init__(self) -> None:
        self.admitted = 0
        self.settled: list[tuple[str, bool]] = []

    def admit(self, intent):
        self.admitted += 1
        return Admitted()

    def settle(self, intent, ticket, settlement):
        self.settled.append((intent.card.name, settlement.cancelled))


def router_over(backend: Timed, *, policy: Policy = HEDGED, **options) -> Router:
    return Router(
        catalog=Catalog([SLOW, QUICK]),
        backends={"test": backend},
        **{"policy": policy, "retry": RetryPolicy(max_attempts=1), **options},
    )


def answered(router: Router, way: str):
    """The model that answered, the text, the trace: asked in one of four ways."""
    if way == "blocking":
        reply = router.completion("Hi!")
        return reply.model, reply.text, reply.trace
    if way == "awaited":
        reply = asyncio.run(router.acompletion("Hi!"))
        return reply.model, reply.text, reply.trace
    if way == "blocking stream":
        stream = router.completion("Hi!", stream=True)
        text = "".join(chunk.text for chunk in stream)
        return stream.model, text, stream.trace

    async def read():
        stream = await router.acompletion("Hi!", stream=True)
        text = "".join([chunk.text async for chunk in stream])
        return stream.model, text, stream.trace

    return asyncio.run(read())


WAYS = ("blocking", "awaited", "blocking stream", "awaited stream")


@pytest.mark.parametrize("way", WAYS)
def test_the_second_answers_for_a_slow_first_which_is_left(way):
    backend, guard = Timed(slow=20.0), Watching()
    began = time.perf_counter()
    model, text, trace = answered(router_over(backend, guards=[guard]), way)
    assert time.perf_counter() - began < 5
    assert (model, text) == ("acme/quick", "by acme/quick")
    assert [(a.model, a.outcome) for a in trace.attempts] == [
        ("acme/slow", "cancelled"),
        ("acme/quick", "answered"),
    ]
    assert trace.attempts[0].cost_usd > 0
    assert backend.cancelled == ["acme/slow"]
    assert guard.admitted == 2
    assert sorted(guard.settled) == [("acme/quick", False), ("acme/slow", True)]


@pytest.mark.parametrize("way", WAYS)
def test_a_first_that_is_in_time_is_asked_alone(way):
    backend = Timed()
    model, _, trace = answered(router_over(backend), way)
    assert model == "acme/slow"
    assert len(trace.attempts) == len(backend.requests) == 1


@pytest.mark.parametrize("way", WAYS)
def test_a_slow_first_may_still_win(way):
    backend = Timed(slow=0.3, quick=20.0)
    model, _, trace = answered(router_over(backend), way)
    assert model == "acme/slow"
    assert [a.outcome for a in trace.attempts] == ["cancelled", "answered"]
    assert backend.cancelled == ["acme/quick"]


@pytest.mark.parametrize("way", WAYS)
def test_where_one_fails_the_other_is_waited_for(way):
    def answer(request: Request) -> str:
        if request.card.name == "acme/quick":
            raise ServerError("503", model="acme/quick")
        return "by acme/slow"

    guard = Watching()
    model, text, trace = answered(router_over(Timed(answer, slow=0.3), guards=[guard]), way)
    assert (model, text) == ("acme/slow", "by acme/slow")
    assert [a.outcome for a in trace.attempts] == ["failed", "answered"]
    assert len(guard.settled) == 2


def test_where_both_fail_both_are_named():
    def answer(request: Request) -> str:
        raise ServerError("503", model=request.card.name)

    with pytest.raises(AllCandidatesFailedError, match=r"(?s)acme/quick.*acme/slow"):
        router_over(Timed(answer, slow=0.3)).completion("Hi!")


async def test_a_caller_who_leaves_leaves_both():
    backend, guard = Timed(slow=20.0, quick=20.0), Watching()
    call = asyncio.ensure_future(router_over(backend, guards=[guard]).acompletion("Hi!"))
    await asyncio.sleep(0.3)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert sorted(backend.cancelled) == ["acme/quick", "acme/slow"]
    assert sorted(guard.settled) == [("acme/quick", True), ("acme/slow", True)]


def test_a_hedged_stream_that_is_left_early_ends_its_loop():
    import threading

    before = threading.active_count()
    with router_over(Timed(slow=20.0)).completion("Hi!", stream=True) as stream:
        next(stream)
    assert threading.active_count() == before
