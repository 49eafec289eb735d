"""Budgets: what they refuse, what they count, and what they say."""

from __future__ import annotations

import logging
import sqlite3
from datetime import datetime, timezone

import pytest

from modelrouter import (
    APIConnectionError,
    AuthenticationError,
    BackendTimeoutError,
    BadRequestError,
    ConfigurationError,
    RateLimitError,
    ServerError,
    StorageError,
    StreamInterruptedError,
    Usage,
)
from modelrouter.guards import (
    Admitted,
    Budget,
    Budgets,
    MemoryStore,
    OneCall,
    Refusal,
    Settlement,
    SqliteStore,
)
from tests.guards.intents import LOCAL, Clock, answered, intent


@pytest.fixture(params=["memory", "file"])
def store(request, tmp_path):
    made = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "b.db")
    yield made
    made.close()


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=timezone.utc).timestamp()


def spend(guard: Budgets, worst: float, cost: float | None = None, **fields) -> bool:
    """Whether one call went through."""
    asked = intent(worst, **fields)
    admitted = guard.admit(asked)
    if isinstance(admitted, Admitted):
        guard.settle(asked, admitted.ticket, answered(worst if cost is None else cost))
    return isinstance(admitted, Admitted)


def test_what_is_reserved_counts_before_anything_is_spent(store):
    guard = Budgets([Budget(usd=0.025)], store)
    first, second, third = intent(), intent(), intent()
    assert isinstance(guard.admit(first), Admitted)
    assert isinstance(guard.admit(second), Admitted)
    refused = guard.admit(third)
    assert isinstance(refused, Refusal)
    assert refused.reason.code == "budget"
    assert "may take $0.010000; of the budget of $0.025 a day, $0.020000" in refused.reason.text


def test_the_limit_itself_may_be_reached_to_the_last_part(store):
    guard = Budgets([Budget(usd=0.3)], store)
    assert [spend(guard, 0.1) for _ in range(4)] == [True, True, True, False]
    assert guard.statuses()[0].left_usd == 0.0


def test_what_was_not_used_is_given_back(store):
    guard = Budgets([Budget(usd=0.011)], store)
    assert all(spend(guard, 0.01, 0.0001) for _ in range(10))
    (status,) = guard.statuses()
    assert status.spent_usd == 0.001
    assert status.reserved_usd == 0.0
    assert status.left_usd == 0.01
    assert status.spent_tokens == 100


def test_a_refusal_that_calls_under_way_may_lift_says_when_to_look_again(store):
    guard = Budgets([Budget(usd=0.015)], store)
    asked = intent()
    admitted = guard.admit(asked)
    waiting = guard.admit(intent())
    assert waiting.retry_in_s == pytest.approx(0.1)
    guard.settle(asked, admitted.ticket, answered(0.012))
    used_up = guard.admit(intent())
    assert used_up.retry_in_s is None
    assert "or wait until" in used_up.reason.fix


def test_a_call_too_large_for_any_day_is_not_told_to_wait(store):
    refused = Budgets([Budget(usd=0.001)], store).admit(intent())
    assert refused.retry_in_s is None
    assert refused.reason.fix == "lower max_tokens, shorten the prompt, or raise the budget"


@pytest.mark.parametrize(("at_limit", "final"), [("raise", True), ("local", False)])
def test_the_limit_raises_or_leaves_local_models(store, at_limit, final):
    guard = Budgets([Budget(usd=0, at_limit=at_limit)], store)
    assert guard.admit(intent()).final is final
    assert isinstance(guard.admit(intent(0.0, card=LOCAL)), Admitted)


def test_a_period_ends_at_midnight_utc_and_a_call_counts_where_it_began(store):
    clock = Clock(at("2026-03-31T23:59:59"))
    guard = Budgets([Budget(usd=0.01)], store, clock=clock)
    late = intent()
    admitted = guard.admit(late)
    assert isinstance(guard.admit(intent()), Refusal)
    clock.now = at("2026-04-01T00:00:00")
    assert isinstance(guard.admit(intent()), Admitted)
    guard.settle(late, admitted.ticket, answered(0.002))
    assert guard.statuses()[0].spent_usd == 0.0
    assert guard.statuses()[0].reserved_usd == 0.01


