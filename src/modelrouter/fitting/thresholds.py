"""Thresholds: what a good answer is worth, chosen for a wish about cost, quality or dear models.

A threshold is the one number of the value rule (:mod:`modelrouter.fitting.value`). As it grows,
cost and expected quality only grow, so each wish has one best threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import ConfigurationError
from modelrouter.fitting.examples import Example
from modelrouter.fitting.predictions import PredictionTable, predict
from modelrouter.fitting.value import choose, moves
from modelrouter.scoring.base import Scorer
from modelrouter.task import TaskLike

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["Span", "Threshold", "threshold"]

FEWEST_PROMPTS: Final = 20
"""A sample smaller than this says nothing about the traffic it is from."""


@dataclass(frozen=True, slots=True)
class Span:
    """An expectation over tasks like those of the sample, with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True, slots=True)
class Threshold:
    """What a good answer is worth, and what to expect of routing by it.

    ``Router(policy=threshold)`` and ``Policy.of(threshold)`` take it as a policy: each task goes to
    the model of the highest ``P(quality) - cost / value_usd``.

    Attributes:
        value_usd: USD that one more task done well is worth.
        quality: expected mean quality of the answers.
        cost_usd: expected mean USD a task.
        strong_share: expected share of tasks given to a dearer model than the cheapest.
        shares: expected share of tasks by model.
        prompts: size of the sample.
        measured: whether ``quality`` is from labelled answers; else it is the scorer's promise.
    """

    value_usd: float
    quality: Span
    cost_usd: Span
    strong_share: Span
    shares: dict[str, float]
    prompts: int
    measured: bool

    @property
    def objective(self) -> dict[str, float]:
        """The fields of the :class:`~modelrouter.policies.Objective` that follows the rule."""
        return {"quality": 1.0, "cost": 1.0, "latency": 0.0, "value_usd": self.value_usd}

    def model_dump(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"A good answer worth {self.value_usd:.4g} USD: "
            f"{'measured' if self.measured else 'promised'} quality {self.quality}, "
            f"{self.cost_usd} USD a task, dearer than the cheapest model for {self.strong_share} "
            "of the tasks"
        )


def threshold(
    scorer: Scorer | PredictionTable,
    prompts: Iterable[TaskLike] | Iterable[Example] = (),
    cards: Iterable[ModelCard] = (),
    *,
    max_cost: float | None = None,
    min_quality: float | None = None,
    strong_share: float | None = None,
    resamples: int = 1000,
    seed: int = 0,
) -> Threshold:
    """The threshold that fulfils one wish on a sample of prompts.

    ``max_cost``: the highest quality for at most so many USD a task on average. ``min_quality``:
    the least cost for at least that expected mean quality. ``strong_share``: a dearer model than
    the cheapest (of two models, the strong one) for at most that share of the tasks, 0 to 1. Give
    exactly one.

    ``scorer`` with ``prompts`` and ``cards``, or what
    :func:`~modelrouter.fitting.predictions.predict` gave alone. Intervals are 95 % percentile
    bootstrap over the prompts at the threshold found: what as many prompts of the same source would
    give. Quality is what the scorer promises; its interval counts in that answers turn out well or
    badly, and the scorer's calibration error on held-out answers of the models chosen. A promise is
    rather too high where the scorer chooses among many models that it can hardly tell apart, since
    of several guesses the highest wins. Labelled examples, which it was not fitted on, in place of
    prompts give measured quality instead.

    Raises:
        ConfigurationError: not exactly one wish, one out of range or out of reach (the message says
            what can be reached), or fewer than 20 prompts.
        InvalidTaskError: a prompt is malformed.
    """
    wishes = {"max_cost": max_cost, "min_quality": min_quality, "strong_share": strong_share}
    name, wish = _one(wishes)
    given = scorer if isinstance(scorer, PredictionTable) else predict(scorer, prompts, cards)
    if len(given.quality) < FEWEST_PROMPTS:
        raise ConfigurationError(
            f"{len(given.quality)} prompts are too few to choose a threshold by.",
            hint=f"Give at least {FEWEST_PROMPTS}, better some hundreds, of your own.",
        )
    return _expectations(given, _find(given, name, wish), resamples, seed)


