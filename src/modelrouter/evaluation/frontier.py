"""Any number of models with prices: quality over cost, and what a router gains at a given price.

At a price of quality ``v`` (USD that one more task done well is worth), a router sends each task
to the model of the highest ``v * predicted quality - cost``. Letting ``v`` grow from nothing draws
the router's whole cost-quality curve (as in RouterBench, arXiv:2403.12031). The curve is exact: it
has a point wherever a task changes its model.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.intp]

__all__ = [
    "PRICE_STEPS",
    "Frontier",
    "Moves",
    "break_even",
    "choose",
    "gap_closed",
    "mixture",
    "moves",
]

PRICE_STEPS: Final = (0.25, 0.5, 1.0, 2.0, 4.0)
"""The prices of quality compared at, as multiples of the break-even price."""


@dataclass(frozen=True, eq=False)
class Frontier:
    """Mean quality over mean cost, costs rising.

    Attributes:
        costs: mean USD a task.
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
        """The least mean USD at which the curve reaches a mean score; NaN where it never does."""
        import numpy as np

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


@dataclass(frozen=True, eq=False)
class Moves:
    """Every change of a task's model as quality grows dearer, in the order they are made.

    ``start`` is the model of each task when only cost counts; move ``i`` takes task ``task[i]`` to
    another model and adds ``cost[i]`` and ``quality[i]``.
    """

    start: Indices
    task: Indices
    cost: Floats
    quality: Floats

    def frontier(self, costs: Floats, scores: Floats, sample: Indices | None = None) -> Frontier:
        """The curve over all tasks, or over a sample of them (indices, which may repeat)."""
        import numpy as np

        rows = np.arange(len(self.start))
        count = len(rows) if sample is None else len(sample)
        weight = (
            np.ones(len(rows))
            if sample is None
            else np.bincount(sample, minlength=len(rows)).astype(float)
        )
        first_cost = float(weight @ costs[rows, self.start]) / count
        first_quality = float(weight @ scores[rows, self.start]) / count
        moved = weight[self.task] / count
        return Frontier(
            first_cost + np.append(0.0, np.cumsum(self.cost * moved)),
            first_quality + np.append(0.0, np.cumsum(self.quality * moved)),
        )


def moves(predicted: Floats, costs: Floats, scores: Floats) -> Moves:
    """The moves along each task's upper hull of predicted quality over cost, best value first."""
    import numpy as np

    start: list[int] = []
    found: list[tuple[float, int, int, int]] = []
    for task in range(len(predicted)):
        hull = _hull(predicted[task].tolist(), costs[task].tolist())
        start.append(hull[0])
        for one, other in itertools.pairwise(hull):
            gain = predicted[task, other] - predicted[task, one]
            found.append((-gain / (costs[task, other] - costs[task, one]), task, one, other))
    # Within a task slopes fall, so a stable order by slope keeps its moves in their order.
    found.sort(key=lambda move: move[0])
    task_of = np.array([move[1] for move in found], dtype=np.intp)
    before = np.array([move[2] for move in found], dtype=np.intp)
    after = np.array([move[3] for move in found], dtype=np.intp)
    return Moves(
        np.array(start, dtype=np.intp),
        task_of,
        costs[task_of, after] - costs[task_of, before],
        scores[task_of, after] - scores[task_of, before],
    )


def choose(predicted: Floats, costs: Floats, value: float) -> Indices:
    """The model of each task when one more task done well is worth ``value`` USD.

    Of equals the cheaper one, as a policy would.
    """
    import numpy as np

    worth = value * predicted - costs
    best = worth >= worth.max(axis=1, keepdims=True)
    chosen: Indices = np.argmin(np.where(best, costs, np.inf), axis=1).astype(np.intp)
    return chosen


def break_even(costs: Floats, scores: Floats) -> float:
    """USD a task done well must be worth for the best single model to pay over the cheapest.

    NaN where the cheapest single model is the best, so that there is no trade-off.
    """
    import numpy as np

    cost, quality = costs.mean(axis=0), scores.mean(axis=0)
    best = int(np.lexsort((cost, -quality))[0])
    cheapest = int(np.lexsort((-quality, cost))[0])
    if quality[best] <= quality[cheapest] or cost[best] <= cost[cheapest]:
        return math.nan
    return float((cost[best] - cost[cheapest]) / (quality[best] - quality[cheapest]))


def gap_closed(chosen: Indices, costs: Floats, scores: Floats, value: float) -> float:
    """Share of the gap between the best single model and the oracle that a choice closes.

    All three in ``value * score - cost``, the best single model being the best at that value. 0 is
    no better than one model for everything, 1 the oracle, below 0 worse than one model. NaN
    where the oracle gains nothing.
    """
    import numpy as np

    worth = value * scores - costs
    single = float(worth.mean(axis=0).max())
    oracle = float(worth.max(axis=1).mean())
    routed = float(worth[np.arange(len(worth)), chosen].mean())
    gap = oracle - single
    # Adding 0.0 makes a negative zero a plain one.
    return (routed - single) / gap + 0.0 if gap > 1e-15 else math.nan


def mixture(costs: Floats, scores: Floats) -> Frontier:
    """What tossing a coin between single models gives on average: their upper hull.

    The least that a router must beat: it knows nothing of the task (RouterBench's "zero router").
    """
    import numpy as np

    cost, quality = costs.mean(axis=0), scores.mean(axis=0)
    hull = _hull(quality.tolist(), cost.tolist())
    return Frontier(np.asarray(cost[hull]), np.asarray(quality[hull]))


def _hull(quality: list[float], cost: list[float]) -> list[int]:
    """Models on the upper hull of quality over cost, cheapest first, quality rising."""
    order = sorted(range(len(cost)), key=lambda m: (cost[m], -quality[m]))
    hull: list[int] = []
    for model in order:
        if hull and quality[model] <= quality[hull[-1]]:
            continue
        while len(hull) > 1 and _below(hull[-2], hull[-1], model, quality, cost):
            hull.pop()
        if hull and cost[model] == cost[hull[-1]]:
            hull.pop()
        hull.append(model)
    return hull


def _below(a: int, b: int, c: int, quality: list[float], cost: list[float]) -> bool:
    """Whether ``b`` lies on or below the line from ``a`` to ``c``."""
    return (quality[b] - quality[a]) * (cost[c] - cost[a]) <= (quality[c] - quality[a]) * (
        cost[b] - cost[a]
    )
