"""Thresholds: how good is good enough, chosen for a wish about cost, quality or the strong model.

The rule that a threshold sets: give a task to the cheapest model whose predicted quality is at
least ``enough``; where none promises that, to the one that promises most. As ``enough`` grows, cost
and expected quality of every task can only grow, so each wish has one best threshold.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, Final

from modelrouter import signals as reading
from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import ConfigurationError
from modelrouter.scoring.base import Scorer, expected_cost_usd
from modelrouter.task import Task, TaskLike

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.intp]

__all__ = ["Predictions", "Span", "Threshold", "predict", "threshold"]

FEWEST_PROMPTS: Final = 20
"""A sample smaller than this says nothing about the traffic it is from."""

_COST_WEIGHT: Final = 1e-6
"""Cost decides among models that are good enough, and nothing else."""


@dataclass(frozen=True, slots=True)
class Span:
    """An expectation over tasks like those of the sample, with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.4g} ({self.low:.4g} to {self.high:.4g})"


@dataclass(frozen=True, eq=False)
class Predictions:
    """What a scorer expects of each prompt and model.

    Attributes:
        models: names, the columns.
        quality: P(quality), prompts by models.
        costs: expected USD, prompts by models.
    """

    models: tuple[str, ...]
    quality: Floats
    costs: Floats


