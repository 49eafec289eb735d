"""Calibration: from a score to a probability that means what it says (Platt 1999)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

__all__ = ["logistic", "platt"]


def platt(scores: Floats, outcomes: Floats) -> tuple[float, float]:
    """``(bias, slope)`` so that sigmoid(bias + slope * score) fits the outcomes, 0 to 1."""
    import numpy as np

    center, spread = float(scores.mean()), float(scores.std()) or 1.0
    design = np.stack([np.ones_like(scores), (scores - center) / spread], axis=1)
    # Platt's targets: no outcome is quite certain, so that no slope runs away.
    good, bad = outcomes.sum(), (1.0 - outcomes).sum()
    targets = outcomes * (good + 1) / (good + 2) + (1 - outcomes) / (bad + 2)
    bias, slope = logistic(design, targets, np.array([0.0, 1e-3]), np.array([0.0, 0.0]))
    return bias - slope * center / spread, slope / spread


def logistic(design: Floats, targets: Floats, precision: Floats, mean: Floats) -> Floats:
    """Logistic regression by Newton's method, with a Gaussian prior on each coefficient."""
    import numpy as np

    beta = mean.astype(float).copy()
    for _ in range(50):
        chance = 1.0 / (1.0 + np.exp(-np.clip(design @ beta, -30, 30)))
        slope = design.T @ (targets - chance) - precision * (beta - mean)
        curve = (design * (chance * (1 - chance))[:, None]).T @ design + np.diag(precision)
        step = np.linalg.solve(curve + 1e-9 * np.eye(len(beta)), slope)
        # A full step may overshoot where nearly all outcomes agree.
        step *= min(1.0, 4.0 / (float(np.abs(step).max()) + 1e-12))
        beta += step
        if float(np.abs(step).max()) < 1e-9:
            break
    return np.asarray(beta, dtype=np.float64)
