"""The steps of a call's flow: what it says is to be done next, and what it is told came of it."""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeAlias, TypeVar

from modelrouter.backends.base import Request
from modelrouter.catalog.card import ModelCard
from modelrouter.config import GenerationSettings, RetryPolicy, Timeout
from modelrouter.dispatch.acceptance import Rejection
from modelrouter.exceptions import BackendError
from modelrouter.guards.base import Intent, OneCall, Settlement
from modelrouter.guards.chain import Guards, Permit
from modelrouter.policies.base import Policy
from modelrouter.policies.decision import Candidate, Decision, Reason
from modelrouter.response import Usage
from modelrouter.task import Task
from modelrouter.trace import Attempt

__all__ = [
    "Admit",
    "Also",
    "Answered",
    "Ask",
    "Broken",
    "Call",
    "Failed",
    "First",
    "Flow",
    "Join",
    "Leave",
    "Left",
    "Result",
    "Settle",
    "Slow",
    "Step",
    "Wait",
]

T = TypeVar("T")
T_contra = TypeVar("T_contra", contravariant=True)


def _accepts(_candidate: Candidate, _value: Any) -> None:
    return None


def _no_floor(_candidate: Candidate) -> None:
    return None


def _unknown_usage(_card: ModelCard, _value: Any) -> tuple[Usage | None, float | None]:
    return None, None


@dataclass(frozen=True, slots=True)
class Call(Generic[T_contra]):
    """One call to be made, whose answers are of one type.

    Attributes:
        recheck: asked before every hop: why the candidate may not be asked after all; empty when it
            may.
        judge: asked of every whole answer: why it will not do; ``None`` when it will.
        spent: tokens and USD of a whole answer; ``(None, None)`` for what goes on (a stream).
        floor: the geometric mean of token probabilities below which the engine may give up an
            answer of this candidate; ``None`` for never.
        patience: seconds after which a second candidate is asked beside this one (hedging);
            ``None`` for never.
        guards: what must agree before a model is asked.
        window: tokens within which the floor is looked at; ``None`` for the whole answer.
        one_call: what the guards know all attempts of this call by.
    """

    task: Task
    decision: Decision
    recheck: Callable[[Candidate], tuple[Reason, ...]]
    settings: GenerationSettings = field(default_factory=GenerationSettings)
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    timeout: Timeout = field(default_factory=Timeout)
    tags: Mapping[str, str] = field(default_factory=dict)
    conversation: str | None = None
    cache_key: str | None = None
    guards: Guards | None = None
    policy: Policy = field(default_factory=Policy)
    window: int | None = None
    one_call: OneCall = field(default_factory=OneCall)
    judge: Callable[[Candidate, T_contra], Rejection | None] = _accepts
    spent: Callable[[ModelCard, T_contra], tuple[Usage | None, float | None]] = _unknown_usage
    floor: Callable[[Candidate], float | None] = _no_floor
    patience: Callable[[Candidate], float | None] = _no_floor


@dataclass(frozen=True, slots=True)
class Admit:
    """Ask the guards whether this may be tried."""

    intent: Intent


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this model; say so (:class:`Slow`) if it has not answered after ``patience_s``."""

    request: Request
    permit: Permit | None = None
    patience_s: float | None = None


@dataclass(frozen=True, slots=True)
class Also:
    """Ask this model too, beside the one that is slow, and wait for the first of them."""

    request: Request
    permit: Permit | None = None


@dataclass(frozen=True, slots=True)
class Join:
    """Wait for the one that is still being asked."""


@dataclass(frozen=True, slots=True)
class Leave:
    """Cancel the one that is still being asked."""


@dataclass(frozen=True, slots=True)
class Settle:
    """Tell the guards what came of an attempt."""

    permit: Permit
    settlement: Settlement


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait so many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Answered(Generic[T]):
    """The model answered, or its stream has begun."""

    value: T
    duration_s: float


@dataclass(frozen=True, slots=True)
class Failed:
    """The model did not."""

    error: BackendError
    duration_s: float


@dataclass(frozen=True, slots=True)
class Slow:
    """The model has not answered yet, and goes on."""


@dataclass(frozen=True, slots=True)
class First:
    """Which of two came first (0 or 1), and with what."""

    which: int
    outcome: Answered[Any] | Failed


@dataclass(frozen=True, slots=True)
class Left:
    """The one still being asked was cancelled."""

    duration_s: float


@dataclass(frozen=True, slots=True)
class Broken:
    """The caller went away meanwhile, or something failed that has nothing to do with the model."""

    error: BaseException
    duration_s: float


@dataclass(frozen=True, slots=True)
class Result(Generic[T]):
    """What the call came to: the answer, whose it is, and the attempts before it.

    Attributes:
        permit: what the guards gave for it, where they have not heard its end yet (a stream).
    """

    value: T
    card: ModelCard
    attempts: tuple[Attempt, ...]
    decision: Decision
    permit: Permit | None = None


Step: TypeAlias = Admit | Ask | Also | Join | Leave | Settle | Wait
Flow: TypeAlias = Generator[Step, Any, "Result[T]"]
