"""Chat: a task's call made and carried out, whole or in chunks; and ``chat.completions``."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, Callable, Generator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, Literal, TypeAlias, overload

from typing_extensions import Unpack

from modelrouter.backends.base import Request, Stop
from modelrouter.catalog.card import ModelCard
from modelrouter.catalog.cost import is_unpriced, settled_cost_usd
from modelrouter.client.core import Core
from modelrouter.client.options import (
    AUTO,
    CallOptions,
    check_names,
    checked_conversation,
    checked_tags,
    generation_settings,
    one_task,
)
from modelrouter.config import GenerationSettings, Timeout, Unset
from modelrouter.dispatch.acceptance import Rejection, rejection, unanswered
from modelrouter.dispatch.affinity import steady
from modelrouter.dispatch.cache import CachedAnswer
from modelrouter.dispatch.continuation import asked_to_continue
from modelrouter.dispatch.drivers import adrive, drive
from modelrouter.dispatch.loop_thread import drive_hedged, drive_hedged_stream
from modelrouter.dispatch.steps import Call, Result
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
from modelrouter.guards.base import OneCall
from modelrouter.policies import Policy
from modelrouter.policies.decision import Candidate, Decision
from modelrouter.policies.modality import check_answered_in_words
from modelrouter.response import Chunk, Completion, Usage, least_confidence
from modelrouter.task import Task, TaskLike

__all__ = ["AsyncChat", "Chat", "ChatCalls"]

Answer: TypeAlias = "Completion | BufferedStream[Any]"
"""What a model gives: a whole reply, or a stream that has begun."""

ChatCall: TypeAlias = "Call[Answer]"
Stream: TypeAlias = "BufferedStream[Generator[Chunk, None, None]]"
AsyncStream: TypeAlias = "BufferedStream[AsyncGenerator[Chunk, None]]"


class ChatCalls:
    """Makes and carries out calls whose answer is words."""

    def __init__(self, core: Core) -> None:
        self._core = core

    def call(
        self,
        task: TaskLike | None,
        messages: Sequence[Any] | None,
        model: str,
        options: CallOptions,
    ) -> ChatCall:
        """The call that these arguments ask for, decided and not yet made.

        Raises:
            InvalidTaskError, ConfigurationError: an argument is not valid.
            UnknownModelError: no card has the model's name.
        """
        core = self._core
        check_names(options)
        settings = generation_settings(options)
        max_tokens = settings.max_tokens
        built = Task.of(
            one_task(task, messages),
            tools=options.get("tools"),
            tool_choice=options.get("tool_choice"),
            response_format=options.get("response_format"),
            max_tokens=None if isinstance(max_tokens, Unset) else max_tokens,
            kind=options.get("kind"),
            metadata=options.get("metadata"),
            parameters=settings.as_parameters() or None,
        )
        if built.max_tokens is not None and isinstance(max_tokens, Unset):
            settings = replace(settings, max_tokens=built.max_tokens)
        policy = core.routing.policy_of(options.get("policy"))
        decision = core.routing.decide(built, model, policy)
        check_answered_in_words(decision)
        conversation = checked_conversation(options.get("conversation"))
        if conversation is not None and model == AUTO and decision.feasible:
            known = core.conversations.model(conversation)
            decision = steady(decision, known, policy.objective.enough)
        return self._made(
            built,
            decision,
            policy,
            settings=settings,
            timeout=core.timeout_of(options),
            tags=checked_tags(options.get("tags")),
            conversation=conversation,
            cache_key=None
            if core.cache is None
            else core.cache.key(built, settings, policy, decision),
        )

    def complete(self, call: ChatCall) -> Completion:
        """The whole reply; blocks."""
        with self._core.tracer(call) as tracer:
            if (cached := self._cached(call)) is not None:
                return self._repeat(call, cached, tracer)
            if call.policy.hedge:
                return self._reply(call, drive_hedged(call, self._core.ask.acomplete), tracer)
            return self._reply(call, drive(call, self._core.ask.complete), tracer)

    async def acomplete(self, call: ChatCall) -> Completion:
        """As :meth:`complete`, awaited."""
        with self._core.tracer(call) as tracer:
            if (cached := self._cached(call)) is not None:
                return self._repeat(call, cached, tracer)
            return self._reply(call, await adrive(call, self._core.ask.acomplete), tracer)

    def stream(self, call: ChatCall) -> CompletionStream:
        """The reply in chunks, the first of them at hand; blocks."""
        call, stop = self._streamed(call), Stop()
        with self._core.tracer(call) as tracer:
            if (cached := self._cached(call)) is not None:
                return CompletionStream(self._replayed(call, cached, tracer), nothing(), stop)
            if call.policy.hedge:
                result: Result[Stream] = drive_hedged_stream(
                    call, partial(self._abegin, call), stop
                )
            else:
                result = drive(call, partial(self._begin, call, stop))

        def go_on(text: str) -> tuple[Opening, Generator[Chunk, None, None]]:
            following = self._following(call, result.card, text, tracer.elapsed_s)
            found: Result[Stream] = drive(following, partial(self._begin, following, stop))
            return self._opening(following, found, tracer), found.value.source

        opening = self._opening(call, result, tracer)
        continued = go_on if _goes_on(call) else None
        return CompletionStream(opening, result.value.source, stop, continued)

    async def astream(self, call: ChatCall) -> AsyncCompletionStream:
        """As :meth:`stream`, awaited."""
        call = self._streamed(call)
        with self._core.tracer(call) as tracer:
            if (cached := self._cached(call)) is not None:
                return AsyncCompletionStream(self._replayed(call, cached, tracer), anothing())
            result: Result[AsyncStream] = await adrive(call, partial(self._abegin, call))

        async def go_on(text: str) -> tuple[Opening, AsyncGenerator[Chunk, None]]:
            following = self._following(call, result.card, text, tracer.elapsed_s)
            found: Result[AsyncStream] = await adrive(following, partial(self._abegin, following))
            return self._opening(following, found, tracer), found.value.source

        opening = self._opening(call, result, tracer)
        continued = go_on if _goes_on(call) else None
        return AsyncCompletionStream(opening, result.value.source, continued)

    def _made(
        self,
        task: Task,
        decision: Decision,
        policy: Policy,
        *,
        settings: GenerationSettings,
        timeout: Timeout,
        tags: Mapping[str, str],
        conversation: str | None,
        cache_key: str | None = None,
        one_call: OneCall | None = None,
    ) -> ChatCall:
        core, kind = self._core, decision.signals.kind

        def judge(candidate: Candidate, answer: Answer) -> Rejection | None:
            reply = _whole(answer, candidate.card)
            if reply is None:
                return None
            checked = self._checking(candidate.card, policy)
            return rejection(reply, candidate.card, task, decision.signals, checked, core.curves)

        def floor(candidate: Candidate) -> float | None:
            least = policy.least_confidence(kind)
            if least is None or not core.pool.keeps_to_floor(candidate.card):
                return None
            return min(1.0, core.curves.probability(kind, least))

        return Call(
            task=task,
            decision=decision,
            policy=policy,
            recheck=core.routing.rechecks(decision, policy),
            settings=settings,
            retry=core.retry,
            timeout=timeout,
            tags=tags,
            conversation=conversation,
            cache_key=cache_key,
            guards=core.asked_guards,
            one_call=OneCall() if one_call is None else one_call,
            judge=judge,
            spent=_spent,
            floor=floor,
            patience=core.patience(policy, stream=False),
        )

    def _streamed(self, call: ChatCall) -> ChatCall:
        """The same call, its answer to be shown as it comes."""
        patience = self._core.patience(call.policy, stream=True)
        return replace(call, window=call.policy.hold_back, patience=patience)

    def _following(
        self, call: ChatCall, broken: ModelCard, text: str, elapsed_s: float
    ) -> ChatCall:
        """The call that goes on where a stream broke off: by candidates that may have both.

        Raises:
            NoEligibleModelError: there is no other that may do the task.
        """
        turns = Task.of(asked_to_continue(call.task.to_openai(), text)).messages
        task = replace(call.task, messages=turns, kind=call.decision.signals.kind)
        again = self._core.routing.decide(task, AUTO, call.policy)
        allowed = {c.model for c in call.decision.feasible} - {broken.name}
        decision = Decision.of(
            tuple(c for c in again.candidates if c.feasible and c.model in allowed),
            policy=again.policy,
            context=again.context,
            confined_by=call.decision.confined_by or again.confined_by,
            setup=self._core.routing.setup,
        )
        total = call.timeout.total
        left = None if total is None else max(total - elapsed_s, 1e-3)
        return self._made(
            task,
            decision,
            call.policy,
            settings=call.settings,
            timeout=call.timeout.model_copy(update={"total": left}),
            tags=call.tags,
            conversation=call.conversation,
            one_call=call.one_call,
        )

    def _cached(self, call: ChatCall) -> CachedAnswer | None:
        if self._core.cache is None or call.cache_key is None:
            return None
        return self._core.cache.get(call.cache_key)

    def _keeper(self, call: ChatCall) -> Callable[[Completion, Sequence[Chunk]], object] | None:
        if self._core.cache is None or call.cache_key is None:
            return None
        return partial(self._core.cache.put, call.cache_key)

    def _repeat(self, call: ChatCall, cached: CachedAnswer, tracer: CallTracer) -> Completion:
        trace = tracer.ended((), "answered", answer=cached.completion.choices, cached=True)
        return cached.completion.model_copy(update={"decision": call.decision, "trace": trace})

    def _replayed(self, call: ChatCall, cached: CachedAnswer, tracer: CallTracer) -> Opening:
        tracer.first_token()
        known = (c for c in self._core.routing.catalog if c.name == cached.completion.model)
        return Opening(
            held=cached.chunks,
            decision=call.decision,
            card=next(known, call.decision.card),
            attempts=(),
            started=time.perf_counter(),
            price=lambda card, usage: 0.0,
            tracer=tracer,
        )

    def _reply(self, call: ChatCall, result: Result[Completion], tracer: CallTracer) -> Completion:
        reply = result.value
        *before, last = result.attempts
        sure = replace(last, confidence=least_confidence(reply.choices))
        trace = tracer.ended((*before, sure), "answered", answer=reply.choices)
        self._remember(call, result.card)
        if (keep := self._keeper(call)) is not None and result.attempts[-1].outcome == "answered":
            keep(reply, ())
        cost = None if is_unpriced(result.card) else sum(a.cost_usd or 0.0 for a in result.attempts)
        return reply.model_copy(
            update={"cost_usd": cost, "decision": result.decision, "trace": trace}
        )

    def _remember(self, call: ChatCall, card: ModelCard) -> None:
        if call.conversation is not None:
            self._core.conversations.answered(call.conversation, call.decision, card.name)

    def _opening(
        self,
        call: ChatCall,
        result: Result[BufferedStream[Any]],
        tracer: CallTracer,
    ) -> Opening:
        tracer.first_token()
        self._remember(call, result.card)
        permit, guards = result.permit, self._core.guards
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
            judge=lambda reply: unanswered(
                reply,
                call.task,
                call.decision.signals,
                self._checking(result.card, call.policy),
            ),
        )

    def _checking(self, card: ModelCard, policy: Policy) -> Policy:
        """The policy by which a model's answers are judged: a stand-in may echo by design."""
        if self._core.pool.echoes(card):
            return policy.model_copy(update={"check_answers": False})
        return policy

    def _begin(self, call: ChatCall, stop: Stop, request: Request) -> Stream:
        source = self._core.ask.stream(request, stop)
        return buffered(source, _hold(call, request), request.card.name)

    async def _abegin(self, call: ChatCall, request: Request) -> AsyncStream:
        source = self._core.ask.astream(request)
        return await abuffered(source, _hold(call, request), request.card.name)


