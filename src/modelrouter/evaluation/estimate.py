"""Estimates: a figure with its bootstrap confidence interval."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from modelrouter.exceptions import ConfigurationError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["CONFIDENCE", "Estimate", "bootstrap"]

CONFIDENCE: Final = 0.95
"""The share of intervals that hold the true figure."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure and its 95 % interval; ``low`` and ``high`` are NaN where there is none."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if math.isnan(self.low):
            return f"{self.value:.3f}"
        return f"{self.value:.3f} ({self.low:.3f} to {self.high:.3f})"

    def above(self, other: float) -> bool:
        """Whether the whole interval lies above; an interval that is not known lies nowhere."""
        return self.low > other

    def below(self, other: float) -> bool:
        """Whether the whole interval lies below."""
        return self.high < other

    def model_dump(self) -> dict[str, float | None]:
        """Plain data; a number that does not exist is ``None``, as JSON knows no NaN."""
        return {
            name: None if math.isnan(value) else value
            for name, value in (("value", self.value), ("low", self.low), ("high", self.high))
        }


def bootstrap(
    statistics: Callable[[npt.NDArray[np.intp]], dict[str, float]],
    tasks: int,
    *,
    resamples: int = 1000,
    seed: int = 0,
) -> dict[str, Estimate]:
    """Percentile bootstrap over tasks (Efron 1979): every statistic with its 95 % interval.

    ``statistics`` gets the indices of a sample of tasks and gives named figures; all figures of one
    call are from the same resamples, so that differences between them are paired. A resample in
    which a figure does not exist (NaN) is left out of that figure's interval. The interval is
    widened to hold the point estimate where skewness would leave it outside. The same ``seed``
    gives the same intervals.

    Raises:
        ConfigurationError: there is no task, or ``resamples`` is negative.
    """
    import numpy as np

    if tasks < 1 or resamples < 0:
        raise ConfigurationError(
            f"bootstrap(tasks={tasks}, resamples={resamples}): nothing to resample.",
            hint="Give at least one task and resamples=0 or more.",
        )
    rng = np.random.default_rng(seed)
    point = statistics(np.arange(tasks))
    drawn: dict[str, list[float]] = {name: [] for name in point}
    for _ in range(resamples):
        for name, value in statistics(rng.integers(0, tasks, tasks)).items():
            if not math.isnan(value):
                drawn[name].append(value)
    return {name: _estimate(value, drawn[name]) for name, value in point.items()}


def _estimate(value: float, drawn: list[float]) -> Estimate:
    import numpy as np

    if math.isnan(value) or not drawn:
        return Estimate(value, math.nan, math.nan)
    tail = (1.0 - CONFIDENCE) / 2
    bounds: Any = np.quantile(drawn, (tail, 1.0 - tail))
    return Estimate(value, min(value, float(bounds[0])), max(value, float(bounds[1])))
