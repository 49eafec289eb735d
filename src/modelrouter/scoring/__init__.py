"""Scores: how well each model would do a task."""

from modelrouter.scoring.base import Prospect, Scorer, Situation, assess
from modelrouter.scoring.heuristic import HeuristicScorer

__all__ = ["HeuristicScorer", "Prospect", "Scorer", "Situation", "assess"]
