"""The one thread that owns a model: loads it, lets its engine answer, frees it.

A llama.cpp context must never be entered by two threads. All of one is here. Callers hand in a
:class:`~modelrouter.backends.llamacpp.engine.job.Job` and hear of it through its channel: every job
that was taken ends in Finished or Failed, whatever happens, unless it was cancelled.
"""

from __future__ import annotations

import atexit
import contextlib
import enum
import logging
import os
import queue
import threading
import time
import weakref
from collections import deque
from collections.abc import Sequence
from concurrent.futures import CancelledError, Future, InvalidStateError
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final, TypeAlias

from modelrouter.backends.llamacpp.adapter import Adapter
from modelrouter.backends.llamacpp.admission import admit
from modelrouter.backends.llamacpp.engine.embedding import Embedded, Embedder, Pooling
from modelrouter.backends.llamacpp.engine.engine import Engine
from modelrouter.backends.llamacpp.engine.figures import EngineFigures
from modelrouter.backends.llamacpp.engine.generation import Generation
from modelrouter.backends.llamacpp.engine.job import Job, unexpected, untraced
from modelrouter.backends.llamacpp.engine.native import DecodingAborted, Model, Switch, log
from modelrouter.backends.llamacpp.loading import Loaded, load
from modelrouter.backends.llamacpp.rendering import RenderingStopped
from modelrouter.backends.llamacpp.settings import LlamaCppSettings
from modelrouter.exceptions import (
    BackendError,
    BackendTimeoutError,
    LocalModelError,
    QueueFullError,
)

__all__ = ["EmbeddingJob", "Worker"]

_logger: Final = logging.getLogger(__name__)
_EXIT_PATIENCE_S: Final = 10.0
"""How long the end of the process waits for a worker that is inside llama.cpp."""
_CLOSE_PATIENCE_S: Final = 60.0
"""How long closing waits. All that a worker does ends by itself long before."""
_LOOK_AGAIN_S: Final = 0.05
"""How often requests that wait are looked through for those that nobody waits for any more."""


class _Order(enum.Enum):
    """What the thread is told besides jobs."""

    WARM = enum.auto()
    LOOK = enum.auto()


@dataclass(frozen=True, slots=True, eq=False)
class EmbeddingJob:
    """Texts to be made vectors.

    Attributes:
        name: the model's name, for messages.
        texts: at least one.
        pooling, truncate, dimensions: as for
            :class:`~modelrouter.backends.llamacpp.engine.embedding.Embedder`.
        deadline: by :func:`time.monotonic`; ``None`` for no limit.
        result: to be set or failed; cancelled by a caller who waits no longer.
    """

    name: str
    texts: Sequence[str]
    pooling: Pooling | None = None
    truncate: bool = False
    dimensions: int | None = None
    deadline: float | None = None
    result: Future[Embedded] = field(default_factory=Future)

    def check(self) -> None:
        """Stop when nobody waits any more or the time is over.

        Raises:
            CancelledError, BackendTimeoutError: accordingly.
        """
        if self.result.cancelled():
            raise CancelledError
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise self.late()

    def late(self) -> BackendTimeoutError:
        """The error for a deadline that has passed."""
        return BackendTimeoutError(
            f"{self.name} made no vectors in time.",
            model=self.name,
            hint="Allow more time, or send fewer texts at once.",
        )

    def fail(self, error: BackendError) -> None:
        """Tell the caller that there are no vectors."""
        if not self.result.done():
            with contextlib.suppress(InvalidStateError):  # cancelled just now
                self.result.set_exception(untraced(error, self.name))


_Heard: TypeAlias = Job | EmbeddingJob | _Order | threading.Event


