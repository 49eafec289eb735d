"""Pace: how many rows a step should compute, from how long steps took.

llama.cpp computes sequences with neighbouring numbers together, and the others apart; and some of
its kernels take sixteen rows at a time, so that sixteen may take less time than twelve. A row for a
sequence that has nothing to say, thrown away after, can thus make the others quicker. Whether it
does depends on the processor, the weights' format and the model; so it is measured, not assumed.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Final

__all__ = ["Pace"]

_TOGETHER: Final = 16
"""Rows that the widest kernels compute at once."""
_MOST_ADDED: Final = 4
"""Rows worth adding to make those full."""
_FADING: Final = 0.2
_TRY_OTHER: Final = 64
"""Once in so many choices the second best is taken, so that its time is known as it is now."""


class Pace:
    """What steps of so many rows took; times fade, and are in seconds.

    Args:
        sequences: the most rows of a step; 0 if idle ones are out of the question.
    """

    def __init__(self, sequences: int) -> None:
        self._sequences = sequences
        self._took: dict[int, float] = {}
        self._choices = 0

    def note(self, rows: int, seconds: float) -> None:
        """A step of so many neighbouring rows took so long."""
        known = self._took.get(rows)
        self._took[rows] = seconds if known is None else known + (seconds - known) * _FADING

    def rows(self, sequences: Sequence[int]) -> int:
        """How many sequences, from number 0 on, to compute a row of.

        Args:
            sequences: the numbers of those that have a token to read, in order.

        Returns:
            The count, idle ones between and after them included; 0 for these alone.
        """
        end = sequences[-1] + 1
        full = -(-end // _TOGETHER) * _TOGETHER
        gap = len(sequences) < end <= self._sequences
        fill = full != end and full - end <= _MOST_ADDED and full <= self._sequences
        if not gap and not fill:
            return 0
        options = [(self._apart(sequences), 0)]
        if gap:
            options.append((self._expected(end), end))
        if fill:
            best = min(options)[0]
            options.append((self._took.get(full, 0.99 * best), full))
        options.sort()
        self._choices += 1
        return options[self._choices % _TRY_OTHER == 0][1]

    def _apart(self, sequences: Sequence[int]) -> float:
        """Expected time with every run of neighbours computed for itself."""
        lengths, length = [], 1
        for one, next_one in pairwise(sequences):
            if next_one != one + 1:
                lengths.append(length)
                length = 0
            length += 1
        return sum(map(self._expected, [*lengths, length]))

    def _expected(self, rows: int) -> float:
        """As measured, or between the nearest counts that were; fewer rows are never free."""
        took = self._took
        if rows in took:
            return took[rows]
        below = max((n for n in took if n < rows), default=None)
        above = min((n for n in took if n > rows), default=None)
        if below is None:
            return took[above] if above is not None else 1.0
        if above is None:
            return took[below] * rows / below
        share = (rows - below) / (above - below)
        return took[below] + (took[above] - took[below]) * share
