"""The most that an attempt can come to: tokens that no tokenizer exceeds, and their price."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from modelrouter.catalog.card import ModelCard
from modelrouter.catalog.cost import highest_cost_usd
from modelrouter.config import GenerationSettings
from modelrouter.counting import answers_of
from modelrouter.guards.base import Intent, OneCall
from modelrouter.task import Task

__all__ = ["intent_of"]

_TOKENS_A_MESSAGE: Final = 16
"""More than any template puts around one message."""
_TOKENS_OF_TOOLS: Final = 1_000
"""More than any provider's own words about tools and formats."""
_TOKENS_AN_IMAGE: Final = (("gpt-4o-mini", 50_000), ("gemini", 35_000), ("", 5_000))
"""More than the model of such a name is charged for one picture in its finest reading: OpenAI's
small 4o counts up to 48,169 tokens, Gemini 258 for each 768 pixels squared."""
_LENGTHENING: Final = ("reasoning_effort", "extra_body")
"""Options with which an answer may be longer than ``max_tokens``: litellm adds what is thought."""


def intent_of(
    card: ModelCard,
    task: Task,
    settings: GenerationSettings,
    tags: Mapping[str, str],
    call: OneCall,
) -> Intent:
    """What asking this model would come to at most.

    A text has at most as many tokens as bytes in UTF-8, for every tokenizer that these models
    use; neither prompt nor answer is ever longer than the window. Without ``max_tokens``, and with
    options that lengthen it, an answer may be as long as the card allows.
    """
    prompt = min(_prompt_tokens(task, card), card.context_window)
    most = card.max_output_tokens or card.context_window
    wanted = settings.max_tokens
    bounded = isinstance(wanted, int) and not any(map(settings.extra.get, _LENGTHENING))
    output = min(wanted, most) if bounded and isinstance(wanted, int) else most
    output *= answers_of(settings.extra)
    if task.kind == "embedding":  # every text has a window of its own, and there is no answer
        prompt, output = _prompt_tokens(task, card), 0
    images = answers_of(settings.extra) if task.kind == "image_generation" else 0
    cost_usd = highest_cost_usd(card, prompt, output, images)
    return Intent(card, prompt, output, cost_usd, tags, call)


def _prompt_tokens(task: Task, card: ModelCard) -> int:
    image = next(tokens for name, tokens in _TOKENS_AN_IMAGE if name in card.name)
    messages = task.to_openai()
    total = _TOKENS_A_MESSAGE * (len(messages) + 1)
    for message in messages:
        total += sum(_size(value, image) for value in message.values())
    if task.tools or task.response_format is not None:
        total += _TOKENS_OF_TOOLS + _size(task.tools, image) + _size(task.response_format, image)
    return total


def _size(value: object, image: int) -> int:
    if value is None:
        return 0
    if isinstance(value, str):
        return len(value.encode("utf-8", "surrogatepass"))
    if isinstance(value, Mapping) and value.get("type") == "image_url":
        return image
    if isinstance(value, (list, tuple)):
        return sum(_size(each, image) for each in value)
    return len(json.dumps(value, default=str, ensure_ascii=False).encode("utf-8", "surrogatepass"))
