"""What providers answer, each in its own protocol, as behaviours of the scripted server.

    server.script(GEMINI.answer(Answer("hello")))
    server.script(ANTHROPIC.error("overloaded"))

``OPENAI`` is chat completions, ``ANTHROPIC`` is Messages, ``GEMINI`` is generateContent. Whole
answers and streams alike. A request that the protocol does not allow (its required fields, its
header for the key, its path) is answered as the provider answers it, by status 400, 401 or 404.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tests.support.scripted_server import Behaviour, Exchange

__all__ = ["ANTHROPIC", "GEMINI", "OPENAI", "PROTOCOLS", "Answer", "ProviderProtocol"]


@dataclass(frozen=True)
class Answer:
    """What the model says; ``prompt`` counts what the cache did, ``output`` ``reasoning``."""

    text: str = ""
    call: tuple[str, dict[str, Any]] | None = None
    prompt: int = 20
    cached: int = 0
    written: int = 0  # to the cache; only Anthropic tells
    output: int = 8
    reasoning: int = 0
    cut_short: bool = False  # by max_tokens

    @property
    def pieces(self) -> list[str]:
        """The text as a stream brings it."""
        words = self.text.split(" ") if self.text else []
        return [w if i == 0 else f" {w}" for i, w in enumerate(words)]


@dataclass(frozen=True)
class ProviderProtocol:
    """One provider's way of speaking.

    Attributes:
        base: what a card's api_base has after host and port.
        wrong: the status and text for a request that is not the protocol's, else ``None``.
        whole: a whole answer's body.
        events: a stream's events, as they stand on the wire.
        failure: the body of an error of that status and kind.
        failures: by what is wrong: status, the provider's own kind, message, headers.
    """

    name: str
    base: str
    wrong: Callable[[Exchange], tuple[int, str] | None]
    whole: Callable[[Answer], dict[str, Any]]
    events: Callable[[Answer], Iterator[str]]
    failure: Callable[[int, str, str], dict[str, Any]]
    failures: Mapping[str, tuple[int, str, str, dict[str, str]]]

    def answer(self, said: Answer) -> Behaviour:
        """Answer as asked, whole or streamed."""

        def behave(x: Exchange) -> None:
            if (wrong := self.wrong(x)) is not None:
                code, message = wrong
                x.send(code, json.dumps(self.failure(code, "invalid_request", message)).encode())
            elif x.streaming or "alt=sse" in x.handler.path:
                x.open_stream()
                for event in self.events(said):
                    x.piece(event)
                x.close_stream()
            else:
                x.send(200, json.dumps(self.whole(said)).encode())

        return behave

    def error(self, what: str) -> Behaviour:
        """Refuse or fail as the provider does: ``"key"``, ``"retired"``, ``"long"``, ..."""
        code, kind, message, headers = self.failures[what]
        body = json.dumps(self.failure(code, kind, message)).encode()
        return lambda x: x.send(code, body, **headers)


def _missing(x: Exchange, *fields: str) -> tuple[int, str] | None:
    absent = [field for field in fields if field not in x.body]
    return (400, f"{absent[0]}: field required") if absent else None


# -- OpenAI ------------------------------------------------------------------------------------


def _openai_wrong(x: Exchange) -> tuple[int, str] | None:
    if not x.handler.path.endswith("/v1/chat/completions"):
        return 404, f"Invalid URL (POST {x.handler.path})"
    if not x.handler.headers.get("Authorization", "").startswith("Bearer "):
        return 401, "You didn't provide an API key."
    return _missing(x, "model", "messages")


def _openai_usage(said: Answer) -> dict[str, Any]:
    return {
        "prompt_tokens": said.prompt,
        "completion_tokens": said.output,
        "total_tokens": said.prompt + said.output,
        "prompt_tokens_details": {"cached_tokens": said.cached},
        "completion_tokens_details": {"reasoning_tokens": said.reasoning},
    }


def _openai_reason(said: Answer) -> str:
    if said.call is not None:
        return "tool_calls"
    return "length" if said.cut_short else "stop"


def _openai_calls(said: Answer) -> list[dict[str, Any]]:
    if said.call is None:
        return []
    name, arguments = said.call
    function = {"name": name, "arguments": json.dumps(arguments)}
    return [{"id": "call_1", "type": "function", "function": function}]


def _openai_whole(said: Answer) -> dict[str, Any]:
    message: dict[str, Any] = {"role": "assistant", "content": said.text or None}
    if said.call is not None:
        message["tool_calls"] = _openai_calls(said)
    choice = {"index": 0, "message": message, "finish_reason": _openai_reason(said)}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "served"}
    # litellm's Groq client cannot read an answer without its service_tier.
    head["service_tier"] = "default"
    return {**head, "choices": [choice], "usage": _openai_usage(said)}


def _openai_events(said: Answer) -> Iterator[str]:
    head = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": "served"}

    def event(delta: dict[str, Any], reason: str | None = None) -> str:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return f"data: {json.dumps({**head, 'choices': [choice]})}\n\n"

    yield event({"role": "assistant", "content": ""})
    for piece in said.pieces:
        yield event({"content": piece})
    for call in _openai_calls(said):
        arguments = call["function"]["arguments"]
        start = {"index": 0, **call, "function": {**call["function"], "arguments": ""}}
        yield event({"tool_calls": [start]})
        for half in (arguments[:5], arguments[5:]):
            yield event({"tool_calls": [{"index": 0, "function": {"arguments": half}}]})
    yield event({}, _openai_reason(said))
    yield f"data: {json.dumps({**head, 'choices': [], 'usage': _openai_usage(said)})}\n\n"
    yield "data: [DONE]\n\n"


OPENAI: Final = ProviderProtocol(
    name="openai",
    base="/v1",
    wrong=_openai_wrong,
    whole=_openai_whole,
    events=_openai_events,
    failure=lambda code, kind, message: {
        "error": {"message": message, "type": kind, "param": None, "code": kind}
    },
    failures={
        "key": (401, "invalid_api_key", "Incorrect API key provided: {key}.", {}),
        "retired": (404, "model_not_found", "The model has been deprecated.", {}),
        "long": (
            400,
            "context_length_exceeded",
            "This model's maximum context length is 128000 tokens.",
            {},
        ),
        "slow down": (429, "rate_limit_exceeded", "Rate limit reached.", {"retry_after": "7"}),
        "overloaded": (503, "server_error", "The engine is currently overloaded.", {}),
    },
)


# -- Anthropic ---------------------------------------------------------------------------------


def _anthropic_wrong(x: Exchange) -> tuple[int, str] | None:
    if not x.handler.path.endswith("/v1/messages") or "/v1/v1/" in x.handler.path:
        return 404, "Not Found"
    if not x.handler.headers.get("x-api-key"):
        return 401, "x-api-key header is required"
    if not x.handler.headers.get("anthropic-version"):
        return 400, "anthropic-version: header is required"
    if any(m["role"] not in ("user", "assistant") for m in x.body.get("messages", ())):
        return 400, "messages: Unexpected role"
    for i, message in enumerate(x.body.get("messages", ())):
        content = message["content"]
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        if not blocks:
            return 400, f"messages.{i}: all messages must have non-empty content"
        if any(b["type"] == "text" and not b["text"].strip() for b in blocks):
            return 400, "messages: text content blocks must contain non-whitespace text"
    if not x.body.get("messages"):
        return 400, "messages: at least one message is required"
    return _missing(x, "model", "messages", "max_tokens")


def _anthropic_usage(said: Answer) -> dict[str, int]:
    return {
        "input_tokens": said.prompt - said.cached - said.written,
        "cache_creation_input_tokens": said.written,
        "cache_read_input_tokens": said.cached,
        "output_tokens": said.output,
    }


def _anthropic_reason(said: Answer) -> str:
    if said.call is not None:
        return "tool_use"
    return "max_tokens" if said.cut_short else "end_turn"


def _anthropic_blocks(said: Answer) -> list[dict[str, Any]]:
    blocks: list[dict[str, Any]] = [{"type": "text", "text": said.text}] if said.text else []
    if said.call is not None:
        name, arguments = said.call
        blocks.append({"type": "tool_use", "id": "toolu_1", "name": name, "input": arguments})
    return blocks


def _anthropic_whole(said: Answer) -> dict[str, Any]:
    return {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "served",
        "content": _anthropic_blocks(said),
        "stop_reason": _anthropic_reason(said),
        "stop_sequence": None,
        "usage": _anthropic_usage(said),
    }


def _anthropic_events(said: Answer) -> Iterator[str]:
    def event(kind: str, **fields: Any) -> str:
        return f"event: {kind}\ndata: {json.dumps({'type': kind, **fields})}\n\n"

    start = {**_anthropic_whole(said), "content": [], "stop_reason": None}
    start["usage"] = {**_anthropic_usage(said), "output_tokens": 1}
    yield event("message_start", message=start)
    yield event("ping")
    for index, block in enumerate(_anthropic_blocks(said)):
        if block["type"] == "text":
            empty: dict[str, Any] = {"type": "text", "text": ""}
            deltas = [{"type": "text_delta", "text": piece} for piece in said.pieces]
        else:
            empty = {**block, "input": {}}
            written = json.dumps(block["input"])
            halves = ("", written[:5], written[5:])
            deltas = [{"type": "input_json_delta", "partial_json": half} for half in halves]
        yield event("content_block_start", index=index, content_block=empty)
        for delta in deltas:
            yield event("content_block_delta", index=index, delta=delta)
        yield event("content_block_stop", index=index)
    end = {"stop_reason": _anthropic_reason(said), "stop_sequence": None}
    yield event("message_delta", delta=end, usage={"output_tokens": said.output})
    yield event("message_stop")


ANTHROPIC: Final = ProviderProtocol(
    name="anthropic",
    base="",
    wrong=_anthropic_wrong,
    whole=_anthropic_whole,
    events=_anthropic_events,
    failure=lambda code, kind, message: {
        "type": "error",
        "error": {"type": kind, "message": message},
        "request_id": "req_1",
    },
    failures={
        "key": (401, "authentication_error", "invalid x-api-key", {}),
        "retired": (404, "not_found_error", "model: claude-2.0", {}),
        "long": (
            400,
            "invalid_request_error",
            "prompt is too long: 210000 tokens > 200000 maximum",
            {},
        ),
        "slow down": (
            429,
            "rate_limit_error",
            "This request would exceed your rate limit.",
            {"retry_after": "7"},
        ),
        "overloaded": (529, "overloaded_error", "Overloaded", {}),
    },
)


# -- Gemini ------------------------------------------------------------------------------------


def _gemini_wrong(x: Exchange) -> tuple[int, str] | None:
    path, _, query = x.handler.path.partition("?")
    if not path.startswith("/v1beta/models/") or ":" not in path:
        return 404, f"{path} was not found on this server."
    if not x.handler.headers.get("x-goog-api-key") and "key=" not in query:
        return 401, "Request is missing required authentication credential."
    if any(c.get("role") not in ("user", "model") for c in x.body.get("contents", ())):
        return 400, "Please use a valid role: user, model."
    if not x.body.get("contents") or any(not c.get("parts") for c in x.body["contents"]):
        return 400, "GenerateContentRequest.contents: contents.parts must not be empty."
    return _missing(x, "contents")


def _gemini_usage(said: Answer) -> dict[str, int]:
    return {
        "promptTokenCount": said.prompt,
        "cachedContentTokenCount": said.cached,
        "candidatesTokenCount": said.output - said.reasoning,
        "thoughtsTokenCount": said.reasoning,
        "totalTokenCount": said.prompt + said.output,
    }


def _gemini_part(said: Answer, parts: list[dict[str, Any]], *, last: bool) -> dict[str, Any]:
    candidate: dict[str, Any] = {"content": {"role": "model", "parts": parts}, "index": 0}
    if last:
        candidate["finishReason"] = "MAX_TOKENS" if said.cut_short else "STOP"
    head = {"modelVersion": "served", "responseId": "response1"}
    return {"candidates": [candidate], "usageMetadata": _gemini_usage(said), **head}


def _gemini_calls(said: Answer) -> list[dict[str, Any]]:
    if said.call is None:
        return []
    name, arguments = said.call
    return [{"functionCall": {"name": name, "args": arguments}}]


def _gemini_whole(said: Answer) -> dict[str, Any]:
    texts = [{"text": said.text}] if said.text else []
    return _gemini_part(said, [*texts, *_gemini_calls(said)], last=True)


def _gemini_events(said: Answer) -> Iterator[str]:
    parts = [*({"text": piece} for piece in said.pieces), *_gemini_calls(said)]
    for number, part in enumerate(parts, 1):
        event = _gemini_part(said, [part], last=number == len(parts))
        yield f"data: {json.dumps(event)}\r\n\r\n"


_GEMINI_STATUS: Final = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND"}

GEMINI: Final = ProviderProtocol(
    name="gemini",
    base="/v1beta",
    wrong=_gemini_wrong,
    whole=_gemini_whole,
    events=_gemini_events,
    failure=lambda code, kind, message: {
        "error": {
            "code": code,
            "message": message,
            "status": kind if kind.isupper() else _GEMINI_STATUS[code],
        }
    },
    failures={
        "key": (401, "UNAUTHENTICATED", "API keys are not supported by this API.", {}),
        "retired": (404, "NOT_FOUND", "models/gemini-1.5-pro is not found for v1beta.", {}),
        "long": (
            400,
            "INVALID_ARGUMENT",
            "The input token count (1200000) exceeds the maximum number of tokens allowed.",
            {},
        ),
        "slow down": (
            429,
            "RESOURCE_EXHAUSTED",
            "Resource has been exhausted.",
            {"retry_after": "7"},
        ),
        "overloaded": (503, "UNAVAILABLE", "The model is overloaded.", {}),
    },
)

PROTOCOLS: Final = {p.name: p for p in (OPENAI, ANTHROPIC, GEMINI)}
