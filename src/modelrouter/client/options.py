"""The options of a call: OpenAI's parameters and the router's own, told apart and checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields
from typing import Any, Final, TypedDict, cast

from modelrouter._common.plain import MOST_LEVELS, shown, too_deep
from modelrouter.config import UNSET, GenerationSettings, Timeout
from modelrouter.exceptions import ConfigurationError, InvalidTaskError
from modelrouter.policies import PolicyLike
from modelrouter.task import Kind, TaskLike

__all__ = [
    "AUTO",
    "CallOptions",
    "EmbeddingOptions",
    "ImageOptions",
    "MixedOptions",
    "check_names",
    "checked_conversation",
    "checked_tags",
    "checked_texts",
    "drawing_options",
    "generation_settings",
    "mixed_options",
    "one_task",
]

AUTO: Final = "auto"
"""The model name that means "choose for me"."""


class CallOptions(TypedDict, total=False):
    """Keywords of ``completion``, ``acompletion`` and ``chat.completions.create``.

    The first group is the router's own and never leaves it; the rest has OpenAI's names and
    meanings. What only one provider knows goes into ``extra_body``.
    """

    policy: PolicyLike | None
    kind: Kind | None
    metadata: Mapping[str, Any] | None
    timeout: Timeout | float | None
    confidence_floor: float | None
    tags: Mapping[str, str] | None
    conversation: str | None

    tools: Iterable[Mapping[str, Any]] | None
    tool_choice: Any
    response_format: Any
    temperature: float | None
    top_p: float | None
    max_tokens: int | None
    max_completion_tokens: int | None
    stop: str | list[str] | None
    seed: int | None
    presence_penalty: float | None
    frequency_penalty: float | None
    n: int | None
    user: str
    logit_bias: Mapping[str, float] | None
    logprobs: bool | None
    top_logprobs: int | None
    parallel_tool_calls: bool
    reasoning_effort: str | None
    stream_options: Mapping[str, Any] | None
    extra_body: Mapping[str, Any] | None


class EmbeddingOptions(TypedDict, total=False):
    """Keywords of ``embedding``, ``aembedding`` and ``embeddings.create``.

    The first group is the router's own: with ``truncate`` only the beginning is read of a text
    beyond the model's window, where it would be refused otherwise; with ``multimodal`` texts get
    vectors that can be compared with those of pictures. The rest is OpenAI's.
    """

    policy: PolicyLike | None
    timeout: Timeout | float | None
    tags: Mapping[str, str] | None
    truncate: bool
    multimodal: bool

    dimensions: int | None
    encoding_format: str
    user: str


class ImageOptions(TypedDict, total=False):
    """Keywords of ``image_generation``, ``aimage_generation`` and ``images.generate``.

    The first group is the router's own and never leaves it; the rest is OpenAI's, and which of it
    a model takes is its provider's affair.
    """

    policy: PolicyLike | None
    timeout: Timeout | float | None
    tags: Mapping[str, str] | None
    metadata: Mapping[str, Any] | None

    n: int | None
    size: str | None
    quality: str | None
    style: str | None
    background: str | None
    moderation: str | None
    output_format: str | None
    output_compression: int | None
    response_format: str | None
    user: str | None
    extra_body: Mapping[str, Any] | None


class MixedOptions(TypedDict, total=False):
    """Keywords of ``classify_image``, ``aclassify_image``; all the router's own."""

    policy: PolicyLike | None
    timeout: Timeout | float | None
    tags: Mapping[str, str] | None
    truncate: bool


def mixed_options(options: EmbeddingOptions) -> MixedOptions:
    """The options of a call for vectors with pictures among what is given.

    Raises:
        ConfigurationError: an option is unknown, or is for texts alone.
    """
    check_names(options, EmbeddingOptions)
    for name in ("dimensions", "user"):
        if options.get(name) is not None:
            raise ConfigurationError(
                f"{name} is for texts alone, and pictures are among the input.",
                hint=f"Leave {name} out.",
            )
    known = {name: options[name] for name in MixedOptions.__annotations__ if name in options}  # type: ignore[literal-required]  # names of both
    return cast("MixedOptions", known)


_ROUTERS_OWN: Final = ("policy", "timeout", "tags", "metadata")
_MOST_PICTURES: Final = 10


def drawing_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """What is passed on of a call's options for drawing.

    Raises:
        ConfigurationError: ``n`` or ``response_format`` has a value that nobody takes.
    """
    told = {k: v for k, v in options.items() if k not in _ROUTERS_OWN and v is not None}
    n = told.get("n", 1)
    if isinstance(n, bool) or not isinstance(n, int) or not 1 <= n <= _MOST_PICTURES:
        raise ConfigurationError(f"n={n!r} must be a whole number.", hint="Ask for 1 to 10.")
    if told.get("response_format", "url") not in ("url", "b64_json"):
        raise ConfigurationError(
            f"response_format={told['response_format']!r} is not offered.",
            hint="Pictures come as 'url' or 'b64_json'.",
        )
    return told


_SAMPLING: Final = tuple(
    f.name for f in fields(GenerationSettings) if f.name not in ("extra", "confidence_window")
)
_PASSED_ON: Final = (
    "n",
    "user",
    "logit_bias",
    "logprobs",
    "top_logprobs",
    "parallel_tool_calls",
    "reasoning_effort",
    "extra_body",
)


