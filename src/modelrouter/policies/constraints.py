"""Hard constraints: every reason why a card may not be given a task, whatever its utility."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from typing import Final, NamedTuple

from modelrouter.catalog.card import ModelCard
from modelrouter.policies.decision import Reason, ReasonCode
from modelrouter.scoring.base import CandidateSet
from modelrouter.signals.base import Signals
from modelrouter.signals.kind_table import FACTS

__all__ = [
    "BOUNDS",
    "Eligible",
    "capability_obstacles",
    "eligible_cards",
    "load_of",
    "location_obstacle",
]

_LOCAL_ONLY: Final = Reason("location", "the policy allows local models only")
_NO_VISION: Final = Reason("modality", "the task holds an image and this model does not see")
_NO_TOOLS: Final = Reason("tools", "the task brings tools and this model cannot call any")
_NO_SCHEMA: Final = Reason(
    "json_schema", "the task wants a JSON schema and this model does not keep to one"
)


def location_obstacle(card: ModelCard, location: str) -> Reason | None:
    """The privacy gate: ``location="local"`` rules out whatever is not on this machine."""
    return _LOCAL_ONLY if location == "local" and card.location != "local" else None


def capability_obstacles(card: ModelCard, signals: Signals) -> Iterator[Reason]:
    """What the model cannot do at all: modality, scope, language, length, turns, tools."""
    yield from _fit_obstacles(card, signals)
    for needed, bound in zip(load_of(signals), BOUNDS, strict=True):
        most = bound.most(card)
        if needed > most:
            yield Reason(bound.code, bound.template, (needed, most))


class Load(NamedTuple):
    """How much a task asks of a model, in the order of :data:`BOUNDS`."""

    context_tokens: int
    prompt_tokens: int
    system_tokens: int
    user_turns: int


def load_of(signals: Signals) -> Load:
    """The load of a task, the error margin of its tokens included."""
    if signals.kind == "embedding":
        # Each text has a window of its own, and the model itself says how long it may be.
        return Load(0, 0, 0, signals.user_turns)
    prompt = surely_tokens(signals)
    return Load(prompt + signals.output_tokens, prompt, signals.system_tokens, signals.user_turns)


class Bound(NamedTuple):
    """The most of one kind of load that a card takes.

    Attributes:
        code, template: of the reason where a task asks for more; the template's values are what
            is asked and the most.
        most: a card's bound; infinite where it has none.
    """

    code: ReasonCode
    template: str
    most: Callable[[ModelCard], float]


def _or_any(value: int | None) -> float:
    return math.inf if value is None else value


BOUNDS: Final = (
    Bound(
        "context_window",
        "needs {:,} context tokens (error margin included), its window has {:,}",
        lambda card: card.context_window,
    ),
    Bound(
        "prompt_length",
        "the prompt has {:,} tokens (error margin included), it does well up to {:,}",
        lambda card: _or_any(card.max_prompt_tokens),
    ),
    Bound(
        "system_prompt",
        "the system prompt has {:,} tokens, it is made for at most {:,}",
        lambda card: _or_any(card.max_system_tokens),
    ),
    Bound(
        "turns",
        "the conversation has {} user turns, it follows {}",
        lambda card: _or_any(card.max_user_turns),
    ),
)
"""One truth for both ways of asking: compiled into :class:`Eligible` to find the best quickly,
read one by one to say every reason."""


def _fit_obstacles(card: ModelCard, signals: Signals) -> Iterator[Reason]:
    """What the card cannot do whatever the length: these follow from kind, language and needs."""
    needs = signals.needs
    makes = FACTS[signals.kind].makes
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


def surely_tokens(signals: Signals) -> int:
    """Prompt tokens with the estimate's error counted in: a fallback must never overflow."""
    return round(signals.prompt_tokens * (1.0 + signals.token_error))


class Eligible(NamedTuple):
    """A card that fits a task's kind, language and needs, and the most load that it takes."""

    at: int
    card: ModelCard
    most: tuple[float, ...]


class EligibleCards(NamedTuple):
    """Such cards, the cheapest first, and the load that every one of them takes."""

    cards: Sequence[Eligible]
    all_take: tuple[float, ...]


def eligible_cards(candidate_set: CandidateSet, signals: Signals, location: str) -> EligibleCards:
    """The available cards at the location that fit the task but for its load.

    There are few combinations of kind, language and needs, so each is worked out once.
    """
    key = (location, signals.kind, signals.language, signals.needs)
    known: EligibleCards | None = candidate_set.kept.get(key)
    if known is None:
        cards = [
            Eligible(at, card, tuple(bound.most(card) for bound in BOUNDS))
            for at, card in enumerate(candidate_set.cards)
            if card.name not in candidate_set.unavailable
            and location_obstacle(card, location) is None
            and not any(_fit_obstacles(card, signals))
        ]
        # The cheapest first: a good one among them spares predictions for those that cost more.
        cards.sort(key=lambda card: candidate_set.prices[card.at])
        all_take = zip(*(card.most for card in cards), _NO_BOUNDS, strict=True)
        known = EligibleCards(cards, tuple(map(min, all_take)))
        candidate_set.kept[key] = known
    return known


_NO_BOUNDS: Final = (math.inf,) * len(BOUNDS)


def _list(values: frozenset[str]) -> str:
    return ", ".join(sorted(values))