class Chat:
    """The ``chat`` resource of :class:`Router`."""

    def __init__(self, calls: ChatCalls) -> None:
        self.completions = Completions(calls)


class AsyncChat:
    """The ``chat`` resource of :class:`AsyncRouter`."""

    def __init__(self, calls: ChatCalls) -> None:
        self.completions = AsyncCompletions(calls)


class Completions:
    """The ``chat.completions`` resource: what code written for the openai client calls."""

    def __init__(self, calls: ChatCalls) -> None:
        self._calls = calls

    @overload
    def create(
        self,
        *,
        messages: Sequence[Any],
        model: str = AUTO,
        stream: Literal[False] | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion: ...
    @overload
    def create(
        self,
        *,
        messages: Sequence[Any],
        model: str = AUTO,
        stream: Literal[True],
        **options: Unpack[CallOptions],
    ) -> CompletionStream: ...
    def create(
        self,
        *,
        messages: Sequence[Any],
        model: str = AUTO,
        stream: bool | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion | CompletionStream:
        """See :meth:`Router.completion`; ``model="auto"`` lets the router choose."""
        call = self._calls.call(None, messages, model, options)
        return self._calls.stream(call) if stream else self._calls.complete(call)


class AsyncCompletions:
    """The awaited ``chat.completions`` resource."""

    def __init__(self, calls: ChatCalls) -> None:
        self._calls = calls

    @overload
    async def create(
        self,
        *,
        messages: Sequence[Any],
        model: str = AUTO,
        stream: Literal[False] | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion: ...
    @overload
    async def create(
        self,
        *,
        messages: Sequence[Any],
        model: str = AUTO,
        stream: Literal[True],
        **options: Unpack[CallOptions],
    ) -> AsyncCompletionStream: ...
    async def create(
        self,
        *,
        messages: Sequence[Any],
        model: str = AUTO,
        stream: bool | None = False,
        **options: Unpack[CallOptions],
    ) -> Completion | AsyncCompletionStream:
        """See :meth:`AsyncRouter.completion`."""
        call = self._calls.call(None, messages, model, options)
        return await (self._calls.astream(call) if stream else self._calls.acomplete(call))


def _whole(value: Answer, card: ModelCard) -> Completion | None:
    """The whole reply that an answer or a stream's beginning is; ``None`` if more may come."""
    if isinstance(value, BufferedStream):
        return assembled(value.held, card.name) if value.ended else None
    return value


def _spent(card: ModelCard, value: Answer) -> tuple[Usage | None, float | None]:
    reply = _whole(value, card)
    return (None, None) if reply is None else (reply.usage, settled_cost_usd(card, reply.usage))


def _goes_on(call: ChatCall) -> bool:
    return call.policy.on_interruption == "continue" and call.task.response_format is None


def _hold(call: ChatCall, request: Request) -> Buffering:
    """What of a stream is held back: as much as may still make another model be asked."""
    window = request.settings.confidence_window
    others = len(call.decision.feasible) > 1
    form = (call.task.response_format or {}).get("type")
    return Buffering(
        pieces=window + 1 if isinstance(window, int) else 1,
        calls=others and bool(call.task.tools),
        whole=call.policy.accept is not None or (others and form in ("json_object", "json_schema")),
    )
