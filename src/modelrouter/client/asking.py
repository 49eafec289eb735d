"""Asking a backend and looking at what it says it took, before any money follows from it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Generator
from dataclasses import replace

from modelrouter.backends.base import EmbeddingRequest, ImageRequest, MixedRequest, Request, Stop
from modelrouter.client.pool import BackendPool
from modelrouter.counting import (
    Most,
    achecked_stream,
    checked,
    checked_stream,
    estimated_prompt,
    most_of,
    most_of_pictures,
    most_of_vectors,
)
from modelrouter.response import Chunk, Completion, EmbeddingResponse, ImagesResponse
from modelrouter.signals.context import IMAGE_TOKENS, estimate_tokens

__all__ = ["Asker"]


class Asker:
    """The contract of backends once more, over all of a pool: usage that cannot be is an estimate.

    Raises:
        BackendError: from every method, as the backends' own raise it.
    """

    def __init__(self, pool: BackendPool) -> None:
        self._pool = pool

    def complete(self, request: Request) -> Completion:
        """Answer; blocks."""
        reply = self._pool.get(request.card.backend).complete(request)
        return checked(reply, *_of_words(request))

    async def acomplete(self, request: Request) -> Completion:
        """Answer; awaits."""
        reply = await self._pool.get(request.card.backend).acomplete(request)
        return checked(reply, *_of_words(request))

    def stream(self, request: Request, stop: Stop) -> Generator[Chunk, None, None]:
        """Answer in chunks, until ``stop`` is set."""
        source = self._pool.get(request.card.backend).stream(replace(request, stop=stop))
        return checked_stream(source, *_of_words(request))

    def astream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """Answer in chunks, awaited."""
        source = self._pool.get(request.card.backend).astream(request)
        return achecked_stream(source, *_of_words(request))

    def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Make vectors of texts; blocks."""
        reply = self._pool.embedder(request.card).embed(request)
        return checked(reply, *_of_texts(request))

    async def aembed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """Make vectors of texts; awaits."""
        reply = await self._pool.embedder(request.card).aembed(request)
        return checked(reply, *_of_texts(request))

    def embed_mixed(self, request: MixedRequest) -> EmbeddingResponse:
        """Make vectors of texts and pictures; blocks."""
        reply = self._pool.mixed_embedder(request.card).embed_mixed(request)
        return checked(reply, *_of_items(request))

    async def aembed_mixed(self, request: MixedRequest) -> EmbeddingResponse:
        """Make vectors of texts and pictures; awaits."""
        reply = await self._pool.mixed_embedder(request.card).aembed_mixed(request)
        return checked(reply, *_of_items(request))

    def draw(self, request: ImageRequest) -> ImagesResponse:
        """Draw; blocks."""
        reply = self._pool.image_maker(request.card).draw(request)
        return checked(reply, *_of_pictures(request))

    async def adraw(self, request: ImageRequest) -> ImagesResponse:
        """Draw; awaits."""
        reply = await self._pool.image_maker(request.card).adraw(request)
        return checked(reply, *_of_pictures(request))


# The most tokens that a request may take, and an estimate of its prompt's.


def _of_words(request: Request) -> tuple[Most, Callable[[], int]]:
    def prompt() -> int:
        return estimated_prompt(request.messages, request.tools, request.response_format)

    return most_of(request.card, request.settings.extra), prompt


def _of_texts(request: EmbeddingRequest) -> tuple[Most, Callable[[], int]]:
    def prompt() -> int:
        return sum(map(estimate_tokens, request.texts))

    return most_of_vectors(request.card, len(request.texts)), prompt


def _of_items(request: MixedRequest) -> tuple[Most, Callable[[], int]]:
    def prompt() -> int:
        texts = [item for item in request.items if isinstance(item, str)]
        pictures = len(request.items) - len(texts)
        return sum(map(estimate_tokens, texts)) + pictures * IMAGE_TOKENS

    return most_of_vectors(request.card, len(request.items)), prompt


def _of_pictures(request: ImageRequest) -> tuple[Most, Callable[[], int]]:
    count = request.options.get("n", 1)
    return most_of_pictures(request.card, count), lambda: estimate_tokens(request.prompt)
