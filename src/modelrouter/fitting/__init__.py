"""Fitting: what learns from examples; scoring holds what runs."""

from modelrouter.fitting.examples import Example, read_jsonl
from modelrouter.fitting.thresholds import Threshold, threshold

__all__ = ["Example", "Threshold", "read_jsonl", "threshold"]
