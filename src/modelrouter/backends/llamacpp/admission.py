"""Admission: from a request to the answers that will be generated, or the reason why not."""

from __future__ import annotations

from modelrouter.backends.llamacpp.generation import Generation
from modelrouter.backends.llamacpp.grammar import grammar_of
from modelrouter.backends.llamacpp.job import Job
from modelrouter.backends.llamacpp.loading import Loaded
from modelrouter.backends.llamacpp.native import Model, NativeError, NativeGrammar
from modelrouter.backends.llamacpp.sampling import Sampler
from modelrouter.backends.llamacpp.text import TextAssembler
from modelrouter.exceptions import BadRequestError

__all__ = ["admit"]


def admit(job: Job, loaded: Loaded, window: int, max_tokens: int) -> list[Generation]:
    """The answers to a request, ready to be begun.

    Args:
        job: the request.
        loaded: its model.
        window: tokens of prompt and answer together that a slot may ever have.
        max_tokens: bound on an answer where neither the call nor the card gives one.

    Raises:
        BadRequestError: the prompt is too long or empty, or an option cannot be kept to.
        LocalModelError: the model has no chat template.
    """
    model = loaded.model
    prompt = loaded.prompts.write(job.messages, job.name, override=job.chat_template)
    window = min(window, job.window, model.trained_window or job.window)
    limit = _limit(job, len(prompt), window, max_tokens)
    stops = (*job.options.stop, *loaded.prompts.template(job.chat_template).stops)
    return [
        Generation(
            job, index, prompt, limit, _sampler(job, index, model), TextAssembler(stops), model
        )
        for index in range(job.options.n)
    ]


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


def _sampler(job: Job, index: int, model: Model) -> Sampler:
    # Each answer has a grammar of its own: it remembers what was written so far.
    text = grammar_of(job.response_format, job.name)
    try:
        grammar = NativeGrammar(model, text) if text is not None else None
    except NativeError as exc:
        raise BadRequestError(
            f"response_format makes a grammar that llama.cpp refuses: {exc}.", model=job.name
        ) from exc
    return Sampler(job.options.for_answer(index), model.n_vocab, job.name, grammar)
