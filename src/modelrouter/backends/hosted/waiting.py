"""Bounds how long a hosted call is waited for, whatever the library underneath does."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import Generator, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, TypeVar

from modelrouter.backends.base import Stop
from modelrouter.backends.hosted.workers import Job, start

__all__ = ["TIMEOUTS", "BoundedIterator", "Deadline"]

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


class BoundedIterator(Iterator[T]):
    """A blocking iterator read on threads of its own, so that waiting for it can be given up.

    A timeout of the HTTP client bounds each read, and a server that sends a blank now and then
    (some do while a request is queued) keeps it from ever passing. ``next`` raises TimeoutError at
    the deadline all the same, or when ``stop`` is set. A context manager: leaving it closes the
    iterator; where it is being read (after a TimeoutError or a KeyboardInterrupt) the connection is
    shut down, and the iterator is closed as soon as the reader has noticed.
    """

    def __init__(
        self, items: Generator[T, None, None], deadline: Deadline, stop: Stop | None = None
    ) -> None:
        self._items = items
        self._deadline = deadline
        self._stop = stop or Stop()
        self._reading: Job[Any] | None = None

    def __enter__(self) -> BoundedIterator[T]:
        return self

    def __exit__(self, *_: object) -> None:
        if self._reading is not None:
            self._reading.give_up()
        else:
            self._items.close()

    def __next__(self) -> T:
        # An item is read only when it is asked for, so that otherwise nobody is reading.
        self._reading = start(lambda: next(self._items, _END), self._items.close)
        with self._stop.waking(self._reading.wake):
            in_time = self._reading.wait(self._deadline.left)
        if not in_time or self._stop.is_set:
            raise TimeoutError
        job, self._reading = self._reading, None
        item = job.result()
        if item is _END:
            raise StopIteration
        value: T = item
        return value
