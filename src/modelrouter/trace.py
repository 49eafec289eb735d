"""Trace: what was tried for one call, how long it took, what it cost; and hooks that receive it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

from modelrouter.catalog.card import Location
from modelrouter.exceptions import ConfigurationError
from modelrouter.policies.decision import Decision
from modelrouter.policies.privacy_proof import Hop, Proof

if TYPE_CHECKING:
    from modelrouter.response import Choice, Usage

__all__ = ["Attempt", "Outcome", "StartHook", "Trace", "TraceHook"]

Outcome: TypeAlias = Literal[
    "answered", "rejected", "failed", "skipped", "cancelled", "interrupted"
]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One model asked once.

    Attributes:
        model: the card's name.
        outcome: answered, rejected (an answer that will not do), failed, skipped (not feasible any
            more, or refused by a guard), cancelled, interrupted.
        duration_s: seconds from the request to its outcome.
        error: the error's class name and message, keys redacted; empty when answered.
        cost_usd: what it cost; ``None`` where that is unknown: no price, or an answer cut off.
        usage: the tokens that the model reported; ``None`` where it reported none.
        first_token_s: seconds from the request to the first visible text, where that is known.
        confidence: how sure a local model was of its answer: the geometric mean of its tokens'
            probabilities, of the least sure choice.
        location: where the model runs.
    """

    model: str
    outcome: Outcome
    duration_s: float
    error: str = ""
    cost_usd: float | None = 0.0
    usage: Usage | None = None
    first_token_s: float | None = None
    confidence: float | None = None
    location: Location | None = None

    def model_dump(self) -> dict[str, Any]:
        """The attempt as plain data."""
        dumped = {f.name: getattr(self, f.name) for f in fields(self)}
        return {**dumped, "usage": None if self.usage is None else self.usage.model_dump()}


@dataclass(frozen=True, slots=True)
class Trace:
    """Every attempt of one call, in order, and the decision that led to them.

    Attributes:
        attempts: in the order made, but that an answer's own is the last.
        decision: what was decided; ``None`` where the call ended before.
        id: the call's own, given by the router; ``reply.trace.id`` finds it in a ledger.
        began_at: when the call came, in seconds of Unix time.
        outcome: of the whole call.
        error: class name and message of what the caller got instead of a reply; keys redacted.
        tags: whom and what the call is for.
        conversation: the conversation it belongs to.
        latency_s: seconds from the call to its end, waits included; ``None`` while it goes on.
        first_token_s: seconds from the call to the first visible text, where that is known.
        cached: whether the reply came from the cache and no model was asked.
        answer: what was answered, empty unless it was.
    """

    attempts: tuple[Attempt, ...] = ()
    decision: Decision | None = field(default=None, repr=False, compare=False)
    id: str = ""
    began_at: float = 0.0
    outcome: Outcome = "answered"
    error: str = ""
    tags: Mapping[str, str] = field(default_factory=dict)
    conversation: str | None = None
    latency_s: float | None = None
    first_token_s: float | None = None
    cached: bool = False
    answer: tuple[Choice, ...] = field(default=(), repr=False, compare=False)

    @property
    def duration_s(self) -> float:
        """Seconds spent inside attempts; waits between them are not counted."""
        return sum(a.duration_s for a in self.attempts)

    @property
    def cost_usd(self) -> float | None:
        """What all attempts cost together; ``None`` where one was charged and it is not known."""
        costs = [a.cost_usd for a in self.attempts]
        return None if None in costs else sum(filter(None, costs))

    def proof(self) -> Proof:
        """What kept the task on this machine, guard by guard, the models asked among them.

        Raises:
            ConfigurationError: the trace belongs to no call of a router.
        """
        if self.decision is None:
            raise ConfigurationError("This trace has no decision.", hint="Ask a router's reply.")
        return self.decision.proof(
            Hop(a.model, a.location or "unknown", a.outcome != "skipped") for a in self.attempts
        )

    def model_dump(self) -> dict[str, Any]:
        """The attempts as plain data."""
        return {"attempts": [a.model_dump() for a in self.attempts]}


class TraceHook(Protocol):
    """Called once for each call, when it ends: in a reply, an error, or because it was left."""

    def __call__(self, trace: Trace, /) -> None:
        """Receive the call's trace; what this raises is logged and ignored."""
        ...


@runtime_checkable
class StartHook(Protocol):
    """What a hook may have besides: it is told of each call before a model is asked."""

    def begun(self, trace: Trace, /) -> None:
        """Receive the call's id, time and decision; what this raises is logged and ignored."""
        ...
