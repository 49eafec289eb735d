"""Hard constraints: every reason why a card may not be given a task, whatever its utility."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Literal

from modelrouter.catalog.card import ModelCard
from modelrouter.decision import Reason
from modelrouter.signals.base import Signals
from modelrouter.task import Task

__all__ = ["capability_obstacles", "location_obstacle"]

_LOCAL_ONLY: Final = Reason("location", "the policy allows local models only")
_NO_VISION: Final = Reason("modality", "the task holds an image and this model does not see")
_NO_TOOLS: Final = Reason("tools", "the task brings tools and this model cannot call any")
_NO_SCHEMA: Final = Reason(
    "json_schema", "the task wants a JSON schema and this model does not keep to one"
)
_OUTPUT: Final[dict[str, Literal["text", "image", "embedding"]]] = {
    "image_generation": "image",
    "embedding": "embedding",
}


def location_obstacle(card: ModelCard, location: str) -> Reason | None:
    """The privacy gate: ``location="local"`` rules out whatever is not on this machine."""
    return _LOCAL_ONLY if location == "local" and card.location != "local" else None


def capability_obstacles(card: ModelCard, task: Task, signals: Signals) -> Iterator[Reason]:
    """What the model cannot do at all: modality, scope, language, length, turns, tools."""
    needs = signals.needs
    makes = _OUTPUT.get(signals.kind, "text")
    if makes not in card.modalities_out:
        yield Reason("modality", "the task wants {} and this model makes none", (makes,))
    if "vision" in needs and "image" not in card.modalities_in:
        yield _NO_VISION
    if card.scope is not None and signals.kind not in card.scope:
        yield Reason("scope", "{} is outside what it is for", (signals.kind,))
    if card.languages is not None and signals.language not in card.languages:
        yield Reason(
            "language",
            "the text is in {!r}, it reads {}",
            (signals.language, _list(card.languages)),
        )
    yield from _length_obstacles(card, signals)
    if card.max_user_turns is not None and signals.user_turns > card.max_user_turns:
        yield Reason(
            "turns",
            "the conversation has {} user turns, it follows {}",
            (signals.user_turns, card.max_user_turns),
        )
    if "tools" in needs and "tools" not in card.capabilities:
        yield _NO_TOOLS
    if "json_schema" in needs and "json_schema" not in card.capabilities:
        yield _NO_SCHEMA


def _length_obstacles(card: ModelCard, signals: Signals) -> Iterator[Reason]:
    # The estimate's error is counted against the window: a fallback must never overflow it.
    prompt = round(signals.prompt_tokens * (1.0 + signals.token_error))
    if prompt + signals.output_tokens > card.context_window:
        yield Reason(
            "context_window",
            "needs {:,} context tokens (error margin included), its window has {:,}",
            (prompt + signals.output_tokens, card.context_window),
        )
    if card.max_prompt_tokens is not None and prompt > card.max_prompt_tokens:
        yield Reason(
            "prompt_length",
            "the prompt has {:,} tokens (error margin included), it does well up to {:,}",
            (prompt, card.max_prompt_tokens),
        )
    if card.max_system_tokens is not None and signals.system_tokens > card.max_system_tokens:
        yield Reason(
            "system_prompt",
            "the system prompt has {:,} tokens, it is made for at most {:,}",
            (signals.system_tokens, card.max_system_tokens),
        )


def _list(values: frozenset[str]) -> str:
    return ", ".join(sorted(values))
