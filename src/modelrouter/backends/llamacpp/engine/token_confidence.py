"""How sure a model is of its answers: the probabilities of what was chosen, and how open it was.

Working them out costs several passes over the vocabulary, and a pass over several rows at once
costs little more than over one. So rows are put aside and looked at together, when there is no
more room or somebody wants to know.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from modelrouter.response import Confidence

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float32]

__all__ = ["ConfidenceReader", "TokenConfidence", "top_tokens"]

_NUMBERS_AT_ONCE: Final = 1 << 18
"""A megabyte, twice. Beside a large model little of this code is in the processor's cache when a
step ends; so it runs as seldom as it can."""


class TokenConfidence:
    """What the probabilities of one answer's tokens come to so far. Natural logarithms.

    Attributes:
        log_total: of the last token: the logarithm of the sum of all tokens' exponentials. A
            token's score minus this is the logarithm of its probability.
    """

    __slots__ = ("_entropy", "_least", "_reader", "_sum", "_tokens", "log_total")

    def __init__(self, reader: ConfidenceReader) -> None:
        self._reader = reader
        self._sum = self._least = self._entropy = self.log_total = 0.0
        self._tokens = 0

    def add(self, score: float, log_total: float, entropy: float) -> None:
        """One more token, by its score, and the distribution that it was chosen from."""
        logprob = score - log_total
        self.log_total = log_total
        self._tokens += 1
        self._sum += logprob
        self._entropy += entropy
        if logprob < self._least:
            self._least = logprob

    def settled(self) -> TokenConfidence:
        """The same, with every token counted in."""
        self._reader.settle()
        return self

    @property
    def mean_logprob(self) -> float:
        """The mean of the tokens' log-probabilities."""
        return self._sum / self._tokens

    def confidence(self) -> Confidence:
        """What the reply says of it."""
        settled = self.settled()
        return Confidence(
            mean_logprob=settled.mean_logprob,
            min_logprob=settled._least,
            mean_entropy=settled._entropy / settled._tokens,
            tokens=settled._tokens,
        )


class ConfidenceReader:
    """Puts scores aside until they are worth looking at.

    Args:
        words: of the vocabulary: how many scores a row has.
    """

    def __init__(self, words: int) -> None:
        import numpy as np

        self._np = np  # an import costs as much as a small sum, and this is done for every token
        self._room = max(1, _NUMBERS_AT_ONCE // words)
        self._below, self._shares = np.empty((2, self._room, words), np.float32)
        self._noted: list[tuple[TokenConfidence, float, float]] = []

    def note(self, certainty: TokenConfidence, scores: Scores, best: int, token: int) -> bool:
        """Put a row aside, of which ``token`` was chosen; ``best`` is its likeliest one.

        Returns:
            False if there is nothing to be said of it: the model gave nan.
        """
        top = scores[best]
        highest = float(top)
        if not math.isfinite(highest):  # argmax gives nan before any number
            return False
        noted = self._noted
        self._np.subtract(scores, top, out=self._below[len(noted)])
        noted.append((certainty, highest, highest if token == best else float(scores[token])))
        if len(noted) == self._room:
            self.settle()
        return True

    def settle(self) -> None:
        """Look at all that was put aside."""
        noted = self._noted
        if not noted:
            return
        np, below = self._np, self._below[: len(noted)]
        shares = np.exp(below, out=self._shares[: len(noted)])
        totals = shares.sum(axis=1).tolist()
        weighted = np.einsum("ij,ij->i", shares, below).tolist()
        for row, ((certainty, highest, score), total) in enumerate(zip(noted, totals, strict=True)):
            open_ = weighted[row]
            if not math.isfinite(open_):
                # Where a token is impossible its score is -inf, and 0 times that is nan.
                open_ = float(np.dot(shares[row], np.maximum(below[row], np.float32(-1e4))))
            log = math.log(total)
            certainty.add(score, highest + log, log - open_ / total)
        noted.clear()


def top_tokens(scores: Scores, count: int) -> list[int]:
    """The likeliest tokens, best first."""
    import numpy as np

    if count <= 0:
        return []
    count = min(count, len(scores))
    some = np.argpartition(scores, -count)[-count:]
    return [int(token) for token in some[np.argsort(-scores[some], kind="stable")]]
