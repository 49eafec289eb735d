"""Deciding: from a task to a decision, with what is known here and now; nothing is asked."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from modelrouter.catalog import Catalog, ModelCard
from modelrouter.catalog.discovery import Found
from modelrouter.catalog.succession import in_service
from modelrouter.client.options import AUTO
from modelrouter.client.pool import BackendPool
from modelrouter.guards import Guards
from modelrouter.policies import Policy, PolicyLike
from modelrouter.policies.decision import Candidate, Decision, Reason
from modelrouter.policies.modality import with_pictures_left_out
from modelrouter.policies.privacy_proof import RouterSetup
from modelrouter.scoring import CandidateSet, Prediction, Scorer, assess
from modelrouter.signals import Signals, Tokenizer, read
from modelrouter.task import Task

__all__ = ["Routing", "checked_policy"]


class Routing:
    """Decides which model should do a task, and checks it again before each hop.

    Args:
        found: the models there are, and why some cannot be asked here.
        policy: of calls that bring none.
        scorer: predicts quality.
        guards: know which models fail just now.
        pool: knows tokens and speeds of models that are loaded.
        setup: what the router does besides.
        follow_successor: whether a retired model gives way to its successor.
    """

    def __init__(
        self,
        found: Found,
        *,
        policy: Policy,
        scorer: Scorer,
        guards: Guards,
        pool: BackendPool,
        setup: RouterSetup,
        follow_successor: bool,
    ) -> None:
        self.catalog: Catalog = found.catalog
        self.unavailable = found.unavailable
        self.available = tuple(c for c in found.catalog if c.name not in found.unavailable)
        self.policy, self.scorer, self.setup = policy, scorer, setup
        self._candidate_set = CandidateSet(self.catalog, self.unavailable)
        self._guards, self._pool = guards, pool
        self._follow_successor = follow_successor

    def decide(self, task: Task, model: str, policy: Policy) -> Decision:
        """The decision for a task; ``model`` is ``"auto"`` or the name of the only candidate.

        Raises:
            UnknownModelError: no card has that name.
            RetiredModelError: the model is retired, and its successor is not wanted.
        """
        candidate_set = self._candidate_set
        if model != AUTO:
            candidate_set = CandidateSet((self._in_service(model),), self.unavailable)
        signals = self._signals(task, self._pool.any_local_tokenizer())
        context = assess(task, signals, candidate_set, self.scorer, self._pool.speeds())
        decision = self._guards.seen(policy.decide(context)).with_setup(self.setup)
        if task.has_images:
            decision = with_pictures_left_out(decision)
        return decision if model == AUTO else self._with_successor_named(decision, model)

    def policy_of(self, policy: PolicyLike | None) -> Policy:
        """The policy of a call: its own, or the router's.

        Raises:
            UnknownModelError: one of its rules names a model that no card has.
        """
        return self.policy if policy is None else checked_policy(policy, self.catalog)

    def rechecks(
        self, decision: Decision, policy: Policy
    ) -> Callable[[Candidate], tuple[Reason, ...]]:
        """The hard constraints once more, for :class:`~modelrouter.dispatch.steps.Call`."""
        return partial(self._recheck, decision, policy)

    def _recheck(
        self, decision: Decision, policy: Policy, candidate: Candidate
    ) -> tuple[Reason, ...]:
        """What forbids to ask the candidate, by its model's own tokenizer if that is loaded."""
        context = decision.context
        task, signals, card = context.task, context.signals, candidate.card
        tokenizer = self._pool.tokenizer(card)
        if tokenizer is not None:
            signals = self._signals(task, tokenizer)
        prediction = Prediction(
            card,
            candidate.p_quality,
            candidate.cost_usd,
            candidate.latency_s,
            self.unavailable.get(card.name),
        )
        obstacles = policy.permits(prediction, task, signals)
        if decision.confined_by is not None and card.location != "local":
            return (*obstacles, decision.confined_by)
        return obstacles

    def _in_service(self, model: str) -> ModelCard:
        """The card of a model asked for by name, or of its successor where that is wanted."""
        card = self.catalog.get(model)
        return in_service(card, self.catalog, follow_successor=self._follow_successor)

    def _with_successor_named(self, decision: Decision, model: str) -> Decision:
        """The decision, with a word about it where the model asked for has been succeeded."""
        asked = self.catalog.get(model)
        if asked.retired is None or all(c.card is asked for c in decision.candidates):
            return decision
        why = Reason("successor", "succeeds {}, retired on {}", (asked.name, asked.retired))
        return decision.rearranged(
            tuple(c._replace(reasons=(why, *c.reasons)) for c in decision.candidates)
        )

    def _signals(self, task: Task, tokenizer: Tokenizer | None) -> Signals:
        return read(task, difficulty=self.scorer.read, tokenizer=tokenizer)


def checked_policy(policy: PolicyLike | None, catalog: Catalog) -> Policy:
    """The policy that is meant, whose rules name models that there are.

    Raises:
        ConfigurationError: no policy of that name.
        UnknownModelError: a rule names a model that no card has.
    """
    meant = Policy.of(policy)
    for name in meant.model_names():
        catalog.get(name)
    return meant
