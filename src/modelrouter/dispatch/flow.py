"""The flow of one call, without I/O: a generator that says what to do next and is told what came.

    flow = dispatch(call)
    step = next(flow)            # Admit(intent), Ask(request, permit), Settle(...) or Wait(seconds)
    step = flow.send(outcome)    # Permit / Refusal for Admit; Answered / Failed / Broken for Ask
    ...                          # StopIteration carries the Result; a failed call raises

Guards, retry, fallback, escalation, the call's deadline and the checks before every hop are decided
here and nowhere else. Two drivers (:mod:`modelrouter.dispatch.drivers`) do what it says: one
blocks, one awaits.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Generator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Generic, TypeAlias, TypeVar

from modelrouter.backends.base import Request
from modelrouter.catalog.card import ModelCard
from modelrouter.config import UNSET, GenerationSettings, RetryPolicy, Timeout
from modelrouter.dispatch.acceptance import Rejection
from modelrouter.exceptions import (
    AllCandidatesFailedError,
    AnswerRejectedError,
    APIConnectionError,
    BackendError,
    BackendTimeoutError,
    BadRequestError,
    LowConfidenceError,
    MalformedResponseError,
    ModelRouterError,
    StreamInterruptedError,
)
from modelrouter.guards.base import Intent, OneCall, Refusal, Settlement
from modelrouter.guards.chain import Guards, Permit, refused
from modelrouter.guards.worst_case import intent_of
from modelrouter.policies.base import Policy
from modelrouter.policies.decision import Candidate, Decision, Reason
from modelrouter.response import Usage
from modelrouter.task import Task
from modelrouter.trace import Attempt, Outcome, Trace

__all__ = [
    "Admit",
    "Also",
    "Answered",
    "Ask",
    "Broken",
    "Call",
    "Failed",
    "First",
    "Join",
    "Leave",
    "Left",
    "Result",
    "Settle",
    "Slow",
    "Step",
    "Wait",
    "dispatch",
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
    """The caller went away meanwhile, or something failed that is no affair of the model's."""

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

_MAYBE_CHARGED: Final = (
    APIConnectionError,
    BackendTimeoutError,
    MalformedResponseError,
    StreamInterruptedError,
)
"""After these a provider may have charged for the call all the same, after others it has not."""


def dispatch(call: Call[T]) -> Flow[T]:
    """Decide the call's steps one after another.

    Raises:
        NoEligibleModelError: the decision has no candidate that may do the task.
        BackendError: the only model asked could not answer (its last error).
        NotAdmittedError: guards let no model be asked: budgets, cooldowns or rate limits.
        AnswerRejectedError: there are answers, and the policy's ``accept`` took none.
        AllCandidatesFailedError: several models were asked and none answered.
    """
    call.decision.chosen  # noqa: B018 (raises NoEligibleModelError)
    log: _Log[T] = _Log(call)
    pending: Sequence[Candidate] = call.decision.feasible
    while pending:
        result = yield from _round(call, pending, log)
        if result is not None:
            return result
        pending, soonest, pause = log.later()
        if not pending or soonest >= log.time_left():
            break
        log.is_over = False
        log.waited_s += pause
        yield Wait(pause)
    if log.unsure and not log.kept and not log.refusals:
        # A guess is better than nothing: nobody else answered.
        result = yield from _ask(call, log.unsure[0], log, sure_or_not=True)
        if result is not None:
            return result
    return log.best_kept()


def _round(
    call: Call[T], candidates: Sequence[Candidate], log: _Log[T]
) -> Generator[Step, Any, Result[T] | None]:
    """Ask one candidate after another; ``None`` when none of them will do."""
    ready = deque(candidates)
    while ready:
        if log.is_over:
            log.untried = [*ready]
            return None
        candidate = ready.popleft()
        if not _may_be_asked(call, candidate, log):
            continue
        log.is_last = not ready
        patience_s = call.patience(candidate) if ready else None
        if patience_s is None:
            result = yield from _ask(call, candidate, log)
        else:
            result = yield from _raced(call, candidate, ready, patience_s, log)
        if result is not None:
            return result
        if log.time_left() <= 0:
            return None
    return None


def _may_be_asked(call: Call[Any], candidate: Candidate, log: _Log[Any]) -> bool:
    if candidate.p_quality <= log.promised:
        log.skipped(candidate, f"promises no more than {log.unsure_name}, which was not sure")
    elif obstacles := call.recheck(candidate):
        log.skipped(candidate, "; ".join(map(str, obstacles)))
    else:
        return True
    return False


