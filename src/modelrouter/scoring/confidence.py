"""From a local model's own probabilities to the chance that its answer is right, by kind."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import groupby, pairwise
from operator import itemgetter

from modelrouter.exceptions import InvalidExamplesError
from modelrouter.task import Kind

__all__ = ["LEAST_ROWS", "Curves", "fit_curves"]

LEAST_ROWS = 20
"""Scored answers of a kind below which nothing is learned about it."""

Points = tuple[tuple[float, float], ...]


@dataclass(frozen=True)
class Curves:
    """P(right) by kind, from the geometric mean of an answer's token probabilities.

    Each kind has points (probability, P(right)), both rising, with straight lines between them. A
    kind without any keeps the probability as it is: it orders answers, but is not a frequency. None
    ship: what a probability means depends on the model and on what counts as right.
    """

    points: Mapping[Kind, Points] = field(default_factory=dict)

    def p_correct(self, kind: Kind, probability: float) -> float:
        """The chance that an answer is right, 0 to 1."""
        points = self.points.get(kind)
        if not points:
            return probability
        at = bisect_right(points, (probability, 2.0))
        if at == 0:
            return points[0][1]
        if at == len(points):
            return points[-1][1]
        (x0, y0), (x1, y1) = points[at - 1], points[at]
        return y0 + (y1 - y0) * (probability - x0) / (x1 - x0)

    def probability(self, kind: Kind, p_correct: float) -> float:
        """The least probability at which the chance is ``p_correct``; above 1 if none is."""
        points = self.points.get(kind)
        if not points:
            return p_correct
        if p_correct <= points[0][1]:
            return 0.0
        for (x0, y0), (x1, y1) in pairwise(points):
            if p_correct <= y1:
                return x0 + (x1 - x0) * (p_correct - y0) / (y1 - y0)
        return 1.0 + 1e-9


def fit_curves(rows: Iterable[tuple[Kind, float, float]]) -> Curves:
    """Learn from answers whose score is known: kind, probability and score, each 0 to 1.

    Isotonic regression by pooling adjacent violators (Ayer and others, 1955), kind by kind; kinds
    with fewer than :data:`LEAST_ROWS` rows are left out.

    Raises:
        InvalidExamplesError: a value is out of range (with the row's number), or no kind has rows
            enough.
    """
    by_kind: dict[Kind, list[tuple[float, float]]] = {}
    for number, (kind, probability, score) in enumerate(rows, 1):
        for name, value in (("probability", probability), ("score", score)):
            if not 0.0 <= value <= 1.0:
                raise InvalidExamplesError(f"row {number}: {name} is {value!r}, not 0 to 1.")
        by_kind.setdefault(kind, []).append((probability, score))
    known = {k: _isotonic(sorted(r)) for k, r in by_kind.items() if len(r) >= LEAST_ROWS}
    if not known:
        raise InvalidExamplesError(
            f"No kind has {LEAST_ROWS} scored answers.", hint="Give feedback on more replies."
        )
    return Curves(known)


def _isotonic(rows: list[tuple[float, float]]) -> Points:
    """Points of the best rising curve: each pool's mean probability and mean score."""
    pools: list[tuple[float, float, int]] = []  # sums of probability and score, how many
    for x, group in groupby(rows, key=itemgetter(0)):
        scores = [score for _, score in group]
        pools.append((x * len(scores), sum(scores), len(scores)))
        while len(pools) > 1 and pools[-2][1] * pools[-1][2] >= pools[-1][1] * pools[-2][2]:
            (x1, y1, n1), (x2, y2, n2) = pools[-2:]
            pools[-2:] = [(x1 + x2, y1 + y2, n1 + n2)]
    return tuple((x / n, y / n) for x, y, n in pools)
