"""Admission: from a request to the answers that will be generated, or the reason why not."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from modelrouter.backends.llamacpp.engine.generation import Generation
from modelrouter.backends.llamacpp.engine.job import Job
from modelrouter.backends.llamacpp.engine.native import Model
from modelrouter.backends.llamacpp.engine.sampling import Sampler
from modelrouter.backends.llamacpp.engine.text import TextAssembler
from modelrouter.backends.llamacpp.grammar.constraint import Constraint, GrammarError
from modelrouter.backends.llamacpp.grammar.response_format import calls_grammar, grammar_of
from modelrouter.backends.llamacpp.loading import Loaded
from modelrouter.backends.llamacpp.tools import (
    Form,
    ToolCallAssembler,
    ToolChoice,
    chosen_tools,
    form_of,
)
from modelrouter.exceptions import BadRequestError

__all__ = ["admit"]


def admit(
    job: Job, loaded: Loaded, window: int, max_tokens: int, go_on: Callable[[], bool]
) -> list[Generation]:
    """The answers to a request, ready to be begun.

    Args:
        job: the request.
        loaded: its model.
        window: tokens of prompt and answer together that a slot may ever have.
        max_tokens: bound on an answer where neither the call nor the card gives one.
        go_on: asked while the prompt is written; ``False`` gives up.

    Raises:
        BadRequestError: the prompt is too long or empty, or an option cannot be kept to.
        LocalModelError: the model has no chat template, or one that does not come to an end.
        RenderingStopped: ``go_on`` said so.
    """
    model, prompts = loaded.model, loaded.prompts
    template = prompts.template(job.chat_template)
    form = form_of(template.source)
    choice = chosen_tools(job.tools, job.tool_choice, job.name)
    prompt = prompts.write(
        job.messages, job.name, tools=choice.offered, override=job.chat_template, go_on=go_on
    )
    window = min(window, job.window, model.trained_window or job.window)
    limit = _limit(job, len(prompt), window, max_tokens)
    shown = prompts.markers(job.chat_template) if choice.offered else {}
    grammar = _grammar(job, choice, form)
    vocabulary = _Showing(model, shown) if shown else model
    return [
        Generation(
            job,
            index,
            prompt,
            limit,
            _sampler(job, index, model, grammar, shown),
            TextAssembler((*job.options.stop, *template.stops)),
            vocabulary,
            ToolCallAssembler(form, choice.names) if choice.offered else None,
        )
        for index in range(job.options.n)
    ]


def _grammar(job: Job, choice: ToolChoice, form: Form) -> tuple[str, ...]:
    """What the answer has to follow, and what it may follow instead; nothing for free text."""
    if choice.forced:
        return calls_grammar(choice, form, job.name)
    grammar = grammar_of(job.response_format, job.name)
    if grammar and choice.offered:
        raise BadRequestError(
            f"{job.name} cannot keep to a response_format and be free to call tools.",
            model=job.name,
            hint="Leave one of them out, or set tool_choice.",
        )
    return grammar


class _Showing:
    """A vocabulary in which the markers of calls have a text, where they are control tokens."""

    def __init__(self, model: Model, shown: Mapping[int, bytes]) -> None:
        self._piece, self.ends, self._shown = model.piece, model.ends, shown

    def piece(self, token: int) -> bytes:
        """The bytes of text that a token stands for."""
        return self._shown.get(token) or self._piece(token)


def _limit(job: Job, prompt: int, window: int, otherwise: int) -> int:
    """How many tokens the answer may have.

    Raises:
        BadRequestError: the prompt leaves no room for one.
    """
    if prompt == 0:
        raise BadRequestError(
            f"The chat template of {job.name} makes nothing of these messages.", model=job.name
        )
    if prompt >= window:
        raise BadRequestError(
            f"The prompt has {prompt:,} tokens, and {job.name} has a window of {window:,} for "
            "prompt and answer together.",
            model=job.name,
            hint="Shorten it, or use a model with a larger window.",
        )
    wanted = job.options.max_tokens or min(otherwise, job.most_output or otherwise)
    if job.most_output is not None:
        wanted = min(wanted, job.most_output)
    return min(wanted, window - prompt)


def _sampler(
    job: Job, index: int, model: Model, grammar: tuple[str, ...], shown: Mapping[int, bytes]
) -> Sampler:
    # Each answer has a constraint of its own: it remembers what was written so far.
    constraint = _constraint(job, model, grammar, shown) if grammar else None
    return Sampler(job.options.for_answer(index), model.n_vocab, job.name, constraint)


def _constraint(
    job: Job, model: Model, grammars: tuple[str, ...], shown: Mapping[int, bytes]
) -> Constraint:
    """By the first of the grammars that can be followed.

    Raises:
        BadRequestError: none can.
    """
    for grammar in grammars:
        try:
            return Constraint(model, grammar, shown)
        except GrammarError as exc:
            reason = exc
            if "nsatisfiable" in str(exc):
                break  # whatever were written would be refused afterwards
    raise BadRequestError(
        f"{job.name}'s answer would have to follow a grammar that cannot be made: {reason}.",
        model=job.name,
        hint="Simplify response_format or the tools' parameters.",
    ) from reason
