"""One deployment's requests and tokens of the last 60 seconds, and who waits for room among them.

A sliding window, exact: no 60 seconds ever hold more than the limit, where a token bucket lets
twice as much through around a pause. Waiting calls are planned in the order they came; each learns
when its turn is. A call that does not ask again when it said it would has gone elsewhere and loses
its place. Told the time, this module asks no clock.

Of the libraries, limits 5.8 and pyrate-limiter 4.5 can neither give back what was reserved and not
used nor queue in order; aiolimiter 1.3 (2024) is a leaky bucket for asyncio alone.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain
from typing import Final

from modelrouter.config import RateLimit
from modelrouter.guards.base import OneCall

__all__ = ["LOOK_AGAIN_S", "Entry", "Window"]

_LENGTH_S: Final = 60.0
LOOK_AGAIN_S: Final = 1.0
"""How often a waiting call asks, so that its place is kept and room given back is used."""
_GRACE_S: Final = 0.5
_SHORTEST_S: Final = 0.01


@dataclass(slots=True)
class Entry:
    """A request that was let through: when, and its tokens, at their worst until it is settled."""

    at: float
    tokens: int


@dataclass(slots=True)
class _Waiter:
    tokens: int
    turn: float
    promised: float


class Window:
    """What was let through in the last 60 seconds. Its owner keeps threads apart."""

    def __init__(self, limit: RateLimit) -> None:
        self.limit = limit
        self._entries: deque[Entry] = deque()
        self._tokens = 0
        self._waiting: dict[OneCall, _Waiter] = {}
        self._plan: _Plan | None = None

    def admit(self, call: OneCall, tokens: int, now: float) -> Entry | float:
        """Let a request through, or say in how many seconds its turn is.

        One that needs more tokens than a minute has gets a whole minute to itself.
        """
        if self.limit.tpm is not None:
            tokens = min(tokens, self.limit.tpm)
        self._forget(now)
        waiter = self._waiting.get(call)
        if waiter is None:
            if not self._waiting and self._has_room(tokens):
                return self._enter(tokens, now)
            waiter = self._waiting[call] = _Waiter(tokens, 0.0, now)
            if self._plan is not None:
                waiter.turn = self._plan.turn(tokens)
        elif waiter.tokens != tokens:
            waiter.tokens, self._plan = tokens, None
        self._make_plan(now)
        if waiter.turn <= now and self._has_room(tokens):
            del self._waiting[call]
            self._plan = None
            return self._enter(tokens, now)
        if waiter.turn <= now:  # those before it came later than planned
            self._plan = None
            self._make_plan(now)
        wait = max(waiter.turn - now, _SHORTEST_S)
        waiter.promised = now + min(wait, LOOK_AGAIN_S)
        return wait

    def settle(self, entry: Entry, tokens: int) -> None:
        """Count what a request did use."""
        if entry.tokens != tokens:
            if self._entries and entry.at >= self._entries[0].at:
                self._tokens += tokens - entry.tokens
            entry.tokens = tokens
            self._plan = None

    def withdraw(self, entry: Entry) -> None:
        """Forget a request that was never made."""
        for place, each in enumerate(self._entries):
            if each is entry:
                del self._entries[place]
                self._tokens -= entry.tokens
                self._plan = None
                return

    def _enter(self, tokens: int, now: float) -> Entry:
        entry = Entry(now, tokens)
        self._entries.append(entry)
        self._tokens += tokens
        return entry

    def _has_room(self, tokens: int) -> bool:
        return _fits(self.limit, len(self._entries), self._tokens, tokens)

    def _forget(self, now: float) -> None:
        """What was let through 60 seconds ago, and calls that have gone elsewhere."""
        while self._entries and self._entries[0].at <= now - _LENGTH_S:
            self._tokens -= self._entries.popleft().tokens
        gone = [call for call, w in self._waiting.items() if w.promised + _GRACE_S < now]
        for call in gone:
            del self._waiting[call]
            self._plan = None

    def _make_plan(self, now: float) -> None:
        if self._plan is None:
            self._plan = _Plan(self.limit, [(e.at, e.tokens) for e in self._entries], now)
            for waiter in self._waiting.values():
                waiter.turn = self._plan.turn(waiter.tokens)


class _Plan:
    """Gives out turns one after another, each as early as the limit allows."""

    def __init__(self, limit: RateLimit, entries: list[tuple[float, int]], now: float) -> None:
        self._limit, self._at = limit, now
        self._requests, self._tokens = len(entries), sum(tokens for _, tokens in entries)
        self._planned: list[tuple[float, int]] = []
        # Turns given out are themselves waited for by later ones: the list grows as it is read.
        self._oldest: Iterator[tuple[float, int]] = chain(entries, self._planned)

    def turn(self, tokens: int) -> float:
        while not _fits(self._limit, self._requests, self._tokens, tokens):
            at, given_back = next(self._oldest)
            self._at = max(self._at, at + _LENGTH_S)
            self._requests -= 1
            self._tokens -= given_back
        self._requests += 1
        self._tokens += tokens
        self._planned.append((self._at, tokens))
        return self._at


def _fits(limit: RateLimit, requests: int, tokens: int, more: int) -> bool:
    return (limit.rpm is None or requests < limit.rpm) and (
        limit.tpm is None or tokens + more <= limit.tpm
    )
