"""Policies: which models may do a task, and which of them is best for it."""

from modelrouter.policies.base import Policy, PolicyLike
from modelrouter.policies.objective import Objective
from modelrouter.policies.presets import PRESETS
from modelrouter.policies.rules import Condition, Rule, Selector

__all__ = ["PRESETS", "Condition", "Objective", "Policy", "PolicyLike", "Rule", "Selector"]
