"""llama.cpp's C functions behind small owners: Model, Context.

The C functions are used, not ``llama_cpp.Llama``: its constructor points the whole process's
standard output elsewhere while it loads, it keeps a score for each token of a batch and word of the
vocabulary, and it holds one sequence only.

What may be called from where: a Model's tokenizing methods from any thread (llama.h: "The API is
thread-safe"), all else from the one thread that made the object. Native memory is freed when the
last reference to its owner goes, so that a tokenizer at work in another thread keeps its model.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import os
import re
import sys
import threading
import weakref
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float32]

__all__ = [
    "CacheType",
    "Context",
    "DecodingAborted",
    "Model",
    "NativeError",
    "NoTextError",
    "Switch",
    "log",
]

_BPE: Final = 2  # enum llama_vocab_type
_SLICE: Final = 1_000
_BETWEEN_WORDS: Final = re.compile(r"(?<=\S) (?=\S)")
_LINE_START: Final = re.compile(r"(?<=\n)(?=[^\n])")
_ERROR: Final = 4  # enum ggml_log_level
_ABORTED: Final = 2  # what llama_decode returns when the abort callback said so


CacheType: TypeAlias = Literal["f16", "q8_0"]
_CACHE_TYPES: Final[dict[CacheType, tuple[int, float]]] = {"f16": (1, 2.0), "q8_0": (8, 34 / 32)}
"""enum ggml_type, and bytes a number."""


class NativeError(Exception):
    """llama.cpp returned an error; the message has what it logged."""


class NoTextError(NativeError):
    """The model is an encoder, which makes vectors and no text."""


class DecodingAborted(Exception):
    """The switch was turned while llama.cpp was computing."""


class Switch:
    """A flag that llama.cpp looks at between two operations, without Python's lock.

    Turned once, from any thread, it stays on.
    """

    __slots__ = ("_bytes",)

    def __init__(self) -> None:
        self._bytes = ctypes.create_string_buffer(2)

    def turn(self) -> None:
        """Stop the work that this switch belongs to."""
        self._bytes[0] = b"\1"

    @property
    def on(self) -> bool:
        """Whether it was turned."""
        return self._bytes[0] != b"\0"

    @property
    def address(self) -> int:
        """Where the flag lies; valid as long as this object lives."""
        return ctypes.addressof(self._bytes)


class _Log:
    """Keeps llama.cpp's log from standard error: errors of our threads are kept for messages.

    Lines from other threads go to whoever received them before.
    """

    def __init__(self) -> None:
        self._lines: dict[int, list[str]] = {}
        self._callback: Any = None
        self._previous: Any = None
        self._previous_data: Any = None

    def install(self, c: Any) -> None:
        """Receive the log from now on. The callback lives as long as the process."""
        previous, data = c.llama_log_callback(), ctypes.c_void_p()
        with contextlib.suppress(AttributeError):  # versions before llama_log_get
            c.llama_log_get(ctypes.byref(previous), ctypes.byref(data))
        self._previous, self._previous_data = previous, data
        self._callback = c.llama_log_callback(self._receive)
        c.llama_log_set(self._callback, ctypes.c_void_p(0))

    def _receive(self, level: int, text: bytes | None, _data: Any) -> None:
        lines = self._lines.get(threading.get_ident())
        if lines is None:
            if self._previous:
                self._previous(level, text, self._previous_data)
        elif level == _ERROR and len(lines) < 20:
            lines.append((text or b"").decode("utf-8", "replace").strip())

    @contextlib.contextmanager
    def kept(self) -> Iterator[None]:
        """Keep this thread's error lines meanwhile, for :meth:`take`."""
        me = threading.get_ident()
        self._lines[me] = []
        try:
            yield
        finally:
            self._lines.pop(me, None)

    def take(self) -> str:
        """The errors that this thread's calls logged since last asked."""
        lines = self._lines.get(threading.get_ident(), [])
        text = "; ".join(dict.fromkeys(filter(None, lines)))
        lines.clear()
        return text


log: Final = _Log()
_loading: Final = threading.Lock()


