"""What both routers are made of: the parts put together, deciding, building and driving calls."""

from __future__ import annotations

import os
import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from modelrouter.backends import DEFAULT_BACKENDS
from modelrouter.backends.base import (
    Backend,
    EmbeddingBackend,
    EmbeddingRequest,
    MeasuringBackend,
    Request,
)
from modelrouter.catalog import Catalog, ModelCard, discover
from modelrouter.catalog.card import Speed
from modelrouter.catalog.cost import settled_cost_usd
from modelrouter.catalog.succession import in_service
from modelrouter.client.chat import AUTO
from modelrouter.client.options import (
    CallOptions,
    EmbeddingOptions,
    check_names,
    checked_conversation,
    checked_tags,
    checked_texts,
    generation_settings,
)
from modelrouter.config import UNSET, RateLimit, RetryPolicy, Timeout, Unset
from modelrouter.dispatch.acceptance import Rejection, rejection
from modelrouter.dispatch.affinity import Conversations, steady
from modelrouter.dispatch.cache import Cache, CachedAnswer, CacheLike
from modelrouter.dispatch.continuation import asked_to_continue
from modelrouter.dispatch.drivers import adrive, drive
from modelrouter.dispatch.flow import Call, Result
from modelrouter.dispatch.hedging import drive_hedged, drive_hedged_stream
from modelrouter.dispatch.stream_buffer import BufferedStream, Buffering, abuffered, buffered
from modelrouter.dispatch.streaming import (
    AsyncCompletionStream,
    CompletionStream,
    Opening,
    anothing,
    assembled,
    nothing,
)
from modelrouter.dispatch.tracing import CallTracer
from modelrouter.exceptions import (
    BadRequestError,
    ConfigurationError,
    InvalidTaskError,
)
from modelrouter.guards import BreakerPolicy, Budget, BudgetStatus, Guard, Guards, Health, Store
from modelrouter.ledger import Ledger, LedgerLike
from modelrouter.policies import Policy, PolicyLike
from modelrouter.policies.decision import Candidate, Decision, Reason
from modelrouter.policies.modality import check_answered_in_words, told_of_pictures
from modelrouter.policies.privacy_proof import RouterSetup
from modelrouter.response import Chunk, Completion, EmbeddingResponse, Usage, least_confidence
from modelrouter.scoring import CandidateSet, LearnedScorer, Prediction, Scorer, assess
from modelrouter.scoring.confidence import Curves
from modelrouter.signals import Signals, Tokenizer, read
from modelrouter.task import Kind, Task, TaskLike
from modelrouter.trace import TraceHook

_HEDGED = 0.95
"""A second model is asked when the first takes longer than this share of its answers."""

_SLOW = 3.0
"""Before any was seen: when it takes so many times what is expected."""

R = TypeVar("R")


