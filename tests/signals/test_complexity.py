"""Complexity: hard tasks score above easy ones."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.signals import detect_kind, estimate_complexity
from modelrouter.task import KINDS, Kind, Task


def complexity(text: str) -> float:
    return estimate_complexity(text, detect_kind(Task.of(text))[0])


def test_the_ends_of_the_scale() -> None:
    assert complexity("hi") < 0.1
    assert complexity("Fix the grammar: She go to school.") < 0.2
    assert complexity("prove that the square root of 2 is irrational") > 0.6


def test_orders_tasks_as_people_would() -> None:
    scores = [
        complexity(text)
        for text in (
            "hi",
            "Complete the sentence: The cat sat on the",
            "What is the capital of France?",
            "Write a function that reverses a string.",
            "Design a distributed rate limiter in Go; it must survive the loss of any node, keep "
            "exactly the limit, and you should prove that it never admits more. Then compare it "
            "with a token bucket and justify each trade-off.",
        )
    ]
    assert all(easier < harder for easier, harder in pairwise(scores))


@pytest.mark.parametrize("kind", ["math", "reasoning", "code", "question_answering"])
def test_constraints_and_length_add(kind: Kind) -> None:
    text = "Plan the schedule of a small museum for next week, please, with all that it takes."
    assert estimate_complexity(f"{text} It must open at 9, without exception.", kind) > (
        estimate_complexity(text, kind)
    )
    assert estimate_complexity(text * 50, kind) > estimate_complexity(text, kind)


@given(st.text(), st.sampled_from(KINDS))
def test_stays_between_0_and_1(text: str, kind: Kind) -> None:
    assert 0.0 <= estimate_complexity(text, kind) <= 1.0