def library() -> Any:
    """llama_cpp's binding of the C functions, imported on first use.

    Raises:
        NativeError: it is not installed, or its shared libraries do not load.
    """
    with _loading:  # two threads would otherwise install the log twice
        return _library()


@functools.cache
def _library() -> Any:
    try:
        import llama_cpp.llama_cpp as c
    except (ImportError, OSError, RuntimeError, FileNotFoundError) as exc:
        raise NativeError(f"llama-cpp-python cannot be loaded: {exc}") from exc
    log.install(c)
    c.llama_backend_init()
    return c


class Model:
    """A loaded GGUF file: weights and vocabulary.

    Args:
        path: the file.
        go_on: asked now and then while loading; ``False`` gives up.

    Raises:
        NativeError: llama.cpp refused the file.
    """

    def __init__(self, path: Path, go_on: Callable[[], bool] = lambda: True) -> None:
        self.c = c = library()
        params = c.llama_model_default_params()
        params.n_gpu_layers = 0
        progress = c.llama_progress_callback(lambda _share, _data: go_on())
        params.progress_callback = progress
        pointer = c.llama_model_load_from_file(os.fsencode(path), params)
        if not pointer:
            raise NativeError(log.take() or "llama.cpp gave no reason")
        self.pointer = pointer
        _freed_with(self, c.llama_model_free, pointer)
        self.vocab = c.llama_model_get_vocab(pointer)
        self.n_vocab: int = c.llama_vocab_n_tokens(self.vocab)
        self.trained_window: int = c.llama_model_n_ctx_train(pointer)
        self._sliced = c.llama_vocab_type(self.vocab) == _BPE
        self._adapter: tuple[Any, float] | None = None
        self._pieces: dict[int, bytes] = {}
        self._ends: dict[int, bool] = {}

    def adapt(self, path: Path, scale: float) -> None:
        """Load a LoRA adapter; contexts made from now on run with it. It is freed with the model.

        Raises:
            NativeError: llama.cpp refused it.
        """
        adapter = self.c.llama_adapter_lora_init(self.pointer, os.fsencode(path))
        if not adapter:
            raise NativeError(log.take() or "llama.cpp gave no reason")
        self._adapter = adapter, scale

    def attach(self, context: Any) -> None:
        """Let a context, given by its pointer, run with the adapter, if there is one.

        Raises:
            NativeError: llama.cpp refused it.
        """
        if self._adapter is None:
            return
        adapter, scale = self._adapter
        adapters = (self.c.llama_adapter_lora_p_ctypes * 1)(
            ctypes.cast(adapter, self.c.llama_adapter_lora_p_ctypes)
        )
        scales = (ctypes.c_float * 1)(scale)
        if self.c.llama_set_adapters_lora(context, adapters, 1, scales) != 0:
            raise NativeError(log.take() or "the adapter cannot be attached")

    @property
    def head_size(self) -> int:
        """How many numbers an attention head's key has."""
        heads = max(1, self.c.llama_model_n_head(self.pointer))
        return self._length("key") or int(self.c.llama_model_n_embd(self.pointer) // heads)

    def bytes_a_token(self, cache_type: CacheType) -> int:
        """What a context keeps of one token: keys and values of every layer."""
        c, pointer = self.c, self.pointer
        heads = c.llama_model_n_head_kv(pointer) or c.llama_model_n_head(pointer)
        numbers = self.head_size + (self._length("value") or self.head_size)
        size = _CACHE_TYPES[cache_type][1]
        return int(c.llama_model_n_layer(pointer) * heads * numbers * size)

    @property
    def takes_back(self) -> bool:
        """Whether the last token read can be forgotten; a recurrent state only goes forward."""
        c, pointer = self.c, self.pointer
        return not (c.llama_model_is_recurrent(pointer) or c.llama_model_is_hybrid(pointer))

    def _length(self, part: str) -> int | None:
        kind = self.metadata("general.architecture")
        given = self.metadata(f"{kind}.attention.{part}_length")
        return int(given) if given else None

    @property
    def size_bytes(self) -> int:
        """What the weights take."""
        return int(self.c.llama_model_size(self.pointer))

    def metadata(self, key: str) -> str | None:
        """A metadata value as text, ``None`` where the file has none."""
        size = 1 << 14
        while True:
            buffer = ctypes.create_string_buffer(size)
            needed = self.c.llama_model_meta_val_str(self.pointer, key.encode(), buffer, size)
            if needed < 0:
                return None
            if needed < size:
                return buffer.value.decode("utf-8", "replace")
            size = needed + 1

    def control_texts(self) -> list[str]:
        """The texts of control tokens, which a user's text must not turn into."""
        c, vocab = self.c, self.vocab
        texts = [
            c.llama_vocab_get_text(vocab, token)
            for token in range(self.n_vocab)
            if c.llama_vocab_is_control(vocab, token)
        ]
        return sorted({t.decode("utf-8", "replace") for t in texts if t}, key=len, reverse=True)

    def special_text(self, name: str) -> str:
        """The text of the ``bos`` or ``eos`` token, empty where there is none."""
        token = getattr(self.c, f"llama_vocab_{name}")(self.vocab)
        if token < 0:
            return ""
        return (self.c.llama_vocab_get_text(self.vocab, token) or b"").decode("utf-8", "replace")

    @property
    def first_token(self) -> int | None:
        """The token that every prompt begins with, where the file asks for one."""
        token = int(self.c.llama_vocab_bos(self.vocab))
        return token if token >= 0 and self.c.llama_vocab_get_add_bos(self.vocab) else None

    def ends(self, token: int) -> bool:
        """Whether the token ends an answer."""
        known = self._ends.get(token)
        if known is None:
            known = self._ends[token] = bool(self.c.llama_vocab_is_eog(self.vocab, token))
        return known

    def piece(self, token: int) -> bytes:
        """The bytes of text that a token stands for; control tokens stand for none."""
        known = self._pieces.get(token)
        if known is not None:
            return known
        buffer = ctypes.create_string_buffer(64)
        count = self.c.llama_token_to_piece(self.vocab, token, buffer, 64, 0, False)
        if count < 0:
            buffer = ctypes.create_string_buffer(-count)
            count = self.c.llama_token_to_piece(self.vocab, token, buffer, -count, 0, False)
        self._pieces[token] = piece = buffer.raw[: max(count, 0)]
        return piece

    def tokenize(
        self, text: str, *, special: bool, whole: re.Pattern[str] | None = None
    ) -> list[int]:
        """The tokens of a text, without any that llama.cpp would add.

        Args:
            text: valid Unicode, without lone surrogates.
            special: whether the texts of control tokens become these tokens.
            whole: what slicing a long text must not cut in two.
        """
        tokens: list[int] = []
        for part in self._parts(text, whole):
            data = part.encode()
            room = len(data) + 8
            buffer = (self.c.llama_token * room)()
            count = self.c.llama_tokenize(self.vocab, data, len(data), buffer, room, False, special)
            if count < 0:
                raise NativeError(f"a text of {len(data)} bytes could not be tokenized")
            tokens += buffer[:count]
        return tokens

    def count(self, text: str) -> int:
        """How many tokens a text has, control tokens' texts read as plain text."""
        total = 0
        for part in self._parts(text, None):
            data = part.encode("utf-8", "replace")
            # Without room for them llama.cpp says how many there are, negated.
            total -= self.c.llama_tokenize(self.vocab, data, len(data), None, 0, False, False)
        return total

    def _parts(self, text: str, whole: re.Pattern[str] | None) -> Iterable[str]:
        # Byte-pair tokenizers split their text by std::regex, which in libstdc++ calls itself once
        # a character: a run of some ten thousand letters overflows the stack and ends the process.
        return slices(text, _SLICE, whole) if self._sliced else (text,)


def slices(text: str, limit: int, whole: re.Pattern[str] | None = None) -> Iterator[str]:
    """Cut a text into pieces of at most ``limit`` characters where no tokenizer would join them.

    The cut is before a single space between two words; where there is none in the second half
    of a slice, at a line's start, else anywhere outside a match of ``whole``.
    """
    start = 0
    while len(text) - start > limit:
        cut = _border(text, start + limit // 2, start + limit)
        for inside in whole.finditer(text, start, cut + limit) if whole is not None else ():
            if start < inside.start() < cut < inside.end():
                cut = inside.start()
        yield text[start:cut]
        start = cut
    yield text[start:]


def _border(text: str, low: int, high: int) -> int:
    for border in (_BETWEEN_WORDS, _LINE_START):
        found = [match.start() for match in border.finditer(text, low, high)]
        if found:
            return found[-1]
    return high


class Context:
    """Room for several sequences of tokens and what the model keeps about them.

    Each sequence has cells of its own ("streams" in llama.cpp), so that none of them computes over
    the others' tokens, and what comes out for one does not depend on where the others stand.

    Args:
        model: whose.
        sequences: how many, numbered from 0.
        n_ctx: tokens that each of them may have.
        n_batch: tokens read in one computation.
        n_threads: to compute with.
        cache_type: how keys and values are kept.

    Raises:
        NativeError: no memory for it, or the model cannot generate.
    """

    def __init__(
        self,
        model: Model,
        sequences: int,
        n_ctx: int,
        n_batch: int,
        n_threads: int,
        cache_type: CacheType = "f16",
    ) -> None:
        self.cache_type = cache_type
        self.model, self.sequences, self.n_ctx = model, sequences, n_ctx
        self.n_batch = max(n_batch, sequences)
        self.size_bytes = sequences * n_ctx * model.bytes_a_token(cache_type)
        """What keys and values take."""
        self.c = c = model.c
        params = c.llama_context_default_params()
        params.n_ctx, params.n_seq_max = n_ctx * sequences, sequences
        params.kv_unified = False
        params.n_batch = params.n_ubatch = self.n_batch
        params.n_threads = params.n_threads_batch = n_threads
        params.type_k = params.type_v = _CACHE_TYPES[cache_type][0]
        pointer = c.llama_init_from_model(model.pointer, params)
        if not pointer:
            reason = log.take() or "llama.cpp gave no reason"
            raise NativeError(f"no context of {sequences} times {n_ctx} tokens: {reason}")
        self.pointer = pointer
        _freed_with(self, c.llama_free, pointer, model)
        model.attach(pointer)
        self._memory = c.llama_get_memory(pointer)
        if not self._memory:
            raise NoTextError
        # The arrays of a llama_batch; ctypes' own are filled quicker than numpy's by a few numbers.
        room, number = self.n_batch, ctypes.c_int32
        self._tokens, self._positions, self._sequences = ((number * room)() for _ in range(3))
        self._scored = (ctypes.c_int8 * room)()
        # Each token's list of sequences is the one number at its place.
        first, size = ctypes.addressof(self._sequences), ctypes.sizeof(number)
        places = (ctypes.POINTER(number) * room)(
            *(ctypes.cast(first + i * size, ctypes.POINTER(number)) for i in range(room))
        )
        self._batch = c.llama_batch(
            token=self._tokens,
            pos=self._positions,
            n_seq_id=(number * room)(*[1] * room),
            seq_id=places,
            logits=self._scored,
        )
        # As the binding's function, but for the address as a number: a pointer object is dearer.
        self._scores_at = ctypes.CFUNCTYPE(ctypes.c_void_p, ctypes.c_void_p)(
            ctypes.cast(c.llama_get_logits, ctypes.c_void_p).value or 0
        )
        self._scores: tuple[int, Scores] | None = None
        self._stop: tuple[Any, Switch] | None = None

    @property
    def even(self) -> bool:
        """Whether keys and values come out the same however many tokens are read at once."""
        return self.cache_type == "q8_0"

    def obey(self, switch: Switch) -> None:
        """Stop computing, from now on, when this switch is turned."""
        watch = _nonzero(self.c)
        if watch is not None:
            self.c.llama_set_abort_callback(self.pointer, watch, ctypes.c_void_p(switch.address))
        self._stop = (watch, switch)  # llama.cpp holds both addresses

    def read(self, parts: Sequence[tuple[int, Sequence[int], int]], scored: Sequence[bool]) -> None:
        """Read a part of some sequences, together at most ``n_batch`` tokens.

        Args:
            parts: sequence, tokens and the position of the first of them; all equally many, in the
                order of their sequences' numbers.
            scored: for each part, whether scores are wanted for what follows it.

        Raises:
            DecodingAborted: the switch was turned; what is in memory is then unknown.
            NativeError: llama.cpp could not.
        """
        at = 0
        for (sequence, tokens, position), wanted in zip(parts, scored, strict=True):
            end = at + len(tokens)
            self._tokens[at:end] = [*tokens]
            self._positions[at:end] = [*range(position, position + len(tokens))]
            self._sequences[at:end] = [sequence] * len(tokens)
            self._scored[at:end] = [0] * len(tokens)
            self._scored[end - 1] = wanted
            at = end
        self._decode(at)

    def step(self, sequences: list[Any], tokens: list[Any], positions: list[Any]) -> None:
        """Read one token of each of these sequences, in the order of their numbers; all scored.

        Raises:
            DecodingAborted, NativeError: as for :meth:`read`.
        """
        count = len(tokens)
        self._tokens[:count] = tokens
        self._positions[:count] = positions
        self._sequences[:count] = sequences
        self._scored[:count] = [1] * count
        self._decode(count)

    def _decode(self, count: int) -> None:
        self._batch.n_tokens = count
        outcome = self.c.llama_decode(self.pointer, self._batch)
        if outcome == _ABORTED:
            raise DecodingAborted
        if outcome != 0:
            raise NativeError(f"llama_decode returned {outcome}: {log.take()}")

    def scores(self, rows: int) -> Scores:
        """What was scored last, a row each: the score of every token to be the next.

        A view of llama.cpp's own memory, valid until the next reading.
        """
        address = self._scores_at(self.pointer)
        if not address:
            raise NativeError(f"the model gives no scores: {log.take()}")
        if self._scores is None or self._scores[0] != address or len(self._scores[1]) < rows:
            import numpy as np

            memory = (ctypes.c_float * (rows * self.model.n_vocab)).from_address(address)
            self._scores = address, np.ctypeslib.as_array(memory).reshape(rows, -1)
        return self._scores[1][:rows]

    def length(self, sequence: int) -> int:
        """How many tokens a sequence has in memory."""
        return int(self.c.llama_memory_seq_pos_max(self._memory, sequence)) + 1

    def forget(self, sequence: int, start: int = 0) -> bool:
        """Drop a sequence's tokens from a position on; ``False`` if the model can only drop all."""
        if start == 0:
            return bool(self.c.llama_memory_seq_rm(self._memory, sequence, -1, -1))
        return bool(self.c.llama_memory_seq_rm(self._memory, sequence, start, -1))

    def copy(self, source: int, target: int) -> None:
        """Make one sequence's memory another's too."""
        self.c.llama_memory_seq_rm(self._memory, target, -1, -1)
        self.c.llama_memory_seq_cp(self._memory, source, target, -1, -1)

    def clear(self) -> None:
        """Drop every sequence."""
        self.c.llama_memory_clear(self._memory, False)


def _freed_with(owner: object, free: Callable[[Any], None], pointer: Any, *kept: object) -> None:
    """Free ``pointer`` when ``owner`` goes; ``kept`` live at least as long."""
    process = os.getpid()

    def release(*_kept: object) -> None:
        if os.getpid() == process:  # a forked child's copy is left to the system
            free(pointer)

    # Not at exit: whoever owns the thread has stopped it and dropped its objects by then.
    weakref.finalize(owner, release, *kept).atexit = False


@functools.cache
def _nonzero(c: Any) -> Any:
    """A C function that says whether the byte at an address is set, as an abort callback.

    llama.cpp asks after every operation, hundreds of times a token, where a Python function would
    wait for Python's lock each time. The C library's strlen is 0 for "\\0" and 1 for "\\1\\0".
    """
    try:
        libc = ctypes.cdll.msvcrt if sys.platform == "win32" else ctypes.CDLL(None)
        return ctypes.cast(libc.strlen, c.ggml_abort_callback)
    except (OSError, AttributeError):  # then work stops at the next token or batch only
        return None
