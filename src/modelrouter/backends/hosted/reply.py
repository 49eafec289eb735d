"""Turns what litellm answers into replies and chunks, and notices when an answer is not whole."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any, Final, cast

from modelrouter.backends.base import Request
from modelrouter.backends.hosted.errors import interrupted, malformed, timed_out, translate
from modelrouter.backends.hosted.waiting import TIMEOUTS, Deadline
from modelrouter.counting import estimated_prompt, most_of, usage_of
from modelrouter.exceptions import BackendError, StreamInterruptedError
from modelrouter.response import (
    Choice,
    Chunk,
    ChunkChoice,
    Completion,
    Delta,
    FinishReason,
    ReplyMessage,
    ToolCall,
    ToolCallDelta,
    Usage,
    new_id,
)

__all__ = ["StreamReader", "completion"]

_FINISH_REASONS: Final = ("stop", "length", "tool_calls", "content_filter", "function_call")
_BESIDE: Final = (
    "reasoning_content",
    "thinking_blocks",
    "annotations",
    "audio",
    "images",
    "function_call",
)
"""What providers put beside the text; kept as extra fields where there is any."""

_UNREADABLE: Final = (AttributeError, IndexError, KeyError, TypeError, ValueError)
"""What reading an answer of another shape raises; pydantic's error is a ValueError."""


def completion(response: Any, request: Request) -> Completion:
    """The reply.

    Where the provider counts no tokens they are estimated, and ``usage.estimated`` is true.

    Raises:
        MalformedResponseError: the answer has no choices, or a choice says nothing at all.
    """
    card = request.card
    try:
        choices = [_choice(choice, request) for choice in response.choices]
        if not choices:
            raise malformed(card, "it holds no choices")
        said = "".join(text for c in choices for text in _said(c.message))
        return Completion(
            id=str(response.id or new_id()),
            created=int(response.created or time.time()),
            model=card.name,
            choices=choices,
            usage=_usage(getattr(response, "usage", None), request, said),
            system_fingerprint=getattr(response, "system_fingerprint", None),
            provider_model=getattr(response, "model", None),
        )
    except _UNREADABLE as exc:
        raise malformed(card, f"it cannot be read ({type(exc).__name__})") from exc


class StreamReader:
    """Reads one stream: what was shown, what it ends with, whether its time is up.

    ``source`` is litellm's stream, set once it is open.
    """

    def __init__(self, request: Request) -> None:
        self.request = request
        self.deadline = Deadline(request.timeout_s)
        self.source: Any = None
        self._id = new_id()
        self._created = int(time.time())
        self._texts: dict[int, list[str]] = {}  # of each choice
        self._said: list[str] = []  # everything that costs output tokens
        self._shown = False
        self._usage: Any = None

    def read(self, raw: Any) -> Chunk | None:
        """The chunk to show for one of litellm's, ``None`` for bookkeeping.

        The finish reason is kept for the last chunk.

        Raises:
            MalformedResponseError: the event is not the protocol's.
        """
        try:
            return self._read(raw)
        except _UNREADABLE as exc:
            problem = f"an event cannot be read ({type(exc).__name__})"
            raise malformed(self.request.card, problem) from exc

    def _read(self, raw: Any) -> Chunk | None:
        if not self._texts:
            self._id, self._created = str(raw.id or self._id), int(raw.created or self._created)
        self._usage = getattr(raw, "usage", None) or self._usage
        choices = []
        for choice in raw.choices:
            first = choice.index not in self._texts
            delta = _delta(choice.delta, first=first)
            pieces = list(_said(delta))
            if not (pieces or delta.model_extra):
                continue
            self._texts.setdefault(choice.index, []).append(delta.content or "")
            self._said += pieces
            logprobs = _plain(getattr(choice, "logprobs", None))
            choices.append(ChunkChoice(index=choice.index, delta=delta, logprobs=logprobs))
        if not choices:
            return None
        self._shown = True
        return self._chunk(choices)

    def last(self) -> Chunk:
        """The stream's last chunk: finish reason and usage.

        litellm keeps one finish reason for a stream: with several choices each gets it.

        Raises:
            StreamInterruptedError: the stream ended after text without a finish reason.
            MalformedResponseError: it ended so before any.
        """
        if not self.whole:
            why = "the stream ended without a finish_reason"
            if self._shown:
                raise interrupted(self.request.card, self.text, why)
            raise malformed(self.request.card, why)
        reason = _finish_reason(self._told_reason)
        choices = [
            ChunkChoice(index=index, delta=Delta(), finish_reason=reason)
            for index in sorted(self._texts) or [0]
        ]
        usage = _usage(self._usage, self.request, "".join(self._said))
        # Where the provider counts no tokens litellm does, and does not say so.
        if not any(getattr(c, "usage", None) for c in getattr(self.source, "chunks", ())):
            usage = usage.model_copy(update={"estimated": True})
        return self._chunk(choices, usage)

    @property
    def whole(self) -> bool:
        """Whether the provider sent a finish reason; litellm makes one up where it did not."""
        return self._told_reason is not None

    @property
    def _told_reason(self) -> Any:
        """The finish reason that the provider sent; litellm keeps Gemini's apart."""
        names = ("received_finish_reason", "intermittent_finish_reason")
        return next((r for name in names if (r := getattr(self.source, name, None))), None)

    @property
    def text(self) -> str:
        """The first choice's text so far."""
        return "".join(self._texts.get(0, ()))

    def failed(self, error: Exception) -> BackendError | None:
        """The typed error; once something was shown, an interruption that carries the text.

        ``None`` where the answer was whole by then, so that nothing is lost but the usage.
        """
        card = self.request.card
        if self.whole and not isinstance(error, BackendError):
            return None
        if isinstance(error, TIMEOUTS):
            typed: BackendError = timed_out(card, self.request.timeout_s)
        else:
            typed = translate(error, card)
        if not self._shown or isinstance(typed, StreamInterruptedError):
            return typed
        cut = interrupted(card, self.text, str(typed).removesuffix(typed.hint))
        cut.__cause__ = typed
        return cut

    def _chunk(self, choices: list[ChunkChoice], usage: Usage | None = None) -> Chunk:
        return Chunk(
            id=self._id,
            created=self._created,
            model=self.request.card.name,
            choices=choices,
            usage=usage,
        )


