"""How many tokens an answer took: what its provider says, as far as that can be; else an estimate.

Usage is foreign input, and money follows from it. What can be no count of tokens (below zero, no
number, more than the model's window or its longest answers, more cached than there were) is not
believed: an estimate takes its place, :attr:`Usage.estimated
<modelrouter.response.Usage.estimated>` is true, so that budgets count the worst case, and
:attr:`Usage.doubt <modelrouter.response.Usage.doubt>` says what was told.
"""

from __future__ import annotations

import json
import math
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Mapping
from typing import Any, Final, NamedTuple, TypeVar

from modelrouter.catalog.card import ModelCard
from modelrouter.response import (
    Choice,
    Chunk,
    Completion,
    Delta,
    EmbeddingResponse,
    ImagesResponse,
    ReplyMessage,
    Usage,
)
from modelrouter.signals.context import IMAGE_TOKENS, estimate_tokens

__all__ = [
    "Most",
    "achecked_stream",
    "answers_of",
    "checked",
    "checked_stream",
    "estimated_prompt",
    "most_of",
    "most_of_pictures",
    "most_of_vectors",
    "usage_of",
    "usage_of_pictures",
]

_PER_MESSAGE, _PER_REPLY = 4, 3  # tokens of the chat format, as signals.context counts them
_LONGEST_DETAIL: Final = 200  # characters of a text that a provider puts beside its counts
_MOST_DETAILS: Final = 50
_CACHES: Final = ("cached_tokens", "cache_creation_tokens")
_COUNTED: Final = (*_CACHES, "reasoning_tokens")
_LARGEST: Final = 2**53
_MOST_OF_A_PICTURE: Final = 100_000  # tokens: several times what any model counts for one


class Most(NamedTuple):
    """The most tokens that a call can have taken, whatever its provider says."""

    prompt: int
    output: int


_ANYTHING: Final = Most(_LARGEST, _LARGEST)


def most_of(card: ModelCard, extra: Mapping[str, Any]) -> Most:
    """Of a conversation: a prompt fills the window, and each answer is as long as the card allows.

    A provider that goes beyond ``max_tokens`` is believed: it may well charge for that.
    """
    if card.location == "local":  # costs nothing, and its card may not know how it was loaded
        return _ANYTHING
    longest = max(card.max_output_tokens or 0, card.context_window)
    return Most(card.context_window, longest * answers_of(extra))


def answers_of(extra: Mapping[str, Any]) -> int:
    """How many answers are asked for, by the options of a call."""
    body = extra.get("extra_body")
    given = [extra.get("n"), body.get("n") if isinstance(body, Mapping) else None]
    return max([1, *(n for n in given if isinstance(n, int))])


def usage_of(told: Any, most: Most, prompt: Callable[[], int], said: str) -> Usage:
    """What the provider counted, with its details; what it left out is estimated.

    Args:
        told: the counts as the provider names them; ``None`` for none.
        most: what cannot be passed.
        prompt: an estimate of the prompt's tokens.
        said: all that takes output tokens.
    """
    reading = _Reading(dict(told) if isinstance(told, Mapping) else {})
    asked = reading.count("prompt_tokens", most.prompt)
    output = reading.count("completion_tokens", most.output)
    total = reading.count("total_tokens", most.prompt + most.output)
    details = reading.details(asked if asked is not None else most.prompt, most.output)
    missing = not asked or (not output and bool(said))  # no prompt takes no tokens
    found: dict[str, Any] = {
        **details,
        "prompt_tokens": asked or prompt(),
        "completion_tokens": output or (estimate_tokens(said) if said else 0),
    }
    both = found["prompt_tokens"] + found["completion_tokens"]
    found["total_tokens"] = total if total and not missing else both
    if missing or reading.doubts:
        found["estimated"] = True
    if reading.doubts:
        found["doubt"] = f"the provider said {', '.join(reading.doubts)}"[:_LONGEST_DETAIL]
    return Usage.model_validate(found)


