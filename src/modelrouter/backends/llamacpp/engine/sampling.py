"""Which token comes next: OpenAI's sampling parameters, and top_k, min_p and repeat_penalty.

The order is llama.cpp's: biases and penalties, grammar, top_k, top_p, min_p, temperature, draw.
"""

from __future__ import annotations

import difflib
import functools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Final, Protocol

from modelrouter.config import UNSET, GenerationSettings
from modelrouter.exceptions import BadRequestError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float32]

__all__ = ["NoTokenAllowed", "Sampler", "SamplingOptions"]

_ABOUT_THE_CALLER: Final = frozenset(
    {"user", "metadata", "store", "service_tier", "parallel_tool_calls", "stream_options"}
)
"""Options that say nothing of the answer's text."""
_RANGES: Final[Mapping[str, tuple[float, float]]] = {
    "temperature": (0.0, 100.0),
    "top_k": (0, math.inf),
    "top_p": (0.0, 1.0),
    "min_p": (0.0, 1.0),
    "presence_penalty": (-2.0, 2.0),
    "frequency_penalty": (-2.0, 2.0),
    "repeat_penalty": (0.01, 10.0),
    "seed": (-math.inf, math.inf),
    "max_tokens": (1, math.inf),
    "n": (1, 128),
    "confidence_floor": (0.0, 1.0),
    "confidence_window": (1, math.inf),
    "top_logprobs": (0, 20),
}
_WHOLE: Final = ("top_k", "seed", "max_tokens", "n", "top_logprobs", "confidence_window")
_MOST_BIAS: Final = 100.0
"""OpenAI's. With more, a score could overflow, and a token that the grammar forbids be drawn."""


class NoTokenAllowed(Exception):
    """No token of the vocabulary can continue what the grammar asks for."""


class Grammar(Protocol):
    """What restricts the next token."""

    def allowed(self, tokens: npt.NDArray[np.int32]) -> npt.NDArray[np.bool_]:
        """For each token, whether it may come next."""
        ...

    def accept(self, token: int) -> None:
        """Go on past a token."""
        ...


@dataclass(frozen=True, slots=True)
class SamplingOptions:
    """How to choose tokens.

    ``temperature`` 0, the default, always takes the likeliest token: a small model's tasks have
    one right answer. Above 0 the other defaults are llama.cpp's: top_k 40, top_p 0.95,
    min_p 0.05.

    Attributes:
        temperature: 0 for the likeliest; higher draws more freely.
        top_k: only so many of the likeliest tokens; 0 for any number.
        top_p: only the likeliest tokens that together have this probability.
        min_p: only tokens with this share of the likeliest one's probability.
        presence_penalty: subtracted from the score of tokens in the answer so far.
        frequency_penalty: subtracted once for each time they are.
        repeat_penalty: their score is divided by it (multiplied where negative); 1 is off.
        logit_bias: token id to what is added to its score.
        seed: of the draw; the same seed gives the same text. ``None`` for another each time.
        stop: texts that end the answer, not part of it.
        max_tokens: the caller's bound, if any.
        n: how many answers; each draws with a seed of its own, the first with ``seed``.
        logprobs: whether each token's log-probability is reported.
        top_logprobs: of how many of the likeliest tokens it is reported too.
        confidence_floor: the answer is given up when the geometric mean of its tokens'
            probabilities is below this; 0 never does.
        confidence_window: tokens within which that is looked at; ``None`` for the whole answer.
    """

    temperature: float = 0.0
    top_k: int = 40
    top_p: float = 0.95
    min_p: float = 0.05
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repeat_penalty: float = 1.0
    logit_bias: Mapping[int, float] = field(default_factory=dict)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    max_tokens: int | None = None
    n: int = 1
    logprobs: bool = False
    top_logprobs: int = 0
    confidence_floor: float = 0.0
    confidence_window: int | None = None

    @classmethod
    def of(cls, settings: GenerationSettings, model: str) -> SamplingOptions:
        """Read and check a call's settings; ``extra_body`` counts as options of the call.

        Raises:
            BadRequestError: an option that is unknown here, or out of its range.
        """
        given = dict(settings.as_parameters())
        given["confidence_floor"] = settings.confidence_floor
        given["confidence_window"] = settings.confidence_window
        given.update(given.pop("extra_body", None) or {})
        given = {k: v for k, v in given.items() if v is not None and v is not UNSET}
        chosen: dict[str, Any] = {}
        for name, value in given.items():
            if name in cls.__dataclass_fields__:
                chosen[name] = _checked(name, value, model)
            elif name not in _ABOUT_THE_CALLER:
                raise _unknown(name, model)
        if chosen.get("top_logprobs") and not chosen.get("logprobs"):
            raise _refused("top_logprobs is given without logprobs=True.", model)
        return cls(**chosen)

    def for_answer(self, index: int) -> SamplingOptions:
        """The options of one of ``n`` answers."""
        return self if index == 0 or self.seed is None else replace(self, seed=self.seed + index)


