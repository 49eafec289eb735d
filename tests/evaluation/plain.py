"""Figures worked out as their definitions say, without the care for speed."""

from __future__ import annotations

from typing import Any

import numpy as np

from modelrouter.evaluation.frontier import Gap, closed

__all__ = ["closed_at", "gap"]


def gap(chosen: Any, costs: np.ndarray, scores: np.ndarray, value: float) -> Gap:
    """What a choice gains over the best single model at a price, and what the oracle does."""
    worth = scores - costs / value
    single = worth.mean(axis=0).max()
    routed = worth[range(len(worth)), chosen].mean()
    return Gap(float(worth.max(axis=1).mean() - single), float(routed - single))


def closed_at(chosen: Any, costs: np.ndarray, scores: np.ndarray, value: float) -> float:
    """The share of that gap that is closed."""
    return closed([gap(chosen, costs, scores, value)])
