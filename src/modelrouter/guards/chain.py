"""The guards of a router as one: all must agree, each that agreed is settled exactly once."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelrouter._common.process import OfOneProcess
from modelrouter.catalog.card import ModelCard
from modelrouter.config import RateLimit
from modelrouter.exceptions import BudgetExceededError, CoolingDownError, NotAdmittedError
from modelrouter.guards.base import Guard, Intent, Refusal, Settlement
from modelrouter.guards.breaker import BreakerPolicy
from modelrouter.guards.breakers import Breakers, Health
from modelrouter.guards.budgets import Budget, Budgets, BudgetStatus
from modelrouter.guards.rates import Rates
from modelrouter.guards.store import Store
from modelrouter.policies.decision import Decision

__all__ = ["Guards", "Permit", "refused"]

logger = logging.getLogger("modelrouter")

_NOT_ASKED = Settlement(asked=False)


class Permit:
    """All guards agreed to an attempt; to be settled when it has ended."""

    __slots__ = ("_tickets", "intent")

    def __init__(self, intent: Intent) -> None:
        self.intent = intent
        self._tickets: list[tuple[Guard, Any]] = []


class Guards(OfOneProcess):
    """The guards in the order in which they are asked.

    Args:
        guards: those that cost least first; those that keep money last, so that nothing is
            reserved for an attempt that another guard refuses.
    """

    def __init__(self, guards: Sequence[Guard] = ()) -> None:
        self.chain = tuple(guards)
        self._breakers = next((g for g in self.chain if isinstance(g, Breakers)), None)
        self._budgets = tuple(g for g in self.chain if isinstance(g, Budgets))

    @classmethod
    def of(
        cls,
        *,
        budgets: Budget | Sequence[Budget] = (),
        limits: RateLimit | Mapping[str, RateLimit] | None = None,
        breakers: BreakerPolicy | bool = True,
        store: Store | str | Path | None = None,
        guards: Sequence[Guard] = (),
    ) -> Guards:
        """A router's guards.

        Args:
            budgets: what calls may cost; none unless given.
            limits: of requests and tokens a minute, for each hosted deployment or by model
                name; cards may have limits of their own.
            breakers: whether, or when, deployments that fail are left alone.
            store: of the budgets' accounts, or the path of its file; a file of this user unless
                given.
            guards: further ones, asked last.

        Raises:
            ConfigurationError: budgets that cannot be told apart; what is not a budget or a limit.
            StorageError: the file of the accounts cannot be used.
        """
        policy = breakers if isinstance(breakers, BreakerPolicy) else BreakerPolicy()
        chain: list[Guard] = [Breakers(None if breakers is False else policy)]
        chain.append(Rates(limits))
        if budgets:
            each = (budgets,) if isinstance(budgets, Budget) else budgets
            chain.append(Budgets(each, store))
        return cls((*chain, *guards))

    def admit(self, intent: Intent) -> Permit | Refusal:
        """Ask every guard; if one refuses, those before it hear that the model is not asked.

        Raises:
            StorageError: a guard cannot read its accounts; the model must not be asked.
        """
        permit = Permit(intent)
        try:
            for guard in self.chain:
                admission = guard.admit(intent)
                if isinstance(admission, Refusal):
                    self.settle(permit, _NOT_ASKED)
                    return admission
                permit._tickets.append((guard, admission.ticket))
        except BaseException:
            self.settle(permit, _NOT_ASKED)
            raise
        return permit

    def settle(self, permit: Permit, settlement: Settlement) -> None:
        """Tell each guard once what came of it; a second call does nothing. Never raises."""
        while True:
            try:
                guard, ticket = permit._tickets.pop()
            except IndexError:
                return
            try:
                guard.settle(permit.intent, ticket, settlement)
            except Exception:  # the answer was paid for and must not be lost
                logger.exception("A guard could not be settled; the call goes on.")

    def seen(self, decision: Decision) -> Decision:
        """The decision as the health of its models leaves it: what cools down goes last."""
        if self._breakers is None or self._breakers.all_well or decision.best is None:
            return decision
        return decision.with_last(self._breakers.cooling)

    def health(self, cards: Iterable[ModelCard]) -> tuple[Health, ...]:
        """How these models' deployments do."""
        if self._breakers is None:
            return tuple(Health(card.name, card.api_base) for card in cards)
        return self._breakers.health(cards)

    def latency_s(
        self, card: ModelCard, share: float, *, first_token: bool = False
    ) -> float | None:
        """Seconds within which that share of the model's last answers came; see Breakers."""
        if self._breakers is None:
            return None
        return self._breakers.latency_s(card, share, first_token=first_token)

    def statuses(self, tags: Mapping[str, str] | None = None) -> tuple[BudgetStatus, ...]:
        """How the budgets stand; those that concern a call with ``tags``, if given.

        Raises:
            StorageError: the accounts cannot be read.
        """
        return tuple(s for guard in self._budgets for s in guard.statuses(tags))

    def close(self) -> None:
        """Close the budgets' file; safe to call twice."""
        for guard in self._budgets:
            guard.close()


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
