"""Which model a conversation is with, so that its turns do not wander between models.

A provider's prompt cache, and a local engine's, hold the conversation so far; and answers of one
voice read better. So a conversation keeps its model unless a turn needs more than it can do.
"""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from modelrouter.exceptions import ModelRouterError
from modelrouter.policies.decision import Candidate, Decision, Reason

__all__ = ["Conversations", "steady"]

logger = logging.getLogger("modelrouter")

_MOST: Final = 10_000
_CLEARLY: Final = 0.05
"""So much more P(quality) a better model has to promise before a conversation moves to it."""


class Conversations:
    """The model of each conversation, the most recent :data:`_MOST` of them; for any thread.

    Args:
        restore: asked for the model of a conversation that is not known here.
    """

    def __init__(self, restore: Callable[[str], str | None] | None = None) -> None:
        self._models: OrderedDict[str, str | None] = OrderedDict()
        self._lock = threading.Lock()
        self._restore = restore

    def model(self, conversation: str) -> str | None:
        """The model that it is with, if it has one."""
        with self._lock:
            if conversation in self._models:
                self._models.move_to_end(conversation)
                return self._models[conversation]
        return self._restored(conversation)

    def _restored(self, conversation: str) -> str | None:
        if self._restore is None:
            return None
        try:
            known = self._restore(conversation)
        except ModelRouterError:  # a turn is answered all the same, by whom it would be else
            logger.exception("The model of a conversation cannot be looked up.")
            return None
        self._keep(conversation, known)  # also that there is none: a turn asks twice
        return known

    def _keep(self, conversation: str, model: str | None) -> None:
        with self._lock:
            self._models[conversation] = model
            self._models.move_to_end(conversation)
            while len(self._models) > _MOST:
                self._models.popitem(last=False)

    def answered(self, conversation: str, decision: Decision, model: str) -> None:
        """A turn was answered: its model is kept, unless it was only a weaker stand-in."""
        before = self.model(conversation)
        if before is not None and before != model:
            promised = {c.model: c.p_quality for c in decision.feasible}
            if promised.get(model, 0.0) < promised.get(before, 0.0):
                return
        self._keep(conversation, model)


def steady(decision: Decision, model: str | None, enough: float) -> Decision:
    """The decision with the conversation's model first, if it may and can do this turn.

    Args:
        decision: as it would be for the turn by itself.
        model: the conversation's.
        enough: the P(quality) that is good enough. Below it the conversation moves to a model that
            clearly promises more; never to one that promises less.
    """
    if model is None or decision.model == model:
        return decision
    kept = next((c for c in decision.feasible if c.model == model), None)
    if kept is None:
        return decision
    if kept.p_quality < enough and decision.chosen.p_quality > kept.p_quality + _CLEARLY:
        return decision
    first = kept._replace(reasons=(Reason("conversation", "keeps the conversation's model"),))
    others: tuple[Candidate, ...] = tuple(c for c in decision.candidates if c is not kept)
    return decision.rearranged((first, *others))
