"""Which tokens may come next under a grammar: llguidance's matcher over a model's vocabulary."""

from __future__ import annotations

import re
import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol

from modelrouter.backends.llamacpp.engine.sampling import NoTokenAllowed

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

__all__ = ["Constraint", "GrammarError", "Vocabulary"]

_LONGEST_TOKEN: Final = 64
_SILENT: Final = 0
"""llguidance's log level: nothing is printed."""


class GrammarError(Exception):
    """llguidance does not take the grammar; the text is its reason."""


class Vocabulary(Protocol):
    """What is needed of a model."""

    n_vocab: int

    def piece(self, token: int) -> bytes:
        """The bytes of text that a token stands for; none for a control token."""
        ...

    def ends(self, token: int) -> bool:
        """Whether the token ends an answer."""
        ...

    def tokenize(self, text: str, *, special: bool) -> Sequence[int]:
        """The tokens of a text."""
        ...


class Constraint:
    """A grammar that says which tokens may come next.

    Control tokens are never allowed, but for those that end an answer, where it may end.

    Args:
        model: whose tokens.
        grammar: as llguidance writes them.
        shown: control tokens that stand for a text here, with that text.

    Raises:
        GrammarError: llguidance does not take the grammar.
    """

    def __init__(
        self, model: Vocabulary, grammar: str, shown: Mapping[int, bytes] | None = None
    ) -> None:
        import llguidance
        import numpy as np

        self._model = model  # whose tokenizer the matcher asks
        tokenizer, self._ends = _tokenizer(model, shown or {})
        self._matcher = llguidance.LLMatcher(tokenizer, grammar, log_level=_SILENT)
        self._bits = np.zeros((model.n_vocab + 31) // 32, np.int32)
        self._check(GrammarError)

    def allowed(self, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """For each token, whether it may come next.

        Raises:
            NoTokenAllowed: the grammar has grown too large on the way.
        """
        import numpy as np

        if self._matcher.is_stopped():  # only the end is left, which the matcher does not say
            self._check(NoTokenAllowed)
            return np.asarray(self._ends[tokens])
        if len(tokens) == 1:  # a token is asked about far more quickly than all of them
            found = np.array([self._matcher.validate_tokens([int(tokens[0])]) == 1])
        else:
            self._matcher.unsafe_compute_mask_ptr(self._bits.ctypes.data, self._bits.nbytes)
            found = np.unpackbits(self._bits.view(np.uint8), bitorder="little")[tokens] == 1
        self._check(NoTokenAllowed)
        return found

    def accept(self, token: int) -> None:
        """Go on past a token, which must be allowed."""
        self._matcher.consume_token(token)

    def _check(self, error: type[Exception]) -> None:
        if self._matcher.is_error():
            raise error(self._matcher.get_error())


_lock: Final = threading.Lock()
_known: Final[weakref.WeakKeyDictionary[Any, dict[Any, tuple[Any, Any]]]] = (
    weakref.WeakKeyDictionary()
)


def _tokenizer(model: Vocabulary, shown: Mapping[int, bytes]) -> tuple[Any, Any]:
    """llguidance's view of the vocabulary, made once for a model, and which tokens are ends."""
    key = tuple(sorted(shown.items()))
    with _lock:
        of_model = _known.setdefault(model, {})
    if key not in of_model:  # a model has one thread
        of_model[key] = _made(model, shown)
    return of_model[key]


def _made(model: Vocabulary, shown: Mapping[int, bytes]) -> tuple[Any, Any]:
    import llguidance
    import numpy as np

    every = range(model.n_vocab)
    ends = np.array([model.ends(t) for t in every], np.bool_)
    pieces = [b"" if ends[t] else model.piece(t) or shown.get(t, b"") for t in every]
    wrapped = _Wrapped(
        pieces, [int(t) for t in np.flatnonzero(ends)], _reader(model, pieces, shown)
    )
    tokenizer = llguidance.LLTokenizer(
        llguidance.TokenizerWrapper(wrapped), n_vocab=model.n_vocab, eos_token=wrapped.ends or None
    )
    return tokenizer, ends


class _Wrapped:
    """A vocabulary under the names that llguidance looks for."""

    bos_token_id = None

    def __init__(
        self, pieces: list[bytes], ends: list[int], read: Callable[[bytes], Sequence[int]]
    ) -> None:
        self.ends = ends
        self.eos_token_id = ends[0] if ends else 0
        # Names without a text of their own; as special tokens no grammar means them.
        self.tokens = [piece or b"<|%d|>" % token for token, piece in enumerate(pieces)]
        self.special_token_ids = [token for token, piece in enumerate(pieces) if not piece]
        self._read = read

    def __call__(self, text: bytes | str) -> list[int]:
        return list(self._read(text.encode() if isinstance(text, str) else text))


def _reader(
    model: Vocabulary, pieces: list[bytes], shown: Mapping[int, bytes]
) -> Callable[[bytes], Sequence[int]]:
    """How the model would write a text that is forced; holds no reference to the model."""
    found = weakref.ref(model)
    by_text = {piece: token for token, piece in enumerate(pieces) if piece}
    marks = {text: token for token, text in shown.items()}
    between = re.compile(b"(" + b"|".join(map(re.escape, marks)) + b")") if marks else None

    def plain(text: bytes) -> Sequence[int]:
        known = found()
        if known is not None:
            try:
                tokens = known.tokenize(text.decode(), special=False)
            except UnicodeDecodeError:
                tokens = ()
            # Some vocabularies put a space before a text; such tokens do not spell it.
            if b"".join(map(pieces.__getitem__, tokens)) == text:
                return tokens
        return _longest(text, by_text)

    def read(text: bytes) -> Sequence[int]:
        if between is None:
            return plain(text)
        tokens: list[int] = []
        for part in filter(None, between.split(text)):
            tokens += [marks[part]] if part in marks else plain(part)
        return tokens

    return read


def _longest(text: bytes, by_text: Mapping[bytes, int]) -> list[int]:
    """The longest token that fits, again and again."""
    tokens = []
    at = 0
    while at < len(text):
        for length in range(min(_LONGEST_TOKEN, len(text) - at), 0, -1):
            token = by_text.get(text[at : at + length])
            if token is not None:
                tokens.append(token)
                break
        else:
            break
        at += length
    return tokens
