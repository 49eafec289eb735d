"""A router's guards: made from its arguments, seen in its decisions and figures."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from modelrouter import (
    BreakerPolicy,
    Budget,
    BudgetExceededError,
    Catalog,
    ConfigurationError,
    CoolingDownError,
    NotAdmittedError,
    RateLimit,
    RateLimitError,
    RetryPolicy,
    Router,
    ServerError,
    StorageError,
)
from modelrouter.catalog import Price
from modelrouter.guards import Admitted, Refusal, Settlement
from modelrouter.policies.decision import Reason
from modelrouter.testing import EchoBackend, FunctionBackend, example_card
from tests.guards.intents import intent

CARDS = (example_card("acme/best", general_strength=0.95), example_card("acme/good"))


def router_with(**fields) -> Router:
    return Router(catalog=Catalog(CARDS), backends={"test": EchoBackend()}, policy="best", **fields)


def fail(router: Router, card, times: int = 5) -> None:
    for _ in range(times):
        permit = router.guards.admit(intent(card=card))
        router.guards.settle(permit, Settlement(error=ServerError("down", status=503)))


def test_a_decision_avoids_what_cools_down_and_says_why():
    with router_with() as router:
        assert router.route("Hello there, how are you?").model == "acme/best"
        fail(router, CARDS[0])
        decision = router.route("Hello there, how are you?")
        assert decision.model == "acme/good"
        assert decision.candidates[1].reasons[0].code == "cooling_down"
        assert [h.state for h in router.health()] == ["open", "closed"]
        named = router.route("Hello there, how are you?", model="acme/best")
        assert named.model == "acme/best"
        assert named.chosen.reasons[0].code == "cooling_down"


def test_breakers_may_be_told_when_or_switched_off():
    with router_with(breakers=BreakerPolicy(failures=1)) as router:
        fail(router, CARDS[0], times=1)
        assert router.health()[0].state == "open"
    with router_with(breakers=False) as router:
        fail(router, CARDS[0], times=20)
        assert router.route("Hello there, how are you?").model == "acme/best"


def test_budgets_are_readable(tmp_path):
    path = tmp_path / "b.db"
    with router_with(budgets=Budget(usd=1, tag="user"), budget_store=path) as router:
        permit = router.guards.admit(intent(0.25, tags={"user": "ann"}))
        assert [s.reserved_usd for s in router.budgets()] == [0.25]
        router.guards.settle(permit, Settlement(cost_usd=0.125))
    with router_with(budgets=[Budget(usd=1, tag="user")], budget_store=path) as again:
        assert [(s.whose, s.spent_usd) for s in again.budgets()] == [("ann", 0.125)]
        assert [s.left_usd for s in again.budgets({"user": "bob"})] == [1.0]


def test_without_budgets_no_file_is_made(tmp_path):
    with router_with(budget_store=tmp_path / "b.db") as router:
        assert router.budgets() == ()
    assert list(tmp_path.iterdir()) == []


def test_arguments_that_make_no_sense_are_refused(tmp_path):
    with pytest.raises(ConfigurationError, match=r"budgets\[0\] is 5"):
        router_with(budgets=[5])
    with pytest.raises(ConfigurationError, match="must be a RateLimit"):
        router_with(limits={"acme/best": 10})
    (tmp_path / "b.db").write_bytes(b"something else" * 100)
    with pytest.raises(StorageError, match="budget file"):
        router_with(budgets=[Budget(usd=1)], budget_store=tmp_path / "b.db")
    router_with(limits=RateLimit(rpm=5)).close()


def test_calls_at_once_never_pass_a_budget_and_none_is_lost_while_money_comes_back(tmp_path):
    """Twenty calls may cost a cent each at worst and cost less; only a few fit in at a time."""
    card = example_card("acme/only", price=Price(input=0.0, output=1e-4))
    budget = Budget(usd=0.025)
    high: list[float] = []

    def answer(request) -> str:
        high.append(sum(s.spent_usd + s.reserved_usd for s in router.budgets()))
        time.sleep(0.01)
        return "four words in all"

    router = Router(
        catalog=Catalog([card]),
        backends={"test": FunctionBackend(answer)},
        budgets=budget,
        budget_store=tmp_path / "b.db",
    )
    with router, ThreadPoolExecutor(10) as pool:
        replies = list(
            pool.map(lambda n: router.completion(f"task {n}", max_tokens=100), range(20))
        )
        (status,) = router.budgets()
    assert max(high) <= budget.usd + 1e-12
    assert status.spent_usd == pytest.approx(sum(r.cost_usd for r in replies))
    assert status.reserved_usd == 0.0


def test_a_budget_that_is_used_up_raises_with_the_way_out(tmp_path):
    card = example_card("acme/only", price=Price(input=0.0, output=1e-4))
    with Router(
        catalog=Catalog([card]),
        backends={"test": EchoBackend()},
        budgets=Budget(usd=0.005),
        budget_store=tmp_path / "b.db",
    ) as router:
        with pytest.raises(BudgetExceededError, match=r"may take \$0\.01.*lower max_tokens"):
            router.completion("hello there", max_tokens=100)
        assert router.completion("hello there", max_tokens=40).text == "hello there"


def test_at_the_limit_the_local_model_answers_where_the_budget_says_so(tmp_path):
    local = example_card("here/small", location="local", general_strength=0.6)
    with Router(
        catalog=Catalog([CARDS[0], local]),
        backends={"test": EchoBackend()},
        policy="best",
        budgets=Budget(usd=0.0, at_limit="local"),
        budget_store=tmp_path / "b.db",
    ) as router:
        reply = router.completion("hello there", max_tokens=100)
    assert reply.model == "here/small"
    assert reply.trace.attempts[0].outcome == "skipped"
    assert "budget of $0 a day" in reply.trace.attempts[0].error


def test_a_broken_budget_file_stops_hosted_calls(tmp_path):
    with router_with(budgets=Budget(usd=1), budget_store=tmp_path / "b.db") as router:
        router.completion("hello there", max_tokens=10)
        router.guards.close()
        with pytest.raises(StorageError, match="budget file"):
            router.completion("hello there", max_tokens=10)


def test_a_rate_limit_is_waited_for_up_to_the_deadline_and_no_longer():
    with Router(
        catalog=Catalog([CARDS[0]]),
        backends={"test": EchoBackend()},
        limits=RateLimit(rpm=1),
        timeout=0.3,
    ) as router:
        router.completion("hello there")
        began = time.monotonic()
        with pytest.raises(NotAdmittedError, match="1 requests a minute is reached") as caught:
            router.completion("hello there")
        assert time.monotonic() - began < 0.3
        assert caught.value.retry_in_s == pytest.approx(60, abs=1)


def test_when_everything_cools_down_the_error_says_until_when():
    def answer(request) -> str:
        raise RateLimitError("slow down", status=429, retry_after=30.0)

    backend = FunctionBackend(answer)
    with Router(
        catalog=Catalog([CARDS[0]]), backends={"test": backend}, retry=RetryPolicy(max_attempts=1)
    ) as router:
        with pytest.raises(RateLimitError):
            router.completion("hello there")
        with pytest.raises(CoolingDownError, match=r"the next try makes sense in (30|29)\.") as hot:
            router.completion("hello there")
        assert 29 < hot.value.retry_in_s <= 30
        assert len(backend.requests) == 1


async def test_a_waiting_call_does_not_hold_others_up_and_leaves_one_line_in_its_trace(tmp_path):
    card = example_card("acme/only", price=Price(input=0.0, output=1e-4))
    with Router(
        catalog=Catalog([card]),
        backends={"test": EchoBackend()},
        budgets=Budget(usd=0.01),
        budget_store=tmp_path / "b.db",
    ) as router:
        permit = router.guards.admit(intent(0.01))
        waiting = asyncio.create_task(router.acompletion("hello there", max_tokens=90))
        await asyncio.sleep(0.5)
        assert not waiting.done()
        router.guards.settle(permit, Settlement(cost_usd=0.0))
        reply = await waiting
    assert [a.outcome for a in reply.trace.attempts] == ["skipped", "answered"]


@pytest.mark.parametrize("attempts", [1, 2, 3])
def test_a_wait_for_a_cooldown_does_not_begin_the_attempts_anew(attempts):
    def answer(request) -> str:
        raise RateLimitError("slow down", status=429)

    backend = FunctionBackend(answer)
    with (
        Router(
            catalog=Catalog([CARDS[0]]),
            backends={"test": backend},
            breakers=BreakerPolicy(rate_limit_s=0.05),
            retry=RetryPolicy(max_attempts=attempts, initial_s=0.01, jitter_s=0),
        ) as router,
        pytest.raises(RateLimitError),
    ):
        router.completion("hello there")
    assert len(backend.requests) == attempts


def test_a_model_not_tried_for_a_full_budget_is_asked_once_there_is_room():
    """The first is refused by the budget for now, and cools down when there is room again."""

    class Guard:
        def __init__(self) -> None:
            self.calls = 0

        def admit(self, intent):
            self.calls += 1
            if self.calls == 1:
                return Refusal(Reason("budget", "others hold it"), 0.01, final=True)
            if intent.card.name == "acme/first":
                return Refusal(Reason("cooling_down", "failed"), 60.0)
            return Admitted()

        def settle(self, intent, ticket, settlement):
            pass

    cards = [example_card("acme/first"), example_card("acme/second", general_strength=0.6)]
    router = Router(
        catalog=Catalog(cards),
        backends={"test": EchoBackend()},
        guards=[Guard()],
        policy="best",
        breakers=False,
    )
    assert router.completion("Hi there.").model == "acme/second"
