"""Scores: how well each model would do a task."""

from modelrouter.scoring.base import Difficulty, Lineup, Prospect, Scorer, Situation, assess
from modelrouter.scoring.confidence import Curves, fit_curves
from modelrouter.scoring.heuristic import HeuristicScorer
from modelrouter.scoring.learned import LearnedScorer

__all__ = [
    "Curves",
    "Difficulty",
    "HeuristicScorer",
    "LearnedScorer",
    "Lineup",
    "Prospect",
    "Scorer",
    "Situation",
    "assess",
    "fit_curves",
]
