"""From labelled answers to weights: new models on top of old weights; needs numpy."""

from __future__ import annotations

import datetime
from array import array
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from modelrouter.exceptions import InvalidExamplesError
from modelrouter.fitting.boosting import Boosting, Forest
from modelrouter.fitting.calibration import logistic, platt
from modelrouter.fitting.examples import Example, check_learnable, data_hash
from modelrouter.fitting.learning import Bags, Learned, Learning, Part, bags_of, learn, outputs
from modelrouter.fitting.table import tabulate
from modelrouter.scoring.engine import LARGE, LEAF_ZERO, SMALL, WORD_ZERO, Engine, Vocabulary
from modelrouter.scoring.features import HEAD, TAIL, format_of, read_text, words
from modelrouter.scoring.weights import Ability, Share, Weights

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["FEWEST_ANSWERS", "FEWEST_OF_A_FORMAT", "covered", "fit", "fit_ability", "packed"]

FEWEST_ANSWERS: Final = 10
"""Labelled answers below which a model's ability would be a guess."""
FEWEST_OF_A_FORMAT: Final = 300
"""Texts of a format below which only the language load is believed."""
_FOLDS: Final = 5
_OWN: Final = Boosting(trees=60, rate=0.08, rows=0.7, features=0.2, smallest=20, damping=10.0)


def covered(formats: Sequence[str]) -> tuple[str, ...]:
    """The formats of which there are enough texts."""
    return tuple(f for f in sorted(set(formats)) if formats.count(f) >= FEWEST_OF_A_FORMAT)


def packed(learned: Learned) -> dict[str, Any]:
    """The fields of :class:`Weights` that hold the learned parts, as small integers."""
    import numpy as np

    forests = [part.forest for part in learned.parts.values() if part.forest is not None]
    leaves = np.concatenate([forest.leaf for forest in forests])
    leaf_scale = float(np.abs(leaves).max() / (LEAF_ZERO - 1)) or 1.0
    word_scale = float(np.abs(learned.words).max() / (WORD_ZERO - 1)) or 1.0
    leaf = np.rint(leaves / leaf_scale).astype(int) + LEAF_ZERO
    word = np.rint(learned.words / word_scale).astype(int) + WORD_ZERO
    return {
        "level": tuple(map(float, learned.plain.level)),
        "slope": tuple(map(float, learned.plain.slope)),
        "shares": {
            name: Share(
                0 if part.forest is None else len(part.forest.feature),
                tuple(map(float, part.level)),
                tuple(map(float, part.slope)),
                part.words,
            )
            for name, part in learned.parts.items()
        },
        "word_fields": array("I", word.ravel().tolist()),
        "word_scale": word_scale,
        "tree_feature": array("B", np.concatenate([f.feature for f in forests]).ravel().tolist()),
        "tree_threshold": array(
            "d", np.concatenate([f.threshold for f in forests]).ravel().tolist()
        ),
        "tree_leaf": array("H", leaf.ravel().tolist()),
        "leaf_scale": leaf_scale,
    }


def fit_ability(
    name: str, rows: Sequence[tuple[Sequence[float], float]], weights: Weights
) -> Ability:
    """A model's ability from the references' outputs on its answers, and the answers' scores.

    Its log odds are a bias and two slopes on those of the small and the large reference; a prior
    holds it between the two until the answers say otherwise.

    Raises:
        InvalidExamplesError: too few answers, or all with one score.
    """
    import numpy as np

    if len(rows) < FEWEST_ANSWERS:
        raise InvalidExamplesError(
            f"model {name!r} has {len(rows)} labelled answers, {FEWEST_ANSWERS} are the least.",
            field="model",
            hint="30 are enough.",
        )
    scores = np.array([score for _, score in rows])
    if scores.min() == scores.max():
        raise InvalidExamplesError(
            f"every answer of {name!r} has the score {scores[0]:g}: nothing tells its limits.",
            field="score",
            hint="Add tasks that it does worse or better.",
        )
    small, large = weights.abilities[SMALL], weights.abilities[LARGE]
    found = np.array([list(outputs) for outputs, _ in rows])
    ends = [end.bias + found @ np.array(end.slopes) for end in (small, large)]
    design = np.stack([np.ones(len(rows)), *ends], axis=1)
    bias, s, l = logistic(  # noqa: E741 (the slopes on small and large)
        design, scores, np.array([0.25, 8.0, 8.0]), np.array([0.0, 0.5, 0.5])
    )
    return Ability(
        float(bias + s * small.bias + l * large.bias),
        tuple(float(s * a + l * b) for a, b in zip(small.slopes, large.slopes, strict=True)),
        len(rows),
        "labelled answers",
    )


