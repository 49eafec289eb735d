"""Bounds how long a hosted call is waited for, whatever the library underneath does."""

from __future__ import annotations

import asyncio
import contextvars
import sys
import threading
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractAsyncContextManager
from queue import Empty, SimpleQueue
from typing import Any, Final, TypeVar

__all__ = ["TIMEOUTS", "Bounded", "Deadline"]

T = TypeVar("T")

_END: Final = object()

if sys.version_info >= (3, 11):
    from asyncio import timeout as _timeout
else:
    from async_timeout import timeout as _timeout

TIMEOUTS: Final = (TimeoutError, asyncio.TimeoutError)  # one and the same since Python 3.11


class Deadline:
    """The moment at which an attempt's time is up; ``seconds`` from now, ``None`` for never."""

    def __init__(self, seconds: float | None) -> None:
        self.seconds = seconds
        self._at = None if seconds is None else time.monotonic() + seconds

    @property
    def left(self) -> float | None:
        """Seconds until then, not below zero."""
        return None if self._at is None else max(0.0, self._at - time.monotonic())

    def bound(self) -> AbstractAsyncContextManager[object]:
        """Awaiting inside raises one of :data:`TIMEOUTS` when the time is up.

        Not ``asyncio.wait_for``: before Python 3.12 that can swallow a cancellation from outside
        when it arrives together with a result, which a stream of quick chunks makes likely.
        """
        return _timeout(self.left)


class Bounded(Iterator[T]):
    """A blocking iterator run on a thread of its own, so that waiting for it can be given up.

    A timeout of the HTTP client bounds each read, and a server that sends a blank now and then
    (some do while a request is queued) keeps it from ever passing. ``next`` raises TimeoutError at
    the deadline all the same. A context manager: leaving it closes the iterator, at once where it
    is not being read; else, after a TimeoutError, with the next thing the server sends or with
    the client's own timeout. The thread does not keep the process alive.
    """

    def __init__(self, items: Generator[T, None, None], deadline: Deadline) -> None:
        self._items = items
        self._deadline = deadline
        # An item is read only when it is asked for (True), so that False finds nobody reading.
        self._asked: SimpleQueue[bool] = SimpleQueue()
        self._answers: SimpleQueue[tuple[Any, BaseException | None]] = SimpleQueue()

    def __enter__(self) -> Bounded[T]:
        context = contextvars.copy_context()
        threading.Thread(
            target=context.run, args=(self._serve,), name="modelrouter-hosted-call", daemon=True
        ).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._asked.put(False)

    def __next__(self) -> T:
        self._asked.put(True)
        try:
            item, error = self._answers.get(timeout=self._deadline.left)
        except Empty:
            raise TimeoutError from None
        if error is not None:
            raise error
        if item is _END:
            raise StopIteration
        value: T = item
        return value

    def _serve(self) -> None:
        try:
            while self._asked.get():
                try:
                    self._answers.put((next(self._items, _END), None))
                except BaseException as error:  # it is raised where it is waited for
                    self._answers.put((None, error))
        finally:
            self._items.close()
