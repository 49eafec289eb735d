"""Budgets against what befalls their file and the clock: a limit is never passed thereby."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from modelrouter import StorageError
from modelrouter.guards import Admitted, Budget, Budgets, MemoryStore, SqliteStore, Store
from modelrouter.ledger import Ledger
from tests.guards.intents import Clock, answered, intent

DAY = 86_400.0


@pytest.fixture(params=["memory", "file"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    made: Store = MemoryStore() if request.param == "memory" else SqliteStore(tmp_path / "b.db")
    yield made
    made.close()


def spend(guard: Budgets, cost: float) -> bool:
    """Whether one call went through."""
    asked = intent(cost)
    admitted = guard.admit(asked)
    if isinstance(admitted, Admitted):
        guard.settle(asked, admitted.ticket, answered(cost))
    return isinstance(admitted, Admitted)


def removed(path: Path) -> None:
    path.unlink()


def moved(path: Path) -> None:
    path.rename(path.with_name("elsewhere.db"))


def replaced(path: Path) -> None:
    other = SqliteStore(path.with_name("other.db"))
    other.close()
    os.replace(other.path, path)


def without_its_log(path: Path) -> None:
    path.with_name(f"{path.name}-wal").unlink()


def without_its_folder(path: Path) -> None:
    path.parent.rename(path.parent.with_name("gone"))


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps what is open")
@pytest.mark.parametrize(
    "befalls",
    [removed, moved, replaced, without_its_log, without_its_folder],
    ids=lambda f: f.__name__,
)
def test_a_budget_file_that_goes_while_in_use_is_no_new_budget(tmp_path: Path, befalls) -> None:
    path = tmp_path / "folder" / "b.db"
    guard = Budgets([Budget(usd=0.05)], SqliteStore(path))
    assert spend(guard, 0.03)
    befalls(path)
    for _ in range(3):
        with pytest.raises(StorageError, match="removed or replaced while it was in use"):
            spend(guard, 0.03)
    with pytest.raises(StorageError, match="removed or replaced"):
        guard.statuses()
    guard.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps what is open")
def test_a_call_under_way_when_the_file_goes_keeps_its_answer(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = tmp_path / "b.db"
    guard = Budgets([Budget(usd=0.05)], SqliteStore(path))
    asked = intent(0.03)
    admitted = guard.admit(asked)
    assert isinstance(admitted, Admitted)
    path.unlink()
    guard.settle(asked, admitted.ticket, answered(0.01))
    assert "counts at its worst" in caplog.text


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
def test_a_forked_child_does_not_make_the_file_anew(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    guard = Budgets([Budget(usd=0.05)], SqliteStore(path))
    assert spend(guard, 0.03)
    path.unlink()
    child = os.fork()
    if child == 0:
        try:
            spend(guard, 0.03)
        except StorageError:
            os._exit(7)
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 7


@pytest.mark.skipif(os.name == "nt", reason="Windows keeps what is open")
def test_a_ledger_that_is_moved_away_goes_on_in_a_new_file(tmp_path: Path) -> None:
    from modelrouter import Router
    from modelrouter.testing import EchoBackend, example_card

    path = tmp_path / "ledger.db"
    card = example_card()
    with (
        Ledger(path) as ledger,
        Router([card], backends={card.backend: EchoBackend()}, ledger=ledger) as router,
    ):
        router.completion("one", model=card.name)
        ledger.flush()
        path.rename(tmp_path / "old.db")
        for suffix in ("-wal", "-shm"):
            (tmp_path / f"ledger.db{suffix}").rename(tmp_path / f"old.db{suffix}")
        router.completion("two", model=card.name)
        ledger.flush()
        assert path.exists()


@pytest.mark.parametrize("days", [40, 400, 4_000])
@pytest.mark.parametrize("back", [0.0, 3_600.0])
def test_a_clock_that_goes_far_ahead_and_back_forgets_nothing_of_the_day(
    store: Store, days: int, back: float
) -> None:
    clock = Clock()
    guard = Budgets([Budget(usd=0.05), Budget(usd=9, per="month")], store, clock=clock)
    assert spend(guard, 0.03)
    now = clock.now
    clock.now = now + days * DAY
    for _ in range(3):
        spend(guard, 0.001)
        clock.now += 4_000.0
    clock.now = now - back
    assert not spend(guard, 0.03)
    day, month = guard.statuses()
    assert day.spent_usd == 0.03
    assert month.spent_usd == 0.03


def test_a_clock_that_was_ahead_in_another_process_forgets_nothing(tmp_path: Path) -> None:
    path = tmp_path / "b.db"
    clock = Clock()
    guard = Budgets([Budget(usd=0.05)], SqliteStore(path), clock=clock)
    assert spend(guard, 0.03)
    other = Budgets([Budget(usd=0.05)], SqliteStore(path), clock=Clock(clock.now + 40 * DAY))
    assert spend(other, 0.03)
    assert not spend(guard, 0.03)


def test_accounts_long_over_are_forgotten_while_the_clock_goes_as_it_should(store: Store) -> None:
    clock = Clock()
    guard = Budgets([Budget(usd=0.05)], store, clock=clock)
    for _ in range(60):
        assert spend(guard, 0.03)
        clock.now += DAY
    assert len(store.accounts("", now=0.0)) < 50


ZONES = ["UTC", "America/New_York", "Europe/Berlin", "Pacific/Kiritimati", "Australia/Lord_Howe"]
SHIFTS = [
    datetime(2026, 3, 8, 6, 59, 59, tzinfo=timezone.utc),  # before New York's hour is left out
    datetime(2026, 3, 29, 0, 59, 59, tzinfo=timezone.utc),  # Berlin's
    datetime(2026, 10, 25, 0, 59, 59, tzinfo=timezone.utc),  # before Berlin's comes twice
    datetime(2026, 11, 1, 5, 59, 59, tzinfo=timezone.utc),  # New York's
]


@pytest.mark.skipif(not hasattr(time, "tzset"), reason="the zone cannot be changed here")
@pytest.mark.parametrize("per", ["hour", "day", "month"])
def test_a_period_is_utcs_whatever_the_zone_and_its_summer_time(
    store: Store, per: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = Clock()
    guard = Budgets([Budget(usd=0.05, per=per)], store, clock=clock)  # type: ignore[arg-type] # one of Period
    try:
        for shift in SHIFTS:
            hour = shift.replace(minute=0, second=0).timestamp()
            ends = set()
            for minute in range(0, 60, 20):
                for zone in ZONES:
                    monkeypatch.setenv("TZ", zone)
                    time.tzset()
                    clock.now = hour + minute * 60
                    spend(guard, 0.03)
                    (status,) = guard.statuses()
                    ends.add(status.ends_at)
                    assert status.spent_usd == 0.03
            assert len(ends) == 1
    finally:
        monkeypatch.undo()
        time.tzset()


def test_the_hour_that_comes_twice_is_two_hours(store: Store) -> None:
    """One o'clock in New York on the first of November: twice on the wall, never in UTC."""
    clock = Clock(SHIFTS[3].timestamp() - 60.0)
    guard = Budgets([Budget(usd=0.05, per="hour")], store, clock=clock)
    assert spend(guard, 0.03)
    clock.now += 3_600.0
    assert spend(guard, 0.03)
    clock.now += 1.0
    assert not spend(guard, 0.03)


def test_the_day_is_the_same_in_processes_of_different_zones(tmp_path: Path) -> None:
    program = (
        "import sys\n"
        "from modelrouter.guards import Budget, Budgets, SqliteStore\n"
        "from tests.guards.test_budget_faults import spend\n"
        "guard = Budgets([Budget(usd=0.05)], SqliteStore(sys.argv[1]), clock=lambda: 1.8e9)\n"
        "print(spend(guard, 0.03))\n"
    )
    root = str(Path(__file__).parents[2])
    said = [
        subprocess.run(
            [sys.executable, "-c", program, str(tmp_path / "b.db")],
            env={**os.environ, "TZ": zone, "PYTHONPATH": os.pathsep.join([root, *sys.path])},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for zone in ("Pacific/Kiritimati", "America/New_York")
    ]
    assert said == ["True", "False"]
