"""Work done a little later by a thread that is there while there is any."""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from typing import Final, Generic, TypeVar

__all__ = ["Background"]

logger = logging.getLogger("modelrouter")

T = TypeVar("T")

_GATHER_S: Final = 0.02
"""A batch waits so long for more: one transaction for many is cheaper than one for each."""
_LINGER_S: Final = 1.0
"""Without work for so long, the thread ends."""


class Background(Generic[T]):
    """Hands batches of items to a function, in the order they came.

    The queue is bounded: :meth:`put` says no where it is full, and the caller does the work itself,
    so that nothing is lost and memory does not grow. The thread starts with the first item and ends
    when there is nothing to do; it does not keep the interpreter alive.
    """

    def __init__(
        self, work: Callable[[list[T]], None], *, name: str, bound: int = 4_096, batch: int = 128
    ) -> None:
        """``work`` must not raise; what it raises is logged and the batch is lost."""
        self._work, self._name, self._bound, self._batch = work, name, bound, batch
        self._items: deque[T] = deque()
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None
        self._busy = False
        self._hurry = False

    def put(self, item: T) -> bool:
        """Take an item; ``False`` if the queue is full or no thread can be started any more."""
        with self._changed:
            if len(self._items) >= self._bound:
                return False
            if self._thread is None and not self._start():
                return False
            self._items.append(item)
            if len(self._items) == 1 or len(self._items) == self._batch:
                self._changed.notify_all()
        return True

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait until everything is done that was put before; whether it is."""
        until = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            self._hurry = True
            self._changed.notify_all()
            while self._items or self._busy:
                left = None if until is None else until - time.monotonic()
                if (left is not None and left <= 0) or self._thread is None:
                    break
                self._changed.wait(left)
            self._hurry = False
            return not (self._items or self._busy)

    def _start(self) -> bool:
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        try:
            thread.start()
        except RuntimeError:  # the interpreter is ending, or there are as many threads as may be
            return False
        self._thread = thread
        return True

    def _run(self) -> None:
        while (batch := self._next()) is not None:
            try:
                self._work(batch)
            except Exception:  # the thread serves others after this batch
                logger.exception("%s: %d items were lost.", self._name, len(batch))

    def _next(self) -> list[T] | None:
        with self._changed:
            self._busy = False
            self._changed.notify_all()
            if not self._items and not self._changed.wait_for(lambda: self._items, _LINGER_S):
                self._thread = None
                return None
            if not self._hurry:
                self._changed.wait_for(
                    lambda: self._hurry or len(self._items) >= self._batch, _GATHER_S
                )
            self._busy = True
            return [self._items.popleft() for _ in range(min(self._batch, len(self._items)))]
