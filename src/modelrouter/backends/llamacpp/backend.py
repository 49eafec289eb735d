"""LlamaCppBackend: the backend contract over one worker thread for each GGUF file."""

from __future__ import annotations

import asyncio
import os
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Generator
from pathlib import Path
from typing import Final

from modelrouter.backends.base import Request
from modelrouter.backends.llamacpp.channel import (
    AsyncChannel,
    Channel,
    Event,
    Failed,
    Finished,
    SyncChannel,
    Text,
)
from modelrouter.backends.llamacpp.prompt import plain_messages
from modelrouter.backends.llamacpp.sampling import SamplingOptions
from modelrouter.backends.llamacpp.settings import LlamaCppSettings
from modelrouter.backends.llamacpp.worker import Job, Worker
from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import BadRequestError, LocalModelError
from modelrouter.response import (
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    ReplyMessage,
    Usage,
    new_id,
    now,
)
from modelrouter.signals.base import Tokenizer

__all__ = ["LlamaCppBackend"]


class LlamaCppBackend:
    """Runs GGUF models in this process.

    Each file is loaded once, at its first request, and owned by one thread that answers one
    request at a time in the order they came; any number of threads and tasks may call at once.
    Leaving a stream, cancelling a task or running out of time frees the model before the
    next token; a request that is given up while it waits never runs.

    The prompt is written by the chat template in the file. Without ``temperature`` the likeliest
    token is always taken, so that the same request has the same answer.

    After ``os.fork`` the child loads its models anew; streams opened before the fork go on in
    the parent only.

    Args:
        settings: threads, batch size, defaults.
    """

    def __init__(self, settings: LlamaCppSettings | None = None) -> None:
        self.settings = settings or LlamaCppSettings()
        self._closed = False
        self._begin()
        _backends.add(self)

    def _begin(self) -> None:
        """With no worker yet: at first, and in a forked child.

        There the threads are gone, and one of them may have held the lock.
        """
        self._lock = threading.Lock()
        self._workers: dict[str, Worker] = {}
        # Dropped without close(): the threads end by themselves. At exit worker.py ends them.
        weakref.finalize(self, _stop, self._workers, os.getpid()).atexit = False

    def complete(self, request: Request) -> Completion:
        """Answer; blocks."""
        channel = SyncChannel()
        answer = _Answer(request)
        with self._submitted(request, channel, in_pieces=False) as job:
            while answer.usage is None:
                answer.add(_received(job, channel))
        return answer.completion()

    async def acomplete(self, request: Request) -> Completion:
        """Answer; the event loop goes on meanwhile."""
        channel = AsyncChannel(request.timeout_s)
        answer = _Answer(request)
        with self._submitted(request, channel, in_pieces=False) as job:
            while answer.usage is None:
                answer.add(await _areceived(job, channel))
        return answer.completion()

    def stream(self, request: Request) -> Generator[Chunk, None, None]:
        """Answer in chunks."""
        channel = SyncChannel()
        answer = _Answer(request)
        with self._submitted(request, channel, in_pieces=True) as job:
            while answer.usage is None:
                yield answer.add(_received(job, channel))

    async def astream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer in chunks; the event loop goes on meanwhile."""
        channel = AsyncChannel(request.timeout_s)
        answer = _Answer(request)
        with self._submitted(request, channel, in_pieces=True) as job:
            while answer.usage is None:
                yield answer.add(await _areceived(job, channel))

    def tokenizer(self, card: ModelCard) -> Tokenizer | None:
        """An exact token counter if the model is loaded, else ``None``; loads nothing.

        The counter may be called from any thread. Once the model is closed or unloaded it raises
        LocalModelError; ask for it anew rather than keep it.
        """
        worker = self._workers.get(_key(card.path)) if card.path is not None else None
        if worker is None or worker.model is None:
            return None

        def count(text: str) -> int:
            # Held while counting, so that it is not freed; asked for anew each time, so that
            # closing is not put off by callers who take turns at holding it.
            model = worker.model
            if model is None:
                raise LocalModelError(f"{card.name} is not loaded any more.", model=card.name)
            return model.count(text)

        return count

    def warm(self, card: ModelCard) -> None:
        """Load the model in the background; what goes wrong is told to the first request."""
        if card.path is not None and not self._closed:
            self._worker(card, card.path).submit(None)

    def close(self) -> None:
        """End what runs, refuse what waits, free every model; returns when that is done."""
        with self._lock:
            self._closed = True
            workers = list(self._workers.values())
        for worker in workers:
            worker.stop()
        for worker in workers:
            worker.close()

    async def aclose(self) -> None:
        """As :meth:`close`; the event loop goes on meanwhile."""
        await asyncio.to_thread(self.close)

    def _submitted(self, request: Request, channel: Channel, *, in_pieces: bool) -> _Submitted:
        card = request.card
        if card.path is None:
            raise LocalModelError(
                f"{card.name} names no GGUF file.",
                model=card.name,
                hint='Give it one: ModelCard.local("FILE.gguf").',
            )
        if request.tools:
            raise BadRequestError(
                f"{card.name} runs on this machine, where tools are not called in this version.",
                model=card.name,
                hint="Leave tools out, or use a card with the tools capability.",
            )
        timeout_s = request.timeout_s
        job = Job(
            name=card.name,
            window=card.context_window,
            most_output=card.max_output_tokens,
            messages=plain_messages(request.messages, card.name),
            options=SamplingOptions.of(request.settings, card.name),
            response_format=request.response_format,
            channel=channel,
            deadline=None if timeout_s is None else time.monotonic() + timeout_s,
            in_pieces=in_pieces,
        )
        self._worker(card, card.path).submit(job)
        return _Submitted(job)

    def _worker(self, card: ModelCard, path: Path) -> Worker:
        key = _key(path)
        with self._lock:
            if self._closed:
                raise LocalModelError(
                    f"The backend of {card.name} is closed.",
                    model=card.name,
                    hint="Make a new one.",
                )
            worker = self._workers.get(key)
            if worker is None:
                worker = self._workers[key] = Worker(Path(key), self.settings)
            return worker


class _Submitted:
    """A job that is cancelled when its caller goes, however that comes."""

    def __init__(self, job: Job) -> None:
        self._job = job

    def __enter__(self) -> Job:
        return self._job

    def __exit__(self, *_exc: object) -> None:
        self._job.cancel()
        self._job.channel.close()


class _Answer:
    """An answer as it grows: events in, chunks out."""

    def __init__(self, request: Request) -> None:
        self._model = request.card.name
        self._id, self._created = new_id(), now()
        self._begun = False
        self._text: list[str] = []
        self._last: Finished | None = None
        self.usage: Usage | None = None

    def add(self, event: Event) -> Chunk:
        """The chunk for an event.

        Raises:
            BackendError: the event says that there is no answer.
        """
        if isinstance(event, Failed):
            raise event.error
        delta = Delta() if self._begun else Delta(role="assistant")
        self._begun = True
        if isinstance(event, Text):
            self._text.append(event.text)
            delta.content = event.text
            choice = ChunkChoice(delta=delta)
        else:
            self._last = event
            self.usage = _usage(event)
            choice = ChunkChoice(delta=delta, finish_reason=event.reason)
        return Chunk(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=[choice],
            usage=self.usage,
        )

    def completion(self) -> Completion:
        """The whole reply, once the last event has come."""
        assert self._last is not None
        assert self.usage is not None
        message = ReplyMessage(content="".join(self._text))
        return Completion(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=[Choice(message=message, finish_reason=self._last.reason)],
            usage=self.usage,
        )


def _usage(event: Finished) -> Usage:
    return Usage(
        prompt_tokens=event.prompt_tokens,
        completion_tokens=event.completion_tokens,
        total_tokens=event.prompt_tokens + event.completion_tokens,
        prompt_tokens_details={"cached_tokens": event.cached_tokens},  # type: ignore[call-arg] # kept as an extra field
    )


def _received(job: Job, channel: SyncChannel) -> Event:
    left = None if job.deadline is None else max(0.0, job.deadline - time.monotonic())
    if job.process != os.getpid():
        raise LocalModelError(
            f"{job.name} answers in the process that asked it, not in its forked child.",
            model=job.name,
            hint="Ask again here.",
        )
    event = channel.receive(left)
    if event is None:
        raise job.late()
    return event


async def _areceived(job: Job, channel: AsyncChannel) -> Event:
    event = await channel.receive()
    if event is None:
        raise job.late()
    return event


def _key(path: Path | None) -> str:
    return os.path.abspath(path or "")


def _stop(workers: dict[str, Worker], process: int) -> None:
    if os.getpid() == process:
        for worker in workers.values():
            worker.stop()


_backends: Final[weakref.WeakSet[LlamaCppBackend]] = weakref.WeakSet()


def _forked() -> None:
    for backend in list(_backends):
        backend._begin()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forked)