class _Parts:
    """What both routers hold: catalog, policy, scorer, backends; and ``route``."""

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
        self.catalog, self.unavailable = found.catalog, found.unavailable
        self._candidate_set = CandidateSet(self.catalog, self.unavailable)
        self.policy = self._checked(Policy.of(policy))
        self.scorer: Scorer = scorer or LearnedScorer()
        self.retry = retry or RetryPolicy()
        self.timeout = Timeout() if isinstance(timeout, Unset) else Timeout.of(timeout)
        self.ledger = None if ledger is None else Ledger.of(ledger)
        self._owns_ledger = self.ledger is not ledger
        self.cache = Cache.of(cache, beside=self.ledger.path if self.ledger else None)
        self._owns_cache = self.cache is not cache
        self.hooks = (*hooks, *filter(None, (self.ledger,)))
        self.guards = Guards.of(
            budgets=budgets, limits=limits, breakers=breakers, store=budget_store, guards=guards
        )
        self.confidence = confidence or Curves()
        self.follow_successor = follow_successor
        self._conversations = Conversations(None if self.ledger is None else self.ledger.model_of)
        self._setup = RouterSetup(
            ledger="" if self.ledger is None else self.ledger.keeps,
            cache="" if self.cache is None else self.cache.keeps,
            hooks=len(hooks),
            own_backends=frozenset(backends or ()),
        )
        self._backends: dict[str, Backend] = dict(backends or {})
        self._own: list[Backend] = []
        self._closed = False
        if (asked := next((c for c in self.available if c.backend == "litellm"), None)) is not None:
            self.backend("litellm").warm(asked)

    @property
    def available(self) -> tuple[ModelCard, ...]:
        """The cards that can be asked here and now."""
        return tuple(card for card in self.catalog if card.name not in self.unavailable)

    def backend(self, name: str) -> Backend:
        """The backend of that name, made on first use.

        Raises:
            ConfigurationError: no such backend, or the router is closed.
        """
        if self._closed:
            raise ConfigurationError("This router is closed.", hint="Make a new one.")
        if name not in self._backends:
            if name not in DEFAULT_BACKENDS:
                raise ConfigurationError(
                    f"Unknown backend {name!r}.",
                    hint=f"One of {', '.join(DEFAULT_BACKENDS)}, or pass backends={{...}}.",
                )
            self._backends[name] = DEFAULT_BACKENDS[name]()
            self._own.append(self._backends[name])
        return self._backends[name]

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
            _task(task, messages),
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
        **fields: Any,
    ) -> Decision:
        """As :meth:`route`, but a decision without an eligible model is returned, not raised."""
        return self._decide(Task.of(task, **fields), model, policy)

    def _decide(self, task: Task, model: str, policy: PolicyLike | None) -> Decision:
        chosen_policy = self.policy if policy is None else self._checked(Policy.of(policy))
        candidate_set = self._candidate_set
        if model != AUTO:
            candidate_set = CandidateSet((self._in_service(model),), self.unavailable)
        signals = self._signals(task, self._tokenizer())
        context = assess(task, signals, candidate_set, self.scorer, self._measured())
        decision = self.guards.seen(chosen_policy.decide(context))
        if task.has_images:
            decision = told_of_pictures(decision)
        decision = decision.with_setup(self._setup)
        return decision if model == AUTO else self._standing_in(decision, model)

    def _in_service(self, model: str) -> ModelCard:
        """The card of a model asked for by name, or of its successor where that is wanted."""
        card = self.catalog.get(model)
        return in_service(card, self.catalog, follow_successor=self.follow_successor)

    def _standing_in(self, decision: Decision, model: str) -> Decision:
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

    def _tokenizer(self) -> Tokenizer | None:
        """The exact token counter of a local model that is loaded already, if any."""
        backend = self._backends.get("llamacpp")
        if backend is None:
            return None
        local = (card for card in self.available if card.backend == "llamacpp")
        return next((t for card in local if (t := backend.tokenizer(card)) is not None), None)

    def _measured(self) -> dict[str, Speed]:
        """How fast the local models answer that have answered already, their queues included."""
        backend = self._backends.get("llamacpp")
        if backend is None or not isinstance(backend, MeasuringBackend):
            return {}
        found = (
            (card.name, backend.speed(card)) for card in self._candidate_set.cards if card.path
        )
        return {name: speed for name, speed in found if speed is not None}

    def _checked(self, policy: Policy) -> Policy:
        for name in policy.model_names():
            self.catalog.get(name)
        return policy

    def _call(
        self,
        task: TaskLike | None,
        messages: Sequence[Any] | None,
        model: str,
        options: CallOptions,
    ) -> Call:
        check_names(options)
        settings = generation_settings(options)
        max_tokens = settings.max_tokens
        built = Task.of(
            _task(task, messages),
            tools=options.get("tools"),
            tool_choice=options.get("tool_choice"),
            response_format=options.get("response_format"),
            max_tokens=None if isinstance(max_tokens, Unset) else max_tokens,
            kind=options.get("kind"),
            metadata=options.get("metadata"),
        )
        if built.max_tokens is not None and isinstance(max_tokens, Unset):
            settings = replace(settings, max_tokens=built.max_tokens)
        timeout, in_force = self._timeout_of(options), self._policy_of(options)
        decision = self._decide(built, model, in_force)
        check_answered_in_words(decision)
        conversation = checked_conversation(options.get("conversation"))
        if conversation is not None and model == AUTO and decision.feasible:
            known = self._conversations.model(conversation)
            decision = steady(decision, known, in_force.objective.enough)
        return self._made_call(
            built,
            decision,
            in_force,
            settings=settings,
            timeout=timeout,
            tags=checked_tags(options.get("tags")),
            conversation=conversation,
            cache_key=None
            if self.cache is None
            else self.cache.key(built, settings, in_force, decision),
        )

    def _made_call(self, task: Task, decision: Decision, policy: Policy, **fields: Any) -> Call:
        kind, curves = decision.signals.kind, self.confidence

        def judge(candidate: Candidate, value: Any) -> Rejection | None:
            reply = _whole(value, candidate.card)
            if reply is None:
                return None
            return rejection(reply, candidate.card, task, kind, policy, curves)

        def floor(candidate: Candidate) -> float | None:
            least = policy.least_confidence(kind)
            if least is None or candidate.card.backend != "llamacpp":
                return None
            return min(1.0, curves.probability(kind, least))

        return self._bare_call(
            task,
            decision,
            policy,
            policy=policy,
            judge=judge,
            spent=_spent,
            floor=floor,
            patience=self._patience(policy, stream=False),
            **fields,
        )

    def _bare_call(self, task: Task, decision: Decision, in_force: Policy, **fields: Any) -> Call:
        """A call with what every kind of call has: rechecks, retries, guards."""
        return Call(
            task=task,
            decision=decision,
            recheck=lambda candidate: self._recheck(candidate, decision, in_force),
            retry=self.retry,
            guards=self.guards if self.guards.chain else None,
            **fields,
        )

    def _policy_of(self, options: Mapping[str, Any]) -> Policy:
        """The policy of a call: its own, or the router's."""
        policy = options.get("policy")
        return self.policy if policy is None else self._checked(Policy.of(policy))

    def _timeout_of(self, options: Mapping[str, Any]) -> Timeout:
        """Likewise the seconds it may take; ``None`` among the options is no limit."""
        return self.timeout if "timeout" not in options else Timeout.of(options["timeout"])

    def _patience(self, policy: Policy, *, stream: bool) -> Callable[[Candidate], float | None]:
        """After how many seconds a second model is asked beside a candidate."""

        def patience(candidate: Candidate) -> float | None:
            if policy.hedge is not True:
                return policy.hedge or None
            usual = self.guards.latency_s(candidate.card, _HEDGED, first_token=stream)
            return candidate.latency_s * _SLOW if usual is None else usual

        return patience

    def _streamed(self, call: Call) -> Call:
        """The same call, its answer to be shown as it comes."""
        patience = self._patience(call.policy, stream=True)
        return replace(call, window=call.policy.hold_back, patience=patience)

    def _tracer(self, call: Call) -> CallTracer:
        return CallTracer(self.hooks, call.decision, tags=call.tags, conversation=call.conversation)

    def _recheck(
        self, candidate: Candidate, decision: Decision, policy: Policy
    ) -> tuple[Reason, ...]:
        """The hard constraints once more before a hop, with the model's own tokenizer if loaded."""
        context = decision.context
        task, signals, card = context.task, context.signals, candidate.card
        backend = self._backends.get(card.backend)
        tokenizer = backend.tokenizer(card) if backend is not None else None
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
            obstacles = (*obstacles, decision.confined_by)
        return obstacles

    def _embedding_call(
        self, texts: Any, model: str, options: EmbeddingOptions
    ) -> tuple[Call, Decision, Callable[[Request], EmbeddingRequest]]:
        """One model's call, and the decision that chose it.

        No other model is asked when it fails: vectors of two models cannot be compared.
        """
        checked = checked_texts(texts, options)
        task = Task.of("\n".join(checked), kind="embedding")
        in_force = self._policy_of(options)
        timeout = self._timeout_of(options)
        decision = self._decide(task, model, in_force)
        only = self._decide(task, decision.chosen.card.name, in_force)
        call = self._bare_call(task, only, in_force, timeout=timeout, spent=_spent)

        def request(asked: Request) -> EmbeddingRequest:
            return EmbeddingRequest(
                card=asked.card,
                texts=checked,
                dimensions=options.get("dimensions"),
                truncate=options.get("truncate", False),
                timeout_s=asked.timeout_s,
            )

        return call, decision, request

    def _embedding_reply(
        self, result: Result[EmbeddingResponse], decision: Decision, tracer: CallTracer
    ) -> EmbeddingResponse:
        trace = tracer.ended(result.attempts, "answered")
        update = {"cost_usd": trace.cost_usd, "decision": decision, "trace": trace}
        return result.value.model_copy(update=update)

    def _embed(self, texts: Any, model: str, options: EmbeddingOptions) -> EmbeddingResponse:
        call, decision, request = self._embedding_call(texts, model, options)
        with self._tracer(call) as tracer:
            result = drive(call, lambda asked: self._embedder(asked.card).embed(request(asked)))
            return self._embedding_reply(result, decision, tracer)

    async def _aembed(self, texts: Any, model: str, options: EmbeddingOptions) -> EmbeddingResponse:
        call, decision, request = self._embedding_call(texts, model, options)
        with self._tracer(call) as tracer:
            result = await adrive(
                call, lambda asked: self._embedder(asked.card).aembed(request(asked))
            )
            return self._embedding_reply(result, decision, tracer)

    def _embedder(self, card: ModelCard) -> EmbeddingBackend:
        backend = self.backend(card.backend)
        if not isinstance(backend, EmbeddingBackend):
            raise BadRequestError(
                f"The backend {card.backend!r} of {card.name} makes no vectors in this version.",
                model=card.name,
                hint="Use an embedding model's GGUF file: ModelCard.local('FILE.gguf').",
            )
        return backend

    def _kept(self, call: Call) -> CachedAnswer | None:
        if self.cache is None or call.cache_key is None:
            return None
        return self.cache.get(call.cache_key)

    def _keeper(self, call: Call) -> Callable[[Completion, Sequence[Chunk]], object] | None:
        if self.cache is None or call.cache_key is None:
            return None
        return partial(self.cache.put, call.cache_key)

    def _repeat(self, call: Call, kept: CachedAnswer, tracer: CallTracer) -> Completion:
        trace = tracer.ended((), "answered", answer=kept.completion.choices, cached=True)
        return kept.completion.model_copy(update={"decision": call.decision, "trace": trace})

    def _replayed(self, call: Call, kept: CachedAnswer, tracer: CallTracer) -> Opening:
        tracer.first_token()
        known = (c for c in self.catalog if c.name == kept.completion.model)
        return Opening(
            held=kept.chunks,
            decision=call.decision,
            card=next(known, call.decision.card),
            attempts=(),
            started=time.perf_counter(),
            price=lambda card, usage: 0.0,
            tracer=tracer,
        )

    def _reply(self, call: Call, result: Result[Completion], tracer: CallTracer) -> Completion:
        reply = result.value
        *before, last = result.attempts
        sure = replace(last, confidence=least_confidence(reply.choices))
        trace = tracer.ended((*before, sure), "answered", answer=reply.choices)
        self._remember(call, result.card)
        if (keep := self._keeper(call)) is not None and result.attempts[-1].outcome == "answered":
            keep(reply, ())
        cost = None if _unpriced(result.card) else sum(a.cost_usd or 0.0 for a in result.attempts)
        return reply.model_copy(
            update={"cost_usd": cost, "decision": result.decision, "trace": trace}
        )

    def _remember(self, call: Call, card: ModelCard) -> None:
        if call.conversation is not None:
            self._conversations.answered(call.conversation, call.decision, card.name)

    def _opening(
        self,
        call: Call,
        result: Result[BufferedStream[Any]],
        tracer: CallTracer,
        go_on: Callable[[str], Any] | None,
    ) -> Opening:
        tracer.first_token()
        self._remember(call, result.card)
        permit, guards = result.permit, self.guards
        settle = None
        if permit is not None:
            settle = partial(guards.settle, permit)
        return Opening(
            held=result.value.held,
            decision=result.decision,
            card=result.card,
            attempts=result.attempts,
            started=time.perf_counter() - result.attempts[-1].duration_s,
            price=settled_cost_usd,
            tracer=tracer,
            keep=self._keeper(call),
            settle=settle,
            go_on=go_on,
        )

    def _complete(self, call: Call) -> Completion:
        with self._tracer(call) as tracer:
            if (kept := self._kept(call)) is not None:
                return self._repeat(call, kept, tracer)
            if call.policy.hedge:
                return self._reply(call, drive_hedged(call, self._aperform), tracer)
            return self._reply(call, drive(call, self._perform), tracer)

    def _stream(self, call: Call) -> CompletionStream:
        call = self._streamed(call)
        with self._tracer(call) as tracer:
            if (kept := self._kept(call)) is not None:
                return CompletionStream(self._replayed(call, kept, tracer), nothing())
            if call.policy.hedge:
                result = drive_hedged_stream(call, partial(self._abegin, call))
            else:
                result = drive(call, partial(self._begin, call))

        def go_on(text: str) -> tuple[Opening, Generator[Chunk, None, None]]:
            following = self._following(call, result.card, text, tracer.elapsed_s)
            found = drive(following, partial(self._begin, following))
            return self._opening(following, found, tracer, None), found.value.source

        opening = self._opening(call, result, tracer, go_on if _goes_on(call) else None)
        return CompletionStream(opening, result.value.source)

    async def _acomplete(self, call: Call) -> Completion:
        with self._tracer(call) as tracer:
            if (kept := self._kept(call)) is not None:
                return self._repeat(call, kept, tracer)
            return self._reply(call, await adrive(call, self._aperform), tracer)

    async def _astream(self, call: Call) -> AsyncCompletionStream:
        call = self._streamed(call)
        with self._tracer(call) as tracer:
            if (kept := self._kept(call)) is not None:
                return AsyncCompletionStream(self._replayed(call, kept, tracer), anothing())
            result = await adrive(call, partial(self._abegin, call))

        async def go_on(text: str) -> tuple[Opening, AsyncGenerator[Chunk, None]]:
            following = self._following(call, result.card, text, tracer.elapsed_s)
            found = await adrive(following, partial(self._abegin, following))
            return self._opening(following, found, tracer, None), found.value.source

        opening = self._opening(call, result, tracer, go_on if _goes_on(call) else None)
        return AsyncCompletionStream(opening, result.value.source)

    def _following(self, call: Call, broken: ModelCard, text: str, elapsed_s: float) -> Call:
        """The call that goes on where a stream broke off: by candidates that may have both.

        Raises:
            NoEligibleModelError: there is no other that may do the task.
        """
        turns = Task.of(asked_to_continue(call.task.to_openai(), text)).messages
        task = replace(call.task, messages=turns, kind=call.decision.signals.kind)
        again = self._decide(task, AUTO, call.policy)
        allowed = {c.model for c in call.decision.feasible} - {broken.name}
        decision = Decision.of(
            tuple(c for c in again.candidates if c.feasible and c.model in allowed),
            policy=again.policy,
            context=again.context,
            confined_by=call.decision.confined_by or again.confined_by,
            setup=self._setup,
        )
        total = call.timeout.total
        left = None if total is None else max(total - elapsed_s, 1e-3)
        return self._made_call(
            task,
            decision,
            call.policy,
            settings=call.settings,
            timeout=call.timeout.model_copy(update={"total": left}),
            tags=call.tags,
            conversation=call.conversation,
            one_call=call.one_call,
        )

    def _perform(self, request: Request) -> Completion:
        return self.backend(request.card.backend).complete(request)

    async def _aperform(self, request: Request) -> Completion:
        return await self.backend(request.card.backend).acomplete(request)

    def _begin(self, call: Call, request: Request) -> BufferedStream[Generator[Chunk, None, None]]:
        source = self.backend(request.card.backend).stream(request)
        return buffered(source, _hold(call, request), request.card.name)

    async def _abegin(
        self, call: Call, request: Request
    ) -> BufferedStream[AsyncGenerator[Chunk, None]]:
        source = self.backend(request.card.backend).astream(request)
        return await abuffered(source, _hold(call, request), request.card.name)

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

    def _close(self) -> None:
        self._closed = True
        for backend in self._own:
            backend.close()
        self._close_files()

    async def _aclose(self) -> None:
        self._closed = True
        for backend in self._own:
            await backend.aclose()
        self._close_files()

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

    def _close_files(self) -> None:
        self.guards.close()
        if self._owns_ledger and self.ledger is not None:
            self.ledger.close()
        if self._owns_cache and self.cache is not None:
            self.cache.close()