def fit(weights: Weights, examples: Sequence[Example], *, progress: Any = None) -> Weights:
    """Weights that know the examples' models too.

    Each model gets a mix of what the given weights predict, and, where that helps on held-out
    tasks, a forest and word weights of its own. The figures are from five-fold cross-validation
    over tasks.

    Raises:
        InvalidExamplesError: too few rows of a model, or nothing to tell apart.
    """
    import numpy as np

    check_learnable(examples)
    table = tabulate(examples)
    old = len(weights.references)
    engine = Engine(weights)
    lookup = Vocabulary(weights)
    texts = [task.text for task in table.tasks]
    readings = [read_text(text, lookup) for text in texts]
    values = np.array([reading.values for reading in readings])
    formats = [format_of(reading.values) for reading in readings]
    setting = Learning(
        forests=dict.fromkeys(covered(formats), _OWN),
        slopes=(0.0,) * len(table.models),
        wordless=frozenset(name for name, share in weights.shares.items() if not share.words),
    )
    nowhere = np.zeros(len(texts))  # the load is in the base already
    base = np.array([engine.outputs(text)[0] for text in texts])
    index = {word: number for number, word in enumerate(weights.vocabulary)}
    bags = bags_of([words(_window(text)) for text in texts], index)
    scores = table.scores
    folds = np.random.default_rng(0).permutation(len(texts)) % _FOLDS
    plain, full = np.full_like(scores, np.nan), np.full_like(scores, np.nan)
    steps: Any = progress(range(_FOLDS + 1)) if progress is not None else range(_FOLDS + 1)
    result: Weights | None = None
    for step in steps:
        inside = folds != step
        mixes = _mixes(base[inside], scores[inside])
        rest = scores[inside] - _mixed(mixes, base[inside])
        learned = learn(
            values[inside],
            nowhere[inside],
            _part(bags, inside),
            _some(formats, inside),
            rest,
            np.eye(scores.shape[1]),
            setting,
        )
        if step < _FOLDS:
            out = ~inside
            plain[out] = _mixed(mixes, base[out])
            full[out] = plain[out] + outputs(
                learned, values[out], nowhere[out], _part(bags, out), _some(formats, out)
            )
        else:
            result = _grown(weights, table.models, learned)
    assert result is not None  # the last step makes it
    use_full = _brier(full, scores) < _brier(plain, scores)
    chosen = full if use_full else plain
    abilities = dict(weights.abilities)
    figures: dict[str, Any] = {}
    mixes = _mixes(base, scores)
    for model, name in enumerate(table.models):
        seen = ~np.isnan(scores[:, model])
        bias, slope = platt(chosen[seen, model], scores[seen, model])
        mix = mixes[model]
        slopes = [slope * x for x in mix[1:]] + [0.0] * len(table.models)
        if use_full:
            slopes[old + model] = slope
        abilities[name] = Ability(
            float(bias + slope * mix[0]), tuple(map(float, slopes)), int(seen.sum()), "fit"
        )
        figures[name] = _reliability(chosen[seen, model], scores[seen, model], folds[seen])
    for name in weights.abilities.keys() - set(table.models):
        kept = weights.abilities[name]
        abilities[name] = replace(kept, slopes=(*kept.slopes, *([0.0] * len(table.models))))
    return replace(
        result,
        abilities=abilities,
        about={
            "data_sha256": data_hash(examples),
            "date": datetime.date.today().isoformat(),
            "rows": len(examples),
            "tasks": len(texts),
            "own_features": bool(use_full),
            "held_out": figures,
            "base": dict(weights.about),
        },
    )


def _window(text: str) -> str:
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def _some(formats: Sequence[str], rows: Any) -> list[str]:
    return [form for form, inside in zip(formats, rows, strict=True) if inside]


