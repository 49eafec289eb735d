"""A scorer without weights: a card's strength for the kind, bent by the task's complexity.

P(quality) = sigmoid(logit(strength) + slope * (0.5 - complexity)): a card's strengths are stated
for tasks of medium complexity, and small models fall off faster than large ones. This is a plain,
uncalibrated heuristic; its numbers order models, they are not measured frequencies. It is what the
learned scorer is measured against, and serves where a decision is to follow from the cards alone.
"""

from __future__ import annotations

import math
from typing import Final

from modelrouter.catalog.card import ModelCard
from modelrouter.signals import estimate_difficulty
from modelrouter.signals.base import Difficulty, Signals
from modelrouter.task import Kind, Task

__all__ = ["HeuristicScorer"]

_SLOPE_SMALL: Final = 5.0
_SLOPE_LARGE: Final = 2.0
_EDGE: Final = 1e-3


class HeuristicScorer:
    """Strength by kind, bent by complexity; fulfils :class:`~modelrouter.scoring.base.Scorer`."""

    def read(self, text: str, kind: Kind) -> Difficulty:
        """See :func:`modelrouter.signals.complexity.estimate_complexity`."""
        return estimate_difficulty(text, kind)

    def p_quality(self, card: ModelCard, task: Task, signals: Signals) -> float:
        """0 to 1; 0 outside the card's scope.

        Where the kind is uncertain, the strength is mixed with what the card does outside it.
        """
        strength = card.strength(signals.kind)
        if strength <= 0.0:
            return 0.0
        sure = signals.kind_confidence
        outside = 0.0 if card.scope is not None else card.general_strength
        strength = sure * strength + (1.0 - sure) * outside
        strength = min(1.0 - _EDGE, max(_EDGE, strength))
        slope = _SLOPE_SMALL if card.families == _SLM else _SLOPE_LARGE
        logit = math.log(strength / (1.0 - strength)) + slope * (0.5 - signals.complexity)
        return 1.0 / (1.0 + math.exp(-logit))


_SLM: Final = frozenset({"slm"})
