"""Hedging: a second model is asked beside a slow first; what comes first counts, the loser goes."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from typing import Any, TypeVar

from modelrouter.dispatch.attempt import admitted, heard, may_be_asked, request_for
from modelrouter.dispatch.attempt_log import AttemptLog
from modelrouter.dispatch.steps import Also, Ask, Broken, Call, Join, Leave, Result, Slow, Step
from modelrouter.policies.decision import Candidate

__all__ = ["hedged"]

T = TypeVar("T")


def hedged(
    call: Call[T], first: Candidate, ready: deque[Candidate], patience_s: float, log: AttemptLog[T]
) -> Generator[Step, Any, Result[T] | None]:
    """Ask one model, and the next of ``ready`` beside it if it is slow; what comes first counts.

    What was asked is taken from ``ready``. Neither is asked again after an error.
    """
    asked = yield from admitted(call, first, log)
    if asked is None:
        return None
    outcome = yield Ask(request_for(call, first.card, log.time_left(), None), asked[1], patience_s)
    if not isinstance(outcome, Slow):
        result = yield from heard(call, asked, outcome, log)
        return result
    second = None
    while ready and second is None:
        candidate = ready.popleft()
        if may_be_asked(call, candidate, log):
            second = yield from admitted(call, candidate, log)
    if second is None:
        outcome = yield Join()
        result = yield from heard(call, asked, outcome, log)
        return result
    left = log.time_left() - patience_s
    arrived = yield Also(request_for(call, second[0].card, left, None), second[1])
    if isinstance(arrived, Broken):
        log.broken(first, arrived)
        raise log.broken(second[0], arrived)
    pair = (asked, second)
    winner, loser = pair[arrived.which], pair[1 - arrived.which]
    result = yield from heard(call, winner, arrived.outcome, log)
    if result is None:
        outcome = yield Join()
        times = [arrived.outcome.duration_s, outcome.duration_s]
        of_first, of_second = times if arrived.which == 0 else reversed(times)
        # Both ran at the same time, which is spent but once.
        log.waited_s -= of_first + of_second - max(of_first, patience_s + of_second)
        result = yield from heard(call, loser, outcome, log)
        return result
    gone = yield Leave()
    return log.left(loser[0], gone.duration_s, result)