def most_of_vectors(card: ModelCard, inputs: int) -> Most:
    """Of vectors: each input fills the window, and nothing is answered."""
    if card.location == "local":
        return _ANYTHING
    return Most(card.context_window * max(inputs, 1), 0)


def most_of_pictures(card: ModelCard, count: int) -> Most:
    """Of pictures that were drawn."""
    return Most(max(card.context_window, _MOST_OF_A_PICTURE), _MOST_OF_A_PICTURE * max(count, 1))


def usage_of_pictures(told: Any, most: Most) -> Usage:
    """As :func:`usage_of`; empty where the provider bills by the picture and counts no tokens."""
    counts = told if isinstance(told, Mapping) else {}
    named = {
        "prompt_tokens": counts.get("input_tokens") or counts.get("prompt_tokens") or 0,
        "completion_tokens": counts.get("output_tokens") or counts.get("completion_tokens") or 0,
    }
    if not any(named.values()):
        return Usage()
    usage = usage_of(named, most, lambda: 0, "")
    # There may be no tokens of one kind; only what was doubted is an estimate.
    return usage if usage.doubt else usage.model_copy(update={"estimated": False})


R = TypeVar("R", Completion, EmbeddingResponse, ImagesResponse)


def checked(reply: R, most: Most, prompt: Callable[[], int]) -> R:
    """The same reply if its usage can be true, else with an estimate in its place.

    For what a backend of any kind gives.
    """
    usage = reply.usage
    if _is_sound(usage, most):
        return reply
    choices: list[Choice] = reply.choices if isinstance(reply, Completion) else []
    said = "".join(_said(choice.message) for choice in choices)
    return reply.model_copy(update={"usage": usage_of(_told(usage), most, prompt, said)})


def checked_stream(
    source: Generator[Chunk, None, None], most: Most, prompt: Callable[[], int]
) -> Generator[Chunk, None, None]:
    """The same chunks, the usage of the last as :func:`checked` has it."""
    said: list[str] = []
    try:
        for chunk in source:
            yield _checked_chunk(chunk, said, most, prompt)
    finally:
        source.close()


async def achecked_stream(
    source: AsyncGenerator[Chunk, None], most: Most, prompt: Callable[[], int]
) -> AsyncGenerator[Chunk, None]:
    """The awaited twin of :func:`checked_stream`."""
    said: list[str] = []
    try:
        async for chunk in source:
            yield _checked_chunk(chunk, said, most, prompt)
    finally:
        await source.aclose()


def _checked_chunk(chunk: Chunk, said: list[str], most: Most, prompt: Callable[[], int]) -> Chunk:
    if chunk.choices:
        said += [_said(choice.delta) for choice in chunk.choices]
    if chunk.usage is None or _is_sound(chunk.usage, most):
        return chunk
    usage = usage_of(_told(chunk.usage), most, prompt, "".join(said))
    return chunk.model_copy(update={"usage": usage})


def _said(message: ReplyMessage | Delta) -> str:
    calls = [call.function for call in message.tool_calls or () if call.function is not None]
    arguments = (f"{call.name or ''}{call.arguments or ''}" for call in calls)
    return "".join([message.content or "", *arguments])


def _told(usage: Usage) -> dict[str, Any]:
    return {**usage.__dict__, **(usage.model_extra or {})}


def estimated_prompt(messages: Iterable[Mapping[str, Any]], *beside: Any) -> int:
    """An estimate; :data:`modelrouter.signals.context.ESTIMATE_ERROR` says how good it is.

    Args:
        messages: as OpenAI writes them.
        beside: what else is written into the prompt: tools, a format.
    """
    tokens = _PER_REPLY
    for message in messages:
        tokens += _PER_MESSAGE + _content_tokens(message.get("content"))
        if message.get("tool_calls"):
            tokens += estimate_tokens(_json(message["tool_calls"]))
    for asked in beside:
        tokens += estimate_tokens(_json(asked)) if asked else 0
    return tokens


