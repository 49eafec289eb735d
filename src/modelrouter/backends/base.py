"""The contract every backend fulfils: one request in, one reply or a stream of chunks out."""

from __future__ import annotations

import threading
from collections.abc import AsyncGenerator, Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, Protocol, runtime_checkable

from modelrouter.catalog.card import ModelCard, Speed
from modelrouter.config import GenerationSettings
from modelrouter.payload import payload
from modelrouter.response import Chunk, Completion, EmbeddingResponse, ImagesResponse
from modelrouter.signals.base import Tokenizer

__all__ = [
    "Backend",
    "ConfidenceBackend",
    "EmbeddingBackend",
    "EmbeddingRequest",
    "ImageBackend",
    "ImageRequest",
    "MeasuringBackend",
    "MixedBackend",
    "MixedRequest",
    "Picture",
    "PreparingBackend",
    "Request",
    "Stop",
]


class Stop:
    """Says, from another thread, that nobody wants a blocking stream any more."""

    __slots__ = ("_lock", "_wakers", "is_set")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._wakers: list[Callable[[], object]] = []
        self.is_set = False

    def set(self) -> None:
        """Wake who waits for the stream; safe to call twice."""
        with self._lock:
            self.is_set = True
            wakers = list(self._wakers)
        for wake in wakers:
            wake()

    @contextmanager
    def waking(self, wake: Callable[[], object]) -> Iterator[None]:
        """Inside, ``wake`` is called when it is set, at once if it is; from any thread."""
        with self._lock:
            self._wakers.append(wake)
            is_set = self.is_set
        try:
            if is_set:
                wake()
            yield
        finally:
            with self._lock:
                self._wakers.remove(wake)


@dataclass(frozen=True, slots=True)
class Request:
    """What one model is asked.

    Attributes:
        card: the model.
        messages: the conversation as OpenAI writes it.
        settings: sampling parameters.
        tools, tool_choice, response_format: as OpenAI writes them.
        timeout_s: seconds this attempt may take; ``None`` for no limit.
        stop: set from another thread when a blocking stream is closed there. A backend that looks
            at it stops at once, another with its next chunk.
    """

    card: ModelCard
    messages: list[dict[str, Any]]
    settings: GenerationSettings = field(default_factory=GenerationSettings)
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Any = None
    response_format: Mapping[str, Any] | None = None
    timeout_s: float | None = None
    stop: Stop | None = field(default=None, compare=False, repr=False)

    def payload(self) -> dict[str, Any]:
        """Its body, as it is sent and as it was read for personal data."""
        return payload(
            self.messages,
            tools=self.tools,
            tool_choice=self.tool_choice,
            response_format=self.response_format,
            parameters=self.settings.as_parameters(),
        )


@dataclass(frozen=True, slots=True)
class EmbeddingRequest:
    """Texts that one model is to make vectors of.

    Attributes:
        card: the model.
        texts: at least one, none empty.
        dimensions: numbers of each vector, for models that can shorten them.
        truncate: whether of a text beyond the model's window only the beginning is read.
        timeout_s: seconds this may take; ``None`` for no limit.
    """

    card: ModelCard
    texts: tuple[str, ...]
    dimensions: int | None = None
    truncate: bool = False
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class ImageRequest:
    """Pictures that one model is to draw.

    Attributes:
        card: the model.
        prompt: what is to be seen.
        options: ``n``, ``size``, ``quality`` and the like, as OpenAI names them.
        timeout_s: seconds this may take; ``None`` for no limit.
    """

    card: ModelCard
    prompt: str
    options: Mapping[str, Any] = field(default_factory=dict)
    timeout_s: float | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """The bytes of a PNG, JPEG, GIF or WebP file, checked."""

    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class MixedRequest:
    """Texts and pictures that one model is to make vectors of, in one space.

    Attributes:
        card: the model.
        items: at least one.
        truncate: whether of a text beyond the model's window only the beginning is read.
        timeout_s: seconds this may take; ``None`` for no limit.
    """

    card: ModelCard
    items: tuple[str | Picture, ...]
    truncate: bool = False
    timeout_s: float | None = None


@runtime_checkable
class ImageBackend(Protocol):
    """A backend that draws; its errors are those of :class:`Backend`."""

    def draw(self, request: ImageRequest) -> ImagesResponse:
        """Draw; blocks."""
        ...

    async def adraw(self, request: ImageRequest) -> ImagesResponse:
        """Draw; awaits."""
        ...


@runtime_checkable
class MixedBackend(Protocol):
    """A backend that makes vectors of texts and pictures, of length one, in one space."""

    def embed_mixed(self, request: MixedRequest) -> EmbeddingResponse:
        """Make vectors; blocks."""
        ...

    async def aembed_mixed(self, request: MixedRequest) -> EmbeddingResponse:
        """Make vectors; awaits."""
        ...


@runtime_checkable
class EmbeddingBackend(Protocol):
    """A backend that makes vectors of texts too; its errors are those of :class:`Backend`."""

    def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Make vectors; blocks."""
        ...

    async def aembed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Make vectors; awaits."""
        ...


@runtime_checkable
class MeasuringBackend(Protocol):
    """A backend that knows how fast its models answer."""

    def speed(self, card: ModelCard) -> Speed | None:
        """What the next request may expect; ``None`` before the model has answered."""
        ...


@runtime_checkable
class ConfidenceBackend(Protocol):
    """A backend that can give up an answer of which its model is not sure."""

    def keeps_to_floor(self, card: ModelCard) -> bool:
        """Whether an answer below ``settings.confidence_floor`` is a LowConfidenceError."""
        ...


@runtime_checkable
class PreparingBackend(Protocol):
    """A backend of which every first call is slow, whatever the model."""

    def prepare(self) -> None:
        """Start in the background what can be done before (an import); returns at once."""
        ...


@runtime_checkable
class Backend(Protocol):
    """Runs the models of one library or protocol.

    Every failure is raised as a :class:`~modelrouter.exceptions.BackendError` chained from the
    library's own; nothing else comes out, and no message holds a key. Closing a stream's
    generator early (or cancelling an async call) stops the work and frees the model. The last
    chunk of a stream has a finish_reason and the usage. ``cost_usd``, ``decision`` and ``trace``
    are not the backend's to fill. Libraries are imported on first use.
    """

    def complete(self, request: Request) -> Completion:
        """Answer; blocks."""
        ...

    async def acomplete(self, request: Request) -> Completion:
        """Answer; awaits."""
        ...

    def stream(self, request: Request) -> Generator[Chunk, None, None]:
        """Answer in chunks; the request is sent when the first chunk is asked for."""
        ...

    def astream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer in chunks, awaited."""
        ...

    def tokenizer(self, card: ModelCard) -> Tokenizer | None:
        """An exact token counter, where one is at hand without loading anything."""
        ...

    def warm(self, card: ModelCard) -> None:
        """Start in the background what makes the first call slow; returns at once."""
        ...

    def close(self) -> None:
        """Free everything; safe to call twice."""
        ...

    async def aclose(self) -> None:
        """As :meth:`close`, awaited."""
        ...
