"""Generation: one answer as it grows, token by token; knows nothing of llama.cpp's memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

from modelrouter.backends.llamacpp.engine.channel import Finished, Text
from modelrouter.backends.llamacpp.engine.job import Job
from modelrouter.backends.llamacpp.engine.sampling import Sampler
from modelrouter.backends.llamacpp.engine.text import TextAssembler
from modelrouter.backends.llamacpp.engine.token_confidence import TokenConfidence
from modelrouter.backends.llamacpp.tools import ToolCallAssembler
from modelrouter.exceptions import LowConfidenceError
from modelrouter.response import ToolCall

__all__ = ["Generation", "Vocabulary"]

_SURE_FROM: Final = 4
"""Tokens from which on an answer's probability is held against the floor before its end."""


class Vocabulary(Protocol):
    """What a generation needs to know of its model."""

    def piece(self, token: int) -> bytes:
        """The bytes of text that a token stands for."""
        ...

    def ends(self, token: int) -> bool:
        """Whether the token ends an answer."""
        ...


class Generation:
    """One answer under way.

    Attributes:
        job: the request that it answers.
        index: which of the request's answers.
        prompt: its tokens.
        limit: at most so many tokens are generated.
        sampler: chooses the tokens.
        certainty: how sure the model is of them; set before the first is taken.
        slot: the sequence it has, -1 before it has one.
        position: tokens of it that are in memory.
        cached: tokens of the prompt that needed no reading.
        token: the last one chosen, to be read next; ``None`` while the prompt is being read.
        leader: another answer with the same beginning that is being read, waited for until it has
            read ``shared`` tokens.
        ended: whether the answer is whole.
    """

    __slots__ = (
        "_answer",
        "_at_once",
        "_calls",
        "_logprobs",
        "_model",
        "_pieces",
        "_text",
        "cached",
        "certainty",
        "ended",
        "generated",
        "index",
        "job",
        "leader",
        "limit",
        "position",
        "prompt",
        "sampler",
        "shared",
        "slot",
        "token",
    )

    def __init__(
        self,
        job: Job,
        index: int,
        prompt: list[int],
        limit: int,
        sampler: Sampler,
        text: TextAssembler,
        model: Vocabulary,
        calls: ToolCallAssembler | None = None,
    ) -> None:
        self.job, self.index, self.prompt, self.limit = job, index, prompt, limit
        self.sampler = sampler
        self.certainty: TokenConfidence | None = None
        self.slot, self.position, self.cached = -1, 0, 0
        self.token: int | None = None
        self.generated = 0
        self.leader: Generation | None = None
        self.shared = 0
        self.ended = False
        self._text, self._calls, self._model = text, calls, model
        # Text that nobody sees before the end is put together there, out of the others' way.
        self._at_once = not job.in_pieces and calls is None and not text.watching
        self._answer: list[int] = []
        self._pieces: list[str] = []
        self._logprobs: list[Mapping[str, Any]] = []

    @property
    def left(self) -> int:
        """Tokens of its prompt that are still to be read."""
        return len(self.prompt) - self.position

    @property
    def next_token(self) -> int:
        """What is to be read next, of the prompt or of the answer."""
        if self.reading:
            return self.prompt[self.position]
        assert self.token is not None
        return self.token

    @property
    def tokens(self) -> list[int]:
        """Prompt and answer so far."""
        return self.prompt + self._answer

    @property
    def reading(self) -> bool:
        """Whether some of its prompt is still to be read."""
        return self.left > 0

    def take(self, token: int, reported: Callable[[], Mapping[str, Any]] | None = None) -> None:
        """Go on with the token that was chosen, and tell the caller what became certain.

        Args:
            token: chosen by :attr:`sampler`, and counted in :attr:`certainty`.
            reported: gives what OpenAI's ``logprobs`` says of this token, where asked for.

        Raises:
            LowConfidenceError: the answer fell below the floor that the caller set.
        """
        # In a batch of sixteen this runs some thousand times a second, with all others waiting.
        if self._model.ends(token):
            self._end("stop")
            return
        self.sampler.accept(token)
        self.generated += 1
        self.token = token
        self._answer.append(token)
        if reported is not None:
            self._logprobs.append(reported())
        new = "" if self._at_once else self._text.add(self._model.piece(token))
        if self._calls is not None:
            new = self._calls.add(new)
        if new:
            self._tell(new)
        if self._text.stopped:
            self._end("stop")
        elif self.generated >= self.limit:
            self._end("length")
        elif self.generated >= _SURE_FROM:
            self._check_confidence()

    def _write_at_once(self) -> None:
        if self._at_once:
            self._pieces = [self._text.add(self._model.piece(token)) for token in self._answer]

    def _tell(self, text: str) -> None:
        self._pieces.append(text)
        if self.job.in_pieces and (text or self._logprobs):
            self.job.channel.send(Text(text, self.index, tuple(self._logprobs)))
            self._logprobs.clear()

    def _end(self, reason: Any) -> None:
        self.ended = True
        self._check_confidence()
        self._write_at_once()
        rest, calls = self._text.finish(), list[ToolCall]()
        if self._calls is not None:
            certain = self._calls.add(rest)
            rest, calls = self._calls.finish()
            rest = certain + rest
        if rest:
            self._tell(rest)
        channel = self.job.channel
        if not self.job.in_pieces or self._logprobs:
            text = "" if self.job.in_pieces else "".join(self._pieces)
            channel.send(Text(text, self.index, tuple(self._logprobs)))
        channel.send(
            Finished(
                "tool_calls" if calls and reason == "stop" else reason,
                len(self.prompt),
                self.cached,
                self.generated,
                self.index,
                self.certainty.confidence() if self.certainty is not None else None,
                tuple(calls),
            )
        )

    def _check_confidence(self) -> None:
        options = self.job.options
        floor, window = options.confidence_floor, options.confidence_window
        if not floor or self.certainty is None or (window and self.generated > window):
            return
        mean = self.certainty.settled().mean_logprob
        if mean >= math.log(floor):
            return
        probability = math.exp(mean)
        self._write_at_once()
        raise LowConfidenceError(
            f"{self.job.name} was not sure of its answer: its tokens' mean probability was "
            f"{probability:.2f} after {self.generated}, below the floor of {floor:.2f}.",
            partial_text="".join(self._pieces),
            confidence=probability,
            model=self.job.name,
            hint="Ask a larger model, or lower confidence_floor.",
        )