def _part(bags: Bags, rows: Any) -> Bags:
    import numpy as np

    keep = rows[bags.row]
    number = np.cumsum(rows) - 1
    return Bags(number[bags.row[keep]], bags.column[keep], bags.weight[keep], bags.width)


def _mixes(base: Floats, scores: Floats, damping: float = 20.0) -> Floats:
    """For each model an intercept and a weight of each reference, by ridge regression."""
    import numpy as np

    result = np.zeros((scores.shape[1], base.shape[1] + 1))
    for model in range(scores.shape[1]):
        seen = ~np.isnan(scores[:, model])
        if not seen.any():
            continue
        center, mean = base[seen].mean(0), scores[seen, model].mean()
        # What hardly varies here must not weigh much: it may vary more in other texts.
        spread = np.maximum(base[seen].std(0), 0.1)
        design = (base[seen] - center) / spread
        weight = np.linalg.solve(
            design.T @ design + damping * np.eye(base.shape[1]),
            design.T @ (scores[seen, model] - mean),
        )
        weight = weight / spread
        result[model] = [mean - weight @ center, *weight]
    return result


def _mixed(mixes: Floats, base: Floats) -> Floats:
    result: Floats = mixes[:, 0] + base @ mixes[:, 1:].T
    return result


def _brier(predicted: Floats, scores: Floats) -> float:
    import numpy as np

    return float(np.nanmean((predicted - scores) ** 2))


def _reliability(predicted: Floats, scores: Floats, folds: Any) -> Mapping[str, float]:
    """Held-out figures: calibrated on the other folds, then compared with what came."""
    import numpy as np

    chance = np.zeros_like(scores)
    for fold in np.unique(folds):
        out = folds == fold
        bias, slope = platt(predicted[~out], scores[~out])
        chance[out] = 1.0 / (1.0 + np.exp(-(bias + slope * predicted[out])))
    bins = np.minimum((chance * 10).astype(int), 9)
    error = sum(abs(float((chance[bins == b] - scores[bins == b]).sum())) for b in np.unique(bins))
    return {
        "answers": len(scores),
        "mean_score": round(float(scores.mean()), 4),
        "calibration_error": round(error / len(scores), 4),
        "brier": round(float(((chance - scores) ** 2).mean()), 4),
        "brier_of_the_mean": round(float(((scores - scores.mean()) ** 2).mean()), 4),
    }


def _grown(weights: Weights, models: Sequence[str], learned: Learned) -> Weights:
    """The old weights with a field more for each new model, and the new trees beside the old."""
    import numpy as np

    new, old = len(models), len(weights.references)
    features = np.array(weights.tree_feature).reshape(-1, 7)
    thresholds = np.array(weights.tree_threshold).reshape(-1, 7)
    leaves = np.array(weights.tree_leaf, dtype=float).reshape(-1, 8, old) - LEAF_ZERO
    leaves *= weights.leaf_scale
    parts: dict[str, Part] = {}
    first = 0
    for name in (*weights.shares, *(name for name in learned.parts if name not in weights.shares)):
        share = weights.shares.get(name, Share(0, weights.level, weights.slope))
        last = first + share.trees
        own = learned.parts.get(name, learned.plain)
        forest = Forest(
            features[first:last],
            thresholds[first:last],
            np.pad(leaves[first:last], ((0, 0), (0, 0), (0, new))),
        )
        if own.forest is not None:
            forest = Forest(
                np.concatenate([forest.feature, own.forest.feature]),
                np.concatenate([forest.threshold, own.forest.threshold]),
                np.concatenate([forest.leaf, np.pad(own.forest.leaf, ((0, 0), (0, 0), (old, 0)))]),
            )
        parts[name] = Part(
            np.concatenate([share.level, own.level]),
            np.concatenate([share.slope, np.zeros(new)]),
            forest,
            share.words if name in weights.shares else own.words,
        )
        first = last
    table = np.array(weights.word_fields, dtype=float).reshape(-1, old) - WORD_ZERO
    both = Learned(
        parts,
        Part(
            np.concatenate([weights.level, learned.plain.level]),
            np.concatenate([weights.slope, np.zeros(new)]),
        ),
        np.concatenate([table * weights.word_scale, learned.words], axis=1),
    )
    return replace(weights, references=(*weights.references, *models), **packed(both))