class Worker:
    """A model, loaded at its first job, and the thread that it lives in."""

    def __init__(
        self, path: Path, settings: LlamaCppSettings, adapter: Adapter | None = None
    ) -> None:
        self.path, self._adapter = path, adapter
        self._settings = settings
        self._inbox: queue.SimpleQueue[_Heard] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._switch = Switch()
        self._loaded: Loaded | None = None
        self._engine: Engine | None = None
        self._model: weakref.ref[Model] | None = None
        self._waiting: deque[Job] = deque()
        self._ready: deque[Generation] = deque()  # of requests whose turn has come
        self._texts: deque[EmbeddingJob] = deque()
        self._unloads: list[threading.Event] = []
        self._embedders: dict[str | None, Embedder] = {}
        self._looked = 0.0
        self._closing = False

    def submit(self, job: Job | EmbeddingJob) -> None:
        """Queue a job.

        Raises:
            LocalModelError: the worker is closed.
            QueueFullError: as many wait as may.
        """
        waiting, engine = self.waiting, self._engine
        if waiting >= self._settings.max_queue + (engine.free if engine is not None else 0):
            raise QueueFullError(
                f"{waiting:,} requests wait for {job.name}, which is as many as may.",
                waiting=waiting,
                model=job.name,
                hint="Send fewer at once, or raise LlamaCppSettings.max_queue.",
            )
        self._tell(job)

    def warm(self) -> None:
        """Load the model in the background; what goes wrong is told to the first request.

        Raises:
            LocalModelError: the worker is closed.
        """
        self._tell(_Order.WARM)

    def unload(self) -> None:
        """Free the model once what runs has ended, and wait for it; the next job loads it anew."""
        done = threading.Event()
        with self._lock:
            if self._thread is None or self._closing:
                return
            self._inbox.put(done)
        done.wait()

    @property
    def waiting(self) -> int:
        """Requests that no slot was given to yet, each of several answers counted."""
        return self._inbox.qsize() + len(self._waiting) + len(self._ready) + len(self._texts)

    @property
    def model(self) -> Model | None:
        """The model if it is loaded; for tokenizing only."""
        held = self._model  # the worker may forget it at any moment
        return held() if held is not None else None

    def figures(self) -> EngineFigures:
        """How fast the model is and how much waits for it."""
        engine = self._engine
        if engine is not None:
            return engine.figures(self.waiting)
        return EngineFigures(loaded=self._loaded is not None, waiting=self.waiting)

    def stop(self) -> None:
        """End what runs and take no more; returns at once, takes no lock."""
        self._closing = True
        self._switch.turn()
        self._inbox.put(_Order.LOOK)

    def close(self) -> None:
        """Stop, and wait until the model is freed; not for ever, whatever holds the thread up."""
        with self._lock:
            self._closing = True
        self.stop()
        self.join(_CLOSE_PATIENCE_S)
        if self in _alive and self._thread is not threading.current_thread():
            _logger.warning("%s is closed, and its thread has not ended yet.", self.path)

    def join(self, timeout_s: float | None) -> None:
        """Wait for the thread's end."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _tell(self, what: Job | EmbeddingJob | _Order) -> None:
        with self._lock:
            if self._closing:
                raise self._closed()
            if self._thread is None:
                self._thread = self._started()
            self._inbox.put(what)

    def _started(self) -> threading.Thread:
        thread = threading.Thread(
            target=self._run, name=f"modelrouter {self.path.name}", daemon=True
        )
        _alive.add(self)
        try:
            thread.start()
        except RuntimeError as exc:  # as many as the system allows, or the process is ending
            _alive.discard(self)
            raise LocalModelError(
                f"{self.path.name} has no thread to run in: {exc}.",
                hint="End other threads, or raise the limit on them.",
            ) from exc
        return thread

    def _run(self) -> None:
        with log.kept():
            try:
                while not self._closing:
                    self._work()
            except DecodingAborted:  # by stop()
                pass
            finally:
                with self._lock:  # whoever saw it open has put its request in by then
                    self._closing = True
                self._refuse_all()
                self._free()
                _alive.discard(self)

    def _work(self) -> None:
        """One round: hear what is asked, then go on with what is under way."""
        self._listen()
        if self._unloads and not self._running and not self._ready:
            self._free()
        if self._texts:
            self._embed(self._texts.popleft())
        self._step()

    def _step(self, *, once: bool = False) -> None:
        """One step of all answers, those included for which there is room now.

        And further ones while nothing else is asked, unless it is to be ``once``.
        """
        try:
            self._begin_some()
            engine = self._engine
            while engine is not None and engine.running:
                engine.step()
                if once or self._asked:
                    return
        except DecodingAborted:
            raise
        except Exception as exc:  # whatever it is, these callers hear of it and the next are served
            _logger.exception("%s: what was under way has failed", self.path)
            self._fail_running(exc)

    @property
    def _asked(self) -> bool:
        """Whether there is more to do than go on with the answers under way."""
        return bool(
            not self._inbox.empty()
            or self._ready
            or self._waiting
            or self._texts
            or self._unloads
            or self._closing
        )

    @property
    def _running(self) -> int:
        return self._engine.running if self._engine is not None else 0

    def _listen(self) -> None:
        """Take what is in the inbox; wait for something while there is nothing to do."""
        if not (self._running or self._waiting or self._ready or self._texts or self._unloads):
            idle = self._settings.unload_after_s if self._loaded is not None else None
            if idle is not None:
                idle = min(idle, threading.TIMEOUT_MAX)
            try:
                self._hear(self._inbox.get(timeout=idle))
            except queue.Empty:
                self._free()
        self._hear_all()

    def _hear_all(self) -> None:
        while not self._inbox.empty():  # nobody else takes from it
            self._hear(self._inbox.get())

    def _hear(self, what: _Heard) -> None:
        if isinstance(what, Job):
            self._waiting.append(what)
        elif isinstance(what, EmbeddingJob):
            self._texts.append(what)
        elif isinstance(what, threading.Event):
            self._unloads.append(what)
        elif what is _Order.WARM:
            try:
                self._load()
            except Exception as exc:  # the first real request meets it again
                _logger.debug("%s was not loaded ahead: %s", self.path, exc)

    def _embed(self, job: EmbeddingJob) -> None:
        """Make vectors, with a step of all answers between two computations."""

        def between() -> None:
            job.check()
            if self._closing:
                raise self._closed()
            self._hear_all()
            self._step(once=True)

        try:
            job.check()
            loaded = self._load()
            embedder = self._embedders.get(job.pooling)
            if embedder is None:
                embedder = Embedder(loaded.model, job.name, loaded.n_threads, pooling=job.pooling)
                self._embedders[job.pooling] = embedder
            made = embedder.embed(
                job.texts, truncate=job.truncate, dimensions=job.dimensions, check=between
            )
            with contextlib.suppress(InvalidStateError):  # cancelled just now
                job.result.set_result(made)
        except CancelledError:
            pass
        except BackendError as exc:
            job.fail(exc)
        except DecodingAborted:
            job.fail(self._closed())
            raise
        except Exception as exc:  # this caller hears of it and the next is served
            job.fail(unexpected(job.name, exc))

    def _begin_some(self) -> None:
        """Give free slots to requests, in the order they came.

        Before the model is freed, only to what is left of requests whose turn had come.
        """
        self._look_through()
        while not self._closing:
            if not self._ready:
                full = self._engine is not None and not self._engine.free
                if self._unloads or full or not self._waiting:
                    return
                self._admit(self._waiting.popleft())
                continue
            if self._ready[0].job.cancelled:
                self._ready.popleft()
                continue
            engine = self._engine_for(self._ready[0])
            if engine is None or not engine.free:
                return
            engine.begin(self._ready[0])
            self._ready.popleft()

    def _look_through(self) -> None:
        """Drop waiting requests that nobody waits for any more, so that they count no longer."""
        now = time.monotonic()
        if self._waiting and now - self._looked > _LOOK_AGAIN_S:
            self._looked = now
            self._waiting = deque(job for job in self._waiting if not job.cancelled)

    def _admit(self, job: Job) -> None:
        if job.cancelled:
            return

        def wanted() -> bool:
            return not (self._closing or job.unwanted)

        try:
            if job.unwanted:
                raise job.late()
            job.stage = "being loaded"
            loaded = self._load()
            job.stage = "waiting for its turn"
            most = self._settings.max_tokens
            self._ready.extend(admit(job, loaded, self._window(job), most, wanted))
        except RenderingStopped:
            job.fail(self._closed() if self._closing else job.late())
        except BackendError as exc:
            job.fail(exc)
        except Exception as exc:  # this caller hears of it and the next is served
            job.fail(unexpected(job.name, exc))

    def _window(self, job: Job) -> int:
        """Tokens that a slot may ever have."""
        trained = self._loaded.model.trained_window if self._loaded is not None else 0
        return self._settings.context_per_slot or trained or job.window

    def _engine_for(self, generation: Generation) -> Engine | None:
        """An engine whose slots hold this answer; ``None`` while others use one that is too small.

        Raises nothing: a request that cannot have one is told so.
        """
        job, needed = generation.job, len(generation.prompt) + generation.limit
        if self._engine is not None and self._engine.context.n_ctx >= needed:
            return self._engine
        if self._running:
            return None
        self._engine = None  # its memory is free before more is asked for
        try:
            loaded = self._load()
            context = loaded.context(needed, self._window(job), job.name)
        except BackendError as exc:
            self._ready.popleft()
            job.fail(exc)
            return None
        context.obey(self._switch)
        self._engine = Engine(context, exact=self._settings.exact)
        return self._engine

    def _load(self) -> Loaded:
        if self._loaded is None:
            try:
                self._loaded = load(
                    self.path, self._settings, lambda: not self._closing, self._adapter
                )
            except BackendError as exc:
                if self._closing:
                    raise self._closed() from exc
                raise
            self._model = weakref.ref(self._loaded.model)
        return self._loaded

    def _free(self) -> None:
        self._ready.clear()
        self._embedders.clear()
        self._loaded = self._engine = self._model = None
        while self._unloads:
            self._unloads.pop().set()

    def _fail_running(self, cause: Exception) -> None:
        for generation in self._ready:
            generation.job.fail(unexpected(generation.job.name, cause))
        self._ready.clear()
        if self._engine is not None:
            self._engine.fail_all(lambda name: unexpected(name, cause))
            self._engine = None  # it is not certain what is in its memory

    def _refuse_all(self) -> None:
        while not self._inbox.empty():
            if (what := self._inbox.get()) is not _Order.WARM:
                self._hear(what)
        if self._engine is not None:
            self._engine.fail_all(lambda _name: self._closed())
        for job in [*(g.job for g in self._ready), *self._waiting]:
            job.fail(self._closed())
        self._waiting.clear()
        for texts in self._texts:
            texts.fail(self._closed())
        self._texts.clear()

    def _closed(self) -> LocalModelError:
        return LocalModelError(
            f"{self.path.name} is closed.", hint="Its router or backend was closed; make a new one."
        )


_alive: Final[set[Worker]] = set()
"""Workers whose thread runs."""


def _stop_all() -> None:
    # A thread that is inside llama.cpp while the process takes itself apart may crash it.
    workers = list(_alive)
    for worker in workers:
        worker.stop()
    for worker in workers:
        worker.join(_EXIT_PATIENCE_S)


atexit.register(_stop_all)
if hasattr(os, "register_at_fork"):  # a forked child has none of these threads
    os.register_at_fork(after_in_child=_alive.clear)
