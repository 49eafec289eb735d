"""LlamaCppBackend: the backend contract over one worker thread for each GGUF file and adapter."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import threading
import time
import weakref
from collections.abc import AsyncGenerator, Generator, Sequence
from pathlib import Path
from typing import Any, Final

from modelrouter._common.process import OfOneProcess
from modelrouter.backends.base import EmbeddingRequest, Request, Stop
from modelrouter.backends.llamacpp.adapter import adapter_of, key_of
from modelrouter.backends.llamacpp.engine.channel import (
    AsyncChannel,
    Channel,
    Event,
    Failed,
    Finished,
    SyncChannel,
    Text,
)
from modelrouter.backends.llamacpp.engine.embedding import Embedded
from modelrouter.backends.llamacpp.engine.figures import EngineFigures
from modelrouter.backends.llamacpp.engine.job import Job
from modelrouter.backends.llamacpp.engine.sampling import SamplingOptions
from modelrouter.backends.llamacpp.grammar.response_format import grammar_of
from modelrouter.backends.llamacpp.prompt import plain_messages
from modelrouter.backends.llamacpp.settings import LlamaCppSettings
from modelrouter.backends.llamacpp.worker import EmbeddingJob, Worker
from modelrouter.catalog.card import ModelCard, Speed
from modelrouter.exceptions import LocalModelError
from modelrouter.response import (
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    Embedding,
    EmbeddingResponse,
    FunctionCallDelta,
    ReplyMessage,
    ToolCall,
    ToolCallDelta,
    Usage,
    new_id,
    now,
)
from modelrouter.signals.base import Tokenizer

__all__ = ["LlamaCppBackend"]


class LlamaCppBackend(OfOneProcess):
    """Runs GGUF models in this process.

    Each file is loaded once, at its first request, and owned by one thread. Any number of threads
    and tasks may call at once: as many requests as the settings have slots are answered together,
    a token of each in one computation (continuous batching), the others wait in the order they
    came. Leaving a stream, cancelling a task or running out of time frees the slot before the
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
        with self._submitted(request, channel, in_pieces=False) as job:
            answer = _Answer(request, job.options.n)
            while not answer.whole:
                answer.add(_received(job, channel))
        return answer.completion()

    async def acomplete(self, request: Request) -> Completion:
        """Answer; the event loop goes on meanwhile."""
        channel = AsyncChannel(request.timeout_s)
        with self._submitted(request, channel, in_pieces=False) as job:
            answer = _Answer(request, job.options.n)
            while not answer.whole:
                answer.add(await _areceived(job, channel))
        return answer.completion()

    def stream(self, request: Request) -> Generator[Chunk, None, None]:
        """Answer in chunks."""
        channel = SyncChannel()
        closed = Failed(LocalModelError("The stream was closed.", model=request.card.name))
        stop = request.stop or Stop()
        with (
            self._submitted(request, channel, in_pieces=True) as job,
            stop.waking(lambda: channel.send(closed)),
        ):
            answer = _Answer(request, job.options.n)
            while not answer.whole:
                yield answer.add(_received(job, channel))

    async def astream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer in chunks; the event loop goes on meanwhile."""
        channel = AsyncChannel(request.timeout_s)
        with self._submitted(request, channel, in_pieces=True) as job:
            answer = _Answer(request, job.options.n)
            while not answer.whole:
                yield answer.add(await _areceived(job, channel))

    def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Make vectors of texts; blocks."""
        job = self._submitted_texts(request)
        try:
            return _vectors(job.result.result(_time_left(job)), request)
        except concurrent.futures.TimeoutError:
            raise job.late() from None
        finally:
            job.result.cancel()

    async def aembed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Make vectors of texts; the event loop goes on meanwhile."""
        job = self._submitted_texts(request)
        try:
            made = await asyncio.wait_for(asyncio.wrap_future(job.result), _time_left(job))
            return _vectors(made, request)
        except asyncio.TimeoutError:
            raise job.late() from None
        finally:
            job.result.cancel()

    def tokenizer(self, card: ModelCard) -> Tokenizer | None:
        """An exact token counter if the model is loaded, else ``None``; loads nothing.

        The counter may be called from any thread. Once the model is closed or unloaded it raises
        LocalModelError; ask for it anew rather than keep it.
        """
        worker = self._workers.get(key_of(card)) if card.path is not None else None
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
            self._worker(card, card.path).warm()

    def keeps_to_floor(self, card: ModelCard) -> bool:
        """Every model's answers can be given up below a floor of confidence."""
        return True

    def unload(self, card: ModelCard | None = None) -> None:
        """Free a model's memory, or every model's, once what runs has ended; blocks until then.

        The next request loads it again.
        """
        with self._lock:
            workers = dict(self._workers)
        if card is not None:
            workers = {k: w for k, w in workers.items() if k == key_of(card)}
        for worker in workers.values():
            worker.unload()

    def figures(self, card: ModelCard) -> EngineFigures:
        """How fast a model runs here, what waits for it, what it takes; zeros if not loaded."""
        worker = self._workers.get(key_of(card))
        return worker.figures() if worker is not None else EngineFigures()

    def speed(self, card: ModelCard) -> Speed | None:
        """What the next request to a model may expect here; ``None`` before it has answered."""
        worker = self._workers.get(key_of(card))
        return worker.figures().speed() if worker is not None else None

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
        card, path = request.card, _file_of(request.card)
        timeout_s = request.timeout_s
        if request.tool_choice in (None, "auto", "none"):
            # Read here, and remembered, so that the model's thread and its other answers need not
            # wait while it is done.
            grammar_of(request.response_format, card.name)
        job = Job(
            name=card.name,
            window=card.context_window,
            most_output=card.max_output_tokens,
            messages=plain_messages(request.messages, card.name),
            options=SamplingOptions.of(request.settings, card.name),
            channel=channel,
            response_format=request.response_format,
            tools=request.tools,
            tool_choice=request.tool_choice,
            chat_template=card.chat_template,
            deadline=None if timeout_s is None else time.monotonic() + timeout_s,
            in_pieces=in_pieces,
        )
        self._worker(card, path).submit(job)
        return _Submitted(job)

    def _submitted_texts(self, request: EmbeddingRequest) -> EmbeddingJob:
        card, timeout_s = request.card, request.timeout_s
        job = EmbeddingJob(
            name=card.name,
            texts=request.texts,
            truncate=request.truncate,
            dimensions=request.dimensions,
            deadline=None if timeout_s is None else time.monotonic() + timeout_s,
        )
        self._worker(card, _file_of(card)).submit(job)
        return job

    def _worker(self, card: ModelCard, path: Path) -> Worker:
        key = key_of(card)
        with self._lock:
            if self._closed:
                raise LocalModelError(
                    f"The backend of {card.name} is closed.",
                    model=card.name,
                    hint="Make a new one.",
                )
            worker = self._workers.get(key)
            if worker is None:
                worker = self._workers[key] = Worker(
                    Path(os.path.abspath(path)), self.settings, adapter_of(card)
                )
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
    """A reply as it grows: events in, chunks out."""

    def __init__(self, request: Request, count: int) -> None:
        self._model = request.card.name
        self._id, self._created = new_id(), now()
        self._texts: list[list[str]] = [[] for _ in range(count)]
        self._logprobs: list[list[Any]] = [[] for _ in range(count)]
        self._begun: set[int] = set()
        self._ended: dict[int, Finished] = {}

    @property
    def whole(self) -> bool:
        """Whether every answer has ended."""
        return len(self._ended) == len(self._texts)

    def add(self, event: Event) -> Chunk:
        """The chunk for an event.

        Raises:
            BackendError: the event says that there is no answer.
        """
        if isinstance(event, Failed):
            raise event.error
        index = event.index
        delta = Delta() if index in self._begun else Delta(role="assistant")
        self._begun.add(index)
        choice = ChunkChoice(index=index, delta=delta)
        if isinstance(event, Text):
            self._texts[index].append(event.text)
            self._logprobs[index] += event.logprobs
            delta.content = event.text
            choice.logprobs = {"content": list(event.logprobs)} if event.logprobs else None
        else:
            self._ended[index] = event
            choice.finish_reason, choice.confidence = event.reason, event.confidence
            delta.tool_calls = _call_deltas(event.tool_calls) or None
        return Chunk(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=[choice],
            usage=self._usage() if self.whole else None,
        )

    def completion(self) -> Completion:
        """The whole reply, once every answer has ended."""
        return Completion(
            id=self._id,
            created=self._created,
            model=self._model,
            choices=[self._choice(index) for index in range(len(self._texts))],
            usage=self._usage(),
        )

    def _choice(self, index: int) -> Choice:
        event, text = self._ended[index], "".join(self._texts[index])
        calls = list(event.tool_calls) or None
        return Choice(
            index=index,
            message=ReplyMessage(content=text or (None if calls else ""), tool_calls=calls),
            finish_reason=event.reason,
            logprobs={"content": self._logprobs[index]} if self._logprobs[index] else None,
            confidence=event.confidence,
        )

    def _usage(self) -> Usage:
        first = self._ended[0]
        generated = sum(event.completion_tokens for event in self._ended.values())
        return Usage(
            prompt_tokens=first.prompt_tokens,
            completion_tokens=generated,
            total_tokens=first.prompt_tokens + generated,
            prompt_tokens_details={"cached_tokens": first.cached_tokens},  # type: ignore[call-arg] # kept as an extra field
        )


def _call_deltas(calls: Sequence[ToolCall]) -> list[ToolCallDelta]:
    return [
        ToolCallDelta(
            index=place,
            id=call.id,
            type="function",
            function=FunctionCallDelta(name=call.function.name, arguments=call.function.arguments),
        )
        for place, call in enumerate(calls)
    ]


def _received(job: Job, channel: SyncChannel) -> Event:
    left = _time_left(job)
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


def _file_of(card: ModelCard) -> Path:
    if card.path is None:
        raise LocalModelError(
            f"{card.name} names no GGUF file.",
            model=card.name,
            hint='Give it one: ModelCard.local("FILE.gguf").',
        )
    return card.path


def _time_left(job: Job | EmbeddingJob) -> float | None:
    return None if job.deadline is None else max(0.0, job.deadline - time.monotonic())


def _vectors(made: Embedded, request: EmbeddingRequest) -> EmbeddingResponse:
    read = sum(made.tokens)
    return EmbeddingResponse(
        model=request.card.name,
        data=[Embedding(index=i, embedding=row.tolist()) for i, row in enumerate(made.vectors)],
        usage=Usage(prompt_tokens=read, total_tokens=read),
    )


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
