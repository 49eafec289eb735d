"""The two drivers of dispatch: one blocks, one awaits; both do what the flow says, nothing more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from modelrouter.backends.base import Request
from modelrouter.dispatch import (
    Admit,
    Answered,
    Ask,
    Broken,
    Call,
    Failed,
    Result,
    Settle,
    Wait,
    dispatch,
)
from modelrouter.exceptions import BackendError
from modelrouter.guards.base import Settlement

__all__ = ["adrive", "drive"]

T = TypeVar("T")


def drive(call: Call, perform: Callable[[Request], T]) -> Result[T]:
    """Run the flow, blocking. ``perform`` asks a model; its BackendErrors go back to the flow."""
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


async def adrive(call: Call, perform: Callable[[Request], Awaitable[T]]) -> Result[T]:
    """Run the flow, awaiting; the twin of :func:`drive`."""
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
                outcome = Answered(await perform(step.request), time.perf_counter() - started)
            except BaseException as error:  # the flow raises what is not the model's failure
                outcome = _failed(call, step, error, time.perf_counter() - started)
        elif isinstance(step, Wait):
            await asyncio.sleep(step.seconds)
            outcome = None
        else:
            outcome = _guarded(call, step)


def _guarded(call: Call, step: Admit | Settle) -> Any:
    """Ask the guards, or tell them. They answer at once, or nearly: a file, never a network."""
    assert call.guards is not None
    if isinstance(step, Admit):
        return call.guards.admit(step.intent)
    call.guards.settle(step.passed, step.settlement)
    return None


def _failed(call: Call, step: Ask, error: BaseException, duration_s: float) -> Failed | Broken:
    if isinstance(error, BackendError):
        return Failed(error, duration_s)
    if step.passed is not None and call.guards is not None:
        gone = Settlement(cancelled=True, duration_s=duration_s)
        call.guards.settle(step.passed, gone)
    return Broken(error, duration_s)


def _result(stop: StopIteration) -> Result[Any]:
    result: Result[Any] = stop.value
    return result
