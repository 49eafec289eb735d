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

from collections import deque
from collections.abc import Generator, Sequence
from typing import Any, TypeVar

from modelrouter.config import UNSET, RetryPolicy
from modelrouter.dispatch.attempt import admitted, heard, may_be_asked, request_for
from modelrouter.dispatch.attempt_log import AttemptLog
from modelrouter.dispatch.hedging import hedged
from modelrouter.dispatch.steps import Ask, Call, Failed, Flow, Result, Step, Wait
from modelrouter.exceptions import BackendError, LowConfidenceError
from modelrouter.policies.decision import Candidate

__all__ = ["dispatch", "pause_before_retry"]

T = TypeVar("T")


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
    log: AttemptLog[T] = AttemptLog(call)
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
    call: Call[T], candidates: Sequence[Candidate], log: AttemptLog[T]
) -> Generator[Step, Any, Result[T] | None]:
    """Ask one candidate after another; ``None`` when none of them will do."""
    ready = deque(candidates)
    while ready:
        if log.is_over:
            log.untried = [*ready]
            return None
        candidate = ready.popleft()
        if not may_be_asked(call, candidate, log):
            continue
        log.is_last = not ready
        patience_s = call.patience(candidate) if ready else None
        if patience_s is None:
            result = yield from _ask(call, candidate, log)
        else:
            result = yield from hedged(call, candidate, ready, patience_s, log)
        if result is not None:
            return result
        if log.time_left() <= 0:
            return None
    return None


def _ask(
    call: Call[T], candidate: Candidate, log: AttemptLog[T], *, sure_or_not: bool = False
) -> Generator[Step, Any, Result[T] | None]:
    """Ask one model, again while its errors may pass; ``None`` when it is given up."""
    card = candidate.card
    floor = None if log.is_last or sure_or_not else call.floor(candidate)
    if call.settings.confidence_floor not in (UNSET, None):
        floor = None  # the caller's own, which is final
    while (left := log.time_left()) > 0:
        asked = yield from admitted(call, candidate, log)
        if asked is None:
            return None
        outcome = yield Ask(request_for(call, card, left, floor), asked[1])
        log.asked[card.name] += 1  # also those before a wait for a guard
        result = yield from heard(call, asked, outcome, log)
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
