"""The contract of a guard: it agrees before a model is asked, and hears what came of it.

Budgets, circuit breakers and rate limits are guards. For each attempt every guard is asked
``admit``; if all agree the model is asked, and each guard that agreed hears exactly one ``settle``,
whatever happened: an answer, an error, a cancellation, a stream left early. If one refuses, those
that agreed before it hear ``settle`` with ``asked=False``.
"""

from __future__ import annotations

import threading
from collections.abc import Hashable, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias

from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import BackendError
from modelrouter.policies.decision import Reason
from modelrouter.response import Usage

__all__ = ["Admission", "Admitted", "Guard", "Intent", "OneCall", "Refusal", "Settlement"]


class OneCall:
    """What the attempts of one call share: its retries, fallbacks, hedges and escalations.

    Attributes:
        kept: what guards keep for the whole call, under keys of their own.
        lock: to be held while that is changed.
    """

    __slots__ = ("__weakref__", "kept", "lock")

    def __init__(self) -> None:
        self.kept: dict[Hashable, Any] = {}
        self.lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Intent:
    """An attempt that is about to be made.

    Attributes:
        card: the model that would be asked.
        prompt_tokens: the most tokens that the prompt may have.
        output_tokens: the most tokens that all answers together may have.
        worst_cost_usd: what these cost at most; ``None`` where the price is unknown.
        tags: whom and what the call is for (``{"user": "ann", "team": "legal"}``).
        call: the same object in all attempts of one call.
    """

    card: ModelCard
    prompt_tokens: int
    output_tokens: int
    worst_cost_usd: float | None
    tags: Mapping[str, str] = field(default_factory=dict)
    call: OneCall = field(default_factory=OneCall)


@dataclass(frozen=True, slots=True)
class Admitted:
    """The guard agrees. ``ticket`` is its own affair: what it reserved, to be settled."""

    ticket: Any = None


@dataclass(frozen=True, slots=True)
class Refusal:
    """The guard does not agree.

    Attributes:
        reason: why, and what would change it.
        retry_in_s: seconds after which it may agree; ``None`` if waiting is of no use.
        look_again_s: seconds after which whoever waits should ask again, to keep a place in the
            queue or because it may agree sooner; ``None`` for ``retry_in_s``.
        final: whether no other model may be asked either, once waiting is over or of no use (a
            budget that is to raise).
    """

    reason: Reason
    retry_in_s: float | None = None
    final: bool = False
    look_again_s: float | None = None

    @property
    def pause_s(self) -> float | None:
        """Seconds to wait before asking again; ``None`` if waiting is of no use."""
        if self.retry_in_s is None or self.look_again_s is None:
            return self.retry_in_s
        return min(self.retry_in_s, self.look_again_s)


Admission: TypeAlias = Admitted | Refusal


@dataclass(frozen=True, slots=True)
class Settlement:
    """What came of an attempt.

    Attributes:
        asked: whether the model was asked at all.
        error: the attempt's error, if it failed or was cut off.
        cancelled: whether the caller went away first.
        usage: the tokens that the provider counted; ``None`` where there was no answer. Where it
            did not say them they are an estimate (``usage.estimated``).
        cost_usd: what they cost; ``None`` where that is unknown. A guard that keeps money then
            counts the worst case, as it does with an estimate: a call that was cut may have been
            charged for in full.
        duration_s: seconds from the request to its end.
        first_token_s: seconds to the first visible text, where that is known.
    """

    asked: bool = True
    error: BackendError | None = None
    cancelled: bool = False
    usage: Usage | None = None
    cost_usd: float | None = None
    duration_s: float = 0.0
    first_token_s: float | None = None

    @property
    def tokens(self) -> int | None:
        """All tokens of :attr:`usage`; some providers report reasoning only in their total."""
        if self.usage is None:
            return None
        return max(self.usage.total_tokens, self.usage.prompt_tokens + self.usage.completion_tokens)


class Guard(Protocol):
    """Agrees before a model is asked. Called from any thread; neither method waits long."""

    def admit(self, intent: Intent, /) -> Admission:
        """Agree, and reserve what the attempt may need; or refuse."""
        ...

    def settle(self, intent: Intent, ticket: Any, settlement: Settlement, /) -> None:
        """Hear what came of an attempt that was agreed to; called once for each."""
        ...
