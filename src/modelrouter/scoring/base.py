"""The Scorer contract, and what a scorer says of each model: prospects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol, runtime_checkable

from modelrouter.catalog.card import ModelCard, Price
from modelrouter.catalog.discovery import Unavailable
from modelrouter.signals.base import Difficulty, Signals
from modelrouter.task import Kind, Task

__all__ = ["Difficulty", "Prospect", "Scorer", "Situation", "assess"]

UNKNOWN_PRICE = Price(input=10e-6, output=30e-6)
"""What a hosted model of unknown price is taken to cost: a large model's price, so that
not knowing never looks cheap."""


@runtime_checkable
class Scorer(Protocol):
    """Predicts how well models would do a task, from its text and signals alone."""

    def read(self, text: str, kind: Kind) -> Difficulty:
        """The difficulty of the last user turn; :meth:`p_quality` finds it in the signals."""
        ...

    def p_quality(self, card: ModelCard, task: Task, signals: Signals) -> float:
        """0 to 1: the chance that the card's model does the task well."""
        ...


class Prospect(NamedTuple):
    """What to expect if this card's model were given the task. (A named tuple, for speed.)

    ``cost_usd`` and ``latency_s`` are expectations from the signals' token counts.
    """

    card: ModelCard
    p_quality: float
    cost_usd: float
    latency_s: float
    unavailable: Unavailable | None = None


@dataclass(frozen=True, slots=True)
class Situation:
    """All that a policy decides on; a policy is a pure function of it."""

    task: Task
    signals: Signals
    prospects: tuple[Prospect, ...]


def assess(
    task: Task,
    signals: Signals,
    cards: Iterable[ModelCard],
    scorer: Scorer,
    unavailable: Mapping[str, Unavailable],
) -> Situation:
    """Predict quality, cost and latency of every card on the task."""
    prompt, output = signals.prompt_tokens, signals.output_tokens
    return Situation(
        task=task,
        signals=signals,
        prospects=tuple(
            Prospect(
                card=card,
                p_quality=scorer.p_quality(card, task, signals),
                cost_usd=expected_cost_usd(card, prompt, output),
                latency_s=card.speed.latency_s(prompt, output),
                unavailable=unavailable.get(card.name),
            )
            for card in cards
        ),
    )


def expected_cost_usd(card: ModelCard, prompt_tokens: int, output_tokens: int) -> float:
    """USD for the task; local models are free, an unknown price counts as a large model's."""
    if card.location == "local":
        return 0.0
    return (card.price or UNKNOWN_PRICE).cost_usd(prompt_tokens, output_tokens)