def _raced(
    call: Call[T], first: Candidate, ready: deque[Candidate], patience_s: float, log: _Log[T]
) -> Generator[Step, Any, Result[T] | None]:
    """Ask one model, and the next of ``ready`` beside it if it is slow; what comes first counts.

    What was asked is taken from ``ready``. Neither is asked again after an error.
    """
    asked = yield from _admitted(call, first, log)
    if asked is None:
        return None
    outcome = yield Ask(_request(call, first.card, log.time_left(), None), asked[1], patience_s)
    if not isinstance(outcome, Slow):
        result = yield from _heard(call, asked, outcome, log)
        return result
    second = None
    while ready and second is None:
        candidate = ready.popleft()
        if _may_be_asked(call, candidate, log):
            second = yield from _admitted(call, candidate, log)
    if second is None:
        outcome = yield Join()
        result = yield from _heard(call, asked, outcome, log)
        return result
    left = log.time_left() - patience_s
    arrived = yield Also(_request(call, second[0].card, left, None), second[1])
    if isinstance(arrived, Broken):
        log.broken(first, arrived)
        raise log.broken(second[0], arrived)
    pair = (asked, second)
    winner, loser = pair[arrived.which], pair[1 - arrived.which]
    result = yield from _heard(call, winner, arrived.outcome, log)
    if result is None:
        outcome = yield Join()
        times = [arrived.outcome.duration_s, outcome.duration_s]
        of_first, of_second = times if arrived.which == 0 else reversed(times)
        # Both ran at the same time, which is spent but once.
        log.waited_s -= of_first + of_second - max(of_first, patience_s + of_second)
        result = yield from _heard(call, loser, outcome, log)
        return result
    gone = yield Leave()
    return log.left(loser[0], gone.duration_s, result)


_Asked: TypeAlias = "tuple[Candidate, Permit | None]"


def _admitted(
    call: Call[Any], candidate: Candidate, log: _Log[Any]
) -> Generator[Step, Any, _Asked | None]:
    """The candidate with the guards' agreement; ``None`` if they refuse."""
    if call.guards is None:
        return candidate, None
    intent = intent_of(candidate.card, call.task, call.settings, call.tags, call.one_call)
    admission = yield Admit(intent)
    if isinstance(admission, Refusal):
        log.refused(candidate, admission)
        return None
    return candidate, admission


def _heard(
    call: Call[T], asked: _Asked, outcome: Any, log: _Log[T]
) -> Generator[Step, Any, Result[T] | None]:
    """The call's result, if this is an answer that will do."""
    candidate, permit = asked
    if isinstance(outcome, Broken):
        raise log.broken(candidate, outcome)
    if isinstance(outcome, Answered):
        result = yield from _judged(call, candidate, outcome, permit, log)
        return result
    log.failed(candidate, outcome)
    if permit is not None:
        yield Settle(permit, Settlement(error=outcome.error, duration_s=outcome.duration_s))
    return None


def _ask(
    call: Call[T], candidate: Candidate, log: _Log[T], *, sure_or_not: bool = False
) -> Generator[Step, Any, Result[T] | None]:
    """Ask one model, again while its errors may pass; ``None`` when it is given up."""
    card = candidate.card
    floor = None if log.is_last or sure_or_not else call.floor(candidate)
    if call.settings.confidence_floor not in (UNSET, None):
        floor = None  # the caller's own, which is final
    while (left := log.time_left()) > 0:
        admitted = yield from _admitted(call, candidate, log)
        if admitted is None:
            return None
        outcome = yield Ask(_request(call, card, left, floor), admitted[1])
        log.asked[card.name] += 1  # also those before a wait for a guard
        result = yield from _heard(call, admitted, outcome, log)
        if not isinstance(outcome, Failed):
            return result
        if floor is not None and isinstance(outcome.error, LowConfidenceError):
            log.doubted(candidate)
            return None
        wait = pause_before_retry(call.retry, outcome.error, log.asked[card.name])
        if wait is None or wait >= log.time_left():
            return None
        log.waited_s += wait
        yield Wait(wait)
    return None


def _judged(
    call: Call[T], candidate: Candidate, outcome: Answered[T], permit: Permit | None, log: _Log[T]
) -> Generator[Step, Any, Result[T] | None]:
    """The answer as the call's result, unless it will not do."""
    usage, cost_usd = call.spent(candidate.card, outcome.value)
    why = call.judge(candidate, outcome.value)
    if permit is not None and (usage is not None or why is not None):  # else it goes on: a stream
        yield Settle(
            permit, Settlement(usage=usage, cost_usd=cost_usd, duration_s=outcome.duration_s)
        )
        permit = None
    log.answered(candidate, outcome.duration_s, usage, cost_usd, why)
    result = Result(outcome.value, candidate.card, tuple(log.attempts), call.decision, permit)
    if why is None:
        return result
    log.kept.append((why, result))
    if why.check == "confidence":
        log.doubted(candidate)
    return None


