"""CLIP on this machine: vectors of texts and pictures in one space; nothing leaves it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, Generator
from pathlib import Path

from modelrouter._common.process import OfOneProcess
from modelrouter.backends.base import EmbeddingRequest, MixedRequest, Picture, Request
from modelrouter.backends.clip.model import ClipModel
from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import BadRequestError, LocalModelError, ModelRouterError
from modelrouter.response import Chunk, Completion, Embedding, EmbeddingResponse, Usage
from modelrouter.signals.base import Tokenizer

__all__ = ["ClipBackend"]


class ClipBackend(OfOneProcess):
    """Fulfils the contracts for embeddings; it writes no text. Models stay loaded until closed."""

    def __init__(self) -> None:
        self._models: dict[Path, ClipModel] = {}
        self._lock = threading.Lock()

    def embed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """See :meth:`EmbeddingBackend.embed`.

        Raises:
            MissingDependencyError: the extra ``clip`` is not installed.
        """
        if request.dimensions is not None:
            raise BadRequestError(
                f"{request.card.name} cannot shorten its vectors.",
                model=request.card.name,
                hint="Leave dimensions out.",
            )
        items = MixedRequest(request.card, request.texts, request.truncate, request.timeout_s)
        return self._embedded(items, "input")

    async def aembed(self, request: EmbeddingRequest) -> EmbeddingResponse:
        """As :meth:`embed`, on a thread."""
        return await asyncio.to_thread(self.embed, request)

    def embed_mixed(self, request: MixedRequest) -> EmbeddingResponse:
        """See :meth:`MixedBackend.embed_mixed`."""
        return self._embedded(request, "input")

    async def aembed_mixed(self, request: MixedRequest) -> EmbeddingResponse:
        """As :meth:`embed_mixed`, on a thread."""
        return await asyncio.to_thread(self.embed_mixed, request)

    def _embedded(self, request: MixedRequest, name: str) -> EmbeddingResponse:
        card = request.card
        try:
            return self._vectors(request, self._model(card), name)
        except ModelRouterError:
            raise
        except Exception as exc:  # onnxruntime's errors have no base, Pillow's are of many kinds
            raise LocalModelError(
                f"{card.name} could not read what it was given: {exc}.", model=card.name
            ) from exc

    def _vectors(self, request: MixedRequest, model: ClipModel, name: str) -> EmbeddingResponse:
        texts = {i: item for i, item in enumerate(request.items) if isinstance(item, str)}
        pictures = {i: p.data for i, p in enumerate(request.items) if isinstance(p, Picture)}
        found: dict[int, list[float]] = {}
        tokens = 0
        if texts:
            places = [f"{name}[{i}]" for i in texts]
            rows, tokens = model.texts([*texts.values()], places, truncate=request.truncate)
            found |= zip(texts, rows.tolist(), strict=True)
        if pictures:
            found |= zip(pictures, model.pictures([*pictures.values()]).tolist(), strict=True)
        return EmbeddingResponse(
            data=[Embedding(index=i, embedding=found[i]) for i in sorted(found)],
            model=request.card.name,
            usage=Usage(prompt_tokens=tokens, total_tokens=tokens),
            logit_scale=model.logit_scale(),
        )

    def _model(self, card: ModelCard) -> ClipModel:
        if card.path is None:
            raise LocalModelError(f"{card.name}: no folder of it is named.", model=card.name)
        with self._lock:
            if card.path not in self._models:
                self._models[card.path] = ClipModel(card.path)
            return self._models[card.path]

    def complete(self, request: Request) -> Completion:
        """It makes vectors, no text.

        Raises:
            BadRequestError: always.
        """
        raise _no_text(request.card)

    async def acomplete(self, request: Request) -> Completion:
        """As :meth:`complete`."""
        raise _no_text(request.card)

    def stream(self, request: Request) -> Generator[Chunk, None, None]:
        """As :meth:`complete`."""
        raise _no_text(request.card)

    def astream(self, request: Request) -> AsyncGenerator[Chunk, None]:
        """As :meth:`complete`."""
        raise _no_text(request.card)

    def tokenizer(self, card: ModelCard) -> Tokenizer | None:
        """None: how long a text may be is said when it is read."""
        return None

    def warm(self, card: ModelCard) -> None:
        """Nothing is started before it is needed."""

    def close(self) -> None:
        """Free the models."""
        with self._lock:
            self._models.clear()

    async def aclose(self) -> None:
        """As :meth:`close`."""
        self.close()


def _no_text(card: ModelCard) -> BadRequestError:
    return BadRequestError(
        f"{card.name} makes vectors, no text.",
        model=card.name,
        hint="Call router.embedding([...]).",
    )
