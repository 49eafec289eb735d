"""Signals: what can be read from a task without asking any model."""

from modelrouter.signals.base import ComplexityEstimator, Need, Signals, Tokenizer
from modelrouter.signals.complexity import estimate_complexity
from modelrouter.signals.context import estimate_tokens
from modelrouter.signals.kind import detect_kind
from modelrouter.signals.language import detect_language
from modelrouter.signals.privacy import find_pii
from modelrouter.signals.read import read

__all__ = [
    "ComplexityEstimator",
    "Need",
    "Signals",
    "Tokenizer",
    "detect_kind",
    "detect_language",
    "estimate_complexity",
    "estimate_tokens",
    "find_pii",
    "read",
]
