"""Hard constraints: every reason why a card may not be given a task, whatever its utility."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Final, Literal, NamedTuple

from modelrouter.catalog.card import ModelCard
from modelrouter.policies.decision import Reason
from modelrouter.scoring.base import CandidateSet
from modelrouter.signals.base import Signals
from modelrouter.task import Task

__all__ = ["Place", "capability_obstacles", "fitting", "location_obstacle", "surely_tokens"]

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
    yield from _fit_obstacles(card, signals)
    yield from _length_obstacles(card, signals)
    if card.max_user_turns is not None and signals.user_turns > card.max_user_turns:
        yield Reason(
            "turns",
            "the conversation has {} user turns, it follows {}",
            (signals.user_turns, card.max_user_turns),
        )


def _fit_obstacles(card: ModelCard, signals: Signals) -> Iterator[Reason]:
    """What the card cannot do whatever the length: these follow from kind, language and needs."""
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
    if "tools" in needs and "tools" not in card.capabilities:
        yield _NO_TOOLS
    if "json_schema" in needs and "json_schema" not in card.capabilities:
        yield _NO_SCHEMA


def _length_obstacles(card: ModelCard, signals: Signals) -> Iterator[Reason]:
    if signals.kind == "embedding":
        return  # each text has a window of its own, and the model itself says how long it may be
    prompt = surely_tokens(signals)
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


def surely_tokens(signals: Signals) -> int:
    """Prompt tokens with the estimate's error counted in: a fallback must never overflow."""
    return round(signals.prompt_tokens * (1.0 + signals.token_error))


class Place(NamedTuple):
    """A card that fits a task's kind, language and needs, and how long a task it can take."""

    at: int
    card: ModelCard
    window: int
    most_prompt: float
    most_system: float
    most_turns: float


def fitting(candidate_set: CandidateSet, signals: Signals, location: str) -> Sequence[Place]:
    """The available cards at the location that fit the task but for its length.

    There are few combinations of kind, language and needs, so each is worked out once.
    """
    key = (location, signals.kind, signals.language, signals.needs)
    places: Sequence[Place] | None = candidate_set.kept.get(key)
    if places is None:
        places = [
            _place(at, card)
            for at, card in enumerate(candidate_set.cards)
            if card.name not in candidate_set.unavailable
            and location_obstacle(card, location) is None
            and not any(_fit_obstacles(card, signals))
        ]
        # The cheapest first: a good one among them spares predictions for those that cost more.
        candidate_set.kept[key] = places = sorted(
            places, key=lambda place: candidate_set.prices[place.at]
        )
    return places


def _place(at: int, card: ModelCard) -> Place:
    def bound(value: int | None) -> float:
        return math.inf if value is None else value

    return Place(
        at,
        card,
        card.context_window,
        bound(card.max_prompt_tokens),
        bound(card.max_system_tokens),
        bound(card.max_user_turns),
    )


def _list(values: frozenset[str]) -> str:
    return ", ".join(sorted(values))
