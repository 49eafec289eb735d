"""How long answers took lately: quantiles of the last ones of one deployment."""

from __future__ import annotations

import math
from collections import deque
from typing import Final

__all__ = ["Latencies"]

_KEPT: Final = 200
_ENOUGH: Final = 10
"""Answers before which no quantile is given: the 95th of five says little."""


class Latencies:
    """The last answers' times, in seconds. Its owner keeps threads apart."""

    __slots__ = ("_first_token", "_whole", "answered")

    def __init__(self) -> None:
        self.answered = 0
        self._whole: deque[float] = deque(maxlen=_KEPT)
        self._first_token: deque[float] = deque(maxlen=_KEPT)

    def add(self, duration_s: float, first_token_s: float | None) -> None:
        """Take an answer's times down."""
        self.answered += 1
        self._whole.append(duration_s)
        if first_token_s is not None:
            self._first_token.append(first_token_s)

    def quantile(self, share: float, *, first_token: bool = False) -> float | None:
        """Seconds within which that share of the last answers came; ``None`` if they are few."""
        times = sorted(self._first_token if first_token else self._whole)
        if len(times) < _ENOUGH:
            return None
        return times[min(len(times) - 1, math.ceil(share * len(times)) - 1)]
