"""Evaluation: how good a router's choices are, honestly, from labelled examples."""

from modelrouter.evaluation.estimate import Estimate
from modelrouter.evaluation.measure import evaluate, measure
from modelrouter.evaluation.outcomes import Outcomes, cards_for, collect
from modelrouter.evaluation.report import Report

__all__ = ["Estimate", "Outcomes", "Report", "cards_for", "collect", "evaluate", "measure"]
