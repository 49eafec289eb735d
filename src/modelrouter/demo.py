"""The demonstration: route a file of tasks, answer what can be answered here, and add it up."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from importlib import resources
from pathlib import Path
from statistics import median
from typing import Any

from modelrouter.exceptions import ConfigurationError, InvalidTaskError, ModelRouterError
from modelrouter.policies.decision import Candidate, Decision
from modelrouter.router import Router
from modelrouter.task import Task

__all__ = ["Row", "Summary", "TaskRow", "read_tasks", "run", "summarise"]


@dataclass(frozen=True, slots=True)
class TaskRow:
    """One line of a task file: the task, or what is wrong with the line."""

    line: int
    name: str
    task: Task | None
    error: InvalidTaskError | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """What became of one task.

    Attributes:
        name, text: the task, for people.
        kind, complexity: what was read from it; ``None`` when the line was malformed.
        model: who answered or was to answer; ``None`` when no model may.
        location: local, hosted, or ``None``.
        answer: the reply's text; ``None`` when nothing was asked.
        enable: the one line that would make ``model`` available, where it is not.
        error: why there is no answer though a model was asked or the task was malformed.
        cost_usd: what the reply cost.
        latency_s: seconds from call to reply.
        decision: the whole decision.
    """

    name: str
    text: str
    kind: str | None = None
    complexity: float | None = None
    model: str | None = None
    location: str | None = None
    answer: str | None = None
    enable: str = ""
    error: str = ""
    cost_usd: float | None = None
    latency_s: float | None = None
    decision: Decision | None = None

    def model_dump(self) -> dict[str, Any]:
        """The row as plain data, without its decision."""
        return {f.name: getattr(self, f.name) for f in fields(self) if f.name != "decision"}


@dataclass(frozen=True, slots=True)
class Summary:
    """The rows added up. Costs are in USD; expected ones come from token estimates.

    Attributes:
        tasks, answered_locally, answered_hosted, failed, not_enabled: how many of each.
        share_local: share of tasks that a local model gets, 0 to 1.
        cost_usd: what the replies of this run cost.
        routed_cost_usd: expected cost of all tasks as routed, were every model enabled.
        baseline_model, baseline_cost_usd: the same with every task sent to the best hosted model.
        median_local_s, median_hosted_s: of the replies, in seconds.
    """

    tasks: int
    answered_locally: int
    answered_hosted: int
    failed: int
    not_enabled: int
    share_local: float
    cost_usd: float
    routed_cost_usd: float
    baseline_model: str | None
    baseline_cost_usd: float
    median_local_s: float | None
    median_hosted_s: float | None

    def model_dump(self) -> dict[str, Any]:
        """The summary as plain data."""
        return asdict(self)


def packaged_tasks() -> Path:
    """The tasks that ship with the package.

    Raises:
        ConfigurationError: this installation has none.
    """
    path = Path(str(resources.files("modelrouter") / "assets" / "demo_tasks.jsonl"))
    if not path.is_file():
        raise ConfigurationError(
            "This installation ships no demo tasks.",
            hint="Name a file: modelrouter demo examples/data/tasks.jsonl",
        )
    return path


def read_tasks(path: Path) -> Iterator[TaskRow]:
    """Read a JSONL file: ``{"task": "..."}`` or ``{"messages": [...]}`` a line.

    ``id``, ``kind``, ``metadata``, ``tools``, ``response_format`` and ``max_tokens`` may stand
    beside them. A malformed line becomes a row with its error; the others are read on.

    Raises:
        ConfigurationError: the file cannot be read.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise ConfigurationError(f"Cannot read {path}: {exc}.") from exc
    for number, line in enumerate(lines, 1):
        if line.strip():
            yield _task_row(number, line)


_FIELDS = ("kind", "metadata", "tools", "tool_choice", "response_format", "max_tokens")


