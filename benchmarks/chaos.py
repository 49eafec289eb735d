"""Providers that fail all the time, and a process that is killed: what is lost, and what it costs.

    python benchmarks/chaos.py [--tasks 10000] [--seed 1] [--kills 2] [--no-peer]

Three deployments on loopback misbehave by seed: the first on 30 % of its calls (refused and reset
connections, stalls, streams cut after some words, 429 with and without Retry-After, 500, 503,
malformed JSON, empty choices, wrong content types, slow drips, token counts that cannot be), the
others in some of these ways. 64 tasks at once, of mixed kinds, half of them streams, a tenth
private, some left early, go through this package's Router with its bundled model and a ledger; the
process is killed (SIGKILL) and started again. Then everything is held against the provider's own
books. LiteLLM's Router does the tasks that are not private over the same deployments with the same
faults, in the same run.

The exit code is 1 if a check fails.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from _chaos_check import Check, Run, Spending, check_all, shares
from _chaos_provider import Provider, worst_pico
from _chaos_worker import GRAMMAR, plan_of
from modelrouter import Ledger

WORKER = Path(__file__).with_name("_chaos_worker.py")
GRAMMAR_START = GRAMMAR.partition("{")[0]
TYPICAL_PICO = 90_000_000
"""What a hosted task costs here, about, in 1e-12 USD."""
ATTEMPT_S = 3.0
LONGEST_S = 1_800.0


@dataclass(frozen=True)
class Report:
    """What a whole run came to."""

    checks: list[Check]
    ours: dict[str, float]
    peer: dict[str, float] | None
    faults: Counter[str]
    charged_usd: dict[str, float]
    overspent_usd: dict[str, float]
    seconds: dict[str, float]

    def __str__(self) -> str:
        met = ", ".join(
            f"{count:,} {fault or 'fine'}" for fault, count in self.faults.most_common()
        )
        lines = [f"What the calls met: {met}", "", *map(str, self.checks), ""]
        names = ["modelrouter", *(["LiteLLM's Router"] if self.peer else [])]
        lines.append(f"{'':34}" + "".join(f"{name:>18}" for name in names))
        for name in ("answered", "wrong text", "cut after text"):
            lines.append(self._row(f"{name} (share)", name, "{:.3%}"))
        lines += [self._row(name, name, "{:.2f}") for name in ("p50_s", "p99_s")]
        for title, found in (
            ("charged by the providers, USD", self.charged_usd),
            ("spent beyond a budget, USD", self.overspent_usd),
            ("seconds, kills included", self.seconds),
        ):
            lines.append(f"{title:34}" + "".join(f"{each:>18.6f}" for each in found.values()))
        return "\n".join(lines)

    def _row(self, title: str, name: str, form: str) -> str:
        found = [self.ours, *([self.peer] if self.peer else [])]
        return f"{title:34}" + "".join(f"{form.format(each[name]):>18}" for each in found)


async def chaos(
    tasks: int, *, seed: int = 1, kills: int = 2, at_once: int = 64, peer: bool = True
) -> Report:
    """Run it all and check it."""
    provider = Provider(seed)
    await provider.start()
    with tempfile.TemporaryDirectory(prefix="chaos-") as folder:
        place = Path(folder)
        wanted = list(range(tasks))
        started = time.perf_counter()
        figures = await _worked(place, provider, "ours", wanted, kills, at_once)
        seconds = {"ours": time.perf_counter() - started}
        results = _results(place / "ours.jsonl")
        with Ledger(place / "ours.ledger") as ledger:
            rows = list(ledger.rows())
        hosted = [task for task in range(10**6, 10**6 + tasks // 4) if _is_hosted(seed, task)]
        budget = await _spent(place, provider, "ours", hosted, kills=min(kills, 1))
        run = Run(seed, wanted, results, rows, provider, kills, at_once, figures, budget)
        theirs, over = None, {"ours": budget.overspent}
        if peer:
            public = [task for task in wanted if not plan_of(seed, task)["private"]]
            started = time.perf_counter()
            await _worked(place, provider, "peer", public, 0, at_once)
            seconds["peer"] = time.perf_counter() - started
            theirs = shares(seed, _results(place / "peer.jsonl"))
            over["peer"] = (await _spent(place, provider, "peer", hosted, kills=0)).overspent
    await provider.stop()
    return Report(
        check_all(run),
        shares(seed, results),
        theirs,
        Counter(bill.fault for bill in run.bills),
        {name: provider.most_pico[name] / 1e12 for name in over},
        {name: pico / 1e12 for name, pico in over.items()},
        seconds,
    )


def _is_hosted(seed: int, task: int) -> bool:
    plan = plan_of(seed, task)
    return not plan["private"] and plan["leave_after"] is None and GRAMMAR_START not in plan["text"]


async def _spent(
    place: Path, provider: Provider, who: str, tasks: Sequence[int], *, kills: int
) -> Spending:
    """Have tasks done under a budget that is enough for about half of them."""
    name = f"{who}-budget"
    limit = len(tasks) * TYPICAL_PICO // 2
    await _worked(place, provider, who, tasks, kills, 64, name=name, limit_usd=limit / 1e12)
    results = _results(place / f"{name}.jsonl")
    outcomes = Counter(str(result.get("error") or result["outcome"]) for result in results)
    worst = {deployment.name: worst_pico(deployment) for deployment in provider.deployments}
    untold = sum(worst[b.deployment] for b in provider.bills if b.run == name and b.is_untold)
    return Spending(limit, provider.most_pico[name], untold, outcomes)


async def _worked(
    place: Path,
    provider: Provider,
    who: str,
    tasks: Sequence[int],
    kills: int,
    at_once: int,
    *,
    name: str = "",
    limit_usd: float | None = None,
) -> dict[str, Any]:
    """Have a worker do the tasks, killed so many times on the way; its figures at the end."""
    name = name or who
    results, figures = place / f"{name}.jsonl", place / f"{name}.figures.json"
    settings = {
        "seed": provider.seed,
        "tasks": list(tasks),
        "at_once": at_once,
        "attempt_s": ATTEMPT_S,
        "results": str(results),
        "figures": str(figures),
        "ledger": str(place / f"{name}.ledger"),
        "limit_usd": limit_usd,
        "budget_store": str(place / f"{name}.budgets"),
        "deployments": {
            d.name: (provider.url(d.name, name), (d.input_pico, d.output_pico))
            for d in provider.deployments
        },
    }
    plan = place / f"{name}.plan.json"
    plan.write_text(json.dumps(settings), encoding="utf-8")
    for kill in range(kills + 1):
        worker = await asyncio.create_subprocess_exec(sys.executable, str(WORKER), who, str(plan))
        if kill < kills:
            await _reached(worker, results, len(tasks) * (kill + 1) // (kills + 1))
            if worker.returncode is None:
                worker.send_signal(signal.SIGKILL)
        code = await asyncio.wait_for(worker.wait(), LONGEST_S)
        if code not in (0, -signal.SIGKILL):
            raise RuntimeError(f"the worker ended with code {code}")
    found: dict[str, Any] = json.loads(figures.read_text("utf-8"))
    return found


async def _reached(worker: asyncio.subprocess.Process, results: Path, count: int) -> None:
    """Wait until so many tasks are done."""
    until = time.monotonic() + LONGEST_S
    while worker.returncode is None and time.monotonic() < until:
        if results.exists() and results.read_bytes().count(b"\n") >= count:
            return
        await asyncio.sleep(0.05)


def _results(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text("utf-8").splitlines()]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--tasks", type=int, default=10_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=2)
    parser.add_argument("--at-once", type=int, default=64)
    parser.add_argument("--no-peer", action="store_true")
    given = parser.parse_args()
    print(f"{platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    report = asyncio.run(
        chaos(
            given.tasks,
            seed=given.seed,
            kills=given.kills,
            at_once=given.at_once,
            peer=not given.no_peer,
        )
    )
    print(report)
    sys.exit(any(check.wrong for check in report.checks))


if __name__ == "__main__":
    main()
