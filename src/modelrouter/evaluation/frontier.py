"""Any number of models with prices: quality over cost, and what a router gains at a given price.

The router follows the value rule (:mod:`modelrouter.fitting.value`); letting the worth of a task
done well grow from nothing draws its whole cost-quality curve, as in RouterBench
(arXiv:2403.12031). The curve is exact: it has a point wherever a task changes its model.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modelrouter.fitting.value import hull, moves

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.intp]

__all__ = ["PRICE_STEPS", "Frontier", "Gap", "Path", "break_even", "closed", "mixture"]

PRICE_STEPS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""The prices of quality compared at, as multiples of the break-even price."""


@dataclass(frozen=True, eq=False)
class Frontier:
    """Mean quality over mean cost, costs rising.

    Attributes:
        costs: mean cost a task.
        qualities: mean score at that cost.
    """

    costs: Floats
    qualities: Floats

    def quality_at(self, cost: float) -> float:
        """The best mean score that costs at most so much; NaN below the cheapest point."""
        import numpy as np

        if cost < self.costs[0]:
            return math.nan
        best = np.maximum.accumulate(self.qualities)
        return float(np.interp(cost, self.costs, best))

    def cost_of(self, quality: float) -> float:
        """The least mean cost at which the curve reaches a mean score; NaN where it never does."""
        import numpy as np

        quality -= 1e-9  # sums of the same scores in another order differ by rounding
        reached = np.flatnonzero(self.qualities >= quality)
        if not len(reached):
            return math.nan
        i = int(reached[0])
        if i == 0:
            return float(self.costs[0])
        rise = self.qualities[i] - self.qualities[i - 1]
        part = (quality - self.qualities[i - 1]) / rise
        return float(self.costs[i - 1] + part * (self.costs[i] - self.costs[i - 1]))

    def area(self, low: float, high: float) -> float:
        """Mean quality over costs ``low`` to ``high``; past the last point quality stays."""
        import numpy as np

        if high <= low:
            return math.nan
        inside = self.costs[(self.costs > low) & (self.costs < high)]
        costs = np.concatenate(([low], inside, [high]))
        qualities = np.interp(costs, self.costs, self.qualities)
        steps = np.diff(costs) * (qualities[1:] + qualities[:-1]) / 2
        return float(np.sum(steps) / (high - low))


class Path:
    """A router's moves on labelled tasks: gives its curve on any sample of them."""

    def __init__(self, predicted: Floats, costs: Floats, scores: Floats) -> None:
        import numpy as np

        made = moves(predicted, costs)
        rows = np.arange(len(made.start))
        self._task = made.task
        self._first = costs[rows, made.start], scores[rows, made.start]
        self._then = tuple(
            table[made.task, made.after] - table[made.task, made.before]
            for table in (costs, scores)
        )

    def frontier(self, sample: Indices | None = None) -> Frontier:
        """The curve over all tasks, or over a sample of them (indices, which may repeat)."""
        import numpy as np

        count = len(self._first[0])
        weight = np.ones(count)
        if sample is not None:
            weight = np.bincount(sample, minlength=count).astype(float)
        weight /= weight.sum()
        moved = weight[self._task]
        costs, qualities = (
            weight @ first + np.append(0.0, np.cumsum(then * moved))
            for first, then in zip(self._first, self._then, strict=True)
        )
        return Frontier(costs, qualities)


def break_even(costs: Floats, scores: Floats) -> float:
    """What a task done well must be worth for the best single model to pay over the cheapest.

    NaN where the cheapest single model is the best, so that there is no trade-off.
    """
    import numpy as np

    cost, quality = costs.mean(axis=0), scores.mean(axis=0)
    best = int(np.lexsort((cost, -quality))[0])
    cheapest = int(np.lexsort((-quality, cost))[0])
    if quality[best] <= quality[cheapest] or cost[best] <= cost[cheapest]:
        return math.nan
    return float((cost[best] - cost[cheapest]) / (quality[best] - quality[cheapest]))


@dataclass(frozen=True, slots=True)
class Gap:
    """What there was to gain over the best single model at a price of quality, and what was.

    In mean score, the cost being turned into it at that price. ``possible`` is what an oracle
    gains, ``gained`` what a choice does: below 0 when one model for everything were better. The
    best single model is the best on these tasks at that price.
    """

    possible: float
    gained: float


def closed(gaps: Sequence[Gap]) -> float:
    """Share of the gaps that is closed, all taken together.

    0 is no better than one model for everything, 1 the oracle, below 0 worse than one model. NaN
    where even the oracle gains nothing.
    """
    possible = sum(g.possible for g in gaps)
    # Adding 0.0 makes a negative zero a plain one.
    return sum(g.gained for g in gaps) / possible + 0.0 if possible > 1e-12 else math.nan


def mixture(costs: Floats, scores: Floats) -> Frontier:
    """What tossing a coin between single models gives on average: their upper hull.

    The least that a router must beat: it knows nothing of the task (RouterBench's "zero router").
    """
    import numpy as np

    cost, quality = costs.mean(axis=0), scores.mean(axis=0)
    best = hull(quality.tolist(), cost.tolist())
    return Frontier(np.asarray(cost[best]), np.asarray(quality[best]))
