"""Every attempt is settled once, however its call ends: nothing stays reserved, nothing is free."""

from __future__ import annotations

import asyncio

import pytest

from modelrouter import AsyncRouter, Budget, Catalog, Policy, RetryPolicy, Router, ServerError
from modelrouter.catalog import Price
from modelrouter.guards import MemoryStore
from modelrouter.testing import EchoBackend, FunctionBackend, example_card

CENT_A_TOKEN = Price(input=0.0, output=0.01)
CARD = example_card("acme/only", price=CENT_A_TOKEN)
ONCE = RetryPolicy(max_attempts=1)


class Slow(EchoBackend):
    """Thinks for long before it answers."""

    async def acomplete(self, request):
        await asyncio.sleep(30)
        return await super().acomplete(request)


def make(kind=Router, backend=None, **fields):
    return kind(
        catalog=Catalog([CARD]),
        backends={"test": backend or EchoBackend()},
        budgets=Budget(usd=100.0),
        budget_store=MemoryStore(),
        **{"retry": ONCE, **fields},
    )


def status(router) -> tuple[float, float]:
    (found,) = router.budgets()
    return round(found.spent_usd, 9), round(found.reserved_usd, 9)


def test_an_answer_costs_what_it_cost():
    with make() as router:
        router.completion("one two three", max_tokens=50)
        assert status(router) == (0.03, 0.0)


def test_a_stream_read_to_its_end_costs_what_it_cost():
    with make() as router:
        with router.completion("one two three", max_tokens=50, stream=True) as stream:
            next(stream)
            assert status(router) == (0.0, 0.5)
            list(stream)
        assert status(router) == (0.03, 0.0)


def test_a_stream_left_early_or_dropped_costs_its_worst():
    with make() as router:
        with router.completion("one two three", max_tokens=50, stream=True) as stream:
            next(stream)
        assert status(router) == (0.5, 0.0)
        dropped = router.completion("one two three", max_tokens=50, stream=True)
        next(dropped)
        del dropped
        assert status(router) == (1.0, 0.0)


async def test_a_cancelled_call_costs_its_worst_and_says_nothing_of_the_model():
    async with make(AsyncRouter, Slow()) as router:
        task = asyncio.create_task(router.completion("one two three", max_tokens=50))
        await asyncio.sleep(0.05)
        assert status(router) == (0.0, 0.5)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert status(router) == (0.5, 0.0)
        assert router.health()[0].failures == 0


@pytest.mark.parametrize(
    ("error", "spent"),
    [(ServerError("down", status=503), 0.0), (KeyError("a bug in a backend"), 0.5)],
)
def test_a_failure_costs_nothing_or_its_worst(error, spent):
    def failing(request) -> str:
        raise error

    with make(backend=FunctionBackend(failing)) as router:
        with pytest.raises(type(error)):
            router.completion("one two three", max_tokens=50)
        assert status(router) == (spent, 0.0)


def test_an_answer_that_is_not_accepted_is_paid_for_too():
    with make(policy=Policy.best(accept=lambda reply: False)) as router:
        with pytest.raises(Exception, match="accept"):
            router.completion("one two three", max_tokens=50)
        assert status(router) == (0.03, 0.0)


def test_retries_are_each_settled():
    left = [ServerError("down", status=503), ServerError("down", status=503)]

    def answer(request) -> str:
        if left:
            raise left.pop()
        return "four words at last"

    retry = RetryPolicy(max_attempts=3, initial_s=0, jitter_s=0)
    router = make(backend=FunctionBackend(answer), retry=retry)
    with router:
        router.completion("one two three", max_tokens=50)
        assert status(router) == (0.04, 0.0)
