"""Engine: continuous batching. Many answers from one loaded model, one step at a time.

A step reads one token of every answer under way in a single computation, then a part of the
prompts that have come meanwhile. Answers join and leave between steps. The method is that of Orca
(Yu et al., 2022), with prompts read in parts as in Sarathi (Agrawal et al., 2023).

Prompts are not read in the same computation as answers: llama.cpp cuts a batch into parts of equal
length for each sequence, and a prompt's tokens would be rounded by how many others are at work.
"""

from __future__ import annotations

import functools
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Final, NoReturn

from modelrouter.backends.llamacpp.engine.figures import EngineFigures, Meter
from modelrouter.backends.llamacpp.engine.generation import Generation
from modelrouter.backends.llamacpp.engine.job import unexpected
from modelrouter.backends.llamacpp.engine.native import Context, DecodingAborted, Model, NativeError
from modelrouter.backends.llamacpp.engine.pace import Pace
from modelrouter.backends.llamacpp.engine.sampling import NoTokenAllowed
from modelrouter.backends.llamacpp.engine.slots import WORTH_COPYING, Slots, common
from modelrouter.backends.llamacpp.engine.token_confidence import (
    ConfidenceReader,
    TokenConfidence,
    top_tokens,
)
from modelrouter.exceptions import BackendError, LocalModelError

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Scores = npt.NDArray[np.float32]

__all__ = ["Engine"]

PART: Final = 64
"""Prompts are read in multiples of so many tokens, but for their ends. Attention for fewer tokens
at once is computed in another order, which rounds otherwise; so what a prompt's beginning comes to
does not depend on how much is read at a time."""

_PROMPT_TOKENS_A_STEP: Final = 2 * PART
"""Prompt tokens read between two tokens of the answers under way, which wait meanwhile, unless
one batch reads all that is left of every prompt."""
_SHORT: Final = 2 * _PROMPT_TOKENS_A_STEP
"""Prompt tokens in all that answers under way wait for, so as to go on together with theirs."""
_DEEP: Final = 2_048
"""From this many tokens on, attention makes a batch of prompt tokens take too long to wait for."""
_LAST_TOKENS: Final = 4
"""So few tokens at a prompt's end are read one by one, beside the tokens of answers under way:
a computation of their own would cost more."""
_CELLS: Final = 256
"""Attention reads every sequence's memory as far as the longest of a step goes, so many more at a
time."""
_STEPS_WITH_GAP: Final = 4
"""So long a slot may lie empty between two at work; under load the next prompt fills it at once."""


