"""What must hold after the chaos: each check says what it looked at, and what it found wrong."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import quantiles
from typing import Any

from _chaos_provider import DEPLOYMENTS, Bill, Provider, answer_of, worst_pico
from _chaos_worker import GRAMMAR, plan_of
from modelrouter.ledger import Row

__all__ = ["Check", "Run", "Spending", "check_all", "shares"]

_PASSING = ("", "slow drip", "lying usage")
_SHOWN = 3


@dataclass(frozen=True)
class Check:
    """One thing that must hold."""

    name: str
    looked_at: str
    wrong: Sequence[str] = ()

    def __str__(self) -> str:
        head = f"{'FAILED' if self.wrong else 'ok':>6}  {self.name}: {self.looked_at}"
        shown = [f"          {each}" for each in self.wrong[:_SHOWN]]
        more = len(self.wrong) - len(shown)
        return "\n".join([head, *shown, *([f"          and {more} more"] if more > 0 else [])])


@dataclass(frozen=True)
class Spending:
    """What a run under a budget came to, in 1e-12 USD.

    ``charged`` is what the providers charged until its end. It never falls, so that it was never
    higher. ``untold`` is what the calls whose cost no client can know may have been charged, at
    their worst.
    """

    limit: int
    charged: int
    untold: int
    outcomes: Counter[str]

    @property
    def overspent(self) -> int:
        """By how much the limit was passed."""
        return max(0, self.charged - self.limit)


@dataclass(frozen=True)
class Run:
    """All that is known of a run of ours."""

    seed: int
    tasks: Sequence[int]
    results: Sequence[Mapping[str, Any]]
    rows: Sequence[Row]
    provider: Provider
    kills: int
    at_once: int
    figures: Mapping[str, Any]
    budget: Spending

    @property
    def bills(self) -> list[Bill]:
        """What the provider saw of it."""
        return [bill for bill in self.provider.bills if bill.run == "ours"]


def check_all(run: Run) -> list[Check]:
    """Every check."""
    return [
        _one_outcome_each(run),
        _ledger_agrees(run),
        _unavoidable(run),
        _texts(run),
        _costs(run),
        _budget(run),
        _private(run),
        _redirects(run),
        _footprint(run),
    ]


def _one_outcome_each(run: Run) -> Check:
    counts = Counter(result["task"] for result in run.results)
    wrong = [f"task {task} has {counts[task]} outcomes" for task in run.tasks if counts[task] != 1]
    wrong += [
        f"task {r['task']} ended in {r.get('error')}, no error of the package"
        for r in run.results
        if r["outcome"] == "failed" and not r.get("typed")
    ]
    outcomes = Counter(result["outcome"] for result in run.results)
    said = ", ".join(f"{count:,} {name}" for name, count in outcomes.most_common())
    return Check("every task has exactly one outcome", said, wrong)


def _ledger_agrees(run: Run) -> Check:
    rows = {row.id: row for row in run.rows}
    wrong = [f"row {row.id} has no outcome" for row in run.rows if row.outcome == "begun"]
    for result in run.results:
        if (name := result.get("id")) is None:
            continue
        row = rows.pop(name, None)
        if row is None:
            wrong.append(f"task {result['task']}: no row {name}")
        elif row.outcome != result["outcome"]:
            wrong.append(f"task {result['task']}: {result['outcome']}, its row {row.outcome}")
        elif row.tags["task"] != str(result["task"]):
            wrong.append(f"task {result['task']}: its row is of task {row.tags['task']}")
    # What is left came to no result: the caller went away, or died with its process.
    left = {str(r["task"]) for r in run.results if r["outcome"] == "cancelled"}
    gone = [row for row in rows.values() if row.tags["task"] not in left]
    odd = [row for row in gone if row.outcome not in ("cancelled", "lost")]
    most = run.kills * run.at_once
    if len(odd) > most:
        wrong.append(
            f"{len(odd)} ended calls have no result, {most} may (killed before writing it)"
        )
    lost = sum(row.outcome == "lost" for row in run.rows)
    if lost > most:
        wrong.append(f"{lost} calls are lost, at most {most} were under way at {run.kills} kills")
    return Check(
        "the ledger has each call once, with the caller's outcome",
        f"{len(run.rows):,} rows, {lost} lost in {run.kills} kills",
        wrong,
    )


def _unavoidable(run: Run) -> Check:
    bills = defaultdict(list)
    for bill in run.bills:
        bills[bill.task].append(bill)
    rows = {row.id: row for row in run.rows}
    wrong, errors = [], Counter[str]()
    for result in run.results:
        if result["outcome"] not in ("failed", "interrupted"):
            continue
        errors[str(result.get("error"))] += 1
        problem = _avoidable(run, result, rows.get(result.get("id") or ""), bills[result["task"]])
        if problem:
            wrong.append(f"task {result['task']} ({result.get('error')}): {problem}")
    said = ", ".join(f"{count} {name}" for name, count in errors.most_common()) or "none"
    return Check("each error was unavoidable", said, wrong)


def _avoidable(run: Run, result: Mapping[str, Any], row: Row | None, bills: Iterable[Bill]) -> str:
    """Why an error need not have been; empty where nobody could have answered."""
    plan = plan_of(run.seed, result["task"])
    if plan["private"]:
        could = plan["text"].startswith(GRAMMAR.partition("{")[0])
        return "the local model could have done it" if could else ""
    if result["outcome"] == "interrupted":
        cut = any(bill.fault == "cut" for bill in bills)
        return "" if cut else "no provider had cut it"
    if any(bill.whole and bill.fault in _PASSING for bill in bills):
        return "a provider answered it in full"
    if row is None:
        return "no row of it"
    asked = {attempt.model.removeprefix("openai/") for attempt in row.attempts}
    unasked = [d.name for d in DEPLOYMENTS if d.name not in asked]
    return f"{', '.join(unasked)} was not asked" if unasked else ""


def _texts(run: Run) -> Check:
    wrong, looked = [], 0
    for result in run.results:
        text, model = result.get("text"), str(result.get("model") or "")
        if not text or not model.startswith("openai/"):
            continue
        looked += 1
        whole = answer_of(run.seed, result["task"])
        if result["outcome"] == "answered" and text != whole:
            wrong.append(f"task {result['task']}: {text[-40:]!r}, not {whole[-40:]!r}")
        if result["outcome"] == "interrupted":
            if result["partial"] != text:
                wrong.append(f"task {result['task']}: the error's text is not what was shown")
            if not whole.startswith(text):
                wrong.append(f"task {result['task']}: {text[-40:]!r} is no beginning of the answer")
    return Check("no text was lost or came twice", f"{looked:,} hosted answers and parts", wrong)


def _costs(run: Run) -> Check:
    charged: defaultdict[int, int] = defaultdict(int)
    for bill in run.bills:
        charged[bill.task] += bill.pico
    known: defaultdict[int, int] = defaultdict(int)
    unknown: Counter[int] = Counter()
    wrong: list[str] = []
    for row in run.rows:
        task = int(row.tags["task"])
        guessed = sum(a.cost_pico or 0 for a in row.attempts if a.estimated)
        known[task] += row.cost_pico - guessed
        unknown[task] += row.unpriced + row.estimated
        credits = [a.model for a in row.attempts if (a.cost_pico or 0) < 0]
        if credits:
            wrong.append(f"task {task}: {credits[0]} was paid, so to speak, for its answer")
    dearest = max(worst_pico(deployment) for deployment in DEPLOYMENTS)
    exact, bounded = [0, 0], [0, 0]
    for task in run.tasks:
        sums = bounded if unknown[task] else exact
        sums[0] += known[task]
        sums[1] += charged[task]
        most = known[task] + unknown[task] * dearest * 2  # a lost call may have asked again
        if not known[task] <= charged[task] <= most:
            wrong.append(
                f"task {task}: the ledger says {known[task]:,}, the provider {charged[task]:,} "
                f"(1e-12 USD), {unknown[task]} attempts of unknown cost"
            )
    said = (
        f"${exact[0] / 1e12:.6f} to ${exact[1] / 1e12:.6f} where every cost is known; of "
        f"{sum(unknown.values()):,} attempts that were cut, left or lost, or whose count came too "
        f"late or cannot be, the provider charged ${(bounded[1] - bounded[0]) / 1e12:.6f}, which "
        f"no client can know"
    )
    return Check("the ledger's cost is the provider's own count", said, wrong)


def _budget(run: Run) -> Check:
    spent = run.budget
    wrong = []
    if spent.overspent:
        wrong.append(f"${spent.overspent / 1e12:.6f} more than the limit")
    if spent.charged + spent.untold < spent.limit * 0.3:
        wrong.append("most of the budget was left, so that little was tried")
    ends = ", ".join(f"{count} {name}" for name, count in spent.outcomes.most_common())
    said = (
        f"${spent.charged / 1e12:.6f} of ${spent.limit / 1e12:.6f} charged, and "
        f"${spent.untold / 1e12:.6f} at most for calls whose cost no client can know; {ends}"
    )
    return Check("no budget was passed at any moment", said, wrong)


def _private(run: Run) -> Check:
    seen = run.provider.private_bytes
    count = sum(plan_of(run.seed, task)["private"] for task in run.tasks)
    wrong = [f"{seen:,} bytes of requests with private text"] if seen else []
    return Check("private tasks reached no server", f"{count:,} private tasks", wrong)


def _redirects(run: Run) -> Check:
    told = sum(bill.fault == "307" for bill in run.bills)
    strayed = run.provider.strayed["ours"]
    wrong = [f"{strayed} requests went to another host"] if strayed else []
    return Check("no redirect was followed", f"{told:,} answers pointed to another host", wrong)


def _footprint(run: Run) -> Check:
    warm, end, closed = (run.figures[name] for name in ("warm", "end", "closed"))
    wrong = []
    if end["files"] > warm["files"] + run.at_once // 4:  # connections kept for later, and no more
        wrong.append("open files grew")
    if end["mb"] > warm["mb"] * 1.10 + 8:
        wrong.append("memory grew")
    said = (
        f"after a quarter of the tasks {warm['files']} files and {warm['mb']:.0f} MB, at the end "
        f"{end['files']} and {end['mb']:.0f}, closed {closed['files']} and {closed['mb']:.0f}"
    )
    return Check("memory and open files do not grow", said, wrong)


def shares(seed: int, results: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    """What came of the tasks that any client could do: shares of the whole, and seconds."""
    counted = [(result, plan_of(seed, result["task"])) for result in results]
    counted = [(r, p) for r, p in counted if not p["private"] and r["outcome"] != "cancelled"]
    right = [r for r, _ in counted if r["outcome"] == "answered" and _is_right(seed, r)]
    wrong = [r for r, _ in counted if r["outcome"] == "answered" and not _is_right(seed, r)]
    cut = [r for r, _ in counted if r["outcome"] != "answered" and r.get("text")]
    seconds = sorted(r["seconds"] for r, _ in counted)
    cuts = quantiles(seconds, n=100, method="inclusive") if len(seconds) > 1 else seconds * 99
    total = len(counted) or 1
    return {
        "tasks": len(counted),
        "answered": len(right) / total,
        "wrong text": len(wrong) / total,
        "cut after text": len(cut) / total,
        "p50_s": cuts[49],
        "p99_s": cuts[98],
    }


def _is_right(seed: int, result: Mapping[str, Any]) -> bool:
    """A hosted answer must be the providers', whole; a local one must say something."""
    local = str(result.get("model") or "").startswith("modelrouter/")
    whole = answer_of(seed, result["task"])
    return result["text"] == whole or (local and bool(result["text"]))
