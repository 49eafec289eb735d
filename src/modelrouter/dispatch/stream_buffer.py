"""How much of a stream is read before any of it is shown, so that a failure may still go unseen."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from modelrouter.exceptions import MalformedResponseError
from modelrouter.response import Chunk

__all__ = ["BufferedStream", "Buffering", "abuffered", "buffered", "is_visible"]

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Buffering:
    """What has to be there before the first chunk is shown.

    Attributes:
        pieces: so many visible chunks, or the end.
        calls: whether an answer that calls tools is held to its end.
        whole: whether every answer is.
    """

    pieces: int = 1
    calls: bool = False
    whole: bool = False

    def is_enough(self, visible: int, chunk: Chunk) -> bool:
        """Whether the chunks so far, of which ``chunk`` is the last, may be shown."""
        if self.whole or visible < self.pieces:
            return False
        return not (self.calls and any(c.delta.tool_calls for c in chunk.choices))


@dataclass(frozen=True, slots=True)
class BufferedStream(Generic[S]):
    """A stream that has begun, and what of it was read before any was shown.

    Attributes:
        held: the chunks read so far.
        source: the rest.
        ended: whether nothing is left of it.
    """

    held: list[Chunk]
    source: S
    ended: bool


def buffered(
    source: Generator[Chunk, None, None], hold: Buffering, model: str
) -> BufferedStream[Generator[Chunk, None, None]]:
    """Read as much as is held back.

    Raises:
        BackendError: the stream failed before that, or held nothing.
    """
    held: list[Chunk] = []
    visible = 0
    try:
        for chunk in source:
            held.append(chunk)
            visible += is_visible(chunk)
            if visible and hold.is_enough(visible, chunk):
                return BufferedStream(held, source, _is_last(chunk))
    except BaseException:
        source.close()
        raise
    return BufferedStream(_answered(held, visible, model), source, True)


async def abuffered(
    source: AsyncGenerator[Chunk, None], hold: Buffering, model: str
) -> BufferedStream[AsyncGenerator[Chunk, None]]:
    """The awaited twin of :func:`buffered`."""
    held: list[Chunk] = []
    visible = 0
    try:
        async for chunk in source:
            held.append(chunk)
            visible += is_visible(chunk)
            if visible and hold.is_enough(visible, chunk):
                return BufferedStream(held, source, _is_last(chunk))
    except BaseException:
        await source.aclose()
        raise
    return BufferedStream(_answered(held, visible, model), source, True)


def is_visible(chunk: Chunk) -> bool:
    """Whether the chunk shows the caller anything: text, a tool call, or the end."""
    return any(
        c.delta.content or c.delta.tool_calls or c.finish_reason is not None for c in chunk.choices
    )


def _is_last(chunk: Chunk) -> bool:
    return chunk.usage is not None


def _answered(held: list[Chunk], visible: Any, model: str) -> list[Chunk]:
    if not visible:
        raise MalformedResponseError(f"{model} ended its stream without an answer.", model=model)
    return held
