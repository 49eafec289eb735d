"""The backends of a router: asked for what they can do, never for what they are called."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping

from modelrouter.backends import DEFAULT_BACKENDS, PREPARED_EARLY
from modelrouter.backends.base import (
    Backend,
    ConfidenceBackend,
    EmbeddingBackend,
    ImageBackend,
    MeasuringBackend,
    MixedBackend,
    PreparingBackend,
)
from modelrouter.catalog.card import ModelCard, Speed
from modelrouter.exceptions import BadRequestError, ConfigurationError
from modelrouter.signals.base import Tokenizer

__all__ = ["BackendPool"]


class BackendPool:
    """Backends by the names that cards use: those given, and built-in ones made on first use.

    Args:
        given: in place of built-in ones, or beside them; they are not closed with the router.
        cards: that can be asked here.
    """

    def __init__(self, given: Mapping[str, Backend], cards: Iterable[ModelCard]) -> None:
        self._given = dict(given)
        self._made: dict[str, Backend] = {}
        self._measuring: dict[str, MeasuringBackend] = {}
        self._closed = False
        self._making = threading.Lock()
        self._cards: dict[str, list[ModelCard]] = {}
        self._local: dict[str, list[ModelCard]] = {}
        for card in cards:
            self._cards.setdefault(card.backend, []).append(card)
            if card.location == "local":
                self._local.setdefault(card.backend, []).append(card)
        for name, backend in self._given.items():
            self._know(name, backend)

    @property
    def own(self) -> frozenset[str]:
        """The names of those whose code is the user's and not this package's."""
        ours = f"{__name__.partition('.')[0]}.backends."
        return frozenset(
            name for name, b in self._given.items() if not type(b).__module__.startswith(ours)
        )

    def get(self, name: str) -> Backend:
        """The backend of that name.

        Raises:
            ConfigurationError: there is none, or the router is closed.
        """
        if self._closed:
            raise ConfigurationError("This router is closed.", hint="Make a new one.")
        if (known := self._known(name)) is not None:
            return known
        if name not in DEFAULT_BACKENDS:
            raise ConfigurationError(
                f"Unknown backend {name!r}.",
                hint=f"One of {', '.join(DEFAULT_BACKENDS)}, or pass backends={{...}}.",
            )
        with self._making:  # two threads that come first would make two
            if name not in self._made:
                self._made[name] = DEFAULT_BACKENDS[name]()
                self._know(name, self._made[name])
            return self._made[name]

    def prepare(self) -> None:
        """Let those that may be asked start in the background what makes a first call slow."""
        for name in self._cards:
            if name in self._given or name in PREPARED_EARLY:
                backend = self.get(name)
                if isinstance(backend, PreparingBackend):
                    backend.prepare()

    def tokenizer(self, card: ModelCard) -> Tokenizer | None:
        """The model's exact token counter, where one is at hand already."""
        backend = self._known(card.backend)
        return None if backend is None else backend.tokenizer(card)

    def any_local_tokenizer(self) -> Tokenizer | None:
        """The exact token counter of some local model that is loaded already, if any is."""
        for name, cards in self._local.items():
            if (backend := self._known(name)) is not None:
                for card in cards:
                    if (found := backend.tokenizer(card)) is not None:
                        return found
        return None

    def speeds(self) -> dict[str, Speed]:
        """How fast models answer that have answered already, their queues included, by name."""
        return {
            card.name: speed
            for name, backend in tuple(self._measuring.items())
            for card in self._cards.get(name, ())
            if (speed := backend.speed(card)) is not None
        }

    def keeps_to_floor(self, card: ModelCard) -> bool:
        """Whether an answer of this model is given up below ``settings.confidence_floor``."""
        backend = self.get(card.backend)
        return isinstance(backend, ConfidenceBackend) and backend.keeps_to_floor(card)

    def echoes(self, card: ModelCard) -> bool:
        """Whether this model only stands in for one and says its prompt again by design."""
        return getattr(self._known(card.backend), "echoes", False) is True

    def embedder(self, card: ModelCard) -> EmbeddingBackend:
        """What makes the model's vectors of texts.

        Raises:
            BadRequestError: its backend makes none.
        """
        backend = self.get(card.backend)
        if not isinstance(backend, EmbeddingBackend):
            raise BadRequestError(
                f"The backend {card.backend!r} of {card.name} makes no vectors in this version.",
                model=card.name,
                hint="Use an embedding model's GGUF file: ModelCard.local('FILE.gguf').",
            )
        return backend

    def mixed_embedder(self, card: ModelCard) -> MixedBackend:
        """What makes the model's vectors of texts and pictures.

        Raises:
            BadRequestError: its backend makes none.
        """
        backend = self.get(card.backend)
        if not isinstance(backend, MixedBackend):
            raise BadRequestError(
                f"The backend {card.backend!r} of {card.name} makes no vectors of pictures.",
                model=card.name,
            )
        return backend

    def image_maker(self, card: ModelCard) -> ImageBackend:
        """What draws the model's pictures.

        Raises:
            BadRequestError: its backend draws none.
        """
        backend = self.get(card.backend)
        if not isinstance(backend, ImageBackend):
            raise BadRequestError(
                f"The backend {card.backend!r} of {card.name} draws nothing.", model=card.name
            )
        return backend

    def close(self) -> None:
        """Close those that were made here; safe to call twice."""
        self._closed = True
        for backend in tuple(self._made.values()):
            backend.close()

    async def aclose(self) -> None:
        """As :meth:`close`, awaited."""
        self._closed = True
        for backend in tuple(self._made.values()):
            await backend.aclose()

    def _known(self, name: str) -> Backend | None:
        return self._given.get(name) or self._made.get(name)

    def _know(self, name: str, backend: Backend) -> None:
        if isinstance(backend, MeasuringBackend):
            self._measuring[name] = backend