class Engine:
    """Answers from one context; belongs to the thread that made it.

    Args:
        context: with a sequence for each answer that may be under way.
        exact: whether an answer has to be the same to the bit whatever was asked before. Earlier
            prompts are then reused in whole parts and earlier answers not at all, but where keys
            and values are in eight bits: these come out the same however they are read.
    """

    def __init__(self, context: Context, *, exact: bool = False) -> None:
        self.context = context
        self._model: Model = context.model
        self._slots = Slots(context.sequences, PART if exact and not context.even else 1)
        self._reader = ConfidenceReader(context.model.n_vocab)
        self._answering: list[Generation] = []  # by slot
        self._reading: deque[Generation] = deque()
        self._steps_with_gap = 0
        self._waited = False
        self._pace = Pace(context.sequences if context.model.takes_back else 0)
        self._prefill, self._decode = Meter(), Meter()
        self._first_token_s = 0.0
        self._answered = self._prompt_tokens = self._reused_tokens = 0
        self._weights_bytes = context.model.size_bytes
        self._cache_bytes = context.size_bytes

    @property
    def running(self) -> int:
        """Answers under way."""
        return len(self._answering) + len(self._reading)

    @property
    def free(self) -> int:
        """How many more may begin."""
        return self._slots.free

    def figures(self, waiting: int = 0) -> EngineFigures:
        """The state now. May be asked for from any thread."""
        context = self.context
        return EngineFigures(
            loaded=True,
            slots=context.sequences,
            context_per_slot=context.n_ctx,
            running=self.running,
            waiting=waiting,
            answered=self._answered,
            prefill_tokens_per_s=self._prefill.rate,
            decode_tokens_per_s=self._decode.rate,
            stream_tokens_per_s=self._decode.turns,
            first_token_s=self._first_token_s,
            prompt_tokens=self._prompt_tokens,
            reused_tokens=self._reused_tokens,
            weights_bytes=self._weights_bytes,
            cache_bytes=self._cache_bytes,
            cache_type=context.cache_type,
        )

    def begin(self, generation: Generation) -> None:
        """Give an answer a slot; there must be a free one, and it must fit it."""
        generation.job.stage = "reading the prompt"
        placement = self._slots.place(generation.prompt)
        generation.slot, generation.certainty = placement.slot, TokenConfidence(self._reader)
        for source, target in placement.copies:
            self.context.copy(source, target)
        self._keep(generation, placement.reused)
        self._follow(generation)
        self._reading.append(generation)

    def step(self) -> None:
        """Go on with everything that is under way.

        Raises:
            DecodingAborted: the context's switch was turned; nothing is in memory any more.
        """
        self._drop_those_gone()
        try:
            self._close_gap()
            if not self._wait_for_prompts():
                self._answer()
            self._read_prompts()
        except DecodingAborted:
            self._forget_all()
            raise

    def fail_all(self, error: Callable[[str], BackendError]) -> None:
        """End all that is under way; ``error`` makes the error for a model's name."""
        for generation in [*self._answering, *self._reading]:
            self._fail(generation, error(generation.job.name))
        self._answering.clear()
        self._reading.clear()

    # Prompts

    def _keep(self, generation: Generation, tokens: int) -> None:
        """Keep so much of what is in the generation's slot; it is the beginning of its prompt."""
        if not self.context.forget(generation.slot, tokens):
            self.context.forget(generation.slot)  # a model that can only forget all
            self._slots.forget(generation.slot)
            tokens = 0
        generation.position = generation.cached = tokens

    def _follow(self, generation: Generation) -> None:
        """If another is reading the same beginning just now, wait for it; read it but once."""
        prompt, best = generation.prompt, generation.cached
        usable = self._slots.whole(len(prompt) - 1)
        for other in self._reading:
            same = prompt == other.prompt
            shared = self._slots.whole(min(usable, common(prompt, other.prompt)))
            if same:
                shared = len(prompt)
            if (same or shared >= best + WORTH_COPYING) and other.leader is None:
                generation.leader, generation.shared, best = other, shared, shared

    def _read_prompts(self) -> None:
        if not self._reading:
            return
        budget = self.context.n_batch
        left = sum(g.left for g in self._reading)
        deep = max(g.position for g in self._reading) > _DEEP
        if self._answering and (left > budget or deep):
            budget = _PROMPT_TOKENS_A_STEP
        short = [g for g in self._reading if g.leader is None and g.left < PART]
        if short:
            self._read_together(short, budget)
        for generation in [g for g in self._reading if g.leader is None and g.left >= PART]:
            if budget <= 0:
                break
            size = min(_parts(generation.left), max(PART, _parts(budget)))
            budget -= size
            self._read([generation], size)

    def _read_together(self, generations: list[Generation], budget: int) -> None:
        """Read as much of each as the one with least left has, in one computation."""
        size = min(g.left for g in generations)
        most = max(1, budget // size)
        self._read(sorted(generations[:most], key=_slot), size)

    def _read(self, generations: list[Generation], size: int) -> None:
        """Read so many tokens of each prompt; those read to their end get their first token."""
        parts = [
            (g.slot, g.prompt[g.position : g.position + size], g.position) for g in generations
        ]
        begun = time.perf_counter()
        try:
            self.context.read(parts, [g.left == size for g in generations])
            whole = [g for g in generations if g.left == size]
            scores = self.context.scores(len(whole)) if whole else None
        except NativeError as exc:
            for generation in generations:
                self._reading.remove(generation)
                self._give_up(generation, exc)
            return
        self._prefill.add(size * len(generations), time.perf_counter() - begun)
        for generation in generations:
            generation.position += size
            self._slots.learn(generation.slot, generation.prompt, generation.position)
            # To the end of the line, so that a long prompt holds up no short one.
            self._reading.remove(generation)
            if not generation.reading:
                continue
            self._lead(generation)
            under_way = self._reading if generation.left > _LAST_TOKENS else self._answering
            under_way.append(generation)
        if scores is not None:
            for row, generation in zip(scores, whole, strict=True):
                self._answering += self._begin_answer(generation, row, int(row.argmax()))
        self._answering.sort(key=_slot)

    def _begin_answer(self, generation: Generation, scores: Scores, best: int) -> list[Generation]:
        """Choose the first token of an answer, and of those that waited for the same prompt."""
        going_on = []
        for each in (generation, *self._lead(generation)):
            job = each.job
            job.stage = "answering"
            self._prompt_tokens += len(each.prompt)
            self._reused_tokens += each.cached
            waited = time.monotonic() - job.submitted
            share = 0.2 if self._first_token_s else 1.0
            self._first_token_s += (waited - self._first_token_s) * share
            if self._choose(each, scores, best):
                going_on.append(each)
        return going_on

    def _lead(self, leader: Generation) -> list[Generation]:
        """Let those go on that waited for this one; gives those whose whole prompt is read."""
        whole = []
        for other in [g for g in self._reading if g.leader is leader]:
            if leader.position < other.shared:
                continue
            other.leader = None
            self.context.copy(leader.slot, other.slot)
            self._keep(other, other.shared)
            self._slots.learn(other.slot, other.prompt, other.position)
            if not other.reading:
                self._reading.remove(other)
                whole.append(other)
        return whole

    def _wait_for_prompts(self) -> bool:
        """Whether answers wait for short prompts to be read, so as to go on together with them.

        Requests that come at the same moment are heard of one by one; without this the first few
        would take a step of their own, and the last one at the end. Never twice in a row.
        """
        reading = self._reading
        short = bool(reading) and sum(g.left for g in reading) <= _SHORT
        self._waited = short and bool(self._answering) and not self._waited
        return self._waited

    # Answers

    def _answer(self) -> None:
        under_way = self._answering
        if not under_way:
            return
        begun = time.perf_counter()
        try:
            scores, likeliest = self._scores(under_way)
        except NativeError as exc:
            for generation in under_way:
                self._give_up(generation, exc)
            self._answering = []
            return
        going_on = []
        for generation, row, best in zip(under_way, scores, likeliest, strict=True):
            generation.position = position = generation.position + 1
            left = len(generation.prompt) - position
            if left < 0:
                if self._choose(generation, row, best):
                    going_on.append(generation)
            elif left > 0:
                going_on.append(generation)
            else:
                going_on += self._begin_answer(generation, row, best)
        if len(going_on) != len(under_way):
            going_on.sort(key=_slot)
        self._answering = going_on
        self._decode.add(len(under_way), time.perf_counter() - begun)

    def _scores(self, under_way: list[Generation]) -> tuple[Iterable[Scores], list[int]]:
        """Read the next token of each of these answers: their scores, and the best one's token.

        Raises:
            DecodingAborted, NativeError: as for :meth:`Context.step`.
        """
        slots = [g.slot for g in under_way]
        tokens = [g.next_token for g in under_way]
        positions = [g.position for g in under_way]
        rows = self._pace.rows(slots)
        idle = self._idle(rows, slots, max(positions)) if rows else {}
        if idle:
            return self._scores_among(idle, slots, tokens, positions)
        begun = time.perf_counter()
        self.context.step(slots, tokens, positions)
        scores = self.context.scores(len(slots))
        if slots[-1] + 1 == len(slots):
            self._pace.note(len(slots), time.perf_counter() - begun)
        return scores, scores.argmax(axis=1).tolist()

    def _scores_among(
        self, idle: dict[int, int], slots: list[int], tokens: list[int], positions: list[int]
    ) -> tuple[Iterable[Scores], list[int]]:
        """The same with a row for each idle slot, given with its length, that nobody sees."""
        line = dict(zip(slots, zip(tokens, positions, strict=True), strict=True))
        line |= {slot: (tokens[0], length) for slot, length in idle.items()}
        every = sorted(line)
        begun = time.perf_counter()
        try:
            self.context.step(every, [line[s][0] for s in every], [line[s][1] for s in every])
            scores = self.context.scores(len(every))
        finally:
            for slot, length in idle.items():
                self.context.forget(slot, length)
        self._pace.note(len(every), time.perf_counter() - begun)
        likeliest = scores.argmax(axis=1).tolist()
        return [scores[slot] for slot in slots], [likeliest[slot] for slot in slots]

    def _idle(self, rows: int, slots: list[int], deepest: int) -> dict[int, int]:
        """The first so many slots but these, each with how many tokens are in its memory.

        None if one of them has so many that the others' attention would have to go further, or no
        room for one more.
        """
        context = self.context
        most = min((deepest // _CELLS + 1) * _CELLS, context.n_ctx)
        idle = {slot: context.length(slot) for slot in {*range(rows)}.difference(slots)}
        return idle if all(length < most for length in idle.values()) else {}

    def _choose(self, generation: Generation, scores: Scores, best: int) -> bool:
        """Choose an answer's next token; whether it goes on after it."""
        options, certainty = generation.job.options, generation.certainty
        assert certainty is not None
        try:
            token = generation.sampler.choose(scores, best)
            if not self._reader.note(certainty, scores, best, token):
                self._distrust(generation)
            reported = None
            if options.logprobs:
                wanted = options.top_logprobs
                reported = functools.partial(
                    _logprobs, self._model, scores, certainty, token, wanted
                )
            generation.take(token, reported)
        except NoTokenAllowed as exc:
            error = LocalModelError(
                "The model has no token that can continue what the answer's format asks for."
            )
            error.__cause__ = exc
            self._fail(generation, error)
        except BackendError as exc:
            self._fail(generation, exc)
        except Exception as exc:  # whatever it is, this caller hears of it and the others go on
            self._fail(generation, unexpected(generation.job.name, exc))
        else:
            if generation.ended:
                self._answered += 1
                self._release(generation)
        return not generation.ended

    def _distrust(self, generation: Generation) -> NoReturn:
        generation.position = 0
        self._slots.forget(generation.slot)  # none of it is to be used again
        raise LocalModelError(
            "The model gives no numbers but nan.", hint="Its file is damaged; download it again."
        )

    # Leaving

    def _drop_those_gone(self) -> None:
        gone = [g for g in self._answering if g.job.unwanted]
        if self._reading:
            gone += [g for g in self._reading if g.job.unwanted]
        if not gone:
            return
        for generation in gone:
            if not generation.job.cancelled:
                generation.job.fail(generation.job.late())
            self._leave(generation)
        self._answering = [g for g in self._answering if not g.ended]
        self._reading = deque(g for g in self._reading if not g.ended)

    def _leave(self, generation: Generation) -> None:
        generation.ended = True
        for other in self._reading:
            if other.leader is generation:
                other.leader = None  # it reads for itself
        self._release(generation)

    def _release(self, generation: Generation) -> None:
        """Give the slot back; what is in its memory may serve the next."""
        if self._slots.grain == 1:
            self._slots.learn(generation.slot, generation.tokens, generation.position)
        self._slots.release(generation.slot)

    def _fail(self, generation: Generation, error: BackendError) -> None:
        """Tell the caller; the request's other answers end with it."""
        generation.job.fail(error)
        self._leave(generation)

    def _give_up(self, generation: Generation, cause: NativeError) -> None:
        """llama.cpp could not compute it; what is in the slot's memory is not certain."""
        error = LocalModelError(f"{generation.job.name} failed: {cause}.")
        error.__cause__ = cause
        self._fail(generation, error)
        self._slots.forget(generation.slot)
        self.context.forget(generation.slot)

    def _forget_all(self) -> None:
        self._slots.clear()
        self.context.clear()

    # Neighbours

    def _close_gap(self) -> None:
        """Move the last answer into an empty slot before it, if that has been empty for a while."""
        answering = self._answering
        if not self._reading and answering and answering[-1].slot + 1 == len(answering):
            return  # side by side, as nearly always
        gap = self._slots.gap()
        self._steps_with_gap = self._steps_with_gap + 1 if gap is not None else 0
        if gap is None or self._steps_with_gap <= _STEPS_WITH_GAP:
            return
        source, target = gap
        moved = next(g for g in [*self._answering, *self._reading] if g.slot == source)
        for one, other in self._slots.move(source, target):
            self.context.copy(one, other)
        moved.slot = target
        self._answering.sort(key=_slot)
        self._steps_with_gap = 0


def _parts(tokens: int) -> int:
    return tokens // PART * PART


def _slot(generation: Generation) -> int:
    return generation.slot


def _logprobs(
    model: Model, scores: Scores, certainty: TokenConfidence, token: int, top: int
) -> Mapping[str, Any]:
    """A token as OpenAI's ``logprobs.content`` lists it."""
    total = certainty.settled().log_total

    def entry(each: int) -> dict[str, Any]:
        piece = model.piece(each)
        return {
            "token": piece.decode("utf-8", "replace"),
            "logprob": float(scores[each]) - total,
            "bytes": list(piece),
        }

    return {**entry(token), "top_logprobs": [entry(each) for each in top_tokens(scores, top)]}