@pytest.mark.parametrize(
    ("per", "ends"),
    [
        ("hour", "2026-12-31T23:00:00"),
        ("day", "2027-01-01T00:00:00"),
        ("month", "2027-01-01T00:00:00"),
    ],
)
def test_each_period_ends_when_the_calendar_says(store, per, ends):
    clock = Clock(at("2026-12-31T22:30:00"))
    guard = Budgets([Budget(usd=0.01, per=per)], store, clock=clock)
    assert spend(guard, 0.01)
    assert guard.statuses()[0].ends_at == at(ends)
    clock.now = at(ends) - 1
    assert not spend(guard, 0.01)
    clock.now = at(ends)
    assert spend(guard, 0.01)


def test_a_total_never_ends(store):
    clock = Clock()
    guard = Budgets([Budget(usd=0.01, per="total")], store, clock=clock)
    assert spend(guard, 0.01)
    clock.now += 10 * 365 * 86_400
    assert not spend(guard, 0.01)


def test_a_budget_by_call_counts_all_attempts_of_a_call_and_no_other(store):
    guard = Budgets([Budget(usd=0.01, per="call")], store)
    one, other = OneCall(), OneCall()
    assert spend(guard, 0.006, 0.005, call=one)
    assert not spend(guard, 0.006, call=one)
    assert spend(guard, 0.005, call=one)
    assert spend(guard, 0.01, call=other)


def test_each_user_has_a_budget_of_their_own_and_calls_without_user_share_one(store):
    guard = Budgets([Budget(usd=0.01, tag="user")], store)
    assert spend(guard, 0.01, tags={"user": "ann"})
    assert not spend(guard, 0.01, tags={"user": "ann"})
    assert spend(guard, 0.01, tags={"user": "bob"})
    assert spend(guard, 0.01, tags={"team": "legal"})
    assert not spend(guard, 0.01)
    assert [s.whose for s in guard.statuses()] == ["", "ann", "bob"]
    assert [s.left_usd for s in guard.statuses({"user": "eve"})] == [0.01]


def test_a_named_tag_limits_only_its_own_calls(store):
    guard = Budgets([Budget(usd=0.01, tag={"team": "legal"})], store)
    legal = {"team": "legal", "user": "ann"}
    assert spend(guard, 0.01, tags=legal)
    assert not spend(guard, 0.01, tags=legal)
    assert all(spend(guard, 0.01, tags={"team": "sales"}) for _ in range(3))
    assert guard.statuses({"team": "sales"}) == ()


def test_tokens_are_limited_like_money(store):
    guard = Budgets([Budget(tokens=250)], store)
    assert isinstance(guard.admit(intent(None)), Admitted)  # no price is needed
    assert isinstance(guard.admit(intent()), Admitted)
    refused = guard.admit(intent())
    assert "may take 100 tokens; of the budget of 250 tokens a day" in refused.reason.text


def test_reasoning_that_is_only_in_the_total_is_counted(store):
    guard = Budgets([Budget(tokens=1_000)], store)
    asked = intent()
    admitted = guard.admit(asked)
    usage = Usage(prompt_tokens=10, completion_tokens=20, total_tokens=90)
    guard.settle(asked, admitted.ticket, Settlement(usage=usage, cost_usd=0.001))
    assert guard.statuses()[0].spent_tokens == 90


def test_of_several_budgets_all_must_have_room_and_a_refusal_takes_from_none(store):
    guard = Budgets([Budget(usd=1, per="month"), Budget(usd=0.015, tag="user")], store)
    assert spend(guard, 0.01, tags={"user": "ann"})
    assert not spend(guard, 0.01, tags={"user": "ann"})
    assert spend(guard, 0.01, tags={"user": "bob"})
    month = guard.statuses({"user": "ann"})[0]
    assert (month.spent_usd, month.reserved_usd) == (0.02, 0.0)


