"""Budgets are never passed: in any order of calls, by threads, by processes, by a killed one."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from modelrouter.guards import Admitted, Budget, Budgets, MemoryStore, Settlement, SqliteStore
from tests.guards.intents import Clock, answered, intent

ROOT = Path(__file__).parents[2]
USERS = ("ann", "bob")
CALL = """
import random, sys
from modelrouter.guards import Admitted, Budget, Budgets, SqliteStore
from tests.guards.intents import answered, intent
guard = Budgets([Budget(usd=0.5, per="total")], SqliteStore(sys.argv[1]))
chance = random.Random(int(sys.argv[2]))
spent = 0
print("ready", flush=True)
for _ in range(int(sys.argv[3])):
    asked = intent(0.01)
    admitted = guard.admit(asked)
    if isinstance(admitted, Admitted):
        micros = chance.randrange(10_001)
        guard.settle(asked, admitted.ticket, answered(micros / 1e6))
        spent += micros
print(spent)
"""


class Calls(RuleBasedStateMachine):
    """Calls of two users begin and end in any order, in two routers that share their accounts."""

    under_way = Bundle("under_way")

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        store = self.make_store()
        budgets = [
            Budget(usd=1.0, per="hour"),
            Budget(usd=0.4, per="total", tag="user"),
            Budget(tokens=2_000, per="day"),
        ]
        self.store = store
        self.routers = [Budgets(budgets, store, clock=self.clock) for _ in range(2)]
        self.reserved: dict[int, tuple[float, str, float, int]] = {}
        self.spent: list[tuple[float, str, float, int]] = []

    def make_store(self):
        return MemoryStore()

    def teardown(self) -> None:
        self.store.close()

    @rule(
        target=under_way,
        router=st.integers(0, 1),
        user=st.sampled_from(USERS),
        cents=st.integers(1, 30),
        tokens=st.integers(1, 500),
    )
    def begins(self, router, user, cents, tokens):
        asked = intent(cents / 100, tokens=tokens, tags={"user": user})
        admitted = self.routers[router].admit(asked)
        if not isinstance(admitted, Admitted):
            return None
        self.reserved[id(asked)] = (self.clock.now, user, cents / 100, tokens)
        return asked, admitted.ticket

    @rule(call=consumes(under_way), share=st.floats(0, 1), router=st.integers(0, 1))
    def ends(self, call, share, router):
        if call is None:
            return
        asked, ticket = call
        at, user, worst, tokens = self.reserved.pop(id(asked))
        cost, used = round(worst * share, 6), int(tokens * share)
        self.routers[router].settle(asked, ticket, answered(cost, tokens=used))
        self.spent.append((at, user, cost, used))

    @rule(call=consumes(under_way))
    def is_cut_off(self, call):
        if call is None:
            return
        asked, ticket = call
        self.routers[0].settle(asked, ticket, Settlement(cancelled=True))
        self.spent.append(self.reserved.pop(id(asked)))

    @rule(seconds=st.sampled_from([1, 600, 3_600, 86_400]))
    def time_goes_by(self, seconds):
        self.clock.now += seconds

    @invariant()
    def no_limit_is_passed(self):
        every = [*self.spent, *self.reserved.values()]
        hour = [e for e in every if e[0] // 3_600 == self.clock.now // 3_600]
        assert sum(e[2] for e in hour) <= 1.0 + 1e-9
        for user in USERS:
            assert sum(e[2] for e in every if e[1] == user) <= 0.4 + 1e-9
        day = [e for e in every if e[0] // 86_400 == self.clock.now // 86_400]
        assert sum(e[3] for e in day) <= 2_000

    @invariant()
    def what_is_said_is_what_was_spent(self):
        by_hour, *_ = self.routers[1].statuses()
        every = [*self.spent, *self.reserved.values()]
        hour = [e for e in every if e[0] // 3_600 == self.clock.now // 3_600]
        counted = by_hour.spent_usd + by_hour.reserved_usd
        assert counted == pytest.approx(sum(e[2] for e in hour), abs=1e-9)


class CallsInAFile(Calls):
    """The same over a file."""

    def make_store(self):
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        return SqliteStore(Path(self.folder.name) / "b.db")

    def teardown(self) -> None:
        super().teardown()
        self.folder.cleanup()


TestCallsInAnyOrder = Calls.TestCase
TestCallsInAnyOrder.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestCallsInAnyOrderInAFile = CallsInAFile.TestCase
TestCallsInAnyOrderInAFile.settings = settings(
    max_examples=15, stateful_step_count=30, deadline=None
)


@pytest.mark.parametrize("kind", ["memory", "file"])
def test_threads_cannot_pass_a_limit_together(kind, tmp_path):
    store = MemoryStore() if kind == "memory" else SqliteStore(tmp_path / "b.db")
    guard = Budgets([Budget(usd=0.25)], store)
    high: list[float] = []
    under_way, lock = [0, 0.0], threading.Lock()

    def call() -> None:
        for _ in range(40):
            asked = intent(0.01)
            admitted = guard.admit(asked)
            if not isinstance(admitted, Admitted):
                continue
            with lock:
                under_way[0] += 1
                high.append(under_way[0] * 0.01 + under_way[1])
            with lock:
                under_way[0] -= 1
                under_way[1] += 0.003
            guard.settle(asked, admitted.ticket, answered(0.003))

    threads = [threading.Thread(target=call) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(high) <= 0.25 + 1e-9
    (status,) = guard.statuses()
    assert status.spent_usd == pytest.approx(under_way[1])
    assert status.reserved_usd == 0.0
    assert status.left_usd < 0.01  # they did use it up
    store.close()


def _process(path: Path, seed: int, calls: int) -> subprocess.Popen[str]:
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), *filter(None, sys.path)]),
    }
    command = [sys.executable, "-c", CALL, str(path), str(seed), str(calls)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def test_processes_cannot_pass_a_limit_together(tmp_path):
    path = tmp_path / "b.db"
    processes = [_process(path, seed, 150) for seed in range(3)]
    spent = sum(int(process.communicate(timeout=60)[0].split()[-1]) for process in processes)
    store = SqliteStore(path)
    (status,) = Budgets([Budget(usd=0.5, per="total")], store).statuses()
    assert round(status.spent_usd * 1e6) == spent <= 500_000
    assert status.left_usd < 0.01
    store.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGKILL")
def test_a_killed_process_frees_nothing_that_it_may_have_spent(tmp_path):
    path = tmp_path / "b.db"
    process = _process(path, 1, 10**9)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    store = SqliteStore(path)
    guard = Budgets([Budget(usd=0.5, per="total")], store)
    while guard.statuses()[0].spent_usd < 0.1:
        pass
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    before = guard.statuses()[0]
    assert before.spent_usd + before.reserved_usd <= 0.5
    rest = 0
    while isinstance(guard.admit(intent(0.01)), Admitted):
        rest += 1
    after = guard.statuses()[0]
    assert rest == int((before.left_usd + 1e-12) / 0.01)
    assert after.spent_usd + after.reserved_usd <= 0.5
    store.close()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
def test_a_forked_child_counts_in_the_same_file(tmp_path):
    store = SqliteStore(tmp_path / "b.db")
    guard = Budgets([Budget(usd=1.0)], store)
    guard.admit(intent(0.1))
    child = os.fork()
    if child == 0:
        admitted = guard.admit(intent(0.2))
        os._exit(0 if isinstance(admitted, Admitted) else 1)
    assert os.waitpid(child, 0)[1] == 0
    assert guard.statuses()[0].reserved_usd == pytest.approx(0.3)
    store.close()
