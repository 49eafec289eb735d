"""The one thread that owns a model: takes requests in order, answers one at a time.

A llama.cpp context must never be entered by two threads. All of one is here: loading, decoding,
sampling, freeing. Callers hand in a :class:`Job` and hear of it through its channel, whatever
happens: every job that was taken ends in Finished or Failed, unless it was cancelled.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import os
import queue
import threading
import time
import traceback
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from modelrouter.backends.llamacpp.channel import Channel, Failed, Finished, Text
from modelrouter.backends.llamacpp.generation import Memory, generate
from modelrouter.backends.llamacpp.grammar import grammar_of
from modelrouter.backends.llamacpp.loading import Loaded, load
from modelrouter.backends.llamacpp.native import (
    DecodingAborted,
    Model,
    NativeError,
    NativeGrammar,
    Switch,
    log,
)
from modelrouter.backends.llamacpp.sampling import Sampler, SamplingOptions
from modelrouter.backends.llamacpp.settings import LlamaCppSettings
from modelrouter.backends.llamacpp.text import TextAssembler
from modelrouter.exceptions import (
    BackendError,
    BackendTimeoutError,
    BadRequestError,
    LocalModelError,
)

__all__ = ["Job", "Worker"]

_EXIT_PATIENCE_S: Final = 10.0
_logger = logging.getLogger(__name__)


class Job:
    """One request on its way through a worker.

    Attributes:
        name: the model's name, for messages.
        window: tokens of prompt and answer together that the card allows.
        most_output: tokens of answer that the card allows, if bounded.
        messages: from :func:`~modelrouter.backends.llamacpp.prompt.plain_messages`.
        options: how to sample.
        response_format: as OpenAI writes it.
        channel: where to the events go.
        deadline: by :func:`time.monotonic`; ``None`` for no limit.
        in_pieces: whether text is sent as it comes, or all at the end.
        process: the process that it was made in.
        stage: what is being done, in words.
    """

    __slots__ = (
        "channel",
        "deadline",
        "in_pieces",
        "messages",
        "most_output",
        "name",
        "options",
        "process",
        "response_format",
        "stage",
        "switch",
        "window",
    )

    def __init__(
        self,
        *,
        name: str,
        window: int,
        most_output: int | None,
        messages: Sequence[Mapping[str, Any]],
        options: SamplingOptions,
        response_format: Mapping[str, Any] | None,
        channel: Channel,
        deadline: float | None,
        in_pieces: bool,
    ) -> None:
        self.name = name
        self.window = window
        self.most_output = most_output
        self.messages = messages
        self.options = options
        self.response_format = response_format
        self.channel = channel
        self.deadline = deadline
        self.in_pieces = in_pieces
        self.process = os.getpid()
        self.stage = "waiting for its turn"
        self.switch = Switch()

    def cancel(self) -> None:
        """Nobody waits for it any more: it is not begun, or ends at once. Safe from any thread."""
        self.switch.turn()

    def check_time(self) -> None:
        """Stop when cancelled or too late.

        Raises:
            DecodingAborted: cancelled.
            BackendTimeoutError: the deadline has passed.
        """
        if self.switch.on:
            raise DecodingAborted
        if self.deadline is not None and time.monotonic() > self.deadline:
            raise self.late()

    def late(self) -> BackendTimeoutError:
        """The error for a deadline that has passed."""
        return BackendTimeoutError(
            f"{self.name} gave no whole answer in time; it was {self.stage}.",
            model=self.name,
            hint="Allow more time, or ask for less with max_tokens.",
        )


class Worker:
    """A model, loaded at its first job, and the thread that it lives in.

    The queue has no bound: each waiting caller is a thread or task of its own, and has its own
    deadline.
    """

    def __init__(self, path: Path, settings: LlamaCppSettings) -> None:
        self.path = path
        self._settings = settings
        self._jobs: queue.SimpleQueue[Job | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None
        self._running: Job | None = None
        self._loaded: Loaded | None = None
        self._memory: Memory | None = None
        self._model: weakref.ref[Model] | None = None
        self._closing = False

    def submit(self, job: Job | None) -> None:
        """Queue a job; ``None`` only has the model loaded.

        Raises:
            LocalModelError: the worker is closed.
        """
        with self._lock:
            if self._closing:
                raise self._closed()
            self._jobs.put(job)
            if self._thread is None:
                self._thread = threading.Thread(
                    target=self._run, name=f"modelrouter {self.path.name}", daemon=True
                )
                _alive.add(self)
                self._thread.start()

    @property
    def model(self) -> Model | None:
        """The model if it is loaded; for tokenizing only."""
        held = self._model  # the worker may forget it at any moment
        return held() if held is not None else None

    def stop(self) -> None:
        """End the running job and take no more; returns at once, takes no lock."""
        self._closing = True
        running = self._running
        if running is not None:
            running.cancel()
        self._jobs.put(None)

    def close(self) -> None:
        """Stop, and wait until the model is freed."""
        with self._lock:
            self._closing = True
        self.stop()
        self.join(None)

    def join(self, timeout_s: float | None) -> None:
        """Wait for the thread's end."""
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(timeout_s)

    def _run(self) -> None:
        with log.kept():
            try:
                self._work()
            finally:
                self._closing = True
                self._unload()
                self._refuse_the_rest()
                _alive.discard(self)

    def _work(self) -> None:
        while not self._closing:
            idle = self._settings.unload_after_s if self._loaded is not None else None
            try:
                job = self._jobs.get(timeout=idle)
            except queue.Empty:
                self._unload()
                continue
            if job is None:
                self._warm()
            elif not job.switch.on:
                self._serve(job)
            del job  # nothing of the last caller's is kept while waiting for the next

    def _warm(self) -> None:
        if self._closing:
            return
        try:
            self._load()
        except BackendError as exc:  # the first real request meets it again, and tells its caller
            _logger.debug("%s was not loaded ahead: %s", self.path, exc)

    def _serve(self, job: Job) -> None:
        self._running = job
        try:
            if not self._closing:  # else stop() may have come too early to see this job
                self._answer(job)
        except DecodingAborted:
            self._forget()
        except BackendError as exc:
            self._fail(job, exc)
        except Exception as exc:  # whatever it is, this caller hears of it and the next is served
            self._forget()
            error = LocalModelError(f"{job.name} failed: {exc!r}.", model=job.name)
            error.__cause__ = exc
            self._fail(job, error)
        finally:
            self._running = None
        if self._closing:
            job.channel.send(Failed(self._closed()))

    def _fail(self, job: Job, error: BackendError) -> None:
        error.model = error.model or job.name
        # Else the model would stay in memory for as long as somebody keeps the error.
        for cause in _chain(error):
            traceback.clear_frames(cause.__traceback__)
        job.channel.send(Failed(error.with_traceback(None)))

    def _answer(self, job: Job) -> None:
        job.check_time()
        job.stage = "being loaded"
        loaded = self._load()
        job.stage = "reading the prompt"
        window = min(job.window, loaded.model.trained_window or job.window)
        prompt = loaded.prompts.write(job.messages, job.name)
        limit = _limit(job, len(prompt), window, self._settings.max_tokens)
        sampler = self._sampler(job, loaded.model)
        job.check_time()
        memory = self._room(loaded, len(prompt) + limit, window, job.name)
        text = TextAssembler(job.options.stop)
        pieces: list[str] = []
        try:
            for event in generate(memory, prompt, sampler, text, limit, job.switch, job.check_time):
                job.stage = "answering"
                if isinstance(event, Finished):
                    if not job.in_pieces:
                        job.channel.send(Text("".join(pieces)))
                    job.channel.send(event)
                elif job.in_pieces:
                    job.channel.send(Text(event))
                else:
                    pieces.append(event)
        except NativeError as exc:
            self._forget()
            raise LocalModelError(f"{job.name} failed: {exc}.", model=job.name) from exc

    def _sampler(self, job: Job, model: Model) -> Sampler:
        text = grammar_of(job.response_format, job.name)
        try:
            grammar = NativeGrammar(model, text) if text is not None else None
        except NativeError as exc:
            raise BadRequestError(
                f"response_format makes a grammar that llama.cpp refuses: {exc}.", model=job.name
            ) from exc
        return Sampler(job.options, model.n_vocab, job.name, grammar)

    def _room(self, loaded: Loaded, tokens: int, window: int, name: str) -> Memory:
        before, self._memory = self._memory, None
        if before is not None and before.context.n_ctx < tokens:
            before = None  # so that its memory is free before more is asked for
        context = loaded.room_for(tokens, window, name)
        if before is None or before.context is not context:
            before = Memory(context, [])
        self._memory = before
        return before

    def _forget(self) -> None:
        """After a decoding that was broken off it is not certain what is in the context."""
        if self._memory is not None:
            self._memory.kept = []

    def _load(self) -> Loaded:
        if self._loaded is None:
            try:
                self._loaded = load(self.path, self._settings, lambda: not self._closing)
            except BackendError as exc:
                if self._closing:
                    raise self._closed() from exc
                raise
            self._model = weakref.ref(self._loaded.model)
        return self._loaded

    def _unload(self) -> None:
        self._loaded = self._memory = self._model = None

    def _refuse_the_rest(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    job.channel.send(Failed(self._closed()))

    def _closed(self) -> LocalModelError:
        return LocalModelError(
            f"{self.path.name} is closed.", hint="Its router or backend was closed; make a new one."
        )


def _limit(job: Job, prompt: int, window: int, otherwise: int) -> int:
    """How many tokens the answer may have.

    Raises:
        BadRequestError: the prompt leaves no room for one.
    """
    if prompt == 0:
        raise BadRequestError(
            f"The chat template of {job.name} makes nothing of these messages.", model=job.name
        )
    if prompt >= window:
        raise BadRequestError(
            f"The prompt has {prompt:,} tokens, and {job.name} has a window of {window:,} for "
            "prompt and answer together.",
            model=job.name,
            hint="Shorten it, or use a model with a larger window.",
        )
    wanted = job.options.max_tokens or min(otherwise, job.most_output or otherwise)
    if job.most_output is not None:
        wanted = min(wanted, job.most_output)
    return min(wanted, window - prompt)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


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
