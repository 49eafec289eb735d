"""The recipe of the shipped weights: what is predicted, and how it is learned and calibrated."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from data import MISGRADED, POOL_LARGE, POOL_SMALL, Prompts, Vocabulary, load, standard_load
from modelrouter.fitting.boosting import Boosting
from modelrouter.fitting.calibration import platt
from modelrouter.fitting.fit import covered
from modelrouter.fitting.learning import Learned, Learning, learn, outputs
from modelrouter.scoring.engine import LARGE, SMALL

FORESTS = {
    "options": Boosting(trees=100, rate=0.05, rows=0.7, features=0.3, smallest=40, damping=5.0),
    "story": Boosting(trees=20, rate=0.05, rows=0.7, features=0.15, smallest=25, damping=10.0),
    "open": Boosting(trees=160, rate=0.1, rows=0.7, features=0.2, smallest=20, damping=5.0),
}
SEED = 0


def setting_for(models: int) -> Learning:
    """Before learning: a unit of load costs the small class more than the large."""
    return Learning(
        forests=FORESTS,
        slopes=(-0.08, -0.03, *[-0.05] * (models - 2)),
        wordless=frozenset({"options", "story"}),
    )


def targets_of(prompts: Prompts) -> tuple[tuple[str, ...], np.ndarray]:
    """The references and their scores: the small and the large class, then each pool model.

    Mixtral 8x7B stands for the small class where it was asked: the 7B to 9B instruct models of the
    pool reach its published MMLU accuracy. GPT-4 stands for the large.
    """
    pool = tuple(m for m in prompts.models if m not in ("mixtral-8x7b", "gpt-4-1106"))

    def mean(models: tuple[str, ...], other: str) -> np.ndarray:
        own = np.mean([prompts.column(model) for model in models], axis=0)
        own = np.where(np.isin(prompts.sets, MISGRADED), np.nan, own)
        asked = prompts.column(other)
        return np.where(np.isnan(asked), own, asked)

    columns = [
        mean(POOL_SMALL, "mixtral-8x7b"),
        mean(POOL_LARGE, "gpt-4-1106"),
        *(prompts.column(model) for model in pool),
    ]
    return (SMALL, LARGE, *pool), np.stack(columns, axis=1)


def directions(models: int) -> np.ndarray:
    """What the trees' splits serve in turn: the gap, the small class, and mixtures of the pool."""
    random = np.random.default_rng(SEED)
    gap, small = np.zeros(models), np.zeros(models)
    gap[0], gap[1], small[0] = -1.0, 1.0, 1.0
    rows = []
    for turn in range(30):
        other = np.zeros(models)
        if models > 2:
            if turn % 3 == 0:
                other[2 + turn // 3 % (models - 2)] = 1.0
            else:
                other[2:] = random.normal(size=models - 2)
        rows += [gap, small, other, other] if models > 2 else [gap, small]
    return np.array([row for row in rows if row.any()])


@dataclass(frozen=True)
class Trained:
    """What came of some rows: predicts the references' outputs on any other."""

    learned: Learned
    center: list[float]
    scale: list[float]
    index: dict[str, int]

    def outputs(self, prompts: Prompts, rows: np.ndarray) -> np.ndarray:
        values = prompts.values[rows]
        loads = load(values, self.center, self.scale)
        formats = [prompts.formats[row] for row in rows]
        return outputs(self.learned, values, loads, prompts.bags(rows, self.index), formats)


def train(
    prompts: Prompts,
    vocabulary: Vocabulary,
    rows: np.ndarray,
    targets: np.ndarray,
    setting: Learning | None = None,
) -> Trained:
    """Learn from these rows alone; formats with too few of them are left to the load."""
    setting = setting or setting_for(targets.shape[1])
    formats = [prompts.formats[row] for row in rows]
    known = covered(formats)
    setting = replace(setting, forests={f: b for f, b in setting.forests.items() if f in known})
    center, scale = standard_load(prompts.values[rows])
    index = {word: number for number, word in enumerate(vocabulary.words)}
    learned = learn(
        prompts.values[rows],
        load(prompts.values[rows], center, scale),
        prompts.bags(rows, index),
        formats,
        targets[rows],
        directions(targets.shape[1]),
        setting,
    )
    return Trained(learned, center, scale, index)


def folds_of(
    prompts: Prompts, rows: np.ndarray, folds: int, random: np.random.Generator
) -> np.ndarray:
    """A fold for each row, at random; equal prompts are in one fold."""
    _, group = np.unique([prompts.texts[row] for row in rows], return_inverse=True)
    return (random.permutation(group.max() + 1) % folds)[group]


def cross_outputs(
    prompts: Prompts,
    vocabulary: Vocabulary,
    targets: np.ndarray,
    rows: np.ndarray | None = None,
    setting: Learning | None = None,
    folds: int = 5,
    seed: int = SEED,
) -> tuple[np.ndarray, np.ndarray]:
    """Each row's outputs by a model that has not seen it, and the row's fold."""
    rows = np.arange(len(prompts.texts)) if rows is None else rows
    fold = folds_of(prompts, rows, folds, np.random.default_rng(seed))
    found = np.zeros((len(rows), targets.shape[1]))
    for part in range(folds):
        trained = train(prompts, vocabulary, rows[fold != part], targets, setting)
        found[fold == part] = trained.outputs(prompts, rows[fold == part])
    return found, fold


def calibrated(found: np.ndarray, scores: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Probabilities, calibrated on the other folds by Platt's method; NaN without a score."""
    chance = np.full(len(found), np.nan)
    for part in np.unique(fold):
        out = fold == part
        seen = ~out & ~np.isnan(scores)
        bias, slope = platt(found[seen], scores[seen])
        chance[out] = 1.0 / (1.0 + np.exp(-(bias + slope * found[out])))
    return np.where(np.isnan(scores), np.nan, chance)
