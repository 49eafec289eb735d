"""The two drivers of dispatch: one blocks, one awaits; both do what the flow says, nothing more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from modelrouter.backends.base import Request
from modelrouter.dispatch.flow import dispatch
from modelrouter.dispatch.steps import (
    Admit,
    Also,
    Answered,
    Ask,
    Broken,
    Call,
    Failed,
    First,
    Join,
    Leave,
    Left,
    Result,
    Settle,
    Slow,
    Step,
    Wait,
)
from modelrouter.exceptions import BackendError
from modelrouter.guards.base import Settlement

__all__ = ["adrive", "drive"]

T = TypeVar("T")


def drive(call: Call[T], perform: Callable[[Request], T]) -> Result[T]:
    """Run the flow, blocking. ``perform`` asks a model; its BackendErrors go back to the flow.

    Two models at once are the other driver's: such a call goes through
    :func:`modelrouter.dispatch.loop_thread.drive_hedged`.
    """
    flow = dispatch(call)
    outcome: Any = None
    while True:
        try:
            step = flow.send(outcome)
        except StopIteration as stop:
            return _result(stop)
        if isinstance(step, Ask):
            started = time.perf_counter()
            try:
                outcome = Answered(perform(step.request), time.perf_counter() - started)
            except BaseException as error:  # the flow raises what is not the model's failure
                outcome = _failed(call, step, error, time.perf_counter() - started)
        elif isinstance(step, Wait):
            time.sleep(step.seconds)
            outcome = None
        else:
            outcome = _guarded(call, step)


async def adrive(call: Call[T], perform: Callable[[Request], Awaitable[T]]) -> Result[T]:
    """Run the flow, awaiting; the twin of :func:`drive`."""
    flow = dispatch(call)
    race = _Race(call, perform)
    outcome: Any = None
    while True:
        try:
            step = flow.send(outcome)
        except StopIteration as stop:
            return _result(stop)
        except BaseException as error:
            await race.broken(error)
            raise
        if isinstance(step, (Ask, Also, Join, Leave)):
            outcome = await race.run(step)
        elif isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
            outcome = None
        else:
            outcome = _guarded(call, step)


class _Race:
    """The models that one awaited call asks: nearly always one, two where the first is slow."""

    def __init__(self, call: Call[Any], perform: Callable[[Request], Awaitable[Any]]) -> None:
        self._call, self._perform = call, perform
        self._running: list[tuple[asyncio.Task[Any], Ask | Also, float]] = []

    async def run(self, step: Ask | Also | Join | Leave) -> Any:
        try:
            if isinstance(step, Leave):
                return Left(await self._left(*self._running.pop()))
            if isinstance(step, Ask) and step.patience_s is None:
                return await self._asked(step)
            if isinstance(step, (Ask, Also)):
                task = asyncio.ensure_future(self._perform(step.request))
                self._running.append((task, step, time.perf_counter()))
            patience_s = step.patience_s if isinstance(step, Ask) else None
            done, _ = await asyncio.wait(
                [task for task, _, _ in self._running],
                timeout=patience_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        except BaseException as error:
            return await self.broken(error)
        if not done:
            return Slow()
        which = next(at for at, (task, _, _) in enumerate(self._running) if task in done)
        outcome = self._ended(*self._running.pop(which))
        if isinstance(outcome, Broken):
            return await self.broken(outcome.error)
        return First(which, outcome) if isinstance(step, Also) else outcome

    async def _asked(self, step: Ask) -> Answered[Any] | Failed | Broken:
        started = time.perf_counter()
        try:
            return Answered(await self._perform(step.request), time.perf_counter() - started)
        except BaseException as error:  # the flow raises what is not the model's failure
            return _failed(self._call, step, error, time.perf_counter() - started)

    def _ended(
        self, task: asyncio.Task[Any], step: Ask | Also, started: float
    ) -> Answered[Any] | Failed | Broken:
        seconds = time.perf_counter() - started
        try:
            return Answered(task.result(), seconds)
        except BaseException as error:
            return _failed(self._call, step, error, seconds)

    async def _left(self, task: asyncio.Task[Any], step: Ask | Also, started: float) -> float:
        """Cancel it, wait until that is done, and tell the guards."""
        task.cancel()
        await asyncio.wait([task])
        seconds = time.perf_counter() - started
        if not task.cancelled() and task.exception() is None:
            await _closed(task.result())  # it answered just now, and nobody wants it
        _settle_gone(self._call, step, seconds)
        return seconds

    async def broken(self, error: BaseException) -> Broken:
        """The caller went away, or something else failed: nothing goes on."""
        seconds = 0.0
        while self._running:
            seconds = max(seconds, await self._left(*self._running.pop()))
        return Broken(error, seconds)


async def _closed(value: Any) -> None:
    close = getattr(getattr(value, "source", None), "aclose", None)
    if close is not None:
        await close()


def _guarded(call: Call[Any], step: Step) -> Any:
    """Ask the guards, or tell them. They answer at once, or nearly: a file, never a network."""
    assert call.guards is not None
    if isinstance(step, Admit):
        return call.guards.admit(step.intent)
    assert isinstance(step, Settle)
    call.guards.settle(step.permit, step.settlement)
    return None


def _failed(
    call: Call[Any], step: Ask | Also, error: BaseException, duration_s: float
) -> Failed | Broken:
    if isinstance(error, BackendError):
        return Failed(error, duration_s)
    _settle_gone(call, step, duration_s)
    return Broken(error, duration_s)


def _settle_gone(call: Call[Any], step: Ask | Also, duration_s: float) -> None:
    if step.permit is not None and call.guards is not None:
        call.guards.settle(step.permit, Settlement(cancelled=True, duration_s=duration_s))


def _result(stop: StopIteration) -> Result[Any]:
    result: Result[Any] = stop.value
    return result
