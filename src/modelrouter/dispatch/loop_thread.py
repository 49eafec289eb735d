"""Blocking calls that may ask two models at once: they run on an event loop in a thread of theirs.

A blocking request cannot be cancelled from outside; an awaited one can. So the loser of a race is
really left, and its model is free again.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Awaitable, Callable, Coroutine, Generator
from typing import Any, Final, TypeVar

from modelrouter.backends.base import Request, Stop
from modelrouter.dispatch.drivers import adrive
from modelrouter.dispatch.steps import Call, Result
from modelrouter.dispatch.stream_buffer import BufferedStream
from modelrouter.response import Chunk

__all__ = ["drive_hedged", "drive_hedged_stream"]

T = TypeVar("T")

_CANCELLED_S: Final = 1.0


def drive_hedged(call: Call[T], perform: Callable[[Request], Awaitable[T]]) -> Result[T]:
    """As :func:`modelrouter.dispatch.drivers.drive`, for a call that may be hedged."""
    loop = _Loop()
    try:
        return loop.run(adrive(call, perform))
    finally:
        loop.close()


def drive_hedged_stream(
    call: Call[BufferedStream[AsyncGenerator[Chunk, None]]],
    begin: Callable[[Request], Awaitable[BufferedStream[AsyncGenerator[Chunk, None]]]],
    stop: Stop,
) -> Result[BufferedStream[Generator[Chunk, None, None]]]:
    """As :func:`drive_hedged`, for a stream; the loop lives until the stream is closed.

    Setting ``stop`` wakes who reads it.
    """
    loop = _Loop()
    try:
        found = loop.run(adrive(call, begin))
    except BaseException:
        loop.close()
        raise
    buffered = found.value
    source = _bridged(buffered.source, loop, stop)
    next(source)  # from now on closing it closes the loop
    value = BufferedStream(buffered.held, source, buffered.ended)
    return Result(value, found.card, found.attempts, found.decision, found.permit)


def _bridged(
    source: AsyncGenerator[Chunk, None], loop: _Loop, stop: Stop
) -> Generator[Any, None, None]:
    """The stream, read from another thread's loop; begins with one value to be dropped."""
    try:
        yield None
        while True:
            try:
                chunk = loop.run(_next(source), stop)
            except StopAsyncIteration:
                return
            yield chunk
    finally:
        try:
            loop.run(_close(source))
        finally:
            loop.close()


async def _next(source: AsyncGenerator[Chunk, None]) -> Chunk:
    return await anext(source)


async def _close(source: AsyncGenerator[Chunk, None]) -> None:
    until = asyncio.get_running_loop().time() + _CANCELLED_S
    while getattr(source, "ag_running", False) and asyncio.get_running_loop().time() < until:
        await asyncio.sleep(0)  # its reader is being cancelled
    await source.aclose()


class _Loop:
    """An event loop in a thread."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._serve, name="modelrouter hedged call", daemon=True
        )
        self._thread.start()

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        try:
            self._loop.run_forever()
            left = asyncio.all_tasks(self._loop)
            for task in left:
                task.cancel()
            self._loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        finally:
            self._loop.close()

    def run(self, work: Coroutine[Any, Any, T], stop: Stop | None = None) -> T:
        """What the work gives; an interrupted caller's is cancelled, and one that is stopped."""
        future = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            with (stop or Stop()).waking(future.cancel):
                return future.result()
        except BaseException:
            future.cancel()
            raise

    def close(self) -> None:
        """Cancel what still runs in it, wait for that, and end the thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
