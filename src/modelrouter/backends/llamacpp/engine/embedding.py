"""Texts to vectors with a local model, many texts in one computation."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, get_args

from modelrouter.backends.llamacpp.engine.native import Model, NativeError, _freed_with, log
from modelrouter.exceptions import BadRequestError, LocalModelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Vectors = npt.NDArray[np.float32]

__all__ = ["Embedded", "Embedder", "Pooling", "packed"]

Pooling: TypeAlias = Literal["mean", "cls", "last"]

_NATIVE: Final[dict[str, int]] = {"mean": 1, "cls": 2, "last": 3}  # enum llama_pooling_type
_OF_FILE: Final[dict[str, Pooling]] = {"1": "mean", "2": "cls", "3": "last"}
_RANK: Final = "4"
_MOST_TEXTS: Final = 64
"""In one computation."""


@dataclass(frozen=True, slots=True)
class Embedded:
    """What :meth:`Embedder.embed` made.

    Attributes:
        vectors: one row for each text, in the texts' order.
        tokens: how many tokens were read of each text, the model's own markers among them.
        truncated: the places of texts whose end was not read.
    """

    vectors: Vectors
    tokens: tuple[int, ...]
    truncated: tuple[int, ...] = ()


class Embedder:
    """Makes vectors with one model.

    A text's vector depends a little on the texts that it is computed with, because attention is
    computed in half precision: its numbers by some 1e-4, the cosine of two by less than 1e-6.

    It has a context of its own beside any that generates, and like those it may be used only by
    the thread that owns the model. Its memory grows with the longest text it has met.

    Args:
        model: with or without a decoder.
        name: for messages.
        n_threads: to compute with.
        pooling: how a text's vector is made of its tokens': their mean, the first one's or the last
            one's. ``None`` is what the file says, or the mean where it says nothing.
        n_batch: tokens of several texts computed together; a longer text is computed alone. On a
            processor more gains nothing.

    Raises:
        BadRequestError: an unknown pooling.
        LocalModelError: the file holds a reranker, which gives scores and no vectors.
    """

    def __init__(
        self,
        model: Model,
        name: str,
        n_threads: int,
        *,
        pooling: Pooling | None = None,
        n_batch: int = 256,
    ) -> None:
        self.model, self.name = model, name
        self.pooling: Pooling = _pooling(model, name, pooling)
        self.window = model.trained_window
        """The most tokens that one text may have."""
        self._n_threads, self._n_batch = n_threads, n_batch
        # llama.cpp ends the process on more sequences than a batch may have tokens.
        self._most_texts = min(_MOST_TEXTS, n_batch, model.c.llama_max_parallel_sequences())
        width = getattr(model.c, "llama_model_n_embd_out", model.c.llama_model_n_embd)
        self.width: int = width(model.pointer)
        """How many numbers a vector has."""
        self._before, self._after = _markers(model)
        self._room: _Room | None = None

    def embed(
        self,
        texts: Sequence[str],
        *,
        normalise: bool = True,
        truncate: bool = False,
        dimensions: int | None = None,
        check: Callable[[], None] = lambda: None,
    ) -> Embedded:
        """The texts' vectors.

        Args:
            texts: at least one, none of them empty.
            normalise: whether vectors are brought to length 1, so that their scalar product is
                the cosine of their angle.
            truncate: whether of a text beyond the window only the beginning is read.
            dimensions: keep only so many numbers of each vector, for models trained for that
                (Matryoshka); shortened before they are normalised.
            check: called before each computation; what it raises ends the work.

        Raises:
            BadRequestError: no text, one that is empty or too long, or ``dimensions`` beyond the
                model's.
            LocalModelError: not enough memory, or the model gives no numbers.
        """
        import numpy as np

        if not texts:
            raise BadRequestError("input holds no text.", model=self.name)
        width = self._width(dimensions)
        tokens, truncated = self._tokenized(texts, truncate)
        vectors = np.empty((len(texts), self.width), np.float32)
        for places in packed([len(t) for t in tokens], self._n_batch, self._most_texts):
            check()
            room = self._room_for(sum(len(tokens[i]) for i in places))
            try:
                vectors[places] = room.vectors([tokens[i] for i in places], self.width)
            except NativeError as exc:
                self._room = None  # what is in its memory is not known
                raise LocalModelError(f"{self.name} failed: {exc}.", model=self.name) from exc
        if not np.isfinite(vectors).all():
            raise LocalModelError(
                f"{self.name} gives no numbers but nan.",
                model=self.name,
                hint="Its file is damaged; download it again.",
            )
        vectors = vectors[:, :width]
        if normalise:
            length = np.linalg.norm(vectors, axis=1, keepdims=True)
            vectors = vectors / np.maximum(length, np.finfo(np.float32).tiny)
        return Embedded(vectors, tuple(map(len, tokens)), tuple(truncated))

    def _width(self, dimensions: int | None) -> int:
        if dimensions is None:
            return self.width
        if isinstance(dimensions, bool) or not 0 < dimensions <= self.width:
            raise BadRequestError(
                f"dimensions={dimensions!r}, and the vectors of {self.name} have {self.width}.",
                model=self.name,
                hint=f"Ask for 1 to {self.width}.",
            )
        return dimensions

    def _tokenized(self, texts: Sequence[str], truncate: bool) -> tuple[list[list[int]], list[int]]:
        room = self.window - len(self._before) - len(self._after)
        all_tokens, truncated = [], []
        for i, text in enumerate(texts):
            tokens = self._tokens(text, i)
            if len(tokens) > room and not truncate:
                total = len(tokens) + self.window - room
                raise BadRequestError(
                    f"input[{i}] has {total:,} tokens, and {self.name} reads {self.window:,}.",
                    model=self.name,
                    hint="Split it, or ask for truncation.",
                )
            if len(tokens) > room:
                truncated.append(i)
            all_tokens.append([*self._before, *tokens[:room], *self._after])
        return all_tokens, truncated

    def _tokens(self, text: str, place: int) -> list[int]:
        if not isinstance(text, str):
            raise BadRequestError(
                f"input[{place}] is of type {type(text).__name__}, not a text.", model=self.name
            )
        try:
            tokens = self.model.tokenize(text, special=False)
        except UnicodeEncodeError as exc:
            raise BadRequestError(
                f"input[{place}] holds half a surrogate pair, which is not a character.",
                model=self.name,
                hint="Decode it with errors='replace'.",
            ) from exc
        except NativeError as exc:
            raise LocalModelError(f"{self.name}: {exc}.", model=self.name) from exc
        if not tokens:
            raise BadRequestError(
                f"input[{place}] is empty: {text[:20]!r}.",
                model=self.name,
                hint="Leave empty texts out.",
            )
        return tokens

    def _room_for(self, tokens: int) -> _Room:
        if self._room is None or self._room.capacity < tokens:
            capacity = self._n_batch
            while capacity < tokens:
                capacity *= 2
            self._room = None  # its memory is free before more is asked for
            try:
                self._room = _Room(
                    self.model, capacity, self._most_texts, self._n_threads, _NATIVE[self.pooling]
                )
            except NativeError as exc:
                raise LocalModelError(
                    f"{self.name} has no room for {tokens:,} tokens at once: {exc}.",
                    model=self.name,
                    hint="It may need more memory than is free; split long texts.",
                ) from exc
        return self._room


def packed(lengths: Sequence[int], capacity: int, most: int) -> Iterator[list[int]]:
    """Places of texts to be computed together, each text once.

    Texts of like length go together, the longest first, so that the memory needed most is asked
    for first and a run of short texts fills a batch.

    Args:
        lengths: of the texts, in tokens.
        capacity: the most tokens in a batch of several texts.
        most: the most texts in a batch.
    """
    batch: list[int] = []
    total = 0
    for place in sorted(range(len(lengths)), key=lambda i: -lengths[i]):
        if batch and (total + lengths[place] > capacity or len(batch) == most):
            yield batch
            batch, total = [], 0
        batch.append(place)
        total += lengths[place]
    if batch:
        yield batch


class _Room:
    """A context that reads whole texts and pools them.

    Raises:
        NativeError: no memory for it, or the model has no vectors to give.
    """

    def __init__(
        self, model: Model, capacity: int, most_texts: int, n_threads: int, pooling: int
    ) -> None:
        import numpy as np

        self.capacity, self.model = capacity, model
        self.c = c = model.c
        params = c.llama_context_default_params()
        params.n_ctx = params.n_batch = params.n_ubatch = capacity  # a text is never split
        params.n_seq_max = most_texts
        # One memory for all: with one for each, llama.cpp would compute unequal texts in parts
        # and pool each part by itself.
        params.kv_unified = True
        params.n_threads = params.n_threads_batch = n_threads
        params.embeddings, params.pooling_type = True, pooling
        self._pointer = c.llama_init_from_model(model.pointer, params)
        if not self._pointer:
            raise NativeError(log.take() or "llama.cpp gave no reason")
        _freed_with(self, c.llama_free, self._pointer, model)
        model.attach(self._pointer)
        self._memory = c.llama_get_memory(self._pointer)
        self._compute = c.llama_decode
        if c.llama_model_has_encoder(model.pointer):
            self._compute = c.llama_encode
        self._token = np.zeros(capacity, np.int32)
        self._position = np.zeros(capacity, np.int32)
        self._sequence = np.zeros(capacity, np.int32)
        self._output = np.ones(capacity, np.int8)
        self._one = np.ones(capacity, np.int32)
        start, step = self._sequence.ctypes.data, self._sequence.itemsize
        self._sequences = start + step * np.arange(capacity, dtype=np.uintp)

    def vectors(self, texts: Sequence[Sequence[int]], width: int) -> Vectors:
        """One row for each text; together they fit the capacity.

        Raises:
            NativeError: llama.cpp failed.
        """
        import numpy as np

        at = 0
        for sequence, tokens in enumerate(texts):
            end = at + len(tokens)
            self._token[at:end] = tokens
            self._position[at:end] = np.arange(len(tokens))
            self._sequence[at:end] = sequence
            at = end
        if self._memory:
            self.c.llama_memory_clear(self._memory, False)
        outcome = self._compute(self._pointer, self._batch(at))
        if outcome != 0:
            raise NativeError(f"llama.cpp returned {outcome}: {log.take()}")
        return np.stack([self._vector(sequence, width) for sequence in range(len(texts))])

    def _batch(self, count: int) -> Any:
        c = self.c

        def pointer(array: Any, kind: Any) -> Any:
            return ctypes.cast(array.ctypes.data, ctypes.POINTER(kind))

        return c.llama_batch(
            n_tokens=count,
            token=pointer(self._token, c.llama_token),
            pos=pointer(self._position, c.llama_pos),
            n_seq_id=pointer(self._one, ctypes.c_int32),
            seq_id=pointer(self._sequences, ctypes.POINTER(c.llama_seq_id)),
            logits=pointer(self._output, ctypes.c_int8),
        )

    def _vector(self, sequence: int, width: int) -> Vectors:
        import numpy as np

        found = self.c.llama_get_embeddings_seq(self._pointer, sequence)
        if not found:
            raise NativeError(f"the model gives no vectors: {log.take()}")
        vector: Vectors = np.ctypeslib.as_array(found, shape=(width,))
        return vector  # a view, copied when they are put together


def _pooling(model: Model, name: str, asked: str | None) -> Pooling:
    if asked is not None and asked not in get_args(Pooling):
        raise BadRequestError(
            f"pooling={asked!r} is unknown.",
            model=name,
            hint=f"Use {', '.join(get_args(Pooling))}, or None for the file's own.",
        )
    architecture = model.metadata("general.architecture") or ""
    said = model.metadata(f"{architecture}.pooling_type") or ""
    if said == _RANK:
        raise LocalModelError(
            f"{name} is a reranker: it gives scores to pairs of texts and no vectors.",
            model=name,
            hint="Use an embedding model.",
        )
    if asked is not None:
        return asked  # type: ignore[return-value] # one of them, as was checked above
    return _OF_FILE.get(said, "mean")


def _markers(model: Model) -> tuple[list[int], list[int]]:
    """The tokens that the model wants before and after each text, as it was trained."""
    data = b"a"
    found = []
    for special in (True, False):
        buffer = (model.c.llama_token * 16)()
        count = model.c.llama_tokenize(model.vocab, data, len(data), buffer, 16, special, False)
        found.append(list(buffer[: max(count, 0)]))
    marked, plain = found
    for at in range(len(marked) - len(plain) + 1):
        if marked[at : at + len(plain)] == plain:
            return marked[:at], marked[at + len(plain) :]
    return [], []
