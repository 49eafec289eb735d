"""Rows of a ledger: what is written of a call's trace, and what is read back."""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Final, Literal, TypeAlias

from modelrouter._common.plain import parsed, shown
from modelrouter._common.sqlite import pico_usd, usd
from modelrouter.exceptions import NoEligibleModelError
from modelrouter.policies.decision import Decision
from modelrouter.task import Task
from modelrouter.trace import Attempt, Trace

__all__ = [
    "OUTCOMES",
    "AskedModel",
    "Row",
    "RowOutcome",
    "begun_values",
    "dumped_task",
    "ended_values",
    "pack",
    "unpack",
]

RowOutcome: TypeAlias = Literal["begun", "answered", "failed", "cancelled", "interrupted", "lost"]
OUTCOMES: Final = ("begun", "answered", "failed", "cancelled", "interrupted", "lost")


@dataclass(frozen=True, slots=True)
class AskedModel:
    """One model asked once, as the ledger keeps it; see :class:`~modelrouter.trace.Attempt`."""

    model: str
    outcome: str
    duration_s: float
    first_token_s: float | None
    usage: Mapping[str, Any] | None
    cost_pico: int | None
    error: str
    confidence: float | None = None

    @property
    def estimated(self) -> bool:
        """Whether tokens and cost are estimates: the provider did not say them."""
        return bool((self.usage or {}).get("estimated"))

    @property
    def cost_usd(self) -> float | None:
        """USD; ``None`` where that is not known."""
        return None if self.cost_pico is None else usd(self.cost_pico)

    def model_dump(self) -> dict[str, Any]:
        """The attempt as plain data."""
        dumped = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "cost_pico"}
        return {**dumped, "cost_usd": self.cost_usd}


@dataclass(frozen=True, slots=True)
class Row:
    """One call.

    Attributes:
        number: its place in the file.
        id: the call's own: ``reply.trace.id``.
        began_at: when it came, in seconds of Unix time.
        outcome: answered, failed, cancelled, interrupted (a stream cut off); ``begun`` while it
            goes on; ``lost`` where its process was killed.
        kind: what sort of task it was.
        model: who answered; else who was asked last, or was chosen.
        location: where that model runs.
        policy: the policy's name.
        cached: whether the reply came from the cache.
        latency_s: from the call to its end, waits included.
        first_token_s: to the first visible text of a stream.
        prompt_tokens, completion_tokens: of all attempts that reported them.
        cost_pico: in units of 1e-12 USD, of all attempts whose cost is known or estimated.
        unpriced: how many attempts have a cost that is not known.
        estimated: how many have a cost by an estimate of their tokens, which the provider did not
            say.
        tags: whom and what the call was for.
        conversation: which it belongs to.
        error: what the caller got in place of a reply.
        score: the last feedback, 0 to 1; ``None`` without any.
        attempts: every model asked.
        decision: what was decided (:meth:`Decision.model_dump`).
        text_hash: of the task, under a key of this file; equal tasks have equal ones.
        text: the task as OpenAI writes it, where texts are kept.
        answer: the answer's choices, where texts are kept.
    """

    number: int
    id: str
    began_at: float
    outcome: RowOutcome
    kind: str
    model: str
    location: str
    policy: str
    cached: bool
    latency_s: float | None
    first_token_s: float | None
    prompt_tokens: int
    completion_tokens: int
    cost_pico: int
    unpriced: int
    estimated: int
    tags: Mapping[str, str]
    conversation: str | None
    error: str
    score: float | None = None
    attempts: tuple[AskedModel, ...] = ()
    decision: Mapping[str, Any] | None = field(default=None, repr=False)
    text_hash: str | None = None
    text: Mapping[str, Any] | None = field(default=None, repr=False)
    answer: Sequence[Mapping[str, Any]] | None = field(default=None, repr=False)

    @property
    def cost_usd(self) -> float:
        """USD of all attempts whose cost is known or estimated."""
        return usd(self.cost_pico)

    @property
    def task(self) -> Task | None:
        """The task, where texts are kept."""
        if self.text is None:
            return None
        messages, *rest = (self.text.get(name) for name in _TASK_FIELDS)
        return Task.of(messages or (), **dict(zip(_TASK_FIELDS[1:], rest, strict=True)))

    def model_dump(self) -> dict[str, Any]:
        """The row as plain data: what an export holds."""
        dumped = {f.name: getattr(self, f.name) for f in fields(self)}
        dumped["cost_usd"] = self.cost_usd
        dumped["attempts"] = [attempt.model_dump() for attempt in self.attempts]
        return dumped


_TASK_FIELDS: Final = (
    "messages",
    "tools",
    "tool_choice",
    "response_format",
    "max_tokens",
    "kind",
    "metadata",
)


