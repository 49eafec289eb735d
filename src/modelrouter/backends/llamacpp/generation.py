"""One answer: prompt tokens into the model, tokens out of it, until a reason to stop."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from modelrouter.backends.llamacpp.channel import Finished
from modelrouter.backends.llamacpp.native import Context, Model, Switch
from modelrouter.backends.llamacpp.sampling import NoTokenAllowed, Sampler
from modelrouter.backends.llamacpp.text import TextAssembler
from modelrouter.exceptions import LocalModelError

__all__ = ["Memory", "generate"]


@dataclass(slots=True)
class Memory:
    """What of the last prompt is still in the context, to be read but once.

    Only whole batches that begin at multiples of the batch size are kept: a prompt is cut into the
    same batches wherever its reading begins, so that its answer is the same to the last bit,
    whatever was asked before.
    """

    context: Context
    kept: list[int]

    def recall(self, prompt: list[int]) -> int:
        """How many of the prompt's tokens need no reading; the rest of the memory is dropped."""
        step = self.context.n_batch
        # At least one token has to be read for its scores.
        known = min(_common(self.kept, prompt), len(prompt) - 1) // step * step
        # Until the prompt is read nothing else is certain to be in memory.
        self.kept = prompt[:known]
        if not self.context.forget(known):
            self.context.forget(0)
            self.kept = []
        return len(self.kept)

    def learn(self, prompt: list[int]) -> None:
        """The prompt has been read to its end."""
        step = self.context.n_batch
        self.kept = prompt[: len(prompt) // step * step]


def _common(one: list[int], other: list[int]) -> int:
    """Length of the beginning that both have."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((i for i, (a, b) in pairs if a != b), min(len(one), len(other)))


def generate(
    memory: Memory,
    prompt: list[int],
    sampler: Sampler,
    text: TextAssembler,
    limit: int,
    switch: Switch,
    overdue: Callable[[], None],
) -> Iterator[str | Finished]:
    """The answer's text, piece by piece, and how it ended.

    Args:
        memory: of the context to use.
        prompt: at least one token.
        sampler: chooses the tokens.
        text: puts the text together; knows the stop strings.
        limit: at most so many tokens are generated; prompt and answer fit the context.
        switch: ends it between two operations, by DecodingAborted.
        overdue: called before each step; raises when there is no time left.

    Raises:
        DecodingAborted: the switch was turned.
        NativeError: llama.cpp failed.
        LocalModelError: the model gives no numbers, or cannot write what the grammar asks for.
    """
    context, model = memory.context, memory.context.model
    context.obey(switch)
    cached = position = memory.recall(prompt)
    while position < len(prompt):
        overdue()
        batch = prompt[position : position + context.n_batch]
        context.decode(batch, position)
        position += len(batch)
    memory.learn(prompt)
    generated = 0
    ended = False
    while generated < limit:
        token = _next(context, model, sampler)
        if ended := model.ends(token):
            break
        sampler.accept(token)
        generated += 1
        if new := text.add(model.piece(token)):
            yield new
        if ended := text.stopped:
            break
        if generated < limit:
            overdue()
            context.decode([token], position)
            position += 1
    if rest := text.finish():
        yield rest
    yield Finished("stop" if ended else "length", len(prompt), cached, generated)


def _next(context: Context, model: Model, sampler: Sampler) -> int:
    scores = context.scores()
    if not scores.max() > float("-inf"):  # a comparison with nan is false
        raise LocalModelError(
            "The model gives no numbers but nan.", hint="Its file is damaged; download it again."
        )
    try:
        return sampler.choose(scores)
    except NoTokenAllowed as exc:
        raise LocalModelError(
            "The model has no token that can continue what response_format asks for."
        ) from exc
