"""The two drivers of dispatch: one blocks, one awaits; both do what the flow says, nothing more."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from modelrouter.backends.base import Request
from modelrouter.dispatch import Answered, Ask, Call, Failed, Result, dispatch
from modelrouter.exceptions import BackendError

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
        outcome = None
        if not isinstance(step, Ask):
            time.sleep(step.seconds)
            continue
        started = time.perf_counter()
        try:
            outcome = Answered(perform(step.request), time.perf_counter() - started)
        except BackendError as error:
            outcome = Failed(error, time.perf_counter() - started)


async def adrive(call: Call, perform: Callable[[Request], Awaitable[T]]) -> Result[T]:
    """Run the flow, awaiting; the twin of :func:`drive`."""
    flow = dispatch(call)
    outcome: Any = None
    while True:
        try:
            step = flow.send(outcome)
        except StopIteration as stop:
            return _result(stop)
        outcome = None
        if not isinstance(step, Ask):
            await asyncio.sleep(step.seconds)
            continue
        started = time.perf_counter()
        try:
            outcome = Answered(await perform(step.request), time.perf_counter() - started)
        except BackendError as error:
            outcome = Failed(error, time.perf_counter() - started)


def _result(stop: StopIteration) -> Result[Any]:
    result: Result[Any] = stop.value
    return result
