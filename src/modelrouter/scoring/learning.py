"""Learning from examples: language load, then a forest, then words; needs numpy, used in fits only.

A model's success on a text is a level, a slope on the text's language load, what the forest adds
from its features, and what its words add. Each part is fitted to what those before it leave over.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final

from modelrouter.scoring.boosting import Boosting, Forest, grow, predict
from modelrouter.scoring.features import LOAD, NAMES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["LOAD_SLOPE", "Bags", "Learned", "Learning", "bags_of", "learn", "load_of", "outputs"]

LOAD_SLOPE: Final = -0.05
"""How much success a unit of load costs before anything is learned."""


@dataclass(frozen=True, slots=True)
class Learning:
    """How to learn: the forest, and how strongly load's slopes and the words' weights are held."""

    forest: Boosting = field(default_factory=Boosting)
    load_rows: float = 400.0
    word_damping: float = 30.0
    folds: int = 3


@dataclass(frozen=True, slots=True)
class Bags:
    """Texts as bags of words: for each occurrence its text, its word and its weight."""

    row: Any
    column: Any
    weight: Any
    width: int


@dataclass(frozen=True, slots=True)
class Learned:
    """The parts: per model a level and a slope, the forest, and per word and model a weight."""

    level: Any
    slope: Any
    forest: Forest
    words: Any


def bags_of(texts: Sequence[Sequence[str]], index: dict[str, int]) -> Bags:
    """Known words of each text, each occurrence weighted by 1 / sqrt(words of the text)."""
    import numpy as np

    row: list[int] = []
    column: list[int] = []
    weight: list[float] = []
    for number, found in enumerate(texts):
        known = [index[word] for word in found if word in index]
        row += [number] * len(known)
        column += known
        weight += [1.0 / (len(found) or 1) ** 0.5] * len(known)
    return Bags(np.array(row, int), np.array(column, int), np.array(weight, float), len(index))


def load_of(values: Floats, center: Sequence[float], scale: Sequence[float]) -> Floats:
    """The language load of each row: the mean of its standardised parts."""
    import numpy as np

    at = [NAMES.index(name) for name in LOAD]
    parts = np.clip((values[:, at] - np.asarray(center)) / np.asarray(scale), -4, 4)
    return np.asarray(parts.mean(axis=1), dtype=np.float64)


def learn(
    values: Floats,
    load: Floats,
    bags: Bags,
    targets: Floats,
    directions: Floats,
    setting: Learning,
    progress: Any = iter,
) -> Learned:
    """Fit the parts to ``targets`` (row, model; NaN where unknown)."""
    import numpy as np

    seen = ~np.isnan(targets)
    count = np.maximum(seen.sum(0), 1)
    filled = np.where(seen, targets, 0.0)
    mean = filled.sum(0) / count
    shifted = np.where(seen, load[:, None], 0.0)
    load_mean = shifted.sum(0) / count
    away = np.where(seen, load[:, None] - load_mean, 0.0)
    moved = (away * np.where(seen, targets - mean, 0.0)).sum(0)
    slope = (moved + setting.load_rows * LOAD_SLOPE) / ((away**2).sum(0) + setting.load_rows)
    level = mean - slope * load_mean
    rest = np.where(seen, targets - level - load[:, None] * slope, np.nan)
    forest = grow(values, rest, directions, setting.forest, progress=progress)
    # Words are fitted to what a forest that has not seen the row leaves over, else to noise.
    left = np.where(seen, rest, 0.0)
    fold = np.random.default_rng(setting.forest.seed).permutation(len(values)) % setting.folds
    for part in range(setting.folds):
        out = fold == part
        held = grow(values[~out], rest[~out], directions, setting.forest)
        left[out] -= np.where(seen[out], predict(held, values[out]), 0.0)
    words = _word_weights(bags, left, seen, setting.word_damping)
    return Learned(level, slope, forest, words)


def outputs(learned: Learned, values: Floats, load: Floats, bags: Bags) -> Floats:
    """Each row's predicted success by model, uncalibrated."""
    import numpy as np

    total = learned.level + load[:, None] * learned.slope + predict(learned.forest, values)
    for model in range(total.shape[1]):
        share = bags.weight * learned.words[bags.column, model]
        total[:, model] += np.bincount(bags.row, share, len(values))
    return np.asarray(total, dtype=np.float64)


def _word_weights(bags: Bags, left: Floats, seen: Any, damping: float, steps: int = 20) -> Floats:
    """Ridge regression of what is left on the words, by conjugate gradients."""
    import numpy as np

    rows = len(left)
    result = np.zeros((bags.width, left.shape[1]))
    for model in range(left.shape[1]):
        weight = bags.weight * seen[bags.row, model]

        def normal(vector: Floats, weight: Floats = weight) -> Floats:
            inner = np.bincount(bags.row, weight * vector[bags.column], rows)
            outer = np.bincount(bags.column, weight * inner[bags.row], bags.width)
            return np.asarray(outer + damping * vector, dtype=np.float64)

        solution = np.zeros(bags.width)
        remaining = np.bincount(bags.column, weight * left[bags.row, model], bags.width)
        way = remaining.copy()
        size = remaining @ remaining
        for _ in range(steps):
            if size < 1e-12:
                break
            turned = normal(way)
            step = size / (way @ turned)
            solution += step * way
            remaining = remaining - step * turned
            new_size = remaining @ remaining
            way = remaining + new_size / size * way
            size = new_size
        result[:, model] = solution
    return result
