"""Streams of a reply: iterators and context managers that free the model when left."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Generator,
    Iterator,
    Sequence,
)
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any, Final, TypeAlias

from modelrouter._common.process import OfOneProcess
from modelrouter.backends.base import Stop
from modelrouter.catalog.card import ModelCard
from modelrouter.dispatch.continuation import Splice
from modelrouter.dispatch.tracing import CallTracer
from modelrouter.exceptions import BackendError, ModelRouterError, StreamInterruptedError
from modelrouter.guards.base import Settlement
from modelrouter.policies.decision import Decision
from modelrouter.response import (
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    FunctionCall,
    ReplyMessage,
    ToolCall,
    ToolCallDelta,
    Usage,
    least_confidence,
)
from modelrouter.trace import Attempt, Outcome

if sys.version_info >= (3, 11):
    from asyncio import timeout as _timeout
else:
    from async_timeout import timeout as _timeout

__all__ = ["AsyncCompletionStream", "CompletionStream", "Opening", "assembled"]


_WOKEN_S: Final = 1.0
"""How long who closes a stream waits for who reads it; one that is woken comes in milliseconds."""


@dataclass(frozen=True, slots=True)
class Opening:
    """A stream whose model has begun to answer.

    Attributes:
        held: the chunks read already, so that a failure among them could still fall back.
        attempts: of the call so far; the last one is this stream's; none if it is from the cache.
        started: when its model was asked, by :func:`time.perf_counter`.
        price: USD of a model's tokens, ``None`` where unknown.
        settle: tells the guards what came of it, once; ``None`` where they know.
        keep: given the whole answer and its chunks, puts them into the cache.
        judge: given the whole answer, says why it is none; it has been shown, so it is only marked.
    """

    held: Sequence[Chunk]
    decision: Decision
    card: ModelCard
    attempts: tuple[Attempt, ...]
    started: float
    price: Callable[[ModelCard, Usage], float | None]
    tracer: CallTracer
    keep: Callable[[Completion, Sequence[Chunk]], object] | None = None
    settle: Callable[[Settlement], None] | None = None
    judge: Callable[[Completion], str] | None = None


Continued: TypeAlias = "Callable[[str], tuple[Opening, Generator[Chunk, None, None]]]"
"""Given the text so far, asks the next candidate to go on with it."""

AsyncContinued: TypeAlias = (
    "Callable[[str], Awaitable[tuple[Opening, AsyncGenerator[Chunk, None]]]]"
)


class _Record(OfOneProcess):
    """What both kinds of stream keep: the text so far, the final reply, the trace."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._chunks: list[Chunk] = []
        self._held = list(reversed(opening.held))
        self._splice: Splice | None = None
        self._ended = False
        self._ending = threading.Lock()
        self.trace = replace(opening.tracer.trace, attempts=opening.attempts)

    @property
    def decision(self) -> Decision:
        """The decision that led to this stream."""
        return self._opening.decision

    @property
    def model(self) -> str:
        """The name of the model that answers."""
        return self._opening.card.name

    @property
    def text(self) -> str:
        """The text received so far."""
        return "".join(chunk.text for chunk in self._chunks)

    @property
    def completion(self) -> Completion | None:
        """The whole reply once the stream has ended, ``None`` before."""
        whole = assembled(self._chunks, self.model)
        if whole is None:
            return None
        return whole.model_copy(
            update={
                "cost_usd": self._chunks[-1].cost_usd,
                "cached": self.trace.cached,
                "decision": self.decision,
                "trace": self.trace,
            }
        )

    def _received(self, chunk: Chunk) -> Chunk:
        if self._splice is not None:
            chunk = self._spliced(chunk, self._splice)
        if chunk.usage is None:
            self._chunks.append(chunk)
            return chunk
        cost = self._opening.price(self._opening.card, chunk.usage)
        before = [a.cost_usd or 0.0 for a in self._opening.attempts[:-1]]
        total = None if cost is None else cost + sum(before)
        chunk = chunk.model_copy(update={"cost_usd": total, "decision": self.decision})
        self._chunks.append(chunk)
        self._judge()
        self._end("answered", cost_usd=cost, usage=chunk.usage)
        taken = all(a.outcome != "rejected" for a in self._opening.attempts[-1:])
        keep = self._opening.keep
        if taken and keep is not None and (whole := self.completion) is not None:
            keep(whole, self._chunks)
        return chunk

    def _judge(self) -> None:
        """Mark the attempt if its whole answer is none; what was shown is not taken back."""
        if self._opening.judge is None or not self._opening.attempts:
            return
        *before, last = self._opening.attempts
        whole = assembled(self._chunks, self.model)
        why = "" if whole is None or last.outcome == "rejected" else self._opening.judge(whole)
        if why:
            attempts = (*before, replace(last, outcome="rejected", error=why))
            self._opening = replace(self._opening, attempts=attempts)

    def _spliced(self, chunk: Chunk, splice: Splice) -> Chunk:
        """A chunk of a continuation, without what it repeats of the text before."""
        choices = []
        for choice in chunk.choices:
            text = splice.add(choice.delta.content or "")
            if choice.finish_reason is not None:
                text += splice.finish()
            delta = choice.delta.model_copy(update={"content": text, "role": None})
            choices.append(choice.model_copy(update={"delta": delta}))
        return chunk.model_copy(update={"choices": choices, "continued_by": self.model})

    def _failed(self, error: BackendError) -> BackendError:
        """The error as the caller meets it: text was shown, so nothing is asked again."""
        cut = StreamInterruptedError(
            f"{self.model} failed in mid-stream: {error}",
            partial_text=self.text,
            model=self.model,
            hint="`partial_text` holds what was received.",
        )
        cut.__cause__ = error
        self._end("interrupted", error=f"{type(cut).__name__}: {cut}", cost_usd=None, cause=error)
        cut.trace = self.trace
        return cut

    def _next_held(self) -> Chunk | None:
        try:
            return self._held.pop()
        except IndexError:  # there is none, or another thread has just let them go
            return None

    @property
    def _can_be_continued(self) -> bool:
        """Whether another model can take over from what was shown: one text, no call begun."""
        return not any(
            choice.index or choice.delta.tool_calls
            for chunk in self._chunks
            for choice in chunk.choices
        )

    def _taken_over(self, error: BackendError, opening: Opening) -> None:
        """Go on with another model's stream, whose attempts follow those so far."""
        attempts = self._closed(
            "interrupted", f"{type(error).__name__}: {error}", None, None, error
        )
        self._splice = Splice(self.text)
        self._opening = replace(opening, attempts=(*attempts, *opening.attempts))
        self._held = list(reversed(opening.held))

    def _end(
        self,
        outcome: Outcome,
        *,
        error: str = "",
        cost_usd: float | None,
        usage: Usage | None = None,
        cause: BackendError | None = None,
    ) -> None:
        with self._ending:  # it may be closed by one thread while another reads its end
            if self._ended:
                return
            self._ended = True
        answer = assemble_choices(self._chunks)
        if not self._opening.attempts:
            self.trace = self._opening.tracer.ended((), outcome, answer=answer, cached=True)
            return
        attempts = self._closed(outcome, error, cost_usd, usage, cause)
        self.trace = self._opening.tracer.ended(attempts, outcome, error=error, answer=answer)

    def _closed(
        self,
        outcome: Outcome,
        error: str,
        cost_usd: float | None,
        usage: Usage | None,
        cause: BackendError | None,
    ) -> tuple[Attempt, ...]:
        """The attempts, the last one as it ended; the guards hear of that."""
        *before, last = self._opening.attempts
        seconds = time.perf_counter() - self._opening.started
        if last.outcome == "rejected":  # whole and known already, the best there is
            outcome, error = last.outcome, last.error
        if self._opening.settle is not None:
            self._opening.settle(
                Settlement(
                    error=cause,
                    cancelled=outcome == "cancelled",
                    usage=usage,
                    cost_usd=cost_usd,
                    duration_s=seconds,
                    first_token_s=last.duration_s,
                )
            )
        attempt = replace(
            last,
            outcome=outcome,
            error=error,
            cost_usd=cost_usd,
            usage=usage,
            duration_s=seconds,
            first_token_s=last.duration_s,
            confidence=least_confidence(assemble_choices(self._chunks[-1:])),
        )
        return (*before, attempt)