def _choice(choice: Any, request: Request) -> Choice:
    message = choice.message
    calls = [ToolCall.model_validate(_plain(call)) for call in message.tool_calls or ()]
    beside = _beside(message)
    refusal = _refusal(message)
    empty = message.content is None and refusal is None and not (calls or beside)
    if empty and choice.finish_reason == "stop":
        raise malformed(request.card, "a choice has neither content nor tool calls")
    fields = {"content": message.content, "tool_calls": calls or None, "refusal": refusal}
    return Choice(
        index=choice.index,
        message=ReplyMessage.model_validate({**fields, **beside}),
        finish_reason=_finish_reason(choice.finish_reason),
        logprobs=_plain(getattr(choice, "logprobs", None)),
    )


def _delta(delta: Any, *, first: bool) -> Delta:
    calls = [ToolCallDelta.model_validate(_plain(call)) for call in delta.tool_calls or ()]
    fields: dict[str, Any] = {
        "role": "assistant" if first else None,
        "content": delta.content or None,
        "tool_calls": calls or None,
        **_beside(delta),
    }
    if (refusal := _refusal(delta)) is not None:
        fields["refusal"] = refusal
    return Delta.model_validate(fields)


def _beside(message: Any) -> dict[str, Any]:
    found = ((name, getattr(message, name, None)) for name in _BESIDE)
    return {name: _plain(value) for name, value in found if value}


def _refusal(message: Any) -> str | None:
    specific = getattr(message, "provider_specific_fields", None) or {}
    return getattr(message, "refusal", None) or specific.get("refusal") or None


def _said(message: ReplyMessage | Delta) -> Iterator[str]:
    """The texts of a message that take output tokens."""
    beside = message.model_extra or {}
    refusal = getattr(message, "refusal", None)
    yield from (t for t in (message.content, refusal, beside.get("reasoning_content")) if t)
    for call in message.tool_calls or ():
        if call.function is not None:
            yield f"{call.function.name or ''}{call.function.arguments or ''}"


def _finish_reason(reason: Any) -> FinishReason:
    return cast("FinishReason", reason) if reason in _FINISH_REASONS else "stop"


def _usage(raw: Any, request: Request, said: str) -> Usage:
    def prompt() -> int:
        return estimated_prompt(request.messages, request.tools, request.response_format)

    return usage_of(_plain(raw), most_of(request.card, request.settings.extra), prompt, said)


def _plain(value: Any) -> Any:
    """litellm's models as plain data, without the fields that were not given."""
    if isinstance(value, list):
        return [_plain(item) for item in value]
    if not hasattr(value, "model_dump"):
        return value
    return value.model_dump(exclude_none=True, warnings=False)  # what it holds is checked here