def _unpriced(card: ModelCard) -> bool:
    return card.location == "hosted" and card.price is None


def _whole(value: Any, card: ModelCard) -> Completion | None:
    """The whole reply that an answer or a stream's beginning is; ``None`` if more may come."""
    if isinstance(value, BufferedStream):
        return assembled(value.held, card.name) if value.ended else None
    return value if isinstance(value, Completion) else None


def _spent(card: ModelCard, value: Any) -> tuple[Usage | None, float | None]:
    reply = value if isinstance(value, EmbeddingResponse) else _whole(value, card)
    return (None, None) if reply is None else (reply.usage, settled_cost_usd(card, reply.usage))


def _goes_on(call: Call) -> bool:
    return call.policy.on_interruption == "continue" and call.task.response_format is None


def _hold(call: Call, request: Request) -> Buffering:
    """What of a stream is held back: as much as may still make another model be asked."""
    window = request.settings.confidence_window
    others = len(call.decision.feasible) > 1
    form = (call.task.response_format or {}).get("type")
    return Buffering(
        pieces=window + 1 if isinstance(window, int) else 1,
        calls=others and bool(call.task.tools),
        whole=call.policy.accept is not None or (others and form in ("json_object", "json_schema")),
    )


def _task(task: TaskLike | None, messages: Sequence[Any] | None) -> TaskLike:
    if task is not None and messages is not None:
        raise InvalidTaskError("task", "given twice, as task and as messages.", hint="Give one.")
    if task is not None:
        return task
    if messages is not None:
        return messages
    raise InvalidTaskError(
        "task", "is missing.", hint='Give a string or messages=[{"role": "user", ...}].'
    )
