"""What a step's scores say: the likeliest tokens, probabilities, and how open the choice was."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float32]

_MOST_FOR_BLAS: Final = 10_000

__all__ = ["Survey", "Surveyor", "top_tokens"]


@dataclass(frozen=True, slots=True)
class Survey:
    """A row for each sequence.

    Attributes:
        best: the likeliest token; the first of them where several are.
        log_total: the logarithm of the sum of all tokens' exponentials: a token's score minus
            this is the logarithm of its probability. Not finite where the model gave nan.
        entropy: of the distribution, in nats; 0 where only one token is possible.
    """

    best: Sequence[int]
    log_total: Sequence[float]
    entropy: Sequence[float]


class Surveyor:
    """Reads scores where they lie in llama.cpp's memory; keeps room for what is worked out.

    Args:
        words: of the vocabulary: how many scores a row has.
    """

    def __init__(self, words: int) -> None:
        import numpy as np

        self._np = np  # an import costs as much as a small sum, and this is done for every token
        self._below, self._shares = np.empty((2, words), np.float32)
        # The quicker one would set other threads to work on more numbers.
        self._product = np.dot if words <= _MOST_FOR_BLAS else _einsum

    def survey(self, scores: Scores) -> Survey:
        """Look at rows of scores, one for each sequence."""
        best: list[int] = []
        log_total: list[float] = []
        entropy: list[float] = []
        for row in scores:
            token, log, open_ = self._row(row)
            best.append(token)
            log_total.append(log)
            entropy.append(open_)
        return Survey(best, log_total, entropy)

    def _row(self, scores: npt.NDArray[np.float32]) -> tuple[int, float, float]:
        np, below, shares = self._np, self._below, self._shares
        best = int(scores.argmax())
        top = scores[best]
        np.subtract(scores, top, out=below)
        np.exp(below, out=shares)
        total = float(shares.sum())
        weighted = float(self._product(shares, below))
        if not math.isfinite(weighted):
            # Where a token is impossible its score is -inf, and 0 times that is nan.
            weighted = float(self._product(shares, np.maximum(below, np.float32(-1e4))))
        log = math.log(total) if total > 0 else math.nan
        return best, float(top) + log, log - weighted / total if total > 0 else math.nan


def _einsum(one: Any, other: Any) -> Any:
    import numpy as np

    return np.einsum("i,i", one, other)


def top_tokens(scores: Scores, count: int) -> list[int]:
    """The likeliest tokens, best first."""
    import numpy as np

    if count <= 0:
        return []
    count = min(count, len(scores))
    some = np.argpartition(scores, -count)[-count:]
    return [int(token) for token in some[np.argsort(-scores[some], kind="stable")]]
