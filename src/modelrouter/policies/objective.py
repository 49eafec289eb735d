"""The objective: one number from quality, cost and latency."""

from __future__ import annotations

from typing import Final

from pydantic import Field, model_validator

from modelrouter.config import Configured

__all__ = ["HALF_COST_USD", "HALF_LATENCY_S", "Objective"]

HALF_COST_USD: Final = 0.002
"""The cost at which the cost term reaches one half."""

HALF_LATENCY_S: Final = 5.0
"""The latency at which the latency term reaches one half."""


class Objective(Configured):
    """Weights of quality, cost and latency; only their ratios matter.

        utility = (quality * min(p, enough) - cost * c / (c + 0.002 USD)
                   - latency * t / (t + 5 s)) / sum of weights

    Cost and latency saturate, so that a candidate's utility does not depend on which others there
    are, and no price however high outweighs quality without bound. ``enough`` is the P(quality)
    beyond which more counts for nothing: with 0.75, the cheapest and quickest of the models that
    do the task well is best, rather than the strongest.

    With ``value_usd``, what one more task done well is worth, cost counts as it is instead: its
    term is ``cost * c / value_usd``, without saturating. With ``quality=1, cost=1, latency=0`` that
    is the most quality for the money (:mod:`modelrouter.fitting.value`).
    """

    quality: float = Field(default=0.6, ge=0)
    cost: float = Field(default=0.3, ge=0)
    latency: float = Field(default=0.1, ge=0)
    enough: float = Field(default=1.0, gt=0, le=1)
    value_usd: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _some_weight(self) -> Objective:
        if self.quality + self.cost + self.latency <= 0:
            raise ValueError("give at least one of quality, cost and latency a weight above 0")
        return self

    def utility(self, p_quality: float, cost_usd: float, latency_s: float) -> float:
        """Higher is better; between -1 and 1 unless ``value_usd`` is given.

        It never falls when ``p_quality`` rises: at 1.0 it is the most that cost and latency allow.
        """
        scale = cost_usd + HALF_COST_USD if self.value_usd is None else self.value_usd
        return (
            self.quality * (p_quality if p_quality < self.enough else self.enough)
            - self.cost * cost_usd / scale
            - self.latency * latency_s / (latency_s + HALF_LATENCY_S)
        ) / (self.quality + self.cost + self.latency)