@dataclass(frozen=True, slots=True)
class Threshold:
    """A quality that is good enough, and what to expect of routing by it.

    ``Router(policy=threshold)`` and ``Policy.of(threshold)`` take it as a policy.

    Attributes:
        enough: predicted quality from which on the cheapest model is taken, 0 to 1.
        quality: expected mean quality of the answers.
        cost_usd: expected mean USD a task.
        strong_share: expected share of tasks that the strong model gets.
        shares: the same for every model.
        strong: the strong model: the dearest of the sample.
        prompts: size of the sample.
    """

    enough: float
    quality: Span
    cost_usd: Span
    strong_share: Span
    shares: dict[str, float]
    strong: str
    prompts: int

    @property
    def objective(self) -> dict[str, float]:
        """The fields of the :class:`~modelrouter.policies.Objective` that follows the rule."""
        return {"quality": 1.0, "cost": _COST_WEIGHT, "latency": 0.0, "enough": self.enough}

    def model_dump(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def __str__(self) -> str:
        return (
            f"enough={self.enough:.4f}: quality {self.quality}, {self.cost_usd} USD a task, "
            f"{self.strong} for {self.strong_share} of the tasks"
        )


def predict(scorer: Scorer, prompts: Iterable[TaskLike], cards: Iterable[ModelCard]) -> Predictions:
    """What the scorer expects of every prompt and model.

    Raises:
        InvalidTaskError: a prompt is malformed.
        ConfigurationError: fewer than two cards.
    """
    import numpy as np

    known = list(cards)
    if len(known) < 2:
        raise ConfigurationError(
            f"cards={[card.name for card in known]}: there is nothing to choose between.",
            hint="Give the cards of at least two models.",
        )
    quality: list[list[float]] = []
    costs: list[list[float]] = []
    for prompt in prompts:
        task = Task.of(prompt)
        signals = reading.read(task, complexity=scorer.complexity)
        tokens = (signals.prompt_tokens, signals.output_tokens)
        quality.append([scorer.p_quality(card, task, signals) for card in known])
        costs.append([expected_cost_usd(card, *tokens) for card in known])
    shape = (len(quality), len(known))
    return Predictions(
        tuple(card.name for card in known),
        np.array(quality, dtype=float).reshape(shape),
        np.array(costs, dtype=float).reshape(shape),
    )


def threshold(
    scorer: Scorer | Predictions,
    prompts: Sequence[TaskLike] = (),
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
    the least cost for at least that expected mean quality. ``strong_share``: the strong (dearest)
    model for at most that share of the tasks, 0 to 1. Give exactly one.

    ``scorer`` with ``prompts`` and ``cards``, or :func:`predict`'s result alone. Intervals are 95 %
    percentile bootstrap over the prompts at the threshold found: what other prompts of the same
    source would give, if the predicted probabilities are calibrated.

    Raises:
        ConfigurationError: not exactly one wish, one out of range or out of reach (the message says
            what can be reached), or fewer than 20 prompts.
        InvalidTaskError: a prompt is malformed.
    """
    wishes = {"max_cost": max_cost, "min_quality": min_quality, "strong_share": strong_share}
    name, wish = _one(wishes)
    given = scorer if isinstance(scorer, Predictions) else predict(scorer, prompts, cards)
    if len(given.quality) < FEWEST_PROMPTS:
        raise ConfigurationError(
            f"{len(given.quality)} prompts are too few to choose a threshold by.",
            hint=f"Give at least {FEWEST_PROMPTS}, better some hundreds, of your own.",
        )
    enough = _find(given, name, wish)
    return _expectations(given, enough, resamples, seed)


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


def _choose(given: Predictions, enough: float) -> Indices:
    """Each prompt's model under the rule; of equals the cheaper, as a policy decides."""
    import numpy as np

    capped = np.minimum(given.quality, enough)
    best = capped >= capped.max(axis=1, keepdims=True)
    chosen: Indices = np.argmin(np.where(best, given.costs, np.inf), axis=1).astype(np.intp)
    return chosen


def _candidates(given: Predictions) -> Floats:
    """Thresholds that differ in their choices: between neighbouring predictions, and the ends."""
    import numpy as np

    levels = np.unique(given.quality)
    between = (levels[1:] + levels[:-1]) / 2
    # Objective.enough must be above 0; at 1 the most promising model is taken for everything.
    ends = (min(levels[0], 1.0) / 2 or 1e-9, 1.0)
    return np.unique(np.concatenate(([ends[0]], between, [ends[1]])))


def _find(given: Predictions, name: str, wish: float) -> float:
    """Bisection: cost, quality and the strong model's share never fall as ``enough`` grows."""
    tries = _candidates(given)
    strong = _strong(given)

    def figure(i: int) -> float:
        chosen = _choose(given, float(tries[i]))
        if name == "strong_share":
            return float((chosen == strong).mean())
        table = given.costs if name == "max_cost" else given.quality
        return float(table[range(len(table)), chosen].mean())

    lowest, highest = figure(0), figure(len(tries) - 1)
    slack = 1e-12
    if name == "min_quality" and highest < wish - slack:
        raise ConfigurationError(
            f"min_quality={wish:g} is out of reach: the best that can be expected of "
            f"{', '.join(given.models)} on this sample is {highest:.4g}.",
            hint="Ask for less, or add a stronger model.",
        )
    if name == "max_cost" and lowest > wish + slack:
        raise ConfigurationError(
            f"max_cost={wish:g} is out of reach: the cheapest of {', '.join(given.models)} cost "
            f"{lowest:.4g} USD a task on this sample.",
            hint="Allow more, or add a cheaper model.",
        )
    low, high = 0, len(tries) - 1
    if name == "min_quality":  # the first that is enough
        while low < high:
            middle = (low + high) // 2
            low, high = (low, middle) if figure(middle) >= wish - slack else (middle + 1, high)
    else:  # the last that is not too much
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if figure(middle) <= wish + slack else (low, middle - 1)
    return float(tries[low])


def _strong(given: Predictions) -> int:
    """The dearest model; of equally dear ones the one that promises more."""
    import numpy as np

    return int(np.lexsort((given.quality.mean(axis=0), given.costs.mean(axis=0)))[-1])


def _expectations(given: Predictions, enough: float, resamples: int, seed: int) -> Threshold:
    import numpy as np

    chosen = _choose(given, enough)
    rows = np.arange(len(chosen))
    strong = _strong(given)
    figures = np.stack(
        [given.quality[rows, chosen], given.costs[rows, chosen], (chosen == strong).astype(float)]
    )
    rng = np.random.default_rng(seed)
    drawn = [
        figures[:, rng.integers(0, len(rows), len(rows))].mean(axis=1) for _ in range(resamples)
    ]
    means = figures.mean(axis=1)
    low, high = np.quantile(drawn or [means], (0.025, 0.975), axis=0)
    spans = [
        Span(float(value), min(float(value), float(one)), max(float(value), float(other)))
        for value, one, other in zip(means, low, high, strict=True)
    ]
    return Threshold(
        enough=enough,
        quality=spans[0],
        cost_usd=spans[1],
        strong_share=spans[2],
        shares={m: float((chosen == i).mean()) for i, m in enumerate(given.models)},
        strong=given.models[strong],
        prompts=len(rows),
    )
