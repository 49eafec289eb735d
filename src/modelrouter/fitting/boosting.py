"""Gradient boosting of small trees for many models at once; needs numpy, used only when fitting.

Every tree has depth three, so a leaf is one of eight. A tree's splits are chosen on one random
combination of the models' residuals (as in SketchBoost, Iosipoi and Vakhrushev 2022), its leaves
then hold a value for each model. Models without a score on a row do not count there.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["DEPTH", "LEAVES", "Boosting", "Forest", "edges_of", "grow", "predict"]

DEPTH: Final = 3
LEAVES: Final = 2**DEPTH


@dataclass(frozen=True, slots=True)
class Boosting:
    """How to grow a forest.

    Attributes:
        trees: how many.
        rate: how much of each tree's correction is kept.
        rows: the share of rows each tree sees.
        features: the share of features each tree may split on.
        smallest: rows that a leaf must hold at least.
        damping: pseudo-rows of zero in each leaf.
        bins: at most so many bins a feature.
        seed: of the random choices.
    """

    trees: int = 160
    rate: float = 0.06
    rows: float = 0.5
    features: float = 0.25
    smallest: int = 30
    damping: float = 20.0
    bins: int = 32
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Forest:
    """Trees as arrays.

    Attributes:
        feature, threshold: (tree, 7), inner nodes in heap order; a text goes right where its value
            exceeds the threshold.
        leaf: (tree, 8, model).
    """

    feature: Any
    threshold: Any
    leaf: Any


def edges_of(values: Floats, bins: int) -> list[Floats]:
    """Cut points of each column, at quantiles between distinct values."""
    import numpy as np

    cuts = []
    for column in values.T:
        distinct = np.unique(column)
        middle = (distinct[1:] + distinct[:-1]) / 2
        if len(middle) > bins - 1:
            quantiles = np.quantile(column, np.linspace(0, 1, bins + 1)[1:-1])
            middle = np.unique(
                middle[np.clip(np.searchsorted(middle, quantiles), 0, len(middle) - 1)]
            )
        cuts.append(middle)
    return cuts


def grow(
    values: Floats,
    targets: Floats,
    directions: Floats,
    setting: Boosting,
    weights: Floats | None = None,
    progress: Any = iter,
) -> Forest:
    """Boost from zero towards ``targets`` (row, model; NaN where unknown).

    ``directions`` (any, model) are the combinations of models that the trees' splits serve in turn.
    """
    import numpy as np

    random = np.random.default_rng(setting.seed)
    rows, width = values.shape
    models = targets.shape[1]
    cuts = edges_of(values, setting.bins)
    binned = np.stack([np.searchsorted(c, v) for c, v in zip(cuts, values.T, strict=True)], axis=1)
    seen = ~np.isnan(targets)
    residual = np.where(seen, targets, 0.0)
    importance = np.ones(rows) if weights is None else weights
    chosen = max(1, round(width * setting.features))
    feature = np.zeros((setting.trees, LEAVES - 1), dtype=np.int64)
    threshold = np.full((setting.trees, LEAVES - 1), np.inf)
    leaf = np.zeros((setting.trees, LEAVES, models))
    for tree in progress(range(setting.trees)):
        sample = np.sort(random.permutation(rows)[: max(1, round(rows * setting.rows))])
        columns = random.permutation(width)[:chosen]
        direction = directions[tree % len(directions)]
        counts = (seen[sample] * np.abs(direction)).sum(1) / np.abs(direction).sum()
        counts = counts * importance[sample]
        pull = (residual[sample] @ direction) / np.abs(direction).sum() * importance[sample]
        at = np.zeros(len(sample), dtype=np.int64)
        full_at = np.zeros(rows, dtype=np.int64)
        for level in range(DEPTH):
            nodes = 2**level
            best = np.full(nodes, 1e-12)
            split_feature = np.full(nodes, -1)
            split_bin = np.zeros(nodes, dtype=np.int64)
            for column in columns:
                size = len(cuts[column]) + 1
                if size < 2:
                    continue
                key = at * size + binned[sample, column]
                total = np.bincount(key, pull, nodes * size).reshape(nodes, size)
                count = np.bincount(key, counts, nodes * size).reshape(nodes, size)
                left, left_count = total.cumsum(1)[:, :-1], count.cumsum(1)[:, :-1]
                right = total.sum(1, keepdims=True) - left
                right_count = count.sum(1, keepdims=True) - left_count
                gain = (
                    left**2 / (left_count + setting.damping)
                    + right**2 / (right_count + setting.damping)
                    - total.sum(1, keepdims=True) ** 2
                    / (count.sum(1, keepdims=True) + setting.damping)
                )
                gain[(left_count < setting.smallest) | (right_count < setting.smallest)] = -1.0
                where = gain.argmax(1)
                value = gain[np.arange(nodes), where]
                better = value > best
                best[better] = value[better]
                split_feature[better] = column
                split_bin[better] = where[better]
            right_turn = np.zeros(rows, dtype=np.int64)
            for node in range(nodes):
                if split_feature[node] < 0:
                    continue
                column = split_feature[node]
                inner = nodes - 1 + node
                feature[tree, inner] = column
                threshold[tree, inner] = cuts[column][split_bin[node]]
                inside = full_at == node
                right_turn[inside] = binned[inside, column] > split_bin[node]
            full_at = full_at * 2 + right_turn
            at = full_at[sample]
        held = importance[sample, None] * seen[sample]
        for model in range(models):
            total = np.bincount(at, residual[sample, model] * held[:, model], LEAVES)
            count = np.bincount(at, held[:, model], LEAVES)
            leaf[tree, :, model] = setting.rate * total / (count + setting.damping)
        residual = np.where(seen, residual - leaf[tree][full_at], 0.0)
    return Forest(feature, threshold, leaf)


def predict(forest: Forest, values: Floats) -> Floats:
    """The forest's sum for each row and model."""
    import numpy as np

    rows = np.arange(len(values))
    result = np.zeros((len(values), forest.leaf.shape[2]))
    for feature, threshold, leaf in zip(forest.feature, forest.threshold, forest.leaf, strict=True):
        at = np.zeros(len(values), dtype=np.int64)
        for level in range(DEPTH):
            inner = 2**level - 1 + at
            at = at * 2 + (values[rows, feature[inner]] > threshold[inner])
        result += leaf[at]
    return result