def _request(call: Call[Any], card: ModelCard, left: float, floor: float | None) -> Request:
    allowed = min(left, call.timeout.attempt or float("inf"))
    settings = call.settings
    if floor is not None:
        settings = replace(
            settings,
            confidence_floor=floor,
            confidence_window=UNSET if call.window is None else call.window,
        )
    return Request(
        card=card,
        messages=_task_for(card, call.task).to_openai(),
        settings=settings,
        tools=call.task.tools,
        tool_choice=call.task.tool_choice,
        response_format=call.task.response_format,
        timeout_s=None if allowed == float("inf") else allowed,
    )


def _task_for(card: ModelCard, task: Task) -> Task:
    """The task as this model may read it: earlier pictures that it cannot see are left out."""
    return task if "image" in card.modalities_in else task.without_images()


def pause_before_retry(policy: RetryPolicy, error: BackendError, asked: int) -> float | None:
    """Seconds until the same model is asked again, ``None`` if it should not be.

    The one place that turns a :class:`RetryPolicy` into tenacity's stop and wait strategies.
    """
    from tenacity import RetryCallState, Retrying, stop_after_attempt, wait_exponential, wait_random

    if not error.retryable:
        return None
    after = error.retry_after or 0.0
    if after > policy.max_retry_after_s:
        return None
    state = RetryCallState(Retrying(), None, (), {})
    state.attempt_number = asked
    if stop_after_attempt(policy.max_attempts)(state):
        return None
    backoff = wait_exponential(multiplier=policy.initial_s, max=policy.max_s)
    jitter = wait_random(0, policy.jitter_s)
    return max(after, float(backoff(state)) + float(jitter(state)))


def _attempt(
    candidate: Candidate,
    outcome: Outcome,
    duration_s: float,
    error: str,
    cost_usd: float | None = 0.0,
    usage: Usage | None = None,
) -> Attempt:
    location = candidate.card.location
    return Attempt(candidate.model, outcome, duration_s, error, cost_usd, usage, location=location)


