"""The examples as a table: each task once, with every model's score and cost."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from modelrouter.fitting.examples import Example, task_key
from modelrouter.task import Task

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["Table", "tabulate"]


@dataclass(frozen=True, eq=False)
class Table:
    """Tasks by models; NaN where there is no row.

    Attributes:
        tasks: each once, in order of appearance.
        groups: the set that each is from.
        models: names, in order of appearance.
        scores: 0 to 1; several rows of one task and model are averaged.
        costs: USD; NaN too where a row does not know.
    """

    tasks: tuple[Task, ...]
    groups: tuple[str, ...]
    models: tuple[str, ...]
    scores: Floats
    costs: Floats

    def complete(self) -> Table:
        """The tasks that have a score of every model."""
        import numpy as np

        keep = np.flatnonzero(~np.isnan(self.scores).any(axis=1))
        return Table(
            tuple(self.tasks[i] for i in keep),
            tuple(self.groups[i] for i in keep),
            self.models,
            self.scores[keep],
            self.costs[keep],
        )


def tabulate(examples: Sequence[Example]) -> Table:
    """Set the rows of each task side by side."""
    import numpy as np

    keys: dict[int, str] = {}  # rows of one task mostly share the Task itself
    place: dict[str, int] = {}
    tasks: list[Task] = []
    groups: list[str] = []
    models = {name: m for m, name in enumerate(dict.fromkeys(e.model for e in examples))}
    at: list[tuple[int, int]] = []
    for example in examples:
        key = keys.get(id(example.task))
        if key is None:
            key = keys[id(example.task)] = task_key(example.task)
        if key not in place:
            place[key] = len(tasks)
            tasks.append(example.task)
            groups.append(example.group)
        at.append((place[key], models[example.model]))
    rows = np.array(at, dtype=np.intp).reshape(-1, 2)
    shape = (len(tasks), len(models))

    def averaged(values: list[float]) -> Floats:
        total, count = np.zeros(shape), np.zeros(shape)
        np.add.at(total, (rows[:, 0], rows[:, 1]), values)
        np.add.at(count, (rows[:, 0], rows[:, 1]), 1.0)
        return np.where(count > 0, total / np.maximum(count, 1.0), np.nan)

    return Table(
        tuple(tasks),
        tuple(groups),
        tuple(models),
        averaged([e.score for e in examples]),
        averaged([np.nan if e.cost_usd is None else e.cost_usd for e in examples]),
    )
