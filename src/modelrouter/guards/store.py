"""The contract of what keeps accounts of money and tokens, and a store in this process's memory.

A reservation adds its worst case to every account that it concerns, or to none, in one step that
no other can come between; settling it puts what was really used in its place. What is reserved is
counted from the first moment on, so that concurrent calls cannot pass a limit together. If a
process is killed between the two, its reservations stay counted at their worst: the provider may
have charged for them. No clean-up can therefore free money that was spent.

A shared store fills :class:`Store` with one atomic step each for ``reserve`` and ``settle``: a Lua
script in Redis, a transaction with ``SELECT ... FOR UPDATE`` in Postgres.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Final, NamedTuple, Protocol

from modelrouter._common.process import OfOneProcess

__all__ = ["Account", "Claim", "Hold", "MemoryStore", "Short", "Store"]


class Claim(NamedTuple):
    """What a call needs of one account at its worst, and how far the account may go.

    Attributes:
        account: its key; the period is part of it, so that a new period is a new account.
        pico_usd: money, in whole units of 1e-12 USD.
        tokens: prompt and answer.
        limit_pico_usd, limit_tokens: what the account may hold with this; ``None`` for any.
        until: when the period ends, in seconds of Unix time; ``None`` for never. The account may
            be forgotten some time after.
    """

    account: str
    pico_usd: int
    tokens: int
    limit_pico_usd: int | None = None
    limit_tokens: int | None = None
    until: float | None = None

    def fits(self, pico_usd: int, tokens: int) -> bool:
        """Whether an account that holds so much may take this too."""
        return (
            self.limit_pico_usd is None or pico_usd + self.pico_usd <= self.limit_pico_usd
        ) and (self.limit_tokens is None or tokens + self.tokens <= self.limit_tokens)


@dataclass(frozen=True, slots=True)
class Account:
    """How an account stands.

    Attributes:
        key: its name.
        pico_usd, tokens: all that counts against its limit, reservations included.
        reserved_pico_usd, reserved_tokens: the part of it that calls under way have reserved.
        until: when its period ends.
    """

    key: str
    pico_usd: int = 0
    tokens: int = 0
    reserved_pico_usd: int = 0
    reserved_tokens: int = 0
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A reservation, to be settled."""

    number: int
    claims: tuple[Claim, ...]


@dataclass(frozen=True, slots=True)
class Short:
    """Nothing was reserved: this account has too little left for its claim."""

    claim: Claim
    account: Account


class Store(Protocol):
    """Keeps accounts. Called from any thread, and by several processes where it is shared."""

    def reserve(self, claims: Sequence[Claim], *, now: float, expires: float) -> Hold | Short:
        """Take every claim, or none and say which account is short.

        Args:
            claims: on accounts that all differ.
            now: seconds of Unix time.
            expires: from then on, a reservation that was not settled counts as spent at its worst.

        Raises:
            StorageError: the store cannot be used; nothing is reserved then.
        """
        ...

    def settle(self, hold: Hold, *, pico_usd: int, tokens: int) -> None:
        """Put what was used in the place of what was reserved; a second time changes nothing.

        Amounts below zero count as none: nothing is ever given to an account.

        Raises:
            StorageError: the store cannot be used; the reservation stays counted.
        """
        ...

    def accounts(self, prefix: str, *, now: float) -> Sequence[Account]:
        """The accounts whose keys begin so and whose period has not ended.

        Raises:
            StorageError: the store cannot be used.
        """
        ...

    def close(self) -> None:
        """Free what the store holds; safe to call twice."""
        ...


class MemoryStore(OfOneProcess):
    """Accounts in this process alone, forgotten when it ends."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._accounts: dict[str, Account] = {}
        self._holds: dict[int, float] = {}
        self._claims: dict[int, tuple[Claim, ...]] = {}
        self._numbers = itertools.count(1)
        self._swept = 0.0

    def reserve(self, claims: Sequence[Claim], *, now: float, expires: float) -> Hold | Short:
        """Take every claim, or none and say which account is short."""
        with self._lock:
            self._sweep(now)
            for claim in claims:
                account = self._account(claim)
                if not claim.fits(account.pico_usd, account.tokens):
                    return Short(claim, self._with_reserved(account, now))
            for claim in claims:
                self._add(claim, claim.pico_usd, claim.tokens)
            hold = Hold(next(self._numbers), tuple(claims))
            self._holds[hold.number], self._claims[hold.number] = expires, hold.claims
            return hold

    def settle(self, hold: Hold, *, pico_usd: int, tokens: int) -> None:
        """Put what was used in the place of what was reserved; a second time changes nothing."""
        pico_usd, tokens = max(0, pico_usd), max(0, tokens)
        with self._lock:
            if self._holds.pop(hold.number, None) is None:
                return
            for claim in self._claims.pop(hold.number):
                if claim.account in self._accounts:
                    self._add(claim, pico_usd - claim.pico_usd, tokens - claim.tokens)

    def accounts(self, prefix: str, *, now: float) -> Sequence[Account]:
        """The accounts whose keys begin so and whose period has not ended."""
        with self._lock:
            return [
                self._with_reserved(account, now)
                for key, account in self._accounts.items()
                if key.startswith(prefix) and (account.until is None or account.until > now)
            ]

    def close(self) -> None:
        """Nothing to free."""

    def _account(self, claim: Claim) -> Account:
        found = self._accounts.get(claim.account)
        return Account(claim.account, until=claim.until) if found is None else found

    def _add(self, claim: Claim, pico_usd: int, tokens: int) -> None:
        account = self._account(claim)
        self._accounts[claim.account] = replace(
            account, pico_usd=account.pico_usd + pico_usd, tokens=account.tokens + tokens
        )

    def _with_reserved(self, account: Account, now: float) -> Account:
        held = [
            claim
            for number, claims in self._claims.items()
            if self._holds[number] > now
            for claim in claims
            if claim.account == account.key
        ]
        return replace(
            account,
            reserved_pico_usd=sum(claim.pico_usd for claim in held),
            reserved_tokens=sum(claim.tokens for claim in held),
        )

    def _sweep(self, now: float) -> None:
        """Forget accounts whose period ended a day ago, once an hour.

        A clock that was set far ahead for a while must not make today's account one of these, so
        that those of the last days on which there were any stay, however long ago that seems.
        """
        if 0 <= now - self._swept < 3_600:
            return
        self._swept = now
        ends = {key: a.until for key, a in self._accounts.items() if a.until is not None}
        days = sorted({end // DAY for end in ends.values()})
        if len(days) < DAYS_KEPT:
            return
        over = min(now - DAY, days[-DAYS_KEPT] * DAY)
        for key, end in ends.items():
            if end < over:
                del self._accounts[key]


DAY: Final = 86_400.0
"""Seconds that an account is kept after its period, for calls that began in it."""
DAYS_KEPT: Final = 7
"""Days on which periods ended whose accounts are kept whatever the clock says."""
