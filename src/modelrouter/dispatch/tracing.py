"""Call tracing: one call as its hooks hear of it, begun once and ended once, whatever happens."""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import TracebackType

from modelrouter.exceptions import ModelRouterError, StreamInterruptedError
from modelrouter.policies.decision import Decision
from modelrouter.response import Choice, random_hex
from modelrouter.trace import Attempt, Outcome, StartHook, Trace, TraceHook

__all__ = ["CallTracer"]

logger = logging.getLogger("modelrouter")


class CallTracer:
    """Keeps the time of one call and tells the hooks of it.

    A context manager around the asking: an exception that leaves it ends the call. A call that goes
    on after it (a stream) is ended by :meth:`ended`. Only the first end counts.
    """

    __slots__ = ("_first_token_s", "_hooks", "_started", "trace")

    def __init__(
        self,
        hooks: Sequence[TraceHook],
        decision: Decision,
        *,
        tags: Mapping[str, str] | None = None,
        conversation: str | None = None,
    ) -> None:
        self._hooks = hooks
        self._started = time.perf_counter()
        self._first_token_s: float | None = None
        self.trace = Trace(
            decision=decision,
            id=random_hex(),
            began_at=time.time(),
            tags=dict(tags or {}),
            conversation=conversation,
        )

    def __enter__(self) -> CallTracer:
        for hook in self._hooks:
            if isinstance(hook, StartHook):
                try:
                    hook.begun(self.trace)
                except Exception:  # a broken hook must not lose a call
                    logger.exception("A trace hook raised; the call goes on.")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is not None:
            self._failed(error)

    @property
    def elapsed_s(self) -> float:
        """Seconds since the call came."""
        return time.perf_counter() - self._started

    def first_token(self) -> None:
        """Keep the time of the first visible text."""
        self._first_token_s = time.perf_counter() - self._started

    def ended(
        self,
        attempts: tuple[Attempt, ...],
        outcome: Outcome,
        *,
        error: str = "",
        answer: Sequence[Choice] = (),
        cached: bool = False,
    ) -> Trace:
        """Tell the hooks what came of the call; the call's whole trace."""
        if self.trace.latency_s is not None:
            return self.trace
        self.trace = replace(
            self.trace,
            attempts=attempts,
            outcome=outcome,
            error=error,
            latency_s=time.perf_counter() - self._started,
            first_token_s=self._first_token_s,
            cached=cached,
            answer=tuple(answer),
        )
        for hook in self._hooks:
            try:
                hook(self.trace)
            except Exception:  # a broken hook must not lose a reply that was paid for
                logger.exception("A trace hook raised; the call goes on.")
        return self.trace

    def _failed(self, error: BaseException) -> None:
        known = getattr(error, "trace", None)
        attempts = known.attempts if isinstance(known, Trace) else ()
        outcome: Outcome = "failed" if isinstance(error, Exception) else "cancelled"
        if isinstance(error, StreamInterruptedError):
            outcome = "interrupted"
        said = type(error).__name__
        if isinstance(error, ModelRouterError):  # a foreign error's message may hold anything
            said += f": {error}"
        trace = self.ended(attempts, outcome, error=said)
        if hasattr(error, "trace"):
            error.trace = trace
