"""Whether predicted probabilities can be believed: calibration bins, ECE, risk-coverage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = [
    "BINS",
    "Bin",
    "RiskCoverage",
    "expected_calibration_error",
    "reliability",
    "risk_coverage",
]

BINS: Final = 10
_Z: Final = 1.959964  # the normal quantile of a 95 % interval


@dataclass(frozen=True, slots=True)
class Bin:
    """The predictions between two bounds, and what came of them.

    Attributes:
        low, high: the bounds, ``low`` excluded except for 0.
        count: how many predictions.
        predicted: their mean.
        observed: the mean score.
        observed_low, observed_high: Wilson's 95 % interval of the mean score.
    """

    low: float
    high: float
    count: int
    predicted: float
    observed: float
    observed_low: float
    observed_high: float


def reliability(predicted: Floats, scores: Floats, bins: int = BINS) -> tuple[Bin, ...]:
    """Bins of equal width over 0 to 1; empty ones are left out."""
    import numpy as np

    place = np.clip(np.ceil(predicted * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for i in range(bins):
        inside = place == i
        count = int(inside.sum())
        if count:
            observed = float(scores[inside].mean())
            low, high = _wilson(observed, count)
            mean = float(predicted[inside].mean())
            found.append(Bin(i / bins, (i + 1) / bins, count, mean, observed, low, high))
    return tuple(found)


def expected_calibration_error(predicted: Floats, scores: Floats, bins: int = BINS) -> float:
    """Mean distance of predicted from observed over the bins, weighted by their counts.

    Naeini, Cooper and Hauskrecht (2015), with bins of equal width. 0 is perfect.
    """
    table = reliability(predicted, scores, bins)
    return sum(b.count * abs(b.predicted - b.observed) for b in table) / len(predicted)


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """How often a model fails on the tasks that it is surest of.

    Attributes:
        coverage: share of tasks that are given to it, surest first.
        risk: 1 - mean score among them.
        area: the mean risk over coverages (AURC): lower is better.
        area_random: what an order at random gives: the risk of all tasks.
        area_oracle: what the best order gives.
    """

    coverage: Floats
    risk: Floats
    area: float
    area_random: float
    area_oracle: float

    def coverage_at(self, risk: float) -> float:
        """The largest share of tasks it can be given with at most that risk; 0 for none."""
        import numpy as np

        allowed = np.flatnonzero(self.risk <= risk)
        return float(self.coverage[allowed[-1]]) if len(allowed) else 0.0


def risk_coverage(confidence: Floats, scores: Floats) -> RiskCoverage:
    """Risk by coverage (El-Yaniv and Wiener, 2010); tasks of equal confidence are averaged."""
    import numpy as np

    risk = _risks(confidence, scores)
    return RiskCoverage(
        coverage=np.arange(1, len(scores) + 1) / len(scores),
        risk=risk,
        area=float(risk.mean()),
        area_random=float(1.0 - scores.mean()),
        area_oracle=float(_risks(scores, scores).mean()),
    )


def _risks(confidence: Floats, scores: Floats) -> Floats:
    import numpy as np

    _, group, counts = np.unique(-confidence, return_inverse=True, return_counts=True)
    means = np.bincount(group, weights=1.0 - scores) / counts
    ranks = np.arange(1, len(scores) + 1)
    result: Floats = np.cumsum(np.repeat(means, counts)) / ranks
    return result


def _wilson(share: float, count: int) -> tuple[float, float]:
    spread = _Z**2 / count
    middle = (share + spread / 2) / (1 + spread)
    half = _Z * math.sqrt(share * (1 - share) / count + spread / (4 * count)) / (1 + spread)
    return max(0.0, middle - half), min(1.0, middle + half)
