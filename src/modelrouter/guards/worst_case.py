"""The most that an attempt can come to: tokens that no tokenizer exceeds, and their price."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from modelrouter.catalog.card import ModelCard
from modelrouter.config import GenerationSettings
from modelrouter.guards.base import Intent, OneCall
from modelrouter.task import Task

__all__ = ["intent_of"]

_TOKENS_A_MESSAGE: Final = 16
"""More than any template puts around one message."""
_TOKENS_AN_IMAGE: Final = 3_000
"""More than any provider counts for one picture in its finest reading."""


def intent_of(
    card: ModelCard,
    task: Task,
    settings: GenerationSettings,
    tags: Mapping[str, str],
    call: OneCall,
) -> Intent:
    """What asking this model would come to at most.

    A text has at most as many tokens as bytes in UTF-8, for every tokenizer that these models
    use; neither prompt nor answer is ever longer than the window. Without ``max_tokens`` an
    answer may be as long as the card allows.
    """
    prompt = min(_bytes(task), card.context_window)
    most = card.max_output_tokens or card.context_window
    wanted = settings.max_tokens
    output = min(wanted, most) if isinstance(wanted, int) else most
    answers = settings.extra.get("n") or 1
    output *= answers if isinstance(answers, int) else 1
    return Intent(card, prompt, output, _cost_usd(card, prompt, output), tags, call)


def _bytes(task: Task) -> int:
    messages = task.to_openai()
    total = _TOKENS_A_MESSAGE * (len(messages) + 1)
    for message in messages:
        total += sum(_size(value) for value in message.values())
    total += sum(_size(tool) for tool in task.tools)
    return total + _size(task.response_format)


def _size(value: object) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, Mapping) and value.get("type") == "image_url":
        return _TOKENS_AN_IMAGE
    if isinstance(value, (list, tuple)):
        return sum(map(_size, value))
    return len(json.dumps(value, default=str, ensure_ascii=False).encode("utf-8", "surrogatepass"))


def _cost_usd(card: ModelCard, prompt: int, output: int) -> float | None:
    if card.location == "local":
        return 0.0
    return None if card.price is None else card.price.cost_usd(prompt, output)
