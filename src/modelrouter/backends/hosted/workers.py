"""Threads for blocking calls that may have to be given up: re-used, hung up on, never left running.

A daemon thread that is stopped wherever it stands when the interpreter takes itself apart may hold
an import lock, and whatever is cleaned up after it then waits for ever. So before that, while
Python still runs whole (``atexit``), calls under way are hung up on and waited for.
"""

from __future__ import annotations

import atexit
import os
import socket
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from contextlib import suppress
from contextvars import copy_context
from queue import Empty, SimpleQueue
from typing import Any, Final, Generic, TypeVar

__all__ = ["Job", "start", "threads"]

T = TypeVar("T")

_MOST_IDLE: Final = 16
_IDLE_S: Final = 30.0
"""A thread that has had nothing to do for so long ends."""
_EXIT_S: Final = 2.0
"""The longest that the end of the process waits for calls that were hung up on. They end in
milliseconds, unless they are looking up a host's address, which nothing can cut short."""


class Job(Generic[T]):
    """A function's call on another thread, in the starter's context."""

    def __init__(self, function: Callable[[], T], after_giving_up: Callable[[], None]) -> None:
        self._function = function
        self._context = copy_context()
        self._after = after_giving_up
        self._outcome: tuple[Any, BaseException | None] = (None, None)
        self._over: SimpleQueue[None] = SimpleQueue()
        self._given_up = False
        self._ended = False
        self._thread: threading.Thread | None = None  # while it is running

    def wait(self, seconds: float | None) -> bool:
        """Whether it ends within so many seconds; it is asked once."""
        try:
            self._over.get(timeout=seconds)
        except Empty:
            return False
        return True

    def wake(self) -> None:
        """Let :meth:`wait` return, though it has not ended."""
        self._over.put(None)

    def result(self) -> T:
        """What the function returned; or raises what it raised. Only after it ended."""
        value, error = self._outcome
        if error is not None:
            raise error
        returned: T = value
        return returned

    def give_up(self) -> None:
        """Hang up on whom the function waits for; ``after_giving_up`` is called when it ends."""
        self._given_up = True
        if self._ended:  # a moment ago, and nobody was there to be told
            self._finish()
        else:
            self._hang_up()

    def run(self) -> None:
        """Call the function, on the thread that this is called on."""
        self._thread = threading.current_thread()
        try:
            self._outcome = self._context.run(self._function), None
        except BaseException as error:  # it is raised where it is waited for
            self._outcome = None, error
        self._thread = None
        self._ended = True
        self._over.put(None)
        if self._given_up:
            self._finish()

    def _finish(self) -> None:
        with suppress(Exception):  # nobody is left to tell; done twice it does no harm
            self._after()

    def _hang_up(self) -> None:
        """Shut down the connection that the thread reads from or writes to, if there is one.

        The HTTP client gives no handle on a connection before it has an answer, so it is looked
        for where the thread stands: httpx's network stream tells its socket. Only a connection in
        use by this call is found, thus none that the client keeps for others.
        """
        thread = self._thread
        frame = sys._current_frames().get((thread and thread.ident) or 0)
        if self._thread is None:
            return  # it has just ended: the thread may be doing something else by now
        while frame is not None:
            told = getattr(frame.f_locals.get("self"), "get_extra_info", None)
            if told is not None:
                with suppress(Exception):  # closed already, or no network stream after all
                    # Not the method of ssl's socket: that would forget what the reader is using.
                    socket.socket.shutdown(told("socket"), socket.SHUT_RDWR)
                return
            frame = frame.f_back


class _Worker:
    """One thread, doing one job after another."""

    def __init__(self) -> None:
        self.jobs: SimpleQueue[Job[Any] | None] = SimpleQueue()
        self.job: Job[Any] | None = None
        self.thread = threading.Thread(
            target=self._serve, name="modelrouter-hosted-call", daemon=True
        )
        self.thread.start()

    def _serve(self) -> None:
        _workers.add(self)
        try:
            while (job := self._next()) is not None:
                self.job = job
                job.run()
                self.job = job = None
                if len(_idle) >= _MOST_IDLE or _exiting:
                    return
                _idle.append(self)
        finally:
            _workers.discard(self)

    def _next(self) -> Job[Any] | None:
        while True:
            try:
                return self.jobs.get(timeout=_IDLE_S)
            except Empty:
                # Who removes it from the idle ones has it: then no job is on its way here.
                with suppress(ValueError):
                    _idle.remove(self)
                    return None


_idle: deque[_Worker] = deque()
_workers: set[_Worker] = set()
_exiting = False


def start(function: Callable[[], T], after_giving_up: Callable[[], None]) -> Job[T]:
    """Call the function on a thread that has nothing to do, or on a new one."""
    job = Job(function, after_giving_up)
    try:
        worker = _idle.pop()  # the last one first, so that the others may come to their end
    except IndexError:
        worker = _Worker()
    worker.jobs.put(job)
    return job


def threads() -> list[threading.Thread]:
    """The threads that are there, idle ones too."""
    return [worker.thread for worker in list(_workers)]


def _at_exit() -> None:
    global _exiting
    _exiting = True
    until = time.monotonic() + _EXIT_S
    for worker in list(_idle):
        worker.jobs.put(None)
    for worker in list(_workers):
        while worker.thread.is_alive() and time.monotonic() < until:
            if (job := worker.job) is not None:
                job.give_up()
            worker.thread.join(0.02)


def _forget() -> None:
    """Of a forked process: only the thread that forked is there."""
    _idle.clear()
    _workers.clear()


atexit.register(_at_exit)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