def _one(wishes: dict[str, float | None]) -> tuple[str, float]:
    given = {name: value for name, value in wishes.items() if value is not None}
    if len(given) != 1:
        raise ConfigurationError(
            f"Give exactly one of {', '.join(wishes)}, not {', '.join(given) or 'none'}."
        )
    name, value = next(iter(given.items()))
    bound = math.inf if name == "max_cost" else 1.0
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value <= bound:
        wanted = "USD a task, 0 or more" if name == "max_cost" else "0 to 1"
        raise ConfigurationError(f"{name}={value!r} is out of range.", hint=f"Use {wanted}.")
    return name, float(value)


def _find(given: PredictionTable, name: str, wish: float) -> float:
    """The worth of a good answer at which the wish is just fulfilled."""
    import numpy as np

    made = moves(given.quality, given.costs)
    rows = np.arange(len(made.start))
    first = np.full(len(made.task), False)
    first[np.unique(made.task, return_index=True)[1]] = True  # moves are in order
    steps = {
        "max_cost": (given.costs[rows, made.start], given.costs),
        "min_quality": (given.quality[rows, made.start], given.quality),
    }
    if given.scores is not None:
        steps["min_quality"] = (given.scores[rows, made.start], given.scores)
    if name == "strong_share":
        begin, change = 0.0, first.astype(float)
    else:
        at_start, table = steps[name]
        begin = float(at_start.sum())
        change = table[made.task, made.after] - table[made.task, made.before]
    # The figure before any move, and after each; moves of one value are made together.
    figures = (begin + np.append(0.0, np.cumsum(change))) / len(rows)
    values = _between(made.value)
    at = np.append(True, np.append(np.diff(made.value) > 0, True)[: len(made.value)])
    figures = figures[at]
    slack = 1e-9 * max(1e-6, abs(wish))
    if name == "min_quality":
        fulfilled = np.flatnonzero(figures >= wish - slack)
        if not len(fulfilled):
            raise ConfigurationError(
                f"min_quality={wish:g} is out of reach: the best on this sample of "
                f"{', '.join(given.models)} is {figures.max():.4g}.",
                hint="Ask for less, or add a stronger model.",
            )
        return float(values[fulfilled[0]])
    fulfilled = np.flatnonzero(figures <= wish + slack)
    if not len(fulfilled):
        raise ConfigurationError(
            f"max_cost={wish:g} is out of reach: the cheapest of {', '.join(given.models)} cost "
            f"{figures[0]:.4g} USD a task on this sample.",
            hint="Allow more, or add a cheaper model.",
        )
    return float(values[fulfilled[-1]])


def _between(levels: Floats) -> Floats:
    """A worth below all levels, one between each two different ones, and one above all."""
    import numpy as np

    known = np.unique(levels)
    if not len(known):  # one model is the cheapest and the most promising for every task
        return np.array([1.0])
    low = known[0] / 2 if known[0] > 0 else 1e-12
    return np.concatenate(([low], (known[1:] + known[:-1]) / 2, [known[-1] * 2 or 1.0]))


def _expectations(given: PredictionTable, value: float, resamples: int, seed: int) -> Threshold:
    import numpy as np

    chosen = choose(given.quality, given.costs, value)
    rows = np.arange(len(chosen))
    cost = given.costs[rows, chosen]
    dearer = (cost > given.costs.min(axis=1)).astype(float)
    quality = (given.quality if given.scores is None else given.scores)[rows, chosen]
    figures = np.stack([quality, cost, dearer])
    rng = np.random.default_rng(seed)
    drawn = []
    for _ in range(resamples):
        sample = rng.integers(0, len(rows), len(rows))
        means = figures[:, sample].mean(axis=1)
        if given.scores is None:  # as many answers, each good with the chance promised
            means[0] = (rng.random(len(rows)) < quality[sample]).mean()
        drawn.append(means)
    means = figures.mean(axis=1)
    low, high = np.quantile(drawn or [means], (0.025, 0.975), axis=0)
    if given.scores is None and given.doubts:
        doubt = float(np.array(given.doubts)[chosen].mean())
        low[0], high[0] = max(0.0, low[0] - doubt), min(1.0, high[0] + doubt)
    spans = [
        Span(float(value), min(float(value), float(one)), max(float(value), float(other)))
        for value, one, other in zip(means, low, high, strict=True)
    ]
    return Threshold(
        value_usd=value,
        quality=spans[0],
        cost_usd=spans[1],
        strong_share=spans[2],
        shares={m: float((chosen == i).mean()) for i, m in enumerate(given.models)},
        prompts=len(rows),
        measured=given.scores is not None,
    )
