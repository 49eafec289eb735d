"""Learning from examples: language load, then a forest, then words; needs numpy, used in fits only.

A model's success on a text is a level, a slope on the text's language load, what the forest adds
from its features, and what its words add. Each part is fitted to what those before it leave over.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from modelrouter.fitting.boosting import Boosting, Forest, grow, predict
from modelrouter.scoring.features import LOAD, NAMES

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["Bags", "Learned", "Learning", "Part", "bags_of", "learn", "load_of", "outputs"]


@dataclass(frozen=True, slots=True)
class Learning:
    """How to learn.

    Attributes:
        forests: how to grow each format's forest; a format that is not named gets none.
        slopes: what a unit of load costs each model before anything is learned.
        load_rows: rows that this is worth.
        level_rows: rows that the level of all formats is worth in one format.
        word_damping: how strongly the words' weights are held to zero.
        wordless: formats in which the words do not count.
        folds: into how many the rows are split to see what forests leave over.
    """

    forests: Mapping[str, Boosting]
    slopes: tuple[float, ...]
    load_rows: float = 400.0
    level_rows: float = 30.0
    word_damping: float = 100.0
    wordless: frozenset[str] = frozenset()
    folds: int = 3


@dataclass(frozen=True, slots=True)
class Bags:
    """Texts as bags of words: for each occurrence its text, its word and its weight."""

    row: Any
    column: Any
    weight: Any
    width: int


@dataclass(frozen=True, slots=True)
class Part:
    """What was learned of one format.

    Attributes:
        level, slope: of each model, at zero load and for a unit of it.
        forest: what the features add, if anything.
        words: whether the words add to it.
    """

    level: Any
    slope: Any
    forest: Forest | None = None
    words: bool = True


@dataclass(frozen=True, slots=True)
class Learned:
    """A part for each format, ``plain`` for any other, and per word and model a weight."""

    parts: Mapping[str, Part]
    plain: Part
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
    formats: Sequence[str],
    targets: Floats,
    directions: Floats,
    setting: Learning,
) -> Learned:
    """Fit the parts to ``targets`` (row, model; NaN where unknown)."""
    import numpy as np

    form = np.array(formats)
    fold = np.random.default_rng(0).permutation(len(values)) % setting.folds
    plain = _line(load, targets, np.array(setting.slopes), None, setting)
    parts: dict[str, Part] = {}
    left = targets - _at(plain, values, load)
    # Words are fitted to what a forest that has not seen the row leaves over, else to noise.
    for name, boosting in setting.forests.items():
        inside = form == name
        if not inside.any():
            continue
        line = _line(load[inside], targets[inside], plain.slope, plain.level, setting)
        rest = targets[inside] - _at(line, values[inside], load[inside])
        forest = grow(values[inside], rest, directions, boosting)
        parts[name] = Part(line.level, line.slope, forest, name not in setting.wordless)
        held = fold[inside]
        over = rest.copy()
        for number in range(setting.folds):
            out = held == number
            if out.any() and not out.all():
                other = grow(values[inside][~out], rest[~out], directions, boosting)
                over[out] -= predict(other, values[inside][out])
        left[inside] = over
    seen = ~np.isnan(targets)
    seen &= np.isin(form, [name for name, part in parts.items() if part.words])[:, None]
    words = _word_weights(bags, np.where(seen, left, 0.0), seen, setting.word_damping)
    return Learned(parts, plain, words)


def outputs(
    learned: Learned, values: Floats, load: Floats, bags: Bags, formats: Sequence[str]
) -> Floats:
    """Each row's predicted success by model, uncalibrated."""
    import numpy as np

    form = np.array(formats)
    total = _at(learned.plain, values, load)
    words = np.zeros_like(total)
    for model in range(total.shape[1]):
        share = bags.weight * learned.words[bags.column, model]
        words[:, model] = np.bincount(bags.row, share, len(values))
    for name, part in learned.parts.items():
        inside = form == name
        total[inside] = _at(part, values[inside], load[inside])
        if part.words:
            total[inside] += words[inside]
    return total


def _line(
    load: Floats, targets: Floats, slopes: Floats, level: Floats | None, setting: Learning
) -> Part:
    """Level and slope of each model, held to those given where rows are few."""
    import numpy as np

    seen = ~np.isnan(targets)
    count = seen.sum(0)
    some = np.maximum(count, 1)
    mean = np.where(seen, targets, 0.0).sum(0) / some
    load_mean = np.where(seen, load[:, None], 0.0).sum(0) / some
    away = np.where(seen, load[:, None] - load_mean, 0.0)
    moved = (away * np.where(seen, targets - mean, 0.0)).sum(0)
    slope = (moved + setting.load_rows * slopes) / ((away**2).sum(0) + setting.load_rows)
    own = mean - slope * load_mean
    if level is not None:
        own = (count * own + setting.level_rows * level) / (count + setting.level_rows)
    return Part(own, slope)


def _at(part: Part, values: Floats, load: Floats) -> Floats:
    import numpy as np

    total = part.level + load[:, None] * part.slope
    if part.forest is not None:
        total = total + predict(part.forest, values)
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
