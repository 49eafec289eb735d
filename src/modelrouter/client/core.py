"""Core: the parts that every call of a router is made with, typed, and how they end."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from modelrouter.catalog.card import ModelCard
from modelrouter.client.asking import Asker
from modelrouter.client.options import checked_tags
from modelrouter.client.pool import BackendPool
from modelrouter.client.routing import Routing
from modelrouter.config import GenerationSettings, RetryPolicy, Timeout
from modelrouter.dispatch.affinity import Conversations
from modelrouter.dispatch.cache import Cache
from modelrouter.dispatch.steps import Call
from modelrouter.dispatch.tracing import CallTracer
from modelrouter.guards import Guards
from modelrouter.ledger import Ledger
from modelrouter.policies import Policy
from modelrouter.policies.decision import Candidate, Decision
from modelrouter.response import Usage
from modelrouter.scoring.confidence import Curves
from modelrouter.task import Task
from modelrouter.trace import TraceHook

__all__ = ["Core"]

T = TypeVar("T")

_HEDGED: Final = 0.95
"""A second model is asked when the first takes longer than this share of its answers."""

_SLOW: Final = 3.0
"""Before any was seen: when it takes so many times what is expected."""


@dataclass(frozen=True, slots=True)
class Core:
    """What calls need of a router, whatever they ask for.

    Attributes:
        routing: decides.
        pool: the backends.
        ask: asks them.
        guards: must agree before a model is asked.
        retry, timeout: of calls that bring none.
        hooks: receive every call's trace.
        curves: what a local model's probabilities are worth.
        conversations: which model each is with.
        cache, ledger: where there are such.
        owns: of cache and ledger those that were made here, and so are closed here.
    """

    routing: Routing
    pool: BackendPool
    ask: Asker
    guards: Guards
    retry: RetryPolicy
    timeout: Timeout
    hooks: tuple[TraceHook, ...]
    curves: Curves
    conversations: Conversations
    cache: Cache | None
    ledger: Ledger | None
    owns: tuple[Cache | Ledger, ...]

    @property
    def asked_guards(self) -> Guards | None:
        """The guards, or ``None`` where there are none to ask."""
        return self.guards if self.guards.chain else None

    def timeout_of(self, options: Mapping[str, Any]) -> Timeout:
        """The seconds a call may take; ``None`` among its options means no limit."""
        return self.timeout if "timeout" not in options else Timeout.of(options["timeout"])

    def patience(self, policy: Policy, *, stream: bool) -> Callable[[Candidate], float | None]:
        """After how many seconds a second model is asked beside a candidate."""

        def patience(candidate: Candidate) -> float | None:
            if policy.hedge is not True:
                return policy.hedge or None
            usual = self.guards.latency_s(candidate.card, _HEDGED, first_token=stream)
            return candidate.latency_s * _SLOW if usual is None else usual

        return patience

    def simple_call(
        self,
        task: Task,
        decision: Decision,
        policy: Policy,
        options: Mapping[str, Any],
        *,
        spent: Callable[[ModelCard, T], tuple[Usage | None, float | None]],
        settings: GenerationSettings | None = None,
    ) -> Call[T]:
        """A call whose answer is taken as it comes: no judge, no hedge, no conversation."""
        return Call(
            task=task,
            decision=decision,
            recheck=self.routing.rechecks(decision, policy),
            settings=GenerationSettings() if settings is None else settings,
            retry=self.retry,
            timeout=self.timeout_of(options),
            tags=checked_tags(options.get("tags")),
            guards=self.asked_guards,
            spent=spent,
        )

    def tracer(self, call: Call[Any]) -> CallTracer:
        """What times the call and tells the hooks of it."""
        return CallTracer(self.hooks, call.decision, tags=call.tags, conversation=call.conversation)

    def close(self) -> None:
        """Free models, connections and files; safe to call twice."""
        self.pool.close()
        self._close_files()

    async def aclose(self) -> None:
        """As :meth:`close`, awaited."""
        await self.pool.aclose()
        self._close_files()

    def _close_files(self) -> None:
        self.guards.close()
        for file in self.owns:
            file.close()
