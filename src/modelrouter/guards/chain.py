"""The guards of a router as one: all must agree, each that agreed is settled exactly once."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from modelrouter.exceptions import BudgetExceededError, CoolingDownError, NotAdmittedError
from modelrouter.guards.base import Guard, Intent, Refusal, Settlement

__all__ = ["Guards", "Passed", "refused"]

logger = logging.getLogger("modelrouter")

_NOT_ASKED = Settlement(asked=False)


class Passed:
    """All guards agreed to an attempt; to be settled when it has ended."""

    __slots__ = ("_tickets", "intent")

    def __init__(self, intent: Intent) -> None:
        self.intent = intent
        self._tickets: list[tuple[Guard, Any]] = []


class Guards:
    """The guards in the order in which they are asked.

    Args:
        guards: those that cost least first; those that keep money last, so that nothing is
            reserved for an attempt that another guard refuses.
    """

    def __init__(self, guards: Sequence[Guard] = ()) -> None:
        self.chain = tuple(guards)

    def admit(self, intent: Intent) -> Passed | Refusal:
        """Ask every guard; if one refuses, those before it hear that the model is not asked.

        Raises:
            StorageError: a guard cannot read its accounts; the model must not be asked.
        """
        passed = Passed(intent)
        try:
            for guard in self.chain:
                admission = guard.admit(intent)
                if isinstance(admission, Refusal):
                    self.settle(passed, _NOT_ASKED)
                    return admission
                passed._tickets.append((guard, admission.ticket))
        except BaseException:
            self.settle(passed, _NOT_ASKED)
            raise
        return passed

    def settle(self, passed: Passed, settlement: Settlement) -> None:
        """Tell each guard once what came of it; a second call does nothing. Never raises."""
        while True:
            try:
                guard, ticket = passed._tickets.pop()
            except IndexError:
                return
            try:
                guard.settle(passed.intent, ticket, settlement)
            except Exception:  # the answer was paid for and must not be lost
                logger.exception("A guard could not be settled; the call goes on.")


def refused(refusals: Sequence[tuple[str, Refusal]]) -> NotAdmittedError:
    """The error for a call whose every model was refused.

    Args:
        refusals: the models in the order tried, each with its refusal.
    """
    codes = [refusal.reason.code for _, refusal in refusals]
    waits = [r.retry_in_s for _, r in refusals if r.retry_in_s is not None]
    if any(refusal.final for _, refusal in refusals) or set(codes) == {"budget"}:
        kind: type[NotAdmittedError] = BudgetExceededError
        what = "The budget does not allow this call"
    elif set(codes) == {"cooling_down"}:
        kind, what = CoolingDownError, "Every model that may do the task cools down after failures"
    else:
        kind, what = NotAdmittedError, "Models may do the task, but none may be asked now"
    lines = "".join(f"\n  {model}: {refusal.reason}" for model, refusal in refusals)
    soon = min(waits) if waits else None
    when = "" if soon is None else f"; the next try makes sense in {soon:.1f} s"
    return kind(
        f"{what}{when}:{lines}",
        refusals=[(model, refusal.reason) for model, refusal in refusals],
        retry_in_s=soon,
    )
