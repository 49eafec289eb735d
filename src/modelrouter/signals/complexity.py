"""Complexity: how likely a small model is to fail, from the wording alone.

A plain, documented heuristic: each kind has a base; length, the number of things asked at once, and
words that ask for derivation or design add to it. It orders tasks; it is not a measured frequency.
"""

from __future__ import annotations

import re
from typing import Final

from modelrouter.signals.base import Difficulty
from modelrouter.signals.kind_table import FACTS
from modelrouter.task import Kind

__all__ = ["HARD_WORDS", "estimate_complexity", "estimate_difficulty"]

_HEAD: Final = 1_200
_TAIL: Final = 600
"""Only the first and last characters are looked at; the length is exact."""

_LENGTH_SHARE: Final = 0.15
_LONG: Final = 6_000
"""Characters at which length has added half of its share."""

_NOT_WORDS: Final = {ord(sign): " " for sign in "\n\t.,;:!?()[]{}\"'`*_/"}
_SHORT: Final = 60
_ONE_STEP: Final[frozenset[Kind]] = frozenset({"math", "question_answering", "translation"})
"""Kinds of which a short request without a hard word is one step ("what is 17 * 23?")."""

HARD_WORDS: Final = frozenset(
    "prove proves proven proof derive derives derivation derivative theorem lemma induction"
    " irrational optimize optimise optimization optimisation optimal asymptotic complexity"
    " concurrent concurrency thread-safe distributed architecture algorithm algorithms refactor"
    " trade-off trade-offs tradeoff tradeoffs rigorous rigorously formal formally step-by-step"
    " multi-step multistep analyze analyse analysis evaluate compare contrast critique recommend"
    " justify integral differential eigenvalue eigenvalues eigenvector matrix probability"
    " statistics statistical strategy diagnose diagnosis legal contract quantum weigh"
    " beweise démontre demuestra".split()
)
"""Words of requests that ask for derivation, design or judgement."""
_HARD_PHRASES: Final = ("step by step",)
_CONSTRAINTS: Final = frozenset(
    "must exactly without only unless except each every ensure then also additionally finally"
    " least most".split()
)
_ITEM: Final = re.compile(r"^[ \t]*(?:\d+[.)]|[-*•])[ \t]", re.MULTILINE)
_NUMBER: Final = re.compile(r"\d+")
_FENCE: Final = "```"
_SIMPLE: Final[frozenset[Kind]] = frozenset({"grammar", "completion", "chat", "embedding"})


def estimate_difficulty(text: str, kind: Kind) -> Difficulty:
    """:func:`estimate_complexity`, and no skills: wording tells none apart."""
    return Difficulty(estimate_complexity(text, kind))


def estimate_complexity(text: str, kind: Kind) -> float:
    """0 to 1, from the last user turn's text and kind."""
    sample = text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"
    score = FACTS[kind].complexity + _LENGTH_SHARE * len(text) / (len(text) + _LONG)
    if kind in _SIMPLE:
        # Their text is material to work on: its words say nothing about the work.
        return min(1.0, score)
    lower = sample.lower()
    words = lower.translate(_NOT_WORDS).split()
    hard = _count(words, HARD_WORDS) + sum(phrase in lower for phrase in _HARD_PHRASES)
    score += 0.13 * min(3, hard)
    if not hard and len(text) < _SHORT and kind in _ONE_STEP:
        score -= 0.12
    score += 0.03 * min(6, _count(words, _CONSTRAINTS))
    if "\n" in sample:
        score += 0.03 * min(4, len(_ITEM.findall(sample)))
    score += 0.04 * min(3, max(0, sample.count("?") - 1))
    if kind in ("math", "reasoning"):
        score += 0.02 * min(5, len(_NUMBER.findall(sample)))
    if _FENCE in sample:
        score += 0.05
    return min(1.0, score)


def _count(words: list[str], members: frozenset[str]) -> int:
    # Most requests have none: asking that first is several times faster than counting.
    return 0 if members.isdisjoint(words) else sum(map(members.__contains__, words))
