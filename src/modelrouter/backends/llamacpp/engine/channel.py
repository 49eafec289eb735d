"""How a worker thread tells a caller what comes of its request: one event after another."""

from __future__ import annotations

import asyncio
import contextlib
import queue
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

from modelrouter.exceptions import BackendError
from modelrouter.response import Confidence, FinishReason, ToolCall

__all__ = ["AsyncChannel", "Channel", "Event", "Failed", "Finished", "SyncChannel", "Text"]


@dataclass(frozen=True, slots=True)
class Text:
    """More of an answer.

    Attributes:
        text: what is added; may be empty where only ``logprobs`` are told.
        index: which of the answers, if several were asked for.
        logprobs: of the tokens since the last event, as OpenAI writes them, where asked for.
    """

    text: str
    index: int = 0
    logprobs: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class Finished:
    """The end of an answer.

    Attributes:
        reason: ``stop``, ``length`` or ``tool_calls``.
        prompt_tokens: tokens of the prompt.
        cached_tokens: how many of them were in memory already.
        completion_tokens: tokens generated, without the one that ends the answer.
        index: which of the answers.
        confidence: how sure the model was of it.
        tool_calls: what the model wants called.
    """

    reason: FinishReason
    prompt_tokens: int
    cached_tokens: int
    completion_tokens: int
    index: int = 0
    confidence: Confidence | None = None
    tool_calls: tuple[ToolCall, ...] = ()


@dataclass(frozen=True, slots=True)
class Failed:
    """No answer, or no more of it."""

    error: BackendError


Event: TypeAlias = Text | Finished | Failed


class Channel(Protocol):
    """The worker's end: never blocks, never raises."""

    def send(self, event: Event) -> None:
        """Tell the caller; lost if the caller is gone."""
        ...

    def close(self) -> None:
        """The caller's own: it listens no more."""
        ...


class SyncChannel:
    """To a thread that waits."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()

    def send(self, event: Event) -> None:
        """Tell the caller."""
        self._events.put(event)

    def receive(self, timeout_s: float | None) -> Event | None:
        """The next event; ``None`` if there is none in time."""
        try:
            return self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None

    def close(self) -> None:
        """Nothing to end."""


class AsyncChannel:
    """To a task of the running event loop, which goes on meanwhile.

    Args:
        timeout_s: after so many seconds :meth:`receive` gives ``None``, behind what came before.
    """

    def __init__(self, timeout_s: float | None) -> None:
        self._loop = asyncio.get_running_loop()
        self._events: asyncio.Queue[Event | None] = asyncio.Queue()
        self._timer = (
            self._loop.call_later(max(0.0, timeout_s), self._events.put_nowait, None)
            if timeout_s is not None
            else None
        )

    def send(self, event: Event) -> None:
        """Tell the caller."""
        # The loop may be closed by now, and the task with it.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._events.put_nowait, event)

    async def receive(self) -> Event | None:
        """The next event; ``None`` when the time is over."""
        return await self._events.get()

    def close(self) -> None:
        """End the timer."""
        if self._timer is not None:
            self._timer.cancel()
