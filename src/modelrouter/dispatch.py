"""The flow of one call, without I/O: a generator that says what to do next and is told what came.

    flow = dispatch(call)
    step = next(flow)            # Ask(request) or Wait(seconds)
    step = flow.send(outcome)    # Answered / Failed for Ask, None for Wait
    ...                          # StopIteration carries the Result; a failed call raises

Retry, fallback, the call's deadline and the checks before every hop are decided here and nowhere
else. Two drivers (:mod:`modelrouter.drivers`) do what it says: one blocks, one awaits.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeAlias, TypeVar

from modelrouter.backends.base import Request
from modelrouter.catalog.card import ModelCard
from modelrouter.config import GenerationSettings, RetryPolicy, Timeout
from modelrouter.decision import Candidate, Decision, Reason
from modelrouter.exceptions import (
    AllCandidatesFailedError,
    BackendError,
    BackendTimeoutError,
    BadRequestError,
    ModelRouterError,
    StreamInterruptedError,
)
from modelrouter.response import Usage
from modelrouter.task import Task
from modelrouter.trace import Attempt, Trace

__all__ = ["Answered", "Ask", "Call", "Failed", "Result", "Step", "Wait", "dispatch"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Call:
    """One call to be made.

    ``recheck`` is asked before every hop and gives the reasons why the candidate may not be
    asked after all; empty when it may.
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


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask this model."""

    request: Request


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
class Result(Generic[T]):
    """What the call came to: the answer, whose it is, and the attempts before it."""

    value: T
    card: ModelCard
    attempts: tuple[Attempt, ...]
    decision: Decision


Step: TypeAlias = Ask | Wait
Outcome: TypeAlias = Answered[T] | Failed | None
Flow: TypeAlias = Generator[Step, "Outcome[T]", "Result[T]"]


def dispatch(call: Call) -> Flow[Any]:
    """Decide the call's steps one after another.

    Raises:
        NoEligibleModelError: the decision has no candidate that may do the task.
        BackendError: the only model asked could not answer (its last error).
        AllCandidatesFailedError: several models were asked and none answered.
    """
    call.decision.chosen  # noqa: B018 (raises NoEligibleModelError)
    log = _Log(call.decision)
    for candidate in call.decision.feasible:
        if obstacles := call.recheck(candidate):
            log.skipped(candidate, obstacles)
            continue
        result = yield from _ask(call, candidate.card, log)
        if result is not None:
            return result
        if log.time_left(call.timeout) <= 0:
            break
    raise log.failure()


def _ask(call: Call, card: ModelCard, log: _Log) -> Generator[Step, Any, Result[Any] | None]:
    """Ask one model, again while its errors may pass; ``None`` when it is given up."""
    asked = 0
    while (left := log.time_left(call.timeout)) > 0:
        outcome = yield Ask(_request(call, card, left))
        asked += 1
        if isinstance(outcome, Answered):
            log.answered(card, outcome.duration_s)
            return Result(outcome.value, card, tuple(log.attempts), call.decision)
        log.failed(card, outcome)
        wait = pause_before_retry(call.retry, outcome.error, asked)
        if wait is None or wait >= log.time_left(call.timeout):
            return None
        log.waited_s += wait
        yield Wait(wait)
    return None


def _request(call: Call, card: ModelCard, left: float) -> Request:
    allowed = min(left, call.timeout.attempt or float("inf"))
    return Request(
        card=card,
        messages=call.task.to_openai(),
        settings=call.settings,
        tools=call.task.tools,
        tool_choice=call.task.tool_choice,
        response_format=call.task.response_format,
        timeout_s=None if allowed == float("inf") else allowed,
    )


def pause_before_retry(policy: RetryPolicy, error: BackendError, asked: int) -> float | None:
    """Seconds until the same model is asked again, ``None`` if it should not be.

    The one place that turns a :class:`RetryPolicy` into tenacity's stop and wait strategies.
    """
    from tenacity import RetryCallState, Retrying, stop_after_attempt, wait_exponential_jitter

    if not error.retryable:
        return None
    after = error.retry_after or 0.0
    if after > policy.max_retry_after_s:
        return None
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = asked
    if stop_after_attempt(policy.max_attempts)(state):
        return None
    backoff = wait_exponential_jitter(
        initial=policy.initial_s, max=policy.max_s, jitter=policy.jitter_s
    )
    return max(after, float(backoff(state)))


class _Log:
    """What has happened in one call so far."""

    def __init__(self, decision: Decision) -> None:
        self.decision = decision
        self.attempts: list[Attempt] = []
        self.errors: dict[str, BackendError] = {}
        self.waited_s = 0.0

    def time_left(self, timeout: Timeout) -> float:
        if timeout.total is None:
            return float("inf")
        return timeout.total - self.waited_s - sum(a.duration_s for a in self.attempts)

    def skipped(self, candidate: Candidate, obstacles: tuple[Reason, ...]) -> None:
        why = "; ".join(map(str, obstacles))
        self.attempts.append(Attempt(candidate.model, "skipped", 0.0, why))
        self.errors.setdefault(
            candidate.model,
            BadRequestError(f"{candidate.model} was not asked: {why}.", model=candidate.model),
        )

    def answered(self, card: ModelCard, duration_s: float) -> None:
        self.attempts.append(Attempt(card.name, "answered", duration_s))

    def failed(self, card: ModelCard, failure: Failed) -> None:
        error = failure.error
        error.model = error.model or card.name
        text = f"{type(error).__name__}: {error}"
        interrupted = isinstance(error, StreamInterruptedError)
        outcome = "interrupted" if interrupted else "failed"
        self.attempts.append(Attempt(card.name, outcome, failure.duration_s, text))  # type: ignore[arg-type]  # one of two literals
        self.errors[card.name] = error

    def failure(self) -> ModelRouterError:
        trace = Trace(tuple(self.attempts), self.decision)
        errors = list(self.errors.values())
        if not errors:
            nobody = BackendTimeoutError("The call's time was used up before a model was asked.")
            nobody.trace = trace
            return nobody
        for error in errors:
            error.trace = trace
        if len(errors) == 1:
            return errors[0]
        lines = "".join(f"\n  {e.model}: {type(e).__name__}: {e}" for e in errors)
        failure = AllCandidatesFailedError(
            f"None of {len(errors)} models answered:{lines}", errors=errors, trace=trace
        )
        failure.__cause__ = errors[-1]
        return failure


def with_cost(
    attempts: tuple[Attempt, ...], cost_usd: float | None, usage: Usage | None = None
) -> tuple[Attempt, ...]:
    """The attempts with the cost and the tokens of the last one, known once it has ended."""
    return (*attempts[:-1], replace(attempts[-1], cost_usd=cost_usd, usage=usage))
