"""GLEU for grammar correction with several references.

Napoles, Sakaguchi, Post and Tetreault, "Ground Truth for Grammatical Error Correction Metrics"
(ACL 2015), in the form of "GLEU Without Tuning" (2016): one reference a sentence is drawn at
random, the corpus score computed, and the score averaged over 500 draws.
"""

from __future__ import annotations

import random
from collections import Counter

import numpy as np

ORDER = 4
DRAWS = 500


def ngrams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def statistics(hypothesis: list[str], source: list[str], reference: list[str]) -> list[int]:
    """Lengths, then matches and totals of each order, for one sentence and one reference."""
    counts = [len(hypothesis), len(reference)]
    for n in range(1, ORDER + 1):
        h, s, r = (ngrams(words, n) for words in (hypothesis, source, reference))
        missed = Counter({g: c for g, c in s.items() if g not in r})
        matches = sum((h & r).values()) - sum((h & missed).values())
        counts += [max(0, matches), max(0, len(hypothesis) + 1 - n)]
    return counts


def score(total: np.ndarray) -> float:
    """GLEU of summed statistics, in points."""
    if (total == 0).any():
        return 0.0
    precision = np.log(total[2::2] / total[3::2]).mean()
    return float(100 * np.exp(precision + min(0.0, 1 - total[1] / total[0])))


def gleu(hypotheses: list[str], sources: list[str], references: list[list[str]]) -> float:
    """Corpus GLEU of tokenized sentences; ``references`` holds one list a reference set."""
    table = np.array(
        [
            [statistics(h.split(), s.split(), r[i].split()) for r in references]
            for i, (h, s) in enumerate(zip(hypotheses, sources, strict=True))
        ]
    )
    rows, scores = np.arange(len(hypotheses)), []
    for draw in range(DRAWS):
        rng = random.Random(draw * 101)
        chosen = [rng.randrange(len(references)) for _ in hypotheses]
        scores.append(score(table[rows, chosen].sum(axis=0)))
    return float(np.mean(scores))
