"""Scores: how well each model would do a task."""

from modelrouter.scoring.base import Difficulty, Lineup, Prospect, Scorer, Situation, assess
from modelrouter.scoring.confidence import Curves, fit_curves
from modelrouter.scoring.examples import Example, read_jsonl
from modelrouter.scoring.heuristic import HeuristicScorer
from modelrouter.scoring.learned import LearnedScorer
from modelrouter.scoring.thresholds import Threshold, threshold

__all__ = [
    "Curves",
    "Difficulty",
    "Example",
    "HeuristicScorer",
    "LearnedScorer",
    "Lineup",
    "Prospect",
    "Scorer",
    "Situation",
    "Threshold",
    "assess",
    "fit_curves",
    "read_jsonl",
    "threshold",
]
