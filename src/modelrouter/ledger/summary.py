"""A ledger summed up: tasks, outcomes, tokens, cost and times by model, kind, tag or day."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from statistics import quantiles
from typing import Any, Final

from modelrouter._common.sqlite import usd
from modelrouter.exceptions import ConfigurationError
from modelrouter.ledger.rows import OUTCOMES, Row

__all__ = ["BY", "Group", "summarise"]

BY: Final = ("model", "kind", "day", "outcome", "policy", "location", "conversation", "tag:NAME")


@dataclass
class Group:
    """The calls that have something in common.

    Attributes:
        name: what they have in common.
        outcomes: how many ended how.
        cached: how many were answered from the cache.
        cost_pico: in units of 1e-12 USD, exact.
        unpriced: attempts whose cost is not known, so that the cost is a lower bound.
        estimated: attempts whose tokens the provider did not say, so that the cost is an estimate.
        latencies: seconds of those that were answered.
        scores: of those that got feedback.
    """

    name: str
    outcomes: Counter[str] = field(default_factory=Counter)
    cached: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cost_pico: int = 0
    unpriced: int = 0
    estimated: int = 0
    latencies: list[float] = field(default_factory=list, repr=False)
    scores: list[float] = field(default_factory=list, repr=False)

    @property
    def tasks(self) -> int:
        """How many calls there were."""
        return self.outcomes.total()

    @property
    def cost_usd(self) -> float:
        """USD of all attempts whose cost is known."""
        return usd(self.cost_pico)

    @property
    def score(self) -> float | None:
        """The mean feedback; ``None`` without any."""
        return sum(self.scores) / len(self.scores) if self.scores else None

    def latency_s(self, share: float) -> float | None:
        """Seconds within which this share of the answers came; ``None`` without answers."""
        if not self.latencies:
            return None
        if len(self.latencies) == 1:
            return self.latencies[0]
        return quantiles(self.latencies, n=100, method="inclusive")[round(share * 100) - 1]

    def add(self, row: Row) -> None:
        """Count one call."""
        self.outcomes[row.outcome] += 1
        self.cached += row.cached
        self.prompt_tokens += row.prompt_tokens
        self.completion_tokens += row.completion_tokens
        self.cost_pico += row.cost_pico
        self.unpriced += row.unpriced
        self.estimated += row.estimated
        if row.outcome == "answered" and row.latency_s is not None:
            self.latencies.append(row.latency_s)
        if row.score is not None:
            self.scores.append(row.score)

    def model_dump(self) -> dict[str, Any]:
        """The group as plain data."""
        return {
            "name": self.name,
            "tasks": self.tasks,
            **{outcome: self.outcomes[outcome] for outcome in OUTCOMES},
            "cached": self.cached,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": self.completion_tokens,
            "cost_usd": self.cost_usd,
            "unpriced": self.unpriced,
            "estimated": self.estimated,
            "latency_p50_s": self.latency_s(0.5),
            "latency_p95_s": self.latency_s(0.95),
            "score": self.score,
            "scored": len(self.scores),
        }


def summarise(rows: Iterable[Row], by: str = "model") -> list[Group]:
    """The rows in groups, the dearest first; days in their order.

    Args:
        rows: of a ledger.
        by: ``model``, ``kind``, ``day`` (local time), ``outcome``, ``policy``, ``location``,
            ``conversation``, or ``tag:NAME``, for example ``tag:user``.

    Raises:
        ConfigurationError: ``by`` is not one of these.
    """
    name_of = _namer(by)
    groups: dict[str, Group] = {}
    for row in rows:
        name = name_of(row)
        groups.setdefault(name, Group(name)).add(row)
    if by == "day":
        return sorted(groups.values(), key=lambda group: group.name)
    return sorted(groups.values(), key=lambda group: (-group.cost_pico, -group.tasks, group.name))


def _namer(by: str) -> Callable[[Row], str]:
    if by.startswith("tag:") and by != "tag:":
        tag = by.removeprefix("tag:")
        return lambda row: row.tags.get(tag, "")
    if by == "day":
        return lambda row: time.strftime("%Y-%m-%d", time.localtime(row.began_at))
    if by not in BY or ":" in by:
        raise ConfigurationError(f"by={by!r} is unknown.", hint=f"Use one of {', '.join(BY)}.")
    return lambda row: str(getattr(row, by) or "")