class CompletionStream(_Record, Iterator[Chunk]):
    """Chunks of a reply as they come; leaving it early stops the model.

    ``for chunk in stream: print(chunk.text, end="")``; the last chunk has usage, cost and
    decision, and ``stream.completion`` is then the whole reply. Also a context manager.

    It may be closed from another thread: who reads it then comes to its end, without an error.
    """

    def __init__(
        self,
        opening: Opening,
        source: Generator[Chunk, None, None],
        stop: Stop,
        continued: Continued | None = None,
    ) -> None:
        """``continued`` asks another model to go on, where a stream that breaks off is to."""
        super().__init__(opening)
        self._continued = continued
        self._stop = stop
        self._source = _SharedSource(source, stop)

    def __iter__(self) -> CompletionStream:
        return self

    def __next__(self) -> Chunk:
        while (held := self._next_held()) is None:
            try:
                return self._received(next(self._source))
            except StopIteration:
                self._end("cancelled" if self._stop.is_set else "answered", cost_usd=None)
                raise
            except BackendError as error:
                self._go_on(error)
        return self._received(held)

    def _go_on(self, error: BackendError) -> None:
        continued, self._continued = self._continued, None  # by one other model at most
        if continued is None or not self._can_be_continued:
            raise self._failed(error)
        try:
            opening, source = continued(self.text)
        except ModelRouterError:
            if self._stop.is_set:
                raise StopIteration from None
            raise self._failed(error) from error
        if self._stop.is_set:  # closed meanwhile, so that nobody wants the other model's answer
            source.close()
            if opening.settle is not None:
                opening.settle(Settlement(cancelled=True))
            raise StopIteration
        self._taken_over(error, opening)
        self._source = _SharedSource(source, self._stop)

    def __enter__(self) -> CompletionStream:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Stop the model if it still answers; safe to call twice, and from any thread."""
        self._held.clear()
        self._source.close()
        self._end("cancelled", cost_usd=None)

    def __del__(self) -> None:
        if not self._ended:
            self.close()


class AsyncCompletionStream(_Record, AsyncIterator[Chunk]):
    """The awaited twin of :class:`CompletionStream`; another task may close it."""

    def __init__(
        self,
        opening: Opening,
        source: AsyncGenerator[Chunk, None],
        continued: AsyncContinued | None = None,
    ) -> None:
        """See :class:`CompletionStream`."""
        super().__init__(opening)
        self._continued = continued
        self._source = _AsyncSharedSource(source)
        self._is_closed = False

    def __aiter__(self) -> AsyncCompletionStream:
        return self

    async def __anext__(self) -> Chunk:
        while (held := self._next_held()) is None:
            try:
                return self._received(await self._source.next())
            except StopAsyncIteration:
                self._end("cancelled" if self._is_closed else "answered", cost_usd=None)
                raise
            except BackendError as error:
                await self._go_on(error)
        return self._received(held)

    async def _go_on(self, error: BackendError) -> None:
        continued, self._continued = self._continued, None  # by one other model at most
        if continued is None or not self._can_be_continued:
            raise self._failed(error)
        try:
            opening, source = await continued(self.text)
        except ModelRouterError:
            if self._is_closed:
                raise StopAsyncIteration from None
            raise self._failed(error) from error
        if self._is_closed:  # meanwhile, so that nobody wants the other model's answer
            await source.aclose()
            if opening.settle is not None:
                opening.settle(Settlement(cancelled=True))
            raise StopAsyncIteration
        self._taken_over(error, opening)
        self._source = _AsyncSharedSource(source)

    async def __aenter__(self) -> AsyncCompletionStream:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Stop the model if it still answers; safe to call twice."""
        self._is_closed = True
        self._held.clear()
        await self._source.aclose()
        self._end("cancelled", cost_usd=None)

    close = aclose


