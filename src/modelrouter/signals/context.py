"""Context tokens: the prompt, estimated or counted, and the answer that is expected."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Final

from modelrouter.signals.base import Tokenizer
from modelrouter.task import Kind, Task

__all__ = ["ESTIMATE_ERROR", "Context", "count", "estimate_tokens"]

ESTIMATE_ERROR: Final = 0.25
"""Relative error that the estimate keeps within on prose and code."""

_MESSAGE_TOKENS: Final = 4
_IMAGE_TOKENS: Final = 765
_EXACT_UP_TO: Final = 20_000
_WINDOW: Final = 8_192
_WINDOWS: Final = 4
_OUTPUT: Final[dict[Kind, int]] = {
    "completion": 30,
    "grammar": 0,
    "chat": 60,
    "classification": 12,
    "extraction": 90,
    "embedding": 0,
    "summarization": 120,
    "translation": 0,
    "question_answering": 150,
    "creative_writing": 500,
    "image_understanding": 150,
    "image_generation": 0,
    "code": 400,
    "math": 350,
    "reasoning": 450,
}
_AS_LONG_AS_THE_TEXT: Final[frozenset[Kind]] = frozenset({"grammar", "translation"})


@dataclass(frozen=True, slots=True)
class Context:
    """Tokens of the prompt, of its system part and of the expected answer; the prompt's error."""

    prompt: int
    system: int
    output: int
    error: float


def count(task: Task, kind: Kind, tokenizer: Tokenizer | None) -> Context:
    """Count the task's context; exact with a tokenizer up to 20,000 characters."""
    size = sum(len(m.text) for m in task.messages)
    exact = tokenizer is not None and size <= _EXACT_UP_TO
    of = tokenizer if tokenizer is not None and exact else estimate_tokens
    prompt = sum(of(m.text) + _MESSAGE_TOKENS for m in task.messages)
    prompt += _IMAGE_TOKENS * sum(len(m.images) for m in task.messages)
    if task.tools:
        prompt += of(json.dumps(task.tools, default=dict))
    if task.response_format:
        prompt += of(json.dumps(task.response_format, default=dict))
    system = of(task.system_text) if task.system_text else 0
    expected = _OUTPUT[kind]
    if kind in _AS_LONG_AS_THE_TEXT:
        expected = of(task.text) + 8
    output = expected if task.max_tokens is None else min(expected, task.max_tokens)
    return Context(prompt, system, output, 0.0 if exact else ESTIMATE_ERROR)


def estimate_tokens(text: str) -> int:
    """Tokens of a text for a usual byte-pair vocabulary, from its length and script."""
    length = len(text)
    if length <= _WINDOW * _WINDOWS:
        return _estimate(text)
    step = (length - _WINDOW) // (_WINDOWS - 1)
    seen = sum(_estimate(text[i * step : i * step + _WINDOW]) for i in range(_WINDOWS))
    return round(seen * length / (_WINDOW * _WINDOWS))


def _estimate(text: str) -> int:
    if not text:
        return 0
    wide = 0 if text.isascii() else len(text.encode("utf-8", "replace")) - len(text)
    return max(1, round(len(text) / 4.2 + wide * 0.35))
