"""Signals: what can be read from a task without asking any model."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any, Final, Literal, NamedTuple, TypeAlias

from modelrouter.task import Kind

__all__ = ["Difficulty", "DifficultyReader", "Need", "Signals", "Tokenizer"]

Need: TypeAlias = Literal["vision", "tools", "json_schema", "long_context"]

UNDETERMINED: Final = "und"
"""ISO 639-2's code for a language that cannot be told."""

LONG_CONTEXT_TOKENS: Final = 8_000
"""From this many context tokens on, a task needs ``long_context``."""

Tokenizer: TypeAlias = Callable[[str], int]
"""Counts the tokens of a text exactly."""


class Difficulty(NamedTuple):
    """What a scorer reads of a text's difficulty.

    Attributes:
        complexity: 0 to 1, the chance that a small (7B-class) model fails.
        skills: what else the scorer wants to know of the text; opaque to all but itself.
    """

    complexity: float
    skills: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Signals:
    """What a task asks for, read from its text and shape alone.

    Attributes:
        kind: what sort of task the last user turn is.
        kind_confidence: 0 to 1; low where the wording left the kind open.
        complexity: 0 to 1; rises with the chance that a small model fails.
        prompt_tokens: tokens of the whole conversation, tools and images included.
        output_tokens: tokens the answer is expected to take.
        token_error: relative error of ``prompt_tokens`` (0.0 when counted exactly).
        needs: what a model must have: vision, tools, json_schema, long_context.
        language: ISO 639-1 code of the last user turn, ``"und"`` where undetermined.
        pii: kinds of personal data seen anywhere in what a request carries (``"email"``, ...), and
            ``"unread"`` where a long table or encoded text was not looked at whole.
        characters: length of the whole conversation's text.
        user_turns: user turns in the conversation.
        system_tokens: tokens of the system prompt alone.
        difficulty: the skills of the scorer's :class:`Difficulty`; opaque to all but the scorer.
    """

    kind: Kind
    kind_confidence: float
    complexity: float
    prompt_tokens: int
    output_tokens: int
    token_error: float
    needs: frozenset[Need]
    language: str
    pii: tuple[str, ...]
    characters: int
    user_turns: int
    system_tokens: int = 0
    difficulty: tuple[float, ...] = ()

    @property
    def context_tokens(self) -> int:
        """Prompt and expected answer together: what must fit a model's window."""
        return self.prompt_tokens + self.output_tokens

    def model_dump(self) -> dict[str, Any]:
        """The signals as plain data; without ``difficulty``, which is for one scorer only."""
        found = {f.name: getattr(self, f.name) for f in fields(self) if f.name != "difficulty"}
        lists = {"needs": sorted(self.needs), "pii": list(self.pii)}
        return {**found, **lists, "context_tokens": self.context_tokens}

    @classmethod
    def of_dump(cls, dumped: Mapping[str, Any]) -> Signals:
        """The signals that :meth:`model_dump` wrote, of this version or one before."""
        known = {f.name: dumped[f.name] for f in fields(cls) if f.name in dumped}
        sets = {"needs": frozenset(dumped["needs"]), "pii": tuple(dumped["pii"])}
        return cls(**{**known, **sets})

    @property
    def contains_pii(self) -> bool:
        """Whether any personal data was seen."""
        return bool(self.pii)


DifficultyReader: TypeAlias = Callable[[str, Kind], Difficulty]
"""Reads the difficulty of the last user turn from its text and kind; a scorer's ``read``."""
