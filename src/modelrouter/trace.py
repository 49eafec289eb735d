"""Trace: what was tried for one call, how long it took, what it cost; and hooks that receive it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any, Literal, Protocol, TypeAlias

from modelrouter.decision import Decision

__all__ = ["Attempt", "Outcome", "Trace", "TraceHook"]

Outcome: TypeAlias = Literal["answered", "failed", "skipped", "cancelled", "interrupted"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One model asked once.

    Attributes:
        model: the card's name.
        outcome: answered, failed, skipped (not feasible any more), cancelled, interrupted.
        duration_s: seconds from the request to its outcome.
        error: the error's class name and message, keys redacted; empty when answered.
        cost_usd: what it cost; ``None`` where the price is unknown.
    """

    model: str
    outcome: Outcome
    duration_s: float
    error: str = ""
    cost_usd: float | None = 0.0


@dataclass(frozen=True, slots=True)
class Trace:
    """Every attempt of one call, in order, and the decision that led to them."""

    attempts: tuple[Attempt, ...] = ()
    decision: Decision | None = field(default=None, repr=False, compare=False)

    @property
    def duration_s(self) -> float:
        """Seconds spent inside attempts; waits between them are not counted."""
        return sum(a.duration_s for a in self.attempts)

    def model_dump(self) -> dict[str, Any]:
        """The attempts as plain data."""
        return {"attempts": [asdict(a) for a in self.attempts]}


class TraceHook(Protocol):
    """Called once for each call, when it ends in a reply or an error."""

    def __call__(self, trace: Trace, /) -> None:
        """Receive the call's trace; what this raises is logged and ignored."""
        ...