class _SharedSource:
    """A blocking source that one thread reads and another may close.

    A generator that is being read can be neither closed nor read by another. So who closes says so,
    wakes the reader and waits a moment; a reader that comes back later closes it then.
    """

    def __init__(self, items: Generator[Chunk, None, None], stop: Stop) -> None:
        self._items, self._stop = items, stop
        self._reading = threading.Lock()

    def __next__(self) -> Chunk:
        with self._reading:
            try:
                chunk = next(self._items)
            except Exception:  # whatever it is that a reader raises who was woken
                if self._stop.is_set:
                    raise StopIteration from None
                raise
        if self._stop.is_set:
            self.close()
            raise StopIteration
        return chunk

    def close(self) -> None:
        self._stop.set()
        if self._reading.acquire(timeout=_WOKEN_S):
            try:
                self._items.close()
            finally:
                self._reading.release()


class _AsyncSharedSource:
    """The awaited twin of :class:`_SharedSource`: one task reads and another may close."""

    def __init__(self, items: AsyncGenerator[Chunk, None]) -> None:
        self._items = items
        self._reading = asyncio.Lock()
        self._waiting: Any = None
        self._is_closed = False

    async def next(self) -> Chunk:
        async with self._reading:
            try:
                async with _timeout(None) as self._waiting:
                    chunk = await anext(self._items)
            except Exception:  # as in _SharedSource
                if self._is_closed:
                    raise StopAsyncIteration from None
                raise
            finally:
                self._waiting = None
        if self._is_closed:
            raise StopAsyncIteration
        return chunk

    async def aclose(self) -> None:
        self._is_closed = True
        if (waiting := self._waiting) is not None:  # its time is up
            end = getattr(waiting, "reschedule", None) or waiting.update
            end(asyncio.get_running_loop().time())
        async with self._reading:
            await self._items.aclose()


