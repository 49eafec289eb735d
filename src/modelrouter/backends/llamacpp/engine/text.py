"""Token bytes to text: whole characters only, and never a part of a stop string."""

from __future__ import annotations

import codecs
from collections.abc import Sequence

__all__ = ["TextAssembler"]


class TextAssembler:
    """Turns a stream of bytes into a stream of text.

    A character whose bytes come in several tokens is given out when it is complete; bytes that are
    no UTF-8 become U+FFFD. Text that may be the beginning of a stop string is held back until
    it is one or is not.
    """

    __slots__ = ("_decoder", "_held", "_stops", "stopped")

    def __init__(self, stops: Sequence[str] = ()) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._held = ""
        self._stops = tuple(stop for stop in stops if stop)
        self.stopped = False
        """Whether a stop string was met; what comes after it is dropped."""

    @property
    def watching(self) -> bool:
        """Whether there is a stop string that may end the text."""
        return bool(self._stops)

    def add(self, piece: bytes) -> str:
        """Take a token's bytes; returns the text that is certain now."""
        return self._release(self._decoder.decode(piece), last=False)

    def finish(self) -> str:
        """The rest, once no more bytes come."""
        return self._release(self._decoder.decode(b"", final=True), last=True)

    def _release(self, new: str, *, last: bool) -> str:
        if self.stopped:
            return ""
        if not self._stops:
            return new
        text = self._held + new
        found = [at for stop in self._stops if (at := text.find(stop)) >= 0]
        if found:
            self.stopped, self._held = True, ""
            return text[: min(found)]
        keep = 0 if last else max(_overlap(text, stop) for stop in self._stops)
        self._held = text[len(text) - keep :]
        return text[: len(text) - keep]


def _overlap(text: str, stop: str) -> int:
    """Length of the longest end of ``text`` that is a beginning of ``stop``."""
    longest = min(len(text), len(stop) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(stop[:n])), 0)