_MAPPING: Final = (Mapping, "a mapping")
_KINDS: Final[dict[str, tuple[Any, str]]] = {
    "stop": ((str, list, tuple), "a text or a list of texts"),
    "seed": (int, "a whole number"),
    "n": (int, "a whole number"),
    "user": (str, "a text"),
    "logit_bias": _MAPPING,
    "logprobs": (bool, "True or False"),
    "top_logprobs": (int, "a whole number"),
    "parallel_tool_calls": (bool, "True or False"),
    "reasoning_effort": (str, "a text"),
    "extra_body": _MAPPING,
    "stream_options": _MAPPING,
}
"""What may be given where nothing else looks at it before a provider does."""


def check_names(options: Mapping[str, Any], known: type = CallOptions) -> None:
    """Refuse a misspelt option, and one whose value is nested without end.

    Args:
        options: of a call.
        known: the options there are.

    Raises:
        ConfigurationError: names the option and the nearest known one.
    """
    for name, value in options.items():
        if too_deep(value):
            raise ConfigurationError(f"{name} is nested more than {MOST_LEVELS} levels deep.")
        if name not in known.__annotations__:
            near = difflib.get_close_matches(name, known.__annotations__, n=1)
            raise ConfigurationError(
                f"Unknown option {name!r}.",
                hint=f"Did you mean {near[0]!r}?"
                if near
                else "What only one provider knows goes into extra_body={...}."
                if "extra_body" in known.__annotations__
                else f"The options are {', '.join(known.__annotations__)}.",
            )


def generation_settings(options: Mapping[str, Any]) -> GenerationSettings:
    """The sampling parameters among a call's options.

    Raises:
        ConfigurationError: a value out of range.
    """
    given = {name: options[name] for name in _SAMPLING if name in options}
    if given.get("max_tokens", UNSET) in (UNSET, None) and "max_completion_tokens" in options:
        given["max_tokens"] = options["max_completion_tokens"]
    extra = {n: options[n] for n in _PASSED_ON if options.get(n) is not None}
    for name, (kind, what) in _KINDS.items():
        value = options.get(name)
        if value is None:
            continue
        if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
            raise ConfigurationError(
                f"{name} must be {what}, got {value!r}.", hint=f"Leave {name} out, or give {what}."
            )
    stops = options.get("stop")
    if not isinstance(stops, str) and any(not isinstance(stop, str) for stop in stops or ()):
        raise ConfigurationError(
            f"stop must be a text or a list of texts, got {stops!r}.",
            hint='As "END" or ["END", "STOP"].',
        )
    if extra.get("n", 1) < 1:
        raise ConfigurationError(f"n={extra['n']!r} is out of range.", hint="Use 1 or more.")
    return GenerationSettings(**given, extra=extra)


def checked_tags(tags: object) -> Mapping[str, str]:
    """Whom and what a call is for: texts by name.

    Raises:
        ConfigurationError: anything but a mapping of texts.
    """
    if tags is None:
        return {}
    if not isinstance(tags, Mapping):
        raise ConfigurationError(
            f"tags must be a mapping, got {shown(tags)}.", hint='As {"user": "ann"}.'
        )
    for name, value in tags.items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigurationError(
                f"tags: {shown(name)}: {shown(value)} are not both texts.",
                hint='As {"user": "ann"}.',
            )
    return dict(tags)


def checked_conversation(conversation: object) -> str | None:
    """The id of the conversation that a call belongs to.

    Raises:
        ConfigurationError: not a text, or empty.
    """
    if conversation is None or (isinstance(conversation, str) and conversation):
        return conversation
    raise ConfigurationError(
        f"conversation must be a text that is not empty, got {shown(conversation)}.",
        hint="Give a text, the same for each turn.",
    )


def checked_texts(texts: Iterable[Any], options: Mapping[str, Any]) -> tuple[str, ...]:
    """The texts of a call for embeddings, whose options are checked too.

    Raises:
        InvalidTaskError: ``input`` holds no text, an empty one, or what is not a text.
        ConfigurationError: an option is unknown, or has a value that is not offered.
    """
    check_names(options, EmbeddingOptions)
    if options.get("encoding_format", "float") != "float":
        raise ConfigurationError(
            f"encoding_format={options['encoding_format']!r} is not offered.",
            hint="Vectors are lists of numbers: 'float'.",
        )
    found = tuple(texts)
    if not found:
        raise InvalidTaskError("input", "holds no text.", hint="Give at least one.")
    for place, text in enumerate(found):
        if not isinstance(text, str) or not text.strip():
            said = "is empty" if isinstance(text, str) else f"is of type {type(text).__name__}"
            raise InvalidTaskError(f"input[{place}]", f"{said}.", hint="Give texts, none empty.")
    return found


def one_task(task: TaskLike | None, messages: Sequence[Any] | None) -> TaskLike:
    """The task of a call, which is given as ``task`` or as ``messages``.

    Raises:
        InvalidTaskError: both are given, or neither.
    """
    if task is not None and messages is not None:
        raise InvalidTaskError("task", "given twice, as task and as messages.", hint="Give one.")
    if task is not None:
        return task
    if messages is not None:
        return messages
    raise InvalidTaskError(
        "task", "is missing.", hint='Give a string or messages=[{"role": "user", ...}].'
    )
