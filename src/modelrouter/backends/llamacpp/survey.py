"""What a step's scores say: the likeliest tokens, probabilities, and how open the choice was."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float32]

__all__ = ["Survey", "Surveyor", "top_tokens"]

_ROWS_TOGETHER: Final = 65_536
"""Numbers worked on at once: what stays in a core's cache."""


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
    """Reads scores where they lie in llama.cpp's memory; keeps room for what is worked out."""

    def __init__(self) -> None:
        self._room: Scores | None = None

    def survey(self, scores: Scores) -> Survey:
        """Look at rows of scores, one for each sequence."""
        rows, words = scores.shape
        together = max(1, _ROWS_TOGETHER // words)
        best: list[int] = []
        log_total: list[float] = []
        entropy: list[float] = []
        for start in range(0, rows, together):
            part = self._part(scores[start : start + together])
            best += part[0]
            log_total += part[1]
            entropy += part[2]
        return Survey(best, log_total, entropy)

    def _part(self, scores: Scores) -> tuple[list[int], list[float], list[float]]:
        import numpy as np

        below, shares = self._rooms(scores.shape)
        best = scores.argmax(axis=1)
        top = scores[np.arange(len(scores)), best]
        np.subtract(scores, top[:, None], out=below)
        np.exp(below, out=shares)
        total = shares.sum(axis=1)
        weighted = np.einsum("ij,ij->i", shares, below)
        if not np.isfinite(weighted).all():
            # Where a token is impossible its score is -inf, and 0 times that is nan.
            weighted = np.einsum("ij,ij->i", shares, np.maximum(below, np.float32(-1e4)))
        logs = np.log(total)
        return best.tolist(), (top + logs).tolist(), (logs - weighted / total).tolist()

    def _rooms(self, shape: tuple[int, ...]) -> tuple[Scores, Scores]:
        import numpy as np

        size = shape[0] * shape[1]
        if self._room is None or self._room.shape[1] < size:
            self._room = np.empty((2, size), np.float32)
        return self._room[0, :size].reshape(shape), self._room[1, :size].reshape(shape)


def top_tokens(scores: Scores, count: int) -> list[int]:
    """The likeliest tokens, best first."""
    import numpy as np

    if count <= 0:
        return []
    count = min(count, len(scores))
    some = np.argpartition(scores, -count)[-count:]
    return [int(token) for token in some[np.argsort(-scores[some], kind="stable")]]