def test_a_refused_period_gives_the_call_its_own_money_back(store):
    guard = Budgets([Budget(usd=0.01, per="call"), Budget(usd=0.01)], store)
    assert spend(guard, 0.01)
    call = OneCall()
    assert not spend(guard, 0.01, call=call)
    (kept,) = call.kept.values()
    assert sum(account.pico_usd for account in kept.accounts("", now=0)) == 0


def test_a_model_without_a_price_is_refused_or_allowed_as_the_budget_says(store):
    refused = Budgets([Budget(usd=1)], store).admit(intent(None))
    assert "its price is unknown" in refused.reason.text
    assert "price=Price(input=..., output=...)" in refused.reason.fix
    assert not refused.final  # a model with a price may do it
    allowing = Budgets([Budget(usd=1, name="b", unknown_price="allow")], store)
    assert isinstance(allowing.admit(intent(None)), Admitted)
    assert isinstance(Budgets([Budget(usd=1)], store).admit(intent(float("inf"))), Refusal)


def unsent(error):
    error.sent = False
    return error


@pytest.mark.parametrize(
    ("error", "charged"),
    [
        (RateLimitError("slow down", status=429), False),
        (AuthenticationError("no", status=401), False),
        (BadRequestError("no", status=400), False),
        (ServerError("oops", status=500), False),
        (ServerError("too late", status=504), True),
        (BackendTimeoutError("nothing came"), True),
        (APIConnectionError("reset"), True),
        (unsent(APIConnectionError("refused")), False),
        (unsent(BackendTimeoutError("no connection in time")), False),
        (StreamInterruptedError("cut", partial_text="so f"), True),
    ],
)
def test_a_failed_call_counts_at_its_worst_unless_the_provider_surely_charged_nothing(
    store, error, charged
):
    guard = Budgets([Budget(usd=1.0)], store)
    asked = intent()
    guard.settle(asked, guard.admit(asked).ticket, Settlement(error=error))
    (status,) = guard.statuses()
    assert status.spent_usd == (0.01 if charged else 0.0)
    assert status.spent_tokens == (100 if charged else 0)


def test_a_cancelled_call_counts_at_its_worst_and_one_never_asked_as_nothing(store):
    guard = Budgets([Budget(usd=1.0)], store)
    for settlement in (Settlement(cancelled=True), Settlement(asked=False)):
        asked = intent()
        guard.settle(asked, guard.admit(asked).ticket, settlement)
    assert guard.statuses()[0].spent_usd == 0.01


def test_an_answer_whose_tokens_the_provider_did_not_say_counts_at_its_worst(store):
    guard = Budgets([Budget(usd=1.0)], store)
    asked = intent()
    guard.settle(asked, guard.admit(asked).ticket, answered(0.004, estimated=True))
    (status,) = guard.statuses()
    assert (status.spent_usd, status.spent_tokens) == (0.01, 100)


def test_settling_twice_counts_once(store):
    guard = Budgets([Budget(usd=1.0)], store)
    asked = intent()
    ticket = guard.admit(asked).ticket
    guard.settle(asked, ticket, answered(0.004))
    guard.settle(asked, ticket, answered(0.004))
    assert guard.statuses()[0].spent_usd == 0.004


def test_more_than_the_worst_case_is_counted_all_the_same(store):
    guard = Budgets([Budget(usd=0.015)], store)
    assert spend(guard, 0.01, 0.02)
    assert not spend(guard, 0.0001)
    assert guard.statuses()[0].left_usd == 0.0


