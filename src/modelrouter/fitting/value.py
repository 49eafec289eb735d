"""The value rule: what a task done well is worth decides how dear a model it may be given.

When one more task done well is worth ``v`` USD, the best model for a task is that of the highest
``v * P(quality) - cost``. As ``v`` grows from nothing, a task moves along the upper hull of quality
over cost, from the cheapest model to the most promising one; cost and expected quality only grow.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.intp]

__all__ = ["Moves", "choose", "hull", "moves"]


@dataclass(frozen=True, eq=False)
class Moves:
    """Every change of a task's model as its worth grows, in the order they are made.

    Attributes:
        start: the model of each task when only cost counts (of equally cheap ones the best).
        task, before, after: move ``i`` takes ``task[i]`` from one model to another.
        value: above this worth, in the unit of cost, the move is made; it never falls.
    """

    start: Indices
    task: Indices
    before: Indices
    after: Indices
    value: Floats


def moves(quality: Floats, costs: Floats) -> Moves:
    """The moves of all tasks; ``quality`` (predicted) and ``costs`` are tasks by models."""
    import numpy as np

    start: list[int] = []
    found: list[tuple[float, int, int, int]] = []
    for task in range(len(quality)):
        promised, cost = quality[task].tolist(), costs[task].tolist()
        stations = hull(promised, cost)
        start.append(stations[0])
        least = 0.0
        for one, other in itertools.pairwise(stations):
            # Rising along a hull, but for rounding; which must not put a task's moves in disorder.
            least = max(least, (cost[other] - cost[one]) / (promised[other] - promised[one]))
            found.append((least, task, one, other))
    found.sort(key=lambda move: move[0])
    task_of, before, after = (
        np.array([move[i] for move in found], dtype=np.intp) for i in (1, 2, 3)
    )
    values = np.array([move[0] for move in found], dtype=float)
    return Moves(np.array(start, dtype=np.intp), task_of, before, after, values)


def choose(quality: Floats, costs: Floats, value: float) -> Indices:
    """Each task's model at that worth; of equals the cheaper, as a policy decides."""
    import numpy as np

    worth = value * quality - costs
    best = worth >= worth.max(axis=1, keepdims=True)
    chosen: Indices = np.argmin(np.where(best, costs, np.inf), axis=1).astype(np.intp)
    return chosen


def hull(quality: list[float], cost: list[float]) -> list[int]:
    """Models on the upper hull of quality over cost, cheapest first, both rising."""
    found: list[int] = []
    for model in sorted(range(len(cost)), key=lambda m: (cost[m], -quality[m])):
        if found and quality[model] <= quality[found[-1]]:
            continue
        while len(found) > 1 and _below(found[-2], found[-1], model, quality, cost):
            found.pop()
        found.append(model)
    return found


def _below(a: int, b: int, c: int, quality: list[float], cost: list[float]) -> bool:
    """Whether ``b`` lies on or below the line from ``a`` to ``c``."""
    return (quality[b] - quality[a]) * (cost[c] - cost[a]) <= (quality[c] - quality[a]) * (
        cost[b] - cost[a]
    )
