"""Two models: PGR, APGR and CPT as RouteLLM defines them (arXiv:2406.18665, section 2, and its
``evals``), and a finer-grained area beside them.

A router gives every task a number: how much is gained by asking the strong model. Calls go to the
strong model from the highest number down; quality is drawn over the share of such calls. With
thresholds at the tenths of the numbers, as RouteLLM's figures are made:

- PGR(share), performance gap recovered: (quality - weak's) / (strong's - weak's);
- APGR: the area under PGR over shares 0 to 1, by trapezoids; .5 for a random router;
- CPT(x %), call-performance threshold: the least share of strong calls with PGR of x %.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["STEPS", "PairCurve", "fine_curve", "oracle_curve", "random_curve", "stepped_curve"]

STEPS: Final = 10
"""Thresholds between no and all strong calls, as in RouteLLM's published figures."""


@dataclass(frozen=True, eq=False)
class PairCurve:
    """Quality by share of strong calls, shares rising from 0 to 1.

    Attributes:
        shares: share of tasks sent to the strong model.
        qualities: mean score at each share.
        weak, strong: mean score of either model alone.
    """

    shares: Floats
    qualities: Floats
    weak: float
    strong: float

    def pgr(self) -> Floats:
        """Performance gap recovered at each share: 0 as the weak model, 1 as the strong one.

        NaN when the strong model is not better than the weak one: there is no gap.
        """
        import numpy as np

        gap = self.strong - self.weak
        if gap <= 0:
            return np.full_like(self.qualities, math.nan)
        return (self.qualities - self.weak) / gap

    def apgr(self) -> float:
        """The area under :meth:`pgr`; NaN where there is no gap."""
        import numpy as np

        pgr = self.pgr()
        return float(np.sum(np.diff(self.shares) * (pgr[1:] + pgr[:-1]) / 2))

    def cpt(self, recovered: float) -> float:
        """The least share of strong calls at which ``recovered`` (0 to 1) of the gap is recovered.

        Between two points the curve is a straight line. NaN where there is no gap.
        """
        pgr = self.pgr()
        if math.isnan(float(pgr[0])):
            return math.nan
        for i, reached in enumerate(pgr):
            if reached >= recovered:
                if i == 0:
                    return float(self.shares[0])
                part = (recovered - pgr[i - 1]) / (reached - pgr[i - 1])
                return float(self.shares[i - 1] + part * (self.shares[i] - self.shares[i - 1]))
        # The last point is the strong model itself but for rounding.
        return float(self.shares[-1])


def stepped_curve(gain: Floats, weak: Floats, strong: Floats, steps: int = STEPS) -> PairCurve:
    """The curve at thresholds that are quantiles of ``gain``, as RouteLLM draws it.

    ``gain``: the router's number for each task, higher for the strong model; ``weak`` and
    ``strong``: the models' scores. Equal thresholds count once.
    """
    import numpy as np

    falling, qualities = _given_away(gain, weak, strong)
    thresholds = np.quantile(gain, np.linspace(0.0, 1.0, steps + 1))
    # A threshold sends whatever is at least as high; the highest one stands for "above it": none.
    sent = np.searchsorted(-falling, -thresholds[:-1], side="right")
    points = np.unique(np.concatenate(([0, len(gain)], sent)))
    return _curve(points / len(gain), qualities[points], weak, strong)


def fine_curve(gain: Floats, weak: Floats, strong: Floats) -> PairCurve:
    """The curve at every threshold that makes a difference; tasks of equal ``gain`` go together.

    Such tasks are joined by a straight line: what sending them at random gives on average.
    """
    import numpy as np

    falling, qualities = _given_away(gain, weak, strong)
    points = np.concatenate(([0], np.flatnonzero(np.diff(falling)) + 1, [len(gain)]))
    return _curve(points / len(gain), qualities[points], weak, strong)


def _given_away(gain: Floats, weak: Floats, strong: Floats) -> tuple[Floats, Floats]:
    """Gains from the highest down, and mean quality when so many tasks go to the strong model."""
    import numpy as np

    order = np.argsort(-gain, kind="stable")
    sums = weak.sum() + np.append(0.0, np.cumsum((strong - weak)[order]))
    return gain[order], sums / len(gain)


def random_curve(weak: Floats, strong: Floats) -> PairCurve:
    """What a router that tosses a coin gives on average: a straight line."""
    import numpy as np

    ends = np.array([weak.mean(), strong.mean()])
    return _curve(np.array([0.0, 1.0]), ends, weak, strong)


def oracle_curve(weak: Floats, strong: Floats, steps: int | None = STEPS) -> PairCurve:
    """The most that can be had with at most that share of strong calls, knowing every score.

    As RouteLLM's optimal accuracy, calls that would gain nothing are not made, so the curve never
    falls. ``steps=None`` gives a point for every task.
    """
    import numpy as np

    count = len(weak)
    gains = np.maximum(np.sort(strong - weak)[::-1], 0.0)
    best = weak.mean() + np.append(0.0, np.cumsum(gains)) / count
    every = np.arange(count + 1) / count
    shares = every if steps is None else np.linspace(0.0, 1.0, steps + 1)
    return _curve(shares, np.interp(shares, every, best), weak, strong)


def _curve(shares: Floats, qualities: Floats, weak: Floats, strong: Floats) -> PairCurve:
    return PairCurve(shares, qualities, float(weak.mean()), float(strong.mean()))
