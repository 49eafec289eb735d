"""The options of a call: OpenAI's parameters and the router's own, told apart and checked."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Final, TypedDict

from modelrouter.config import UNSET, GenerationSettings, Timeout
from modelrouter.exceptions import ConfigurationError
from modelrouter.policies import Policy
from modelrouter.task import Kind

__all__ = ["CallOptions", "check_names", "generation_settings"]


class CallOptions(TypedDict, total=False):
    """Keywords of ``completion``, ``acompletion`` and ``chat.completions.create``.

    The first group is the router's own and never leaves it; the rest has OpenAI's names and
    meanings. What only one provider knows goes into ``extra_body``.
    """

    policy: Policy | str | None
    kind: Kind | None
    metadata: Mapping[str, Any] | None
    timeout: Timeout | float | None

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


_SAMPLING: Final = tuple(f.name for f in fields(GenerationSettings) if f.name != "extra")
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


def check_names(options: Mapping[str, Any]) -> None:
    """Refuse a misspelt option.

    Raises:
        ConfigurationError: names the option and the nearest known one.
    """
    for name in options:
        if name not in CallOptions.__annotations__:
            near = difflib.get_close_matches(name, CallOptions.__annotations__, n=1)
            raise ConfigurationError(
                f"Unknown option {name!r}.",
                hint=f"Did you mean {near[0]!r}?"
                if near
                else "What only one provider knows goes into extra_body={...}.",
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
    return GenerationSettings(**given, extra=extra)
