"""Budgets: what calls may cost, in money or tokens, by call, hour, day, month or in all.

The worst that a call can cost is reserved before its model is asked and replaced by what it did
cost afterwards (:mod:`modelrouter.guards.store`), so that concurrent calls, of several processes
too, cannot pass a limit together. Periods begin and end in UTC; a call counts in the period in
which its model was asked. Models on this machine cost nothing and are never refused.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Annotated, Any, Final, Literal, TypeAlias

from pydantic import Field, model_validator

from modelrouter._common.process import OfOneProcess
from modelrouter._common.sqlite import pico_usd, usd
from modelrouter.config import Configured
from modelrouter.exceptions import (
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ModelRouterError,
    RateLimitError,
    ServerError,
)
from modelrouter.guards.base import Admission, Admitted, Intent, Refusal, Settlement
from modelrouter.guards.sqlite_store import SqliteStore
from modelrouter.guards.store import Account, Claim, Hold, MemoryStore, Short, Store
from modelrouter.policies.decision import Reason

__all__ = ["Budget", "BudgetStatus", "Budgets", "Period"]

logger = logging.getLogger("modelrouter")

Period: TypeAlias = Literal["call", "hour", "day", "month", "total"]

_MOST_USD: Final = 1_000_000.0
_MOST_PICO_USD: Final = pico_usd(_MOST_USD)
_MOST_TOKENS: Final = 10**15
_POLL_S: Final = 0.1
"""How soon to look again whether calls under way have given money back."""
_EXPIRY_S: Final = 3_600.0
"""When a reservation that nobody settled stops being called one; it counts as spent before too."""
_GATEWAY_TIMEOUTS: Final = (408, 504)


class Budget(Configured):
    """A limit on what calls may cost. ``Budget(usd=5.0)`` is five dollars a day (UTC).

    Attributes:
        usd: the most that calls of one period may cost.
        tokens: the most tokens that they may use: prompts, cached ones among them, and answers,
            their reasoning included. With ``usd``, both limits hold.
        per: ``call`` (all attempts of one call together), ``hour``, ``day``, ``month`` (UTC), or
            ``total`` (ever).
        tag: ``None`` for all calls together; ``"user"`` for each value of the tag ``user`` by
            itself, calls without it counting together as one more; ``{"team": "legal"}`` for
            calls that carry these tags and no others.
        at_limit: ``raise`` ends the call with a BudgetExceededError; ``local`` leaves the models
            on this machine, and hosted ones that still fit.
        unknown_price: ``refuse`` models whose price is not known, for which no worst case can be
            reserved; ``allow`` counts them as free.
        name: told apart by it, budgets for the same period and tag count apart.
    """

    usd: Annotated[float, Field(ge=0, le=_MOST_USD, allow_inf_nan=False)] | None = None
    tokens: Annotated[int, Field(ge=0, le=_MOST_TOKENS)] | None = None
    per: Period = "day"
    tag: str | dict[str, str] | None = None
    at_limit: Literal["raise", "local"] = "raise"
    unknown_price: Literal["refuse", "allow"] = "refuse"
    name: str = ""

    @model_validator(mode="after")
    def _complete(self) -> Budget:
        if self.usd is None and self.tokens is None:
            raise ValueError("a budget needs usd=... or tokens=...")
        if self.tag is not None and not self.tag:
            raise ValueError("tag is empty: name one, or leave it out")
        return self

    def __str__(self) -> str:
        limits = [] if self.usd is None else [f"${self.usd:,.6g}"]
        limits += [] if self.tokens is None else [f"{self.tokens:,} tokens"]
        period = "in all" if self.per == "total" else f"a {self.per}"
        named = f" {self.name!r}" if self.name else ""
        whose = f" for each {self.tag}" if isinstance(self.tag, str) else _tags_of(self.tag)
        return f"budget{named} of {' and '.join(limits)} {period}{whose}"

    def concerns(self, tags: Mapping[str, str]) -> bool:
        """Whether a call with these tags counts in this budget."""
        return not isinstance(self.tag, dict) or all(
            tags.get(name) == value for name, value in self.tag.items()
        )

    @property
    def account(self) -> str:
        """The beginning of its accounts' keys."""
        tag = sorted(self.tag.items()) if isinstance(self.tag, dict) else self.tag
        return f"{self.per} {self.name!r} {tag!r} "


