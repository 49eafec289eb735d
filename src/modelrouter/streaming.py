"""Streams of a reply: iterators and context managers that free the model when left."""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from types import TracebackType
from typing import Any

from modelrouter.account import Account
from modelrouter.catalog.card import ModelCard
from modelrouter.decision import Decision
from modelrouter.exceptions import BackendError, StreamInterruptedError
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
)
from modelrouter.trace import Attempt, Outcome

__all__ = ["AsyncCompletionStream", "CompletionStream", "Opening"]


@dataclass(frozen=True, slots=True)
class Opening:
    """A stream whose model has begun to answer.

    ``held`` are the chunks up to the first visible one, read already so that a failure before it
    could still fall back. Without attempts the chunks are from the cache. ``keep`` is given a whole
    answer and its chunks.
    """

    held: Sequence[Chunk]
    decision: Decision
    card: ModelCard
    attempts: tuple[Attempt, ...]
    started: float
    price: Callable[[ModelCard, Usage], float | None]
    account: Account
    keep: Callable[[Completion, Sequence[Chunk]], object] | None = None


class _Record:
    """What both kinds of stream keep: the text so far, the final reply, the trace."""

    def __init__(self, opening: Opening) -> None:
        self._opening = opening
        self._chunks: list[Chunk] = []
        self._ended = False
        self.trace = replace(opening.account.trace, attempts=opening.attempts)

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
        last = self._chunks[-1] if self._chunks else None
        if last is None or last.usage is None:
            return None
        return Completion(
            id=last.id,
            created=last.created,
            model=self.model,
            choices=assemble_choices(self._chunks),
            usage=last.usage,
            cost_usd=last.cost_usd,
            cached=self.trace.cached,
            decision=self.decision,
            trace=self.trace,
        )

    def _received(self, chunk: Chunk) -> Chunk:
        if chunk.usage is not None:
            cost = self._opening.price(self._opening.card, chunk.usage)
            chunk = chunk.model_copy(update={"cost_usd": cost, "decision": self.decision})
            self._chunks.append(chunk)
            self._end("answered", cost_usd=cost, usage=chunk.usage)
            if self._opening.keep is not None and self.completion is not None:
                self._opening.keep(self.completion, self._chunks)
        else:
            self._chunks.append(chunk)
        return chunk

    def _failed(self, error: BackendError) -> BackendError:
        """The error as the caller meets it: text was shown, so nothing is asked again."""
        if not isinstance(error, StreamInterruptedError):
            cut = StreamInterruptedError(
                f"{self.model} failed in mid-stream: {error}",
                partial_text=self.text,
                model=self.model,
                hint="`partial_text` holds what was received.",
            )
            cut.__cause__ = error
            error = cut
        self._end("interrupted", error=f"{type(error).__name__}: {error}", cost_usd=None)
        error.trace = self.trace
        return error

    def _end(
        self,
        outcome: Outcome,
        *,
        error: str = "",
        cost_usd: float | None,
        usage: Usage | None = None,
    ) -> None:
        if self._ended:
            return
        self._ended = True
        answer = assemble_choices(self._chunks)
        if not self._opening.attempts:
            self.trace = self._opening.account.ended((), outcome, answer=answer, cached=True)
            return
        *before, last = self._opening.attempts
        attempt = replace(
            last,
            outcome=outcome,
            error=error,
            cost_usd=cost_usd,
            usage=usage,
            duration_s=time.perf_counter() - self._opening.started,
        )
        self.trace = self._opening.account.ended(
            (*before, attempt), outcome, error=error, answer=answer
        )


class CompletionStream(_Record, Iterator[Chunk]):
    """Chunks of a reply as they come; leaving it early stops the model.

    ``for chunk in stream: print(chunk.text, end="")``; the last chunk has usage, cost and
    decision, and ``stream.completion`` is then the whole reply. Also a context manager.
    """

    def __init__(self, opening: Opening, source: Generator[Chunk, None, None]) -> None:
        super().__init__(opening)
        self._source = source
        self._held = list(reversed(opening.held))

    def __iter__(self) -> CompletionStream:
        return self

    def __next__(self) -> Chunk:
        if self._held:
            return self._received(self._held.pop())
        try:
            return self._received(next(self._source))
        except StopIteration:
            self._end("answered", cost_usd=None)
            raise
        except BackendError as error:
            raise self._failed(error)  # noqa: B904 (its cause is set already)

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
        """Stop the model if it still answers; safe to call twice."""
        self._held.clear()
        self._source.close()
        self._end("cancelled", cost_usd=None)

    def __del__(self) -> None:
        if not self._ended:
            self.close()


class AsyncCompletionStream(_Record, AsyncIterator[Chunk]):
    """The awaited twin of :class:`CompletionStream`."""

    def __init__(self, opening: Opening, source: AsyncGenerator[Chunk, None]) -> None:
        super().__init__(opening)
        self._source = source
        self._held = list(reversed(opening.held))

    def __aiter__(self) -> AsyncCompletionStream:
        return self

    async def __anext__(self) -> Chunk:
        if self._held:
            return self._received(self._held.pop())
        try:
            return self._received(await anext(self._source))
        except StopAsyncIteration:
            self._end("answered", cost_usd=None)
            raise
        except BackendError as error:
            raise self._failed(error)  # noqa: B904 (its cause is set already)

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
        self._held.clear()
        await self._source.aclose()
        self._end("cancelled", cost_usd=None)

    close = aclose


def nothing() -> Generator[Chunk, None, None]:
    """A stream that has nothing more to say than what is held."""
    yield from ()


async def anothing() -> AsyncGenerator[Chunk, None]:
    """As :func:`nothing`, awaited."""
    for chunk in nothing():
        yield chunk


def is_visible(chunk: Chunk) -> bool:
    """Whether the chunk shows the caller anything: text, a tool call, or the end."""
    return any(
        c.delta.content or c.delta.tool_calls or c.finish_reason is not None for c in chunk.choices
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