def begun_values(trace: Trace, process: int) -> dict[str, Any]:
    """The columns of ``tasks`` that are known when a call begins."""
    decision = trace.decision
    model, location = _where(trace)
    return {
        "id": trace.id,
        "process": process,
        "began_at": trace.began_at,
        "outcome": "begun",
        "kind": decision.signals.kind if decision is not None else "",
        "model": model,
        "location": location,
        "policy": decision.policy if decision is not None else "",
        "tags": json.dumps(dict(trace.tags), ensure_ascii=False) if trace.tags else "{}",
        "conversation": trace.conversation,
    }


def ended_values(trace: Trace, process: int) -> tuple[dict[str, Any], list[tuple[Any, ...]]]:
    """The columns of ``tasks`` when a call has ended, and the rows of ``attempts``."""
    local = _local_models(trace)
    attempts = [_attempt(place, a, local) for place, a in enumerate(trace.attempts)]
    costs = [values[_COST] for values in attempts]
    usages = [a.usage for a in trace.attempts if a.usage is not None]
    task = {
        **begun_values(trace, process),
        "outcome": trace.outcome,
        "cached": int(trace.cached),
        "latency_s": trace.duration_s if trace.latency_s is None else trace.latency_s,
        "first_token_s": trace.first_token_s,
        "prompt_tokens": sum(u.prompt_tokens for u in usages),
        "completion_tokens": sum(u.completion_tokens for u in usages),
        "cost_pico": sum(cost for cost in costs if cost is not None),
        "unpriced": sum(cost is None for cost in costs),
        "estimated": sum(usage.estimated for usage in usages),
        "error": trace.error,
    }
    return task, attempts


_COST: Final = 6
"""The place of the cost in a row of ``attempts``, its task left out."""


def _attempt(place: int, attempt: Attempt, local: frozenset[str]) -> tuple[Any, ...]:
    cost = attempt.cost_usd
    if cost is None and (attempt.model in local or attempt.outcome == "skipped"):
        cost = 0.0
    usage = attempt.usage
    return (
        place,
        attempt.model,
        attempt.outcome,
        attempt.duration_s,
        attempt.first_token_s,
        None if usage is None else usage.model_dump_json(),
        None if cost is None else pico_usd(cost),
        attempt.error,
        attempt.confidence,
    )


def _where(trace: Trace) -> tuple[str, str]:
    """The model that a call is counted under, and where it runs."""
    asked = [a for a in trace.attempts if a.outcome != "skipped"]
    answered = [a for a in asked if a.outcome == "answered"]
    name = (answered or asked)[-1].model if asked else ""
    if trace.decision is None:
        return name, ""
    if not name:
        card = _chosen(trace.decision)
        return ("", "") if card is None else card
    found = (c for c in trace.decision.context.predictions.candidate_set.cards if c.name == name)
    return name, next((card.location for card in found), "")


def _chosen(decision: Decision) -> tuple[str, str] | None:
    try:
        return decision.model, decision.location
    except NoEligibleModelError:
        return None


def _local_models(trace: Trace) -> frozenset[str]:
    if trace.decision is None:
        return frozenset()
    cards = trace.decision.context.predictions.candidate_set.cards
    return frozenset(card.name for card in cards if card.location == "local")


def dumped_task(task: Task) -> dict[str, Any]:
    """A task as plain data, from which ``Task.of`` makes it again."""
    values = (
        task.to_openai(),
        list(task.tools) or None,
        task.tool_choice,
        task.response_format,
        task.max_tokens,
        task.kind,
        dict(task.metadata) or None,
    )
    given = zip(_TASK_FIELDS, values, strict=True)
    return {name: value for name, value in given if value is not None}


def pack(value: Any) -> bytes:
    """Plain data as compressed JSON; what JSON does not know is written as its text."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"), default=str)
    return zlib.compress(text.encode("utf-8", "surrogatepass"), 1)


def unpack(value: bytes | None) -> Any:
    """What :func:`pack` packed.

    Raises:
        ValueError: it is damaged, or larger than anything that is packed.
    """
    if value is None:
        return None
    if not isinstance(value, bytes):
        raise ValueError(f"{shown(value)} is not packed")
    opened = zlib.decompressobj()
    try:
        text = opened.decompress(value, _LARGEST)
    except zlib.error as exc:
        raise ValueError(str(exc)) from exc
    if not opened.eof:
        raise ValueError("it is cut short" if len(text) < _LARGEST else "it is too large")
    return parsed(text.decode("utf-8", "surrogatepass"))


_LARGEST: Final = 1 << 28
"""Bytes."""