def _checked(name: str, value: Any, model: str) -> Any:
    if name == "stop":
        stops = [value] if isinstance(value, str) else value
        if not isinstance(stops, (list, tuple)) or not all(isinstance(s, str) for s in stops):
            raise _refused(f"stop={value!r} is neither a text nor a list of texts.", model)
        return tuple(stops)
    if name == "logit_bias":
        return _bias(value, model)
    if name == "logprobs":
        if not isinstance(value, bool):
            raise _refused(f"logprobs={value!r} is neither True nor False.", model)
        return value
    if isinstance(value, bool) or not isinstance(value, int if name in _WHOLE else (int, float)):
        raise _refused(f"{name}={value!r} must be a {'whole ' * (name in _WHOLE)}number.", model)
    low, high = _RANGES[name]
    if not low <= value <= high:
        raise _refused(f"{name}={value!r} is not between {low:g} and {high:g}.", model)
    return value


def _bias(value: Any, model: str) -> dict[int, float]:
    try:
        bias = {int(token): float(by) for token, by in dict(value).items()}
    except (TypeError, ValueError) as exc:
        raise _refused(f"logit_bias={value!r} does not map token ids to numbers.", model) from exc
    if any(token < 0 or not abs(by) <= _MOST_BIAS for token, by in bias.items()):
        raise _refused(
            f"logit_bias={value!r} has an id below 0 or a number that is not between "
            f"{-_MOST_BIAS:g} and {_MOST_BIAS:g}.",
            model,
        )
    return bias


def _unknown(name: str, model: str) -> BadRequestError:
    known = [*SamplingOptions.__dataclass_fields__]
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"Did you mean {near[0]!r}?" if near else f"Known are {', '.join(sorted(known))}."
    return BadRequestError(f"{model} knows no option {name!r}.", model=model, hint=hint)


def _refused(message: str, model: str) -> BadRequestError:
    return BadRequestError(message, model=model)


class Sampler:
    """Chooses one answer's tokens, one after the other.

    Raises:
        BadRequestError: ``logit_bias`` names a token that the model does not have.
    """

    def __init__(
        self, options: SamplingOptions, n_vocab: int, model: str, grammar: Grammar | None = None
    ) -> None:
        if max(options.logit_bias, default=0) >= n_vocab:
            raise _refused(f"logit_bias names a token beyond {model}'s {n_vocab:,}.", model)
        self._options = options
        self._grammar = grammar
        self._counts: dict[int, int] = {}
        self._penalised = bool(
            options.presence_penalty or options.frequency_penalty or options.repeat_penalty != 1.0
        )

    @functools.cached_property
    def _random(self) -> np.random.Generator:
        import numpy as np

        seed = self._options.seed
        return np.random.default_rng(None if seed is None else seed & 0xFFFF_FFFF_FFFF_FFFF)

    def choose(self, scores: Scores, best: int | None = None) -> int:
        """The next token.

        Args:
            scores: of every token.
            best: the likeliest one, where that is known already.

        Raises:
            NoTokenAllowed: the grammar allows none.
        """
        plain, scores = scores, self._adjusted(scores)
        if best is not None and scores is plain and self._options.temperature <= 0:
            token = best
        else:
            token = self._draw(scores)
        if self._grammar is None:
            return token
        import numpy as np

        # Nearly always the likeliest token fits; asking about one is far cheaper than about all.
        if not self._grammar.allowed(np.array([token], np.int32))[0]:
            allowed = self._grammar.allowed(np.arange(len(scores), dtype=np.int32))
            if not allowed.any():
                raise NoTokenAllowed
            token = self._draw(np.where(allowed, scores, np.float32(-np.inf)))
        return token

    def accept(self, token: int) -> None:
        """Take a chosen token as part of the answer; not for the one that ends it."""
        if self._penalised:
            self._counts[token] = self._counts.get(token, 0) + 1
        if self._grammar is not None:
            self._grammar.accept(token)

    def _adjusted(self, scores: Scores) -> Scores:
        options = self._options
        if not options.logit_bias and not self._counts:
            return scores
        import numpy as np

        scores = scores.copy()  # llama.cpp's own memory until here
        if options.logit_bias:
            tokens = np.fromiter(options.logit_bias.keys(), np.int64)
            scores[tokens] += np.fromiter(options.logit_bias.values(), np.float32)
        if self._counts:
            tokens = np.fromiter(self._counts.keys(), np.int64)
            counts = np.fromiter(self._counts.values(), np.float32)
            seen = scores[tokens]
            by = np.float32(options.repeat_penalty)
            seen = np.where(seen > 0, seen / by, seen * by)
            scores[tokens] = (
                seen - options.presence_penalty - counts * np.float32(options.frequency_penalty)
            )
        return scores

    def _draw(self, scores: Scores) -> int:
        import numpy as np

        options = self._options
        if options.temperature <= 0:
            return int(scores.argmax())
        if 0 < options.top_k < len(scores):
            tokens = np.sort(np.argpartition(scores, -options.top_k)[-options.top_k :])
        else:
            tokens = np.arange(len(scores))
        chosen = scores[tokens].astype(np.float64)
        chosen -= chosen.max()
        shares = np.exp(chosen)
        keep = shares >= options.min_p
        if options.top_p < 1.0:
            order = np.argsort(-chosen, kind="stable")
            before = (np.cumsum(shares[order]) - shares[order]) / shares.sum()
            keep[order[1:]] &= before[1:] < options.top_p  # the likeliest always stays
        chosen, tokens = chosen[keep], tokens[keep]
        cumulative = np.cumsum(np.exp(chosen / options.temperature))
        at = np.searchsorted(cumulative, self._random.random() * cumulative[-1], side="right")
        return int(tokens[min(int(at), len(tokens) - 1)])
