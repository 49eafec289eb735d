"""What guards cost a call: a budget's reservation and its settlement, beside the floor.

    python benchmarks/guards.py [--calls 2000]

In one process, the contenders taking turns: one row inserted and committed in an SQLite file (WAL,
synchronous=NORMAL: the least that anything kept on disk can cost); ``Budgets.admit`` and ``settle``
in memory and in a file, for one budget and for three; a breaker and a rate limit. And
litellm's ``RouterBudgetLimiting`` (its router's own budgets by provider), which keeps sums in
memory and reserves nothing: its check before a call and its sum after it. Printed are the median
and the 99th percentile of one call's admission and settlement.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sqlite3
import tempfile
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from statistics import median, quantiles

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from modelrouter import RateLimit
from modelrouter.guards import (
    Admitted,
    Breakers,
    Budget,
    Budgets,
    Guard,
    Guards,
    Intent,
    MemoryStore,
    Permit,
    Rates,
    Settlement,
    SqliteStore,
)
from modelrouter.response import Usage
from modelrouter.testing import example_card

INTENT = Intent(example_card(), 400, 256, 0.0009, {"user": "ann", "team": "legal"})
DONE = Settlement(usage=Usage(prompt_tokens=380, completion_tokens=90), cost_usd=0.0006)
THREE = [
    Budget(usd=1e5, per="day"),
    Budget(usd=1e5, per="month", tag="user"),
    Budget(tokens=10**12, per="total", tag={"team": "legal"}),
]


def row(folder: Path) -> Callable[[], object]:
    """The floor: one committed row."""
    connection = sqlite3.connect(folder / "floor.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=NORMAL")
    connection.execute("CREATE TABLE spent (at REAL, usd INTEGER)")
    return lambda: connection.execute("INSERT INTO spent VALUES (?, ?)", (time.time(), 600))


def guarded(guard: Guard) -> Callable[[], object]:
    """One call's admission and settlement."""

    def call() -> None:
        admitted = guard.admit(INTENT)
        assert isinstance(admitted, Admitted)
        guard.settle(INTENT, admitted.ticket, DONE)

    return call


def chained(guards: Guards) -> Callable[[], object]:
    """One call through all guards."""

    def call() -> None:
        permit = guards.admit(INTENT)
        assert isinstance(permit, Permit)
        guards.settle(permit, DONE)

    return call


def litellm_limiter() -> Callable[[], object]:
    """The peer: check, then add; in memory, and nothing is reserved between the two."""
    from litellm.caching.caching import DualCache
    from litellm.router_strategy.budget_limiter import RouterBudgetLimiting
    from litellm.types.utils import BudgetConfig

    loop = asyncio.new_event_loop()
    deployment = {"model_name": "gpt", "litellm_params": {"model": "openai/gpt-4o-mini"}}

    async def make() -> RouterBudgetLimiting:
        return RouterBudgetLimiting(
            dual_cache=DualCache(),
            provider_budget_config={"openai": BudgetConfig(budget_duration="1d", max_budget=1e5)},
        )

    limiter = loop.run_until_complete(make())
    event = {
        "standard_logging_object": {
            "response_cost": 0.0006,
            "model_id": "1",
            "custom_llm_provider": "openai",
        },
        "litellm_params": {"custom_llm_provider": "openai", "metadata": {}},
    }

    async def once() -> None:
        await limiter.async_filter_deployments(
            model="gpt", healthy_deployments=[deployment], messages=[], request_kwargs={}
        )
        await limiter.async_log_success_event(event, None, None, None)

    loop.run_until_complete(once())
    spent = limiter.dual_cache.in_memory_cache.get_cache("provider_spend:openai:1d")
    assert spent, "the peer did not count"
    for task in asyncio.all_tasks(loop):  # its synchronisation with Redis, which is not here
        task.cancel()
    return lambda: loop.run_until_complete(once())


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--calls", type=int, default=2_000)
    calls = arguments.parse_args().calls
    with tempfile.TemporaryDirectory(dir=".") as name:
        folder = Path(name)
        file = [SqliteStore(folder / f"{n}.db") for n in range(2)]
        contenders: dict[str, Callable[[], object]] = {
            "floor: one SQLite row, committed": row(folder),
            f"litellm {version('litellm')} budget limiter (memory)": litellm_limiter(),
            "one budget, in memory": guarded(Budgets(THREE[:1], MemoryStore())),
            "one budget, in a file": guarded(Budgets(THREE[:1], file[0])),
            "three budgets, in a file": guarded(Budgets(THREE, file[1])),
            "circuit breaker": guarded(Breakers()),
            "rate limit, 100,000 requests a minute": guarded(Rates(RateLimit(rpm=100_000))),
            "a router's guards without a budget": chained(Guards.of()),
        }
        samples: dict[str, list[float]] = {name: [] for name in contenders}
        for _ in range(calls):
            for contender, call in contenders.items():
                begin = time.perf_counter()
                call()
                samples[contender].append(time.perf_counter() - begin)
        for store in file:
            store.close()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"SQLite {sqlite3.sqlite_version}, load {os.getloadavg()[0]:.1f}, {calls:,} calls")
    print(f"{'':<44} {'median':>12} {'99 %':>12}")
    for contender, taken in samples.items():
        print(f"{contender:<44} {median(taken) * 1e6:>9,.1f} µs", end="")
        print(f" {quantiles(taken, n=100)[98] * 1e6:>9,.1f} µs")


if __name__ == "__main__":
    main()
