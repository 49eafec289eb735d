"""What both routers share: how they are put together, what they are asked without a call."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from modelrouter._common.process import OfOneProcess
from modelrouter.backends.base import Backend
from modelrouter.catalog import Catalog, ModelCard, discover
from modelrouter.catalog.discovery import Unavailable
from modelrouter.client.asking import Asker
from modelrouter.client.core import Core
from modelrouter.client.options import AUTO, one_task
from modelrouter.client.pool import BackendPool
from modelrouter.client.routing import Routing, checked_policy
from modelrouter.config import UNSET, RateLimit, RetryPolicy, Timeout, Unset
from modelrouter.dispatch.affinity import Conversations
from modelrouter.dispatch.cache import Cache, CacheLike
from modelrouter.exceptions import ConfigurationError
from modelrouter.guards import BreakerPolicy, Budget, BudgetStatus, Guard, Guards, Health, Store
from modelrouter.ledger import Ledger, LedgerLike
from modelrouter.policies import Policy, PolicyLike
from modelrouter.policies.decision import Decision
from modelrouter.policies.privacy_proof import RouterSetup
from modelrouter.scoring import LearnedScorer, Scorer
from modelrouter.scoring.confidence import Curves
from modelrouter.task import Kind, Task, TaskLike
from modelrouter.trace import TraceHook

__all__ = ["RouterBase"]


class RouterBase(OfOneProcess):
    """The arguments of :class:`Router` and :class:`AsyncRouter`, and what needs no model."""

    def __init__(
        self,
        models: Iterable[ModelCard | str | Path] | None = None,
        *,
        policy: PolicyLike | None = None,
        catalog: Catalog | None = None,
        scorer: Scorer | None = None,
        backends: Mapping[str, Backend] | None = None,
        retry: RetryPolicy | None = None,
        timeout: Timeout | float | Unset | None = UNSET,
        hooks: Sequence[TraceHook] = (),
        ledger: LedgerLike | None = None,
        cache: CacheLike = None,
        budgets: Budget | Sequence[Budget] = (),
        budget_store: Store | str | Path | None = None,
        limits: RateLimit | Mapping[str, RateLimit] | None = None,
        breakers: BreakerPolicy | bool = True,
        guards: Sequence[Guard] = (),
        confidence: Curves | None = None,
        follow_successor: bool = False,
    ) -> None:
        found = discover(os.environ, models=models or (), catalog=catalog)
        in_force = checked_policy(policy, found.catalog)
        pool = BackendPool(
            backends or {}, (c for c in found.catalog if c.name not in found.unavailable)
        )
        book = None if ledger is None else Ledger.of(ledger)
        answers = Cache.of(cache, beside=book.path if book else None)
        all_guards = Guards.of(
            budgets=budgets, limits=limits, breakers=breakers, store=budget_store, guards=guards
        )
        routing = Routing(
            found,
            policy=in_force,
            scorer=scorer or LearnedScorer(),
            guards=all_guards,
            pool=pool,
            setup=RouterSetup(
                ledger="" if book is None else book.keeps,
                cache="" if answers is None else answers.keeps,
                hooks=len(hooks),
                own_backends=pool.own,
            ),
            follow_successor=follow_successor,
        )
        self._core = Core(
            routing=routing,
            pool=pool,
            ask=Asker(pool),
            guards=all_guards,
            retry=retry or RetryPolicy(),
            timeout=Timeout() if isinstance(timeout, Unset) else Timeout.of(timeout),
            hooks=(*hooks, *filter(None, (book,))),
            curves=confidence or Curves(),
            conversations=Conversations(None if book is None else book.model_of),
            cache=answers,
            ledger=book,
            owns=tuple(
                file
                for file, given in ((book, ledger), (answers, cache))
                if file is not None and file is not given
            ),
        )
        pool.prepare()

    @property
    def catalog(self) -> Catalog:
        """The models there are."""
        return self._core.routing.catalog

    @property
    def unavailable(self) -> Mapping[str, Unavailable]:
        """Why some of them cannot be asked here, by name."""
        return self._core.routing.unavailable

    @property
    def available(self) -> tuple[ModelCard, ...]:
        """The cards that can be asked here and now."""
        return self._core.routing.available

    @property
    def policy(self) -> Policy:
        """The policy of calls that bring none."""
        return self._core.routing.policy

    @property
    def scorer(self) -> Scorer:
        """What predicts quality."""
        return self._core.routing.scorer

    @property
    def retry(self) -> RetryPolicy:
        """How patiently one model is asked again."""
        return self._core.retry

    @property
    def timeout(self) -> Timeout:
        """Seconds for calls that say nothing of it."""
        return self._core.timeout

    @property
    def hooks(self) -> tuple[TraceHook, ...]:
        """What receives every call's trace; the ledger is the last of them."""
        return self._core.hooks

    @property
    def guards(self) -> Guards:
        """What must agree before a model is asked."""
        return self._core.guards

    @property
    def ledger(self) -> Ledger | None:
        """What keeps every call, where there is one."""
        return self._core.ledger

    @property
    def cache(self) -> Cache | None:
        """What gives whole answers again, where there is one."""
        return self._core.cache

    @property
    def confidence(self) -> Curves:
        """What a local model's probabilities are worth."""
        return self._core.curves

    def backend(self, name: str) -> Backend:
        """The backend of that name, made on first use.

        Raises:
            ConfigurationError: no such backend, or the router is closed.
        """
        return self._core.pool.get(name)

    def route(
        self,
        task: TaskLike | None = None,
        *,
        messages: Sequence[Any] | None = None,
        model: str = AUTO,
        policy: PolicyLike | None = None,
        tools: Iterable[Mapping[str, Any]] | None = None,
        tool_choice: Any = None,
        response_format: Any = None,
        max_tokens: int | None = None,
        kind: Kind | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Decision:
        """Decide which model should do the task; no model is called and nothing leaves the machine.

        Raises:
            InvalidTaskError: the task is malformed.
            NoEligibleModelError: no model may do it; ``error.decision`` holds the candidates.
            UnknownModelError: ``model`` is not ``"auto"`` and no card has that name.
        """
        decision = self.consider(
            one_task(task, messages),
            model=model,
            policy=policy,
            tools=tools,
            tool_choice=tool_choice,
            response_format=response_format,
            max_tokens=max_tokens,
            kind=kind,
            metadata=metadata,
        )
        decision.chosen  # noqa: B018 (raises NoEligibleModelError)
        return decision

    def consider(
        self,
        task: TaskLike,
        *,
        model: str = AUTO,
        policy: PolicyLike | None = None,
        tools: Iterable[Mapping[str, Any]] | None = None,
        tool_choice: Any = None,
        response_format: Any = None,
        max_tokens: int | None = None,
        kind: Kind | None = None,
        metadata: Mapping[str, Any] | None = None,
    ) -> Decision:
        """As :meth:`route`, but a decision without an eligible model is returned, not raised."""
        built = Task.of(
            task,
            tools=tools,
            tool_choice=tool_choice,
            response_format=response_format,
            max_tokens=max_tokens,
            kind=kind,
            metadata=metadata,
        )
        routing = self._core.routing
        return routing.decide(built, model, routing.policy_of(policy))

    def feedback(self, reply: Any, score: float, *, note: str = "") -> None:
        """Keep how well a task was done: 0 (wrong) to 1 (right); ``fit`` learns from it.

        ``reply`` is the reply, its trace, or ``reply.trace.id``.

        Raises:
            ConfigurationError: no ledger is kept, the score is out of range, or the ledger has no
                such call.
            StorageError: the ledger cannot be written.
        """
        if self.ledger is None:
            raise ConfigurationError(
                "This router keeps no ledger.", hint='Make it with Router(ledger="tasks.ledger").'
            )
        self.ledger.feedback(reply, score, note=note)

    def health(self) -> tuple[Health, ...]:
        """How every model that can be asked here does, as this router has seen it.

        Whether it is in use, left alone or about to be probed, failures in a row, seconds until the
        next try, and how long its answers took.
        """
        return self.guards.health(self.available)

    def budgets(self, tags: Mapping[str, str] | None = None) -> tuple[BudgetStatus, ...]:
        """How the budgets stand: spent, reserved by calls under way, left.

        Args:
            tags: only what concerns a call with these tags; every account of the current periods
                unless given.

        Raises:
            StorageError: the accounts cannot be read.
        """
        return self.guards.statuses(tags)