def nothing() -> Generator[Chunk, None, None]:
    """A stream that has nothing more to say than what is held."""
    yield from ()


async def anothing() -> AsyncGenerator[Chunk, None]:
    """As :func:`nothing`, awaited."""
    for chunk in nothing():
        yield chunk


def assembled(chunks: Sequence[Chunk], model: str) -> Completion | None:
    """The whole reply that a stream's chunks add up to; ``None`` while the end is missing."""
    last = chunks[-1] if chunks else None
    if last is None or last.usage is None:
        return None
    return Completion(
        id=last.id,
        created=last.created,
        model=model,
        choices=assemble_choices(chunks),
        usage=last.usage,
    )


def assemble_choices(chunks: Sequence[Chunk]) -> list[Choice]:
    """The whole answers that a stream's chunks add up to."""
    texts: dict[int, list[str]] = {}
    calls: dict[int, dict[int, ToolCallDelta]] = {}
    logprobs: dict[int, list[Any]] = {}
    lasts: dict[int, ChunkChoice] = {}
    for piece in (choice for chunk in chunks for choice in chunk.choices):
        texts.setdefault(piece.index, []).append(piece.delta.content or "")
        for delta in piece.delta.tool_calls or ():
            _add_call(calls.setdefault(piece.index, {}), delta)
        if isinstance(piece.logprobs, dict):
            logprobs.setdefault(piece.index, []).extend(piece.logprobs.get("content") or ())
        if piece.finish_reason is not None or piece.index not in lasts:
            lasts[piece.index] = piece
    return [
        Choice(
            index=index,
            message=ReplyMessage(
                content="".join(parts) or None,
                tool_calls=[_call(c) for c in calls.get(index, {}).values()] or None,
            ),
            finish_reason=lasts[index].finish_reason or "stop",
            logprobs={"content": logprobs[index]} if index in logprobs else None,
            confidence=lasts[index].confidence,
        )
        for index, parts in sorted(texts.items())
    ]


def _add_call(known: dict[int, ToolCallDelta], delta: ToolCallDelta) -> None:
    if delta.index not in known:
        known[delta.index] = delta.model_copy(deep=True)
        return
    whole, new = known[delta.index].function, delta.function
    if whole is None:
        known[delta.index].function = new
    elif new is not None:
        whole.arguments = (whole.arguments or "") + (new.arguments or "")


def _call(delta: ToolCallDelta) -> ToolCall:
    function = delta.function
    return ToolCall(
        id=delta.id or "",
        function=FunctionCall(
            name=(function.name if function else None) or "",
            arguments=(function.arguments if function else None) or "",
        ),
    )