def _task_row(number: int, line: str) -> TaskRow:
    name = f"line {number}"
    try:
        try:
            row = json.loads(line)
        except json.JSONDecodeError as exc:
            raise InvalidTaskError(name, f"is not JSON: {exc}.") from exc
        if not isinstance(row, Mapping):
            raise InvalidTaskError(name, "is not a JSON object.", hint='Use {"task": "..."}.')
        name = str(row.get("id", name))
        what = row.get("messages", row.get("task"))
        if what is None:
            raise InvalidTaskError(name, "has neither task nor messages.")
        return TaskRow(number, name, Task.of(what, **{k: row[k] for k in _FIELDS if k in row}))
    except InvalidTaskError as error:
        return TaskRow(number, name, None, error)


def run(router: Router, row: TaskRow) -> Row:
    """Decide on one task, and answer it if a model that may do so is available."""
    if row.task is None:
        return Row(name=row.name, text="", error=str(row.error))
    decision = router.consider(row.task)
    about: dict[str, Any] = {
        "name": row.name,
        "text": row.task.text,
        "kind": decision.signals.kind,
        "complexity": decision.signals.complexity,
        "decision": decision,
    }
    if not decision.feasible:
        return Row(**about, **_would_be(decision))
    return Row(**about, **_answer(router, row.task, decision))


def _would_be(decision: Decision) -> dict[str, Any]:
    candidate = decision.best_if_enabled
    if candidate is None:
        return {"error": "no known model may do this task"}
    return {
        "model": candidate.model,
        "location": candidate.card.location,
        "enable": candidate.reasons[0].fix,
    }


def _answer(router: Router, task: Task, decision: Decision) -> dict[str, Any]:
    started = time.perf_counter()
    try:
        reply = router.completion(task)
    except ModelRouterError as error:
        failed = f"{type(error).__name__}: {error}"
        return {"model": decision.model, "location": decision.location, "error": failed}
    card = router.catalog.get(reply.model)
    return {
        "model": reply.model,
        "location": card.location,
        "answer": reply.text or _tool_calls(reply.choices[0].message.tool_calls),
        "cost_usd": reply.cost_usd,
        "latency_s": time.perf_counter() - started,
    }


def _tool_calls(calls: Any) -> str:
    return "; ".join(f"{c.function.name}({c.function.arguments})" for c in calls or ())


def summarise(rows: list[Row]) -> Summary:
    """Add the rows up."""
    local = [r for r in rows if r.answer is not None and r.location == "local"]
    hosted = [r for r in rows if r.answer is not None and r.location == "hosted"]
    to_local = sum(r.location == "local" and not r.error for r in rows)
    baseline = _baseline(rows)
    return Summary(
        tasks=len(rows),
        answered_locally=len(local),
        answered_hosted=len(hosted),
        failed=sum(bool(r.error) for r in rows),
        not_enabled=sum(bool(r.enable) for r in rows),
        share_local=to_local / len(rows) if rows else 0.0,
        cost_usd=sum(r.cost_usd or 0.0 for r in rows),
        routed_cost_usd=sum(_expected_cost(r, r.model) for r in rows),
        baseline_model=baseline,
        baseline_cost_usd=sum(_expected_cost(r, baseline) for r in rows),
        median_local_s=median(r.latency_s or 0.0 for r in local) if local else None,
        median_hosted_s=median(r.latency_s or 0.0 for r in hosted) if hosted else None,
    )


def _baseline(rows: list[Row]) -> str | None:
    """The hosted model of the highest total P(quality): what one would send everything to."""
    total: dict[str, float] = {}
    for row in rows:
        for c in row.decision.candidates if row.decision is not None else ():
            if c.card.location == "hosted" and c.card.retired is None:
                total[c.model] = total.get(c.model, 0.0) + c.p_quality
    return min(total, key=lambda name: (-total[name], name)) if total else None


def _expected_cost(row: Row, model: str | None) -> float:
    if row.decision is None or model is None:
        return 0.0
    found: Candidate | None = next((c for c in row.decision.candidates if c.model == model), None)
    return found.cost_usd if found else 0.0