class _Reading:
    """Takes counts out of what was told, and keeps what cannot be."""

    def __init__(self, told: dict[str, Any]) -> None:
        self._told = {k: v for k, v in told.items() if v is not None and isinstance(k, str)}
        self.doubts: list[str] = []

    def count(self, name: str, most: int) -> int | None:
        """The count; ``None`` where there is none to be believed."""
        value = self._told.pop(name, None)
        if value is None:
            return None
        number = _whole(value)
        if number is None or number > most:
            self._doubt(name, value)
            return None
        return number

    def details(self, prompt: int, output: int) -> dict[str, Any]:
        """All else: parts of the two counts, and what the provider says beside them."""
        # "cost" is litellm's own reckoning, no part of the answer.
        beside = {k: v for k, v in self._told.items() if k not in ("cost", "estimated", "doubt")}
        found: dict[str, Any] = {}
        if self._told.get("estimated") is True:
            found["estimated"] = True
        for group, most in (
            ("prompt_tokens_details", prompt),
            ("completion_tokens_details", output),
        ):
            parts = beside.pop(group, None)
            parts = parts if isinstance(parts, Mapping) else getattr(parts, "__dict__", None)
            if parts:
                found[group] = self._parts(parts, most)
        cached = found.get("prompt_tokens_details", {})
        names = [name for name in _CACHES if cached.get(name)]
        if sum(cached[name] for name in names) > prompt:
            for name in names:
                self._doubt(name, cached.pop(name))
        kept = ((name, _plain(value)) for name, value in [*beside.items()][:_MOST_DETAILS])
        return {**found, **{name: value for name, value in kept if value is not None}}

    def _parts(self, parts: Mapping[str, Any], most: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for name, value in [*parts.items()][:_MOST_DETAILS]:
            if isinstance(value, Mapping) and name not in _COUNTED:
                found[str(name)] = _plain(value)
            elif value is not None and (number := _whole(value)) is not None and number <= most:
                found[str(name)] = number
            elif value is not None:
                self._doubt(str(name), value)
        return found

    def _doubt(self, name: str, value: Any) -> None:
        large = isinstance(value, int) and abs(value) > _LARGEST
        said = f"{len(f'{value:x}')} digits" if large else repr(value)[:40]
        self.doubts.append(f"{name[:40]}={said}")


def _whole(value: Any) -> int | None:
    """A count: a whole number that is not below zero; a truth value is not one."""
    if isinstance(value, float) and math.isfinite(value) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= _LARGEST:
        return None
    return int(value)


def _plain(value: Any, depth: int = 0) -> Any:
    """What can be kept and written anywhere; ``None`` for what cannot."""
    if isinstance(value, str):
        return value[:_LONGEST_DETAIL]
    if isinstance(value, (bool, int, float)):
        fits = math.isfinite(value) if isinstance(value, float) else abs(value) <= _LARGEST
        return value if fits else None
    if isinstance(value, Mapping) and depth < 3:
        pairs = [*value.items()][:_MOST_DETAILS]
        return {str(k)[:_LONGEST_DETAIL]: _plain(v, depth + 1) for k, v in pairs}
    if isinstance(value, (list, tuple)) and depth < 3:
        return [_plain(item, depth + 1) for item in value[:_MOST_DETAILS]]
    return None


def _is_sound(usage: Usage, most: Most) -> bool:
    try:
        prompt, output, total = usage.prompt_tokens, usage.completion_tokens, usage.total_tokens
        cached, written = usage.cached_tokens, usage.cache_write_tokens
        counts = (prompt, output, total, cached, written, usage.reasoning_tokens)
    except Exception:  # a field may be anything, and raise whatever it likes
        return False
    return (
        all(type(count) is int and 0 <= count <= _LARGEST for count in counts)
        and prompt <= most.prompt
        and output <= most.output
        and total <= most.prompt + most.output
        and cached + written <= prompt
    )


def _content_tokens(content: Any) -> int:
    if not isinstance(content, list):
        return estimate_tokens(content or "")
    images: int = sum(part.get("type") == "image_url" for part in content)
    texts: int = sum(estimate_tokens(part.get("text") or "") for part in content)
    return images * IMAGE_TOKENS + texts


def _json(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=_as_dict)


def _as_dict(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else str(value)
