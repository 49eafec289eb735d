"""What has happened in one call so far: its attempts, what is left of its time, what it came to."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Final, Generic, TypeVar

from modelrouter.dispatch.acceptance import Rejection
from modelrouter.dispatch.steps import Broken, Call, Failed, Result
from modelrouter.exceptions import (
    AllCandidatesFailedError,
    AnswerRejectedError,
    APIConnectionError,
    BackendError,
    BackendTimeoutError,
    BadRequestError,
    MalformedResponseError,
    ModelRouterError,
    StreamInterruptedError,
)
from modelrouter.guards.base import Refusal
from modelrouter.guards.chain import refused
from modelrouter.policies.decision import Candidate
from modelrouter.response import Usage
from modelrouter.trace import Attempt, Outcome, Trace

__all__ = ["AttemptLog"]

T = TypeVar("T")

_MAYBE_CHARGED: Final = (
    APIConnectionError,
    BackendTimeoutError,
    MalformedResponseError,
    StreamInterruptedError,
)
"""After these a provider may have charged for the call all the same, after others it has not."""


class AttemptLog(Generic[T]):
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
        """The last model that was not sure."""
        return self.unsure[-1].model if self.unsure else ""

    def time_left(self) -> float:
        """Seconds until the call's deadline."""
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
        """The candidate is not asked."""
        self.attempts.append(_attempt(candidate, "skipped", 0.0, why))
        self.errors.setdefault(
            candidate.model,
            BadRequestError(f"{candidate.model} was not asked: {why}.", model=candidate.model),
        )

    def refused(self, candidate: Candidate, refusal: Refusal) -> None:
        """A guard does not let the candidate be asked now."""
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
        """It answered; ``why`` the answer will not do, if so."""
        outcome: Outcome = "answered" if why is None else "rejected"
        text = "" if why is None else why.why
        self.attempts.append(_attempt(candidate, outcome, duration_s, text, cost_usd, usage))

    def doubted(self, candidate: Candidate) -> None:
        """It was not sure: only one that promises more is asked from now on."""
        self.unsure.append(candidate)
        self.promised = max(self.promised, candidate.p_quality)

    def failed(self, candidate: Candidate, failure: Failed) -> None:
        """It did not answer."""
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
        """The error that ends the call, with its trace."""
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
        """The error that says what happened where nobody answered."""
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
