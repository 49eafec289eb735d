"""An answer that broke off, gone on with by another model: what it is asked, and where it joins."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["Splice", "asked_to_continue"]

_INSTRUCTION: Final = (
    "Your answer was cut off. Go on exactly where it stopped, in the same style and format. "
    "Repeat nothing of it, and add no introduction."
)
_LOOK: Final = 80
"""Characters of the continuation that are looked at before any is shown."""
_LEAST_OVERLAP: Final = 6
"""A shorter overlap may be chance: a word may well begin as the text before it ended."""


def asked_to_continue(messages: Sequence[Mapping[str, Any]], partial: str) -> list[dict[str, Any]]:
    """The conversation as the next model gets it, in a form that every provider takes."""
    return [
        *(dict(message) for message in messages),
        {"role": "assistant", "content": partial},
        {"role": "user", "content": _INSTRUCTION},
    ]


class Splice:
    """Joins a continuation to the text before it, without what it repeats.

    A model that was asked to go on may begin with the end of what was there, or with all of it.
    """

    def __init__(self, partial: str) -> None:
        self._partial = partial
        self._held = ""
        self._joined = False

    def add(self, text: str) -> str:
        """Take more of the continuation; what of it can be shown now."""
        if self._joined:
            return text
        self._held += text
        begins_anew = self._partial.startswith(self._held)
        if begins_anew or len(self._held) < _LOOK:
            return ""
        return self.finish()

    def finish(self) -> str:
        """What is still held, once no more comes."""
        if self._joined:
            return ""
        self._joined = True
        held, self._held = self._held, ""
        if held.startswith(self._partial):
            return held[len(self._partial) :]
        if self._partial.startswith(held) and len(held) >= _LEAST_OVERLAP:
            return ""
        return held[_overlap(self._partial, held) :]


def _overlap(before: str, after: str) -> int:
    """Characters at the beginning of ``after`` that are the end of ``before``."""
    longest = min(len(before), len(after))
    lengths = range(longest, _LEAST_OVERLAP - 1, -1)
    return next((n for n in lengths if before.endswith(after[:n])), 0)
