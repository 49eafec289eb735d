"""A router's guards: made from its arguments, seen in its decisions and figures."""

from __future__ import annotations

import pytest

from modelrouter import (
    BreakerPolicy,
    Budget,
    Catalog,
    ConfigurationError,
    RateLimit,
    Router,
    ServerError,
    StorageError,
)
from modelrouter.guards import Settlement
from modelrouter.testing import EchoBackend, example_card
from tests.guards.intents import intent

CARDS = (example_card("acme/best", general_strength=0.95), example_card("acme/good"))


def router_with(**fields) -> Router:
    return Router(catalog=Catalog(CARDS), backends={"test": EchoBackend()}, policy="best", **fields)


def fail(router: Router, card, times: int = 5) -> None:
    for _ in range(times):
        passed = router.guards.admit(intent(card=card))
        router.guards.settle(passed, Settlement(error=ServerError("down", status=503)))


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
        passed = router.guards.admit(intent(0.25, tags={"user": "ann"}))
        assert [s.reserved_usd for s in router.budgets()] == [0.25]
        router.guards.settle(passed, Settlement(cost_usd=0.125))
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
    with pytest.raises(ConfigurationError, match="is no RateLimit"):
        router_with(limits={"acme/best": 10})
    (tmp_path / "b.db").write_bytes(b"something else" * 100)
    with pytest.raises(StorageError, match="budget file"):
        router_with(budgets=[Budget(usd=1)], budget_store=tmp_path / "b.db")
    router_with(limits=RateLimit(rpm=5)).close()