def test_a_reservation_of_a_killed_process_becomes_spent_not_free(store):
    clock = Clock(at("2026-05-01T10:00:00"))
    guard = Budgets([Budget(usd=0.01)], store, clock=clock)
    guard.admit(intent())  # never settled
    assert guard.statuses()[0].reserved_usd == 0.01
    assert guard.admit(intent()).retry_in_s is not None
    clock.now += 3_601
    (status,) = guard.statuses()
    assert (status.reserved_usd, status.spent_usd) == (0.0, 0.01)
    assert guard.admit(intent()).retry_in_s is None


def test_a_late_settlement_still_counts_what_was_used(store):
    clock = Clock(at("2026-05-01T10:00:00"))
    guard = Budgets([Budget(usd=0.01)], store, clock=clock)
    asked = intent()
    ticket = guard.admit(asked).ticket
    clock.now += 5_000
    guard.settle(asked, ticket, answered(0.001))
    assert guard.statuses()[0].spent_usd == 0.001


def test_any_text_may_be_a_tag(store):
    guard = Budgets([Budget(usd=0.01, tag="user")], store)
    for user in ("", "'; DROP TABLE accounts", "\ud800", "a\0b", "a\0c", "名前", "%_"):
        assert spend(guard, 0.01, tags={"user": user})
        assert not spend(guard, 0.01, tags={"user": user})


def test_a_budget_that_makes_no_sense_is_refused_with_the_field():
    with pytest.raises(ConfigurationError, match=r"usd=\.\.\. or tokens"):
        Budget()
    with pytest.raises(ConfigurationError, match="usd"):
        Budget(usd=-1)
    with pytest.raises(ConfigurationError, match="usd"):
        Budget(usd=float("nan"))
    with pytest.raises(ConfigurationError, match=r"per.*week"):
        Budget(usd=1, per="week")
    with pytest.raises(ConfigurationError, match="tag is empty"):
        Budget(usd=1, tag={})
    with pytest.raises(ConfigurationError, match=r"budgets\[1\].*counts the same calls as budgets"):
        Budgets([Budget(usd=1), Budget(usd=2)], MemoryStore())
    with pytest.raises(ConfigurationError, match=r"budgets\[0\] is 5, not a Budget"):
        Budgets([5], MemoryStore())  # type: ignore[list-item]  # what a user might try


def test_a_broken_file_is_an_error_and_never_an_unlimited_budget(tmp_path):
    path = tmp_path / "b.db"
    path.write_bytes(b"no database at all, but long enough to be looked at" * 100)
    with pytest.raises(StorageError, match="budget file"):
        SqliteStore(path)
    store = SqliteStore(tmp_path / "good.db")
    guard = Budgets([Budget(usd=1)], store)
    store.close()
    with pytest.raises(StorageError, match="is closed"):
        guard.admit(intent())
    assert isinstance(guard.admit(intent(card=LOCAL)), Admitted)


def test_a_file_locked_for_long_is_an_error_to_admit_and_a_log_line_to_settle(tmp_path, caplog):
    store = SqliteStore(tmp_path / "b.db", busy_s=0.01)
    guard = Budgets([Budget(usd=1)], store)
    asked = intent()
    ticket = guard.admit(asked).ticket
    other = sqlite3.connect(tmp_path / "b.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(StorageError, match=r"locked.*Another process"):
        guard.admit(intent())
    with caplog.at_level(logging.ERROR, "modelrouter"):
        guard.settle(asked, ticket, answered(0.001))
    assert "counts at its worst" in caplog.text
    other.execute("ROLLBACK")
    assert guard.statuses()[0].reserved_usd == 0.01
    other.close()
    store.close()


def test_what_a_standing_says_is_readable(store):
    guard = Budgets([Budget(usd=5, tag="user", name="search")], store)
    spend(guard, 0.01, 0.004, tags={"user": "ann"})
    assert str(guard.statuses()[0]) == (
        "budget 'search' of $5 a day for each user (ann): $0.004 and 10 tokens spent, "
        "$0 reserved, $4.996 left"
    )


def test_a_folder_that_cannot_be_made_is_named_with_the_way_out(tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"cannot be made.*budget_store="):
        SqliteStore(tmp_path / "file" / "folder" / "b.db")