class _Log(Generic[T]):
    """What has happened in one call so far.

    Attributes:
        kept: answers that will not do, with the reason.
        unsure: candidates whose answer was given up, or not taken, for want of confidence.
        promised: what the best of these had promised; only more is worth asking for.
        refusals: what guards said last, by model.
        asked: how often each model was.
        is_over: a guard lets no other model be asked (a budget that is to raise).
        untried: the candidates behind the one for which that was said.
        is_last: nobody stands behind the candidate that is being asked.
    """

    def __init__(self, call: Call[T]) -> None:
        self.decision, self._timeout, self._retry = call.decision, call.timeout, call.retry
        self.attempts: list[Attempt] = []
        self.errors: dict[str, BackendError] = {}
        self.kept: list[tuple[Rejection, Result[T]]] = []
        self.unsure: list[Candidate] = []
        self.promised = -1.0
        self.asked: Counter[str] = Counter()
        self.waited_s = 0.0
        self.refusals: dict[str, Refusal] = {}
        self.is_over = self.is_last = False
        self.untried: list[Candidate] = []
        self._later: list[tuple[Refusal, Candidate]] = []
        self._refused: dict[str, Attempt] = {}

    @property
    def unsure_name(self) -> str:
        return self.unsure[-1].model if self.unsure else ""

    def time_left(self) -> float:
        if self._timeout.total is None:
            return float("inf")
        return self._timeout.total - self.waited_s - sum(a.duration_s for a in self.attempts)

    def later(self) -> tuple[list[Candidate], float, float]:
        """The candidates that a guard may admit later, after how many seconds, when to look."""
        found, self._later = self._later, []
        untried, self.untried = self.untried, []
        soonest = min((r.retry_in_s or 0.0 for r, _ in found), default=0.0)
        pause = min((r.pause_s or 0.0 for r, _ in found), default=0.0)
        if not found:
            return [], soonest, pause
        pending = {id(c) for c in (*(candidate for _, candidate in found), *untried)}
        return [c for c in self.decision.feasible if id(c) in pending], soonest, pause

    def skipped(self, candidate: Candidate, why: str) -> None:
        self.attempts.append(_attempt(candidate, "skipped", 0.0, why))
        self.errors.setdefault(
            candidate.model,
            BadRequestError(f"{candidate.model} was not asked: {why}.", model=candidate.model),
        )

    def refused(self, candidate: Candidate, refusal: Refusal) -> None:
        # A call that waits looks again many times: the last word is enough.
        before = self._refused.get(candidate.model)
        self.attempts = [attempt for attempt in self.attempts if attempt is not before]
        attempt = _attempt(candidate, "skipped", 0.0, str(refusal.reason))
        self._refused[candidate.model] = attempt
        self.attempts.append(attempt)
        self.refusals[candidate.model] = refusal
        if refusal.final:
            self.is_over = True
            self._later.clear()
        if refusal.retry_in_s is not None and self._is_worth_waiting(refusal):
            self._later.append((refusal, candidate))

    def _is_worth_waiting(self, refusal: Refusal) -> bool:
        """For a model that cools down no longer than between two tries: the caller is told."""
        assert refusal.retry_in_s is not None
        return refusal.reason.code != "cooling_down" or refusal.retry_in_s <= self._retry.max_s

    def answered(
        self,
        candidate: Candidate,
        duration_s: float,
        usage: Usage | None,
        cost_usd: float | None,
        why: Rejection | None,
    ) -> None:
        outcome: Outcome = "answered" if why is None else "rejected"
        text = "" if why is None else why.why
        self.attempts.append(_attempt(candidate, outcome, duration_s, text, cost_usd, usage))

    def doubted(self, candidate: Candidate) -> None:
        self.unsure.append(candidate)
        self.promised = max(self.promised, candidate.p_quality)

    def failed(self, candidate: Candidate, failure: Failed) -> None:
        error = failure.error
        error.model = error.model or candidate.model
        text = f"{type(error).__name__}: {error}"
        interrupted = isinstance(error, StreamInterruptedError)
        outcome: Outcome = "interrupted" if interrupted else "failed"
        unclear = isinstance(error, _MAYBE_CHARGED)
        cost = None if unclear and candidate.card.location == "hosted" else 0.0
        self.attempts.append(_attempt(candidate, outcome, failure.duration_s, text, cost))
        self.errors[candidate.model] = error

    def broken(self, candidate: Candidate, broken: Broken) -> BaseException:
        error = broken.error
        outcome: Outcome = "failed" if isinstance(error, Exception) else "cancelled"
        self.attempts.append(
            _attempt(candidate, outcome, broken.duration_s, type(error).__name__, None)
        )
        error.trace = Trace(tuple(self.attempts), self.decision)  # type: ignore[attr-defined]
        return error

    def left(self, loser: Candidate, duration_s: float, result: Result[T]) -> Result[T]:
        """The result, with the attempt that was cancelled for it before the one that won.

        What it cost is not known; what was expected is taken for it.
        """
        gone = _attempt(loser, "cancelled", duration_s, "another answered first", loser.cost_usd)
        self.attempts.insert(len(self.attempts) - 1, gone)
        return replace(result, attempts=tuple(self.attempts))

    def best_kept(self) -> Result[T]:
        """Of the answers that will not do, the one most likely right, if any may be returned.

        Raises:
            ModelRouterError: there is none; says what happened.
        """
        allowed = [(why, result) for why, result in self.kept if not why.final]
        if not allowed:
            raise self.failure()
        _, best = max(allowed, key=lambda pair: pair[0].certainty)
        own = best.attempts[-1]
        others = (attempt for attempt in self.attempts if attempt is not own)
        return replace(best, attempts=(*others, own))

    def failure(self) -> ModelRouterError:
        trace = Trace(tuple(self.attempts), self.decision)
        if self.kept:
            why, result = self.kept[-1]
            rejected = AnswerRejectedError(
                f"The policy accepted none of {len(self.kept)} answers; the last, of "
                f"{result.card.name}: {why.why}.",
                reply=result.value,
                hint="`reply` holds it.",
            )
            rejected.trace = trace
            return rejected
        errors = list(self.errors.values())
        if self.refusals and (self.is_over or not errors):
            shut = refused(list(self.refusals.items()))
            shut.trace = trace
            return shut
        if not errors:
            nobody = BackendTimeoutError("The call's time was used up before a model was asked.")
            nobody.trace = trace
            return nobody
        for error in errors:
            error.trace = trace
        if len(errors) == 1:
            return errors[0]
        lines = "".join(f"\n  {n}: {type(e).__name__}: {e}" for n, e in self.errors.items())
        failure = AllCandidatesFailedError(
            f"None of {len(errors)} models answered:{lines}", errors=errors, trace=trace
        )
        failure.__cause__ = errors[-1]
        return failure
