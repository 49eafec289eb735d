"""Pictures in decisions: whom earlier ones are not shown, and that words do not draw."""

from __future__ import annotations

from typing import Final

from modelrouter.exceptions import InvalidTaskError
from modelrouter.policies.decision import Candidate, Decision, Reason

__all__ = ["check_answered_in_words", "with_pictures_left_out"]

_LEFT_OUT: Final = Reason(
    "pictures",
    "it does not see: earlier pictures are left out, since the last turn does not refer to them",
)


def check_answered_in_words(decision: Decision) -> None:
    """Refuse to answer in words a task that wants a picture.

    Raises:
        InvalidTaskError: the task wants one; names the call that draws.
    """
    best = decision.best
    if decision.signals.kind != "image_generation" or (
        best is not None and "text" in best.card.modalities_out
    ):
        return
    raise InvalidTaskError(
        "task",
        "asks for a picture, and a completion is words.",
        hint='Call image_generation(prompt) to have it drawn; say kind="chat" to have it in words.',
    )


def with_pictures_left_out(decision: Decision) -> Decision:
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
