"""Scores: how well each model would do a task."""

from modelrouter.scoring.base import (
    CandidateSet,
    Difficulty,
    Prediction,
    RoutingContext,
    Scorer,
    assess,
)
from modelrouter.scoring.confidence import Curves, fit_curves
from modelrouter.scoring.heuristic import HeuristicScorer
from modelrouter.scoring.learned import LearnedScorer

__all__ = [
    "CandidateSet",
    "Curves",
    "Difficulty",
    "HeuristicScorer",
    "LearnedScorer",
    "Prediction",
    "RoutingContext",
    "Scorer",
    "assess",
    "fit_curves",
]