@dataclass(frozen=True, slots=True)
class BudgetStatus:
    """How one account of a budget stands.

    Attributes:
        budget: whose account it is.
        whose: the tag's value, where the budget counts each by itself; ``""`` for calls without.
        spent_usd, spent_tokens: used up, calls that nobody settled at their worst.
        reserved_usd, reserved_tokens: held for calls under way, at their worst.
        left_usd, left_tokens: what a new call may reserve; ``None`` without such a limit.
        ends_at: when the period ends, in seconds of Unix time; ``None`` for never.
    """

    budget: Budget
    whose: str
    spent_usd: float
    spent_tokens: int
    reserved_usd: float
    reserved_tokens: int
    left_usd: float | None
    left_tokens: int | None
    ends_at: float | None

    def __str__(self) -> str:
        whose = f" ({self.whose})" if self.whose else ""
        left = [] if self.left_usd is None else [f"${self.left_usd:,.6g}"]
        left += [] if self.left_tokens is None else [f"{self.left_tokens:,} tokens"]
        return (
            f"{self.budget}{whose}: ${self.spent_usd:,.6g} and {self.spent_tokens:,} tokens spent, "
            f"${self.reserved_usd:,.6g} reserved, {' and '.join(left)} left"
        )


class Budgets(OfOneProcess):
    """The guard that keeps budgets.

    Args:
        budgets: all that concern a call must have room for its worst case.
        store: of the accounts, or the path of an SQLite file for them; unless given, a file of
            this user, so that all programs of the user count together.
        clock: seconds of Unix time.

    Raises:
        ConfigurationError: two budgets count the same and cannot be told apart.
        StorageError: the file of the accounts cannot be used.
    """

    def __init__(
        self,
        budgets: Iterable[Budget],
        store: Store | str | Path | None = None,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.budgets = _told_apart(budgets)
        self._clock = clock
        self._lasting = tuple(b for b in self.budgets if b.per != "call")
        self._each_call = tuple(b for b in self.budgets if b.per == "call")
        self._store: Store | None = None
        self._owns_store = False
        if store is not None and not isinstance(store, (str, Path)):
            self._store = store
        elif self._lasting:
            self._store, self._owns_store = SqliteStore(store), True

    def admit(self, intent: Intent, /) -> Admission:
        """Reserve the worst case in every budget that concerns the call.

        Raises:
            StorageError: the accounts cannot be read; nothing is treated as unlimited then.
        """
        if intent.card.location == "local":
            return Admitted()
        holds: list[tuple[Store, Hold]] = []
        for store, budgets in self._stores(intent):
            result = self._reserve(store, budgets, intent)
            if isinstance(result, Refusal):
                for other, hold in holds:
                    other.settle(hold, pico_usd=0, tokens=0)
                return result
            if result is not None:
                holds.append((store, result))
        return Admitted(tuple(holds))

    def settle(self, intent: Intent, ticket: Any, settlement: Settlement, /) -> None:
        """Put what the attempt cost in the place of what was reserved. Never raises.

        If the accounts cannot be written, the reservation stays counted, and the log says so.
        """
        for store, hold in ticket or ():
            spent, tokens = used(intent, settlement)
            try:
                store.settle(hold, pico_usd=spent, tokens=tokens)
            except ModelRouterError:  # the answer was paid for and must not be lost
                logger.exception("A budget could not be settled; the call counts at its worst.")

    def statuses(self, tags: Mapping[str, str] | None = None) -> tuple[BudgetStatus, ...]:
        """How the accounts of the current periods stand; those of a call with ``tags`` if given.

        Budgets by call have no account that outlives the call.

        Raises:
            StorageError: the accounts cannot be read.
        """
        now = self._clock()
        found: list[BudgetStatus] = []
        for budget in self._lasting:
            if self._store is None or (tags is not None and not budget.concerns(tags)):
                continue
            begins, until = _period(budget.per, now)
            prefix = f"{budget.account}{begins} "
            known = {a.key[len(prefix) :]: a for a in self._store.accounts(prefix, now=now)}
            if tags is not None or not isinstance(budget.tag, str):
                whose = _whose(budget, tags or {})
                known = {whose: known.get(whose, Account(prefix, until=until))}
            found += [_status(budget, whose, known[whose]) for whose in sorted(known)]
        return tuple(found)

    def close(self) -> None:
        """Close the file of the accounts, unless it was given; safe to call twice."""
        if self._owns_store and self._store is not None:
            self._store.close()

    def _stores(self, intent: Intent) -> Iterable[tuple[Store, tuple[Budget, ...]]]:
        if self._each_call:
            with intent.call.lock:
                of_the_call = intent.call.kept.setdefault(self, MemoryStore())
            yield of_the_call, self._each_call
        if self._store is not None:
            yield self._store, self._lasting

    def _reserve(
        self, store: Store, budgets: tuple[Budget, ...], intent: Intent
    ) -> Hold | Refusal | None:
        concerned = [b for b in budgets if b.concerns(intent.tags)]
        for budget in concerned:
            refuses = budget.usd is not None and budget.unknown_price == "refuse"
            if refuses and not _is_known(intent.worst_cost_usd):
                return _unpriced(budget, intent)
        if not concerned:
            return None
        now = self._clock()
        claims: dict[str, Claim] = {}
        owners: dict[str, Budget] = {}
        for budget in concerned:
            claim = _claim(budget, intent, now)
            claims[claim.account], owners[claim.account] = claim, budget
        result = store.reserve(tuple(claims.values()), now=now, expires=now + _EXPIRY_S)
        if isinstance(result, Short):
            return _short(owners[result.claim.account], result)
        return result


def used(intent: Intent, settlement: Settlement) -> tuple[int, int]:
    """What an attempt used, in units of 1e-12 USD and in tokens.

    What nobody knows counts at its worst. A provider that refused the request (400, 401, 403,
    404, 422, 429), failed while it answered nothing (5xx, but for a gateway's timeout) or could not
    be reached charges for nothing; after a timeout, a lost connection, a cancellation or a cut
    stream it may have, and an answer whose tokens it did not say, or said what cannot be, may have
    taken all.
    """
    if not settlement.asked:
        return 0, 0
    free = settlement.cost_usd is None and settlement.usage is None and _charges_nothing(settlement)
    worst, cost = _worst_pico_usd(intent), settlement.cost_usd
    estimated = settlement.usage is not None and settlement.usage.estimated
    # What a backend or another guard made of it is not trusted either: nothing is given back.
    known = cost if cost is not None and math.isfinite(cost) and cost >= 0 else None
    spent = 0 if known is None else pico_usd(min(known, _MOST_USD + 1.0))
    if free:
        spent = 0
    elif known is None or estimated:
        spent = max(spent, worst)
    tokens, most = settlement.tokens, _worst_tokens(intent)
    if tokens is not None and 0 <= tokens <= _MOST_TOKENS and not estimated:
        return spent, tokens
    nothing = free or (cost == 0.0 and _charges_nothing(settlement))
    return spent, 0 if nothing else most


def _charges_nothing(settlement: Settlement) -> bool:
    error = settlement.error
    if error is not None and not error.sent:
        return True
    if isinstance(error, ServerError):
        return error.status is not None and error.status not in _GATEWAY_TIMEOUTS
    return isinstance(error, (AuthenticationError, BadRequestError, RateLimitError))


def _told_apart(budgets: Iterable[Budget]) -> tuple[Budget, ...]:
    """The budgets, each with accounts of its own."""
    found = tuple(budgets)
    for place, budget in enumerate(found):
        if not isinstance(budget, Budget):
            raise ConfigurationError(
                f"budgets[{place}] is {budget!r}, not a Budget.", hint="Budget(usd=5.0), say."
            )
    accounts = [b.account for b in found]
    for place, budget in enumerate(found):
        if accounts.index(budget.account) != place:
            raise ConfigurationError(
                f"budgets[{place}] ({budget}) counts the same calls as "
                f"budgets[{accounts.index(budget.account)}].",
                hint='Give both limits to one, Budget(usd=..., tokens=...), or name="...".',
            )
    return found


def _claim(budget: Budget, intent: Intent, now: float) -> Claim:
    begins, until = _period(budget.per, now)
    return Claim(
        account=f"{budget.account}{begins} {_whose(budget, intent.tags)}",
        pico_usd=_worst_pico_usd(intent),
        tokens=_worst_tokens(intent),
        limit_pico_usd=None if budget.usd is None else pico_usd(budget.usd),
        limit_tokens=budget.tokens,
        until=until,
    )


def _is_known(amount_usd: float | None) -> bool:
    return amount_usd is not None and math.isfinite(amount_usd)


def _worst_pico_usd(intent: Intent) -> int:
    """Above every budget at most, so that it fits into a store's integers."""
    worst = intent.worst_cost_usd
    if worst is None or not math.isfinite(worst):
        return 0
    return max(0, min(pico_usd(worst), _MOST_PICO_USD + 1))


def _worst_tokens(intent: Intent) -> int:
    return max(0, min(intent.prompt_tokens + intent.output_tokens, _MOST_TOKENS))


def _whose(budget: Budget, tags: Mapping[str, str]) -> str:
    if not isinstance(budget.tag, str):
        return ""
    # Half of a surrogate pair cannot be stored.
    return str(tags.get(budget.tag, "")).encode("utf-8", "backslashreplace").decode()


def _period(per: Period, now: float) -> tuple[str, float | None]:
    """The current period's name, and when it ends."""
    if per in ("total", "call"):
        return "-", None
    at = datetime.fromtimestamp(now, timezone.utc)
    if per == "hour":
        begin = at.replace(minute=0, second=0, microsecond=0)
        return f"{begin:%Y-%m-%dT%H}", (begin + timedelta(hours=1)).timestamp()
    begin = at.replace(hour=0, minute=0, second=0, microsecond=0)
    if per == "day":
        return f"{begin:%Y-%m-%d}", (begin + timedelta(days=1)).timestamp()
    next_month = (begin.replace(day=1) + timedelta(days=32)).replace(day=1)
    return f"{begin:%Y-%m}", next_month.timestamp()


def _status(budget: Budget, whose: str, account: Account) -> BudgetStatus:
    left_usd = None if budget.usd is None else usd(max(0, pico_usd(budget.usd) - account.pico_usd))
    return BudgetStatus(
        budget=budget,
        whose=whose,
        spent_usd=usd(account.pico_usd - account.reserved_pico_usd),
        spent_tokens=account.tokens - account.reserved_tokens,
        reserved_usd=usd(account.reserved_pico_usd),
        reserved_tokens=account.reserved_tokens,
        left_usd=left_usd,
        left_tokens=None if budget.tokens is None else max(0, budget.tokens - account.tokens),
        ends_at=account.until,
    )


def _short(budget: Budget, short: Short) -> Refusal:
    """Too little is left; if only calls under way stand in the way, they may give some back."""
    claim, account = short.claim, short.account
    in_the_way = claim.fits(
        account.pico_usd - account.reserved_pico_usd, account.tokens - account.reserved_tokens
    )
    amounts: tuple[str, ...]
    if claim._replace(limit_tokens=None).fits(account.pico_usd, account.tokens):
        counts = (claim.tokens, account.tokens, account.reserved_tokens)
        amounts = tuple(f"{count:,} tokens" for count in counts)
    else:
        sums = (claim.pico_usd, account.pico_usd, account.reserved_pico_usd)
        amounts = tuple(f"${usd(amount):.6f}" for amount in sums)
    needs, has, held = amounts
    return Refusal(
        Reason(
            "budget",
            "the call may take {}; of the {}, {} are taken, {} of them by calls under way",
            (needs, str(budget), has, held),
            _way_out(budget, claim),
        ),
        retry_in_s=_POLL_S if in_the_way else None,
        final=budget.at_limit == "raise",
    )


def _way_out(budget: Budget, claim: Claim) -> str:
    if not claim.fits(0, 0):
        return "lower max_tokens, shorten the prompt, or raise the budget"
    if claim.until is None:
        return "lower max_tokens, or raise the budget"
    end = datetime.fromtimestamp(claim.until, timezone.utc)
    return f"lower max_tokens, raise the budget, or wait until {end:%Y-%m-%d %H:%M} UTC"


def _unpriced(budget: Budget, intent: Intent) -> Refusal:
    return Refusal(
        Reason(
            "budget",
            "its price is unknown, so that nothing can be reserved in the {}",
            (str(budget),),
            f"give the card of {intent.card.name} a price: price=Price(input=..., output=...)",
        ),
        final=False,
    )


def _tags_of(tag: Mapping[str, str] | None) -> str:
    return "" if tag is None else " for " + ", ".join(f"{k}={v}" for k, v in tag.items())
