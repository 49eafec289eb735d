"""Figures: how fast a model runs here and now, and how much waits for it."""

from __future__ import annotations

from dataclasses import dataclass

from modelrouter.catalog.card import Speed

__all__ = ["EngineFigures", "Meter"]

_WEIGHT_S = 2.0
"""How many seconds of work the averages look back on, about."""


@dataclass(frozen=True, slots=True)
class EngineFigures:
    """A local model's state at one moment.

    Attributes:
        loaded: whether it is in memory.
        slots: how many answers may be under way at once.
        context_per_slot: tokens of prompt and answer that each of them has room for now.
        running, waiting: answers under way, and requests that wait for a slot.
        answered: answers given since the model was loaded.
        prefill_tokens_per_s: prompt tokens read in a second; 0.0 before the first.
        decode_tokens_per_s: answer tokens a second, all answers together.
        stream_tokens_per_s: answer tokens a second of one answer.
        first_token_s: from the request to its first token, of late; 0.0 before the first.
        prompt_tokens, reused_tokens: of all prompts, and how many of them were in memory already.
        weights_bytes: what the model's weights take.
        cache_bytes: what the memory of all slots takes; what is kept of earlier prompts is in it.
        cache_type: how keys and values are kept in it.
    """

    loaded: bool = False
    slots: int = 0
    context_per_slot: int = 0
    running: int = 0
    waiting: int = 0
    answered: int = 0
    prefill_tokens_per_s: float = 0.0
    decode_tokens_per_s: float = 0.0
    stream_tokens_per_s: float = 0.0
    first_token_s: float = 0.0
    prompt_tokens: int = 0
    reused_tokens: int = 0
    weights_bytes: int = 0
    cache_bytes: int = 0
    cache_type: str = ""

    @property
    def hit_rate(self) -> float:
        """The share of prompt tokens that needed no reading."""
        return self.reused_tokens / self.prompt_tokens if self.prompt_tokens else 0.0

    def speed(self) -> Speed | None:
        """What the next request may expect; ``None`` before anything was measured.

        With every slot taken, it first waits for those before it in the queue.
        """
        if not self.prefill_tokens_per_s or not self.stream_tokens_per_s:
            return None
        turns = (self.waiting + 1) / self.slots if self.running >= self.slots else 0.0
        answer_s = _TYPICAL_ANSWER / self.stream_tokens_per_s
        return Speed.model_construct(  # unchecked: it is asked for with every decision
            first_token_s=turns * answer_s,
            prefill_tokens_per_s=self.prefill_tokens_per_s,
            decode_tokens_per_s=self.stream_tokens_per_s,
        )


_TYPICAL_ANSWER = 64
"""Tokens; how long a slot stays taken is not known beforehand."""


class Meter:
    """A rate, averaged over the last seconds of work; idle time does not count."""

    __slots__ = ("_amount", "_seconds", "_turns")

    def __init__(self) -> None:
        self._amount = self._turns = self._seconds = 0.0

    def add(self, amount: float, seconds: float) -> None:
        """So much was done, in one turn, in so many seconds."""
        fading = _WEIGHT_S / (_WEIGHT_S + seconds)
        self._amount = self._amount * fading + amount
        self._turns = self._turns * fading + 1.0
        self._seconds = self._seconds * fading + seconds

    @property
    def rate(self) -> float:
        """Amount a second; 0.0 before the first."""
        return self._amount / self._seconds if self._seconds else 0.0

    @property
    def turns(self) -> float:
        """Turns a second; 0.0 before the first."""
        return self._turns / self._seconds if self._seconds else 0.0
