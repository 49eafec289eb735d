"""What a decision says of the pictures of earlier turns that a model will not be shown."""

from __future__ import annotations

from typing import Final

from modelrouter.decision import Candidate, Decision, Reason

__all__ = ["told_of_pictures"]

_LEFT_OUT: Final = Reason(
    "pictures",
    "it does not see: earlier pictures are left out, since the last turn does not refer to them",
)


def told_of_pictures(decision: Decision) -> Decision:
    """The decision, with a word about each model that may do the task without its pictures."""
    if "vision" in decision.signals.needs or not any(map(_blind, decision.feasible)):
        return decision
    return decision.rearranged(
        tuple(
            c._replace(reasons=(_LEFT_OUT, *c.reasons)) if _blind(c) else c
            for c in decision.candidates
        )
    )


def _blind(candidate: Candidate) -> bool:
    return candidate.feasible and "image" not in candidate.card.modalities_in
