"""Each provider in its own protocol, through litellm's real clients, in every way of calling."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from modelrouter import (
    AuthenticationError,
    BadRequestError,
    Catalog,
    Completion,
    RateLimitError,
    Router,
    ServerError,
)
from modelrouter.backends.base import Request
from modelrouter.catalog.cost import settled_cost_usd
from tests.backends.hosted.conftest import KEY, outcome, text_of
from tests.support.provider_protocols import (
    ANTHROPIC,
    GEMINI,
    OPENAI,
    Answer,
    ProviderProtocol,
)
from tests.support.scripted_server import raw

MODELS = {
    "openai/gpt-4o": OPENAI,
    "mistral/mistral-large-latest": OPENAI,
    "groq/llama-3.1-8b-instant": OPENAI,
    "together_ai/meta-llama/Llama-3.3-70B-Instruct-Turbo": OPENAI,
    "anthropic/claude-sonnet-4-5": ANTHROPIC,
    "gemini/gemini-2.5-flash": GEMINI,
}
THREE = [name for name in MODELS if name.startswith(("openai", "anthropic", "gemini"))]

PARAMETERS = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
TOOL = {
    "type": "function",
    "function": {"name": "weather", "description": "The weather.", "parameters": PARAMETERS},
}
RED_DOT = (
    "iVBORw0KGgoAAAANSUhEUgAAAAUAAAAFCAYAAACNbyblAAAAHElEQVQI12P4//8/w38GIAXDIBKE0DHxgljNBAAO"
    "9TXL0Y4OHwAAAABJRU5ErkJggg=="
)


@pytest.fixture(params=MODELS)
def name(request: pytest.FixtureRequest) -> str:
    chosen: str = request.param
    return chosen


@pytest.fixture
def protocol(name: str) -> ProviderProtocol:
    return MODELS[name]


@pytest.fixture
def ask(
    server: Any, name: str, protocol: ProviderProtocol, request_to: Callable[..., Request]
) -> Callable[..., Request]:
    """A request to the provider, at the address that its protocol has."""
    base = server.base_url.removesuffix("/v1") + protocol.base
    return lambda *text, **fields: request_to(*text, name=name, api_base=base, **fields)


def usage_of(answer: Any) -> Any:
    return answer.usage if isinstance(answer, Completion) else answer[-1].usage


def reason_of(answer: Any) -> str:
    last = answer if isinstance(answer, Completion) else answer[-1]
    reason: str = last.choices[0].finish_reason
    return reason


def calls_of(answer: Any) -> list[tuple[str, str]]:
    """Name and arguments of each tool call, whole or put together from pieces."""
    if isinstance(answer, Completion):
        calls = answer.choices[0].message.tool_calls or []
        return [(call.function.name, call.function.arguments) for call in calls]
    found: dict[int, list[str]] = {}
    for piece in (p for chunk in answer for p in chunk.choices[0].delta.tool_calls or ()):
        name, arguments = found.setdefault(piece.index, ["", ""])
        found[piece.index] = [
            name + (piece.function.name or ""),
            arguments + (piece.function.arguments or ""),
        ]
    return [(name, arguments) for name, arguments in found.values()]


def test_text_usage_and_finish_are_read(server, way, ask, protocol):
    server.script(protocol.answer(Answer("one two three", prompt=20, cached=5, output=8)))
    got = way(ask("count", settings={"max_tokens": 50}))
    assert text_of(got) == "one two three"
    assert reason_of(got) == "stop"
    usage = usage_of(got)
    assert (usage.prompt_tokens, usage.completion_tokens) == (20, 8)
    assert usage.cached_tokens == 5
    assert not usage.estimated


@pytest.mark.parametrize("name", ["openai/gpt-4o", "gemini/gemini-2.5-flash"], indirect=True)
def test_reasoning_tokens_are_among_the_output(server, way, ask, protocol):
    server.script(protocol.answer(Answer("42", output=30, reasoning=25)))
    usage = usage_of(way(ask()))
    assert usage.completion_tokens == 30
    assert usage.reasoning_tokens == 25


# What the providers' price lists say: USD for a million tokens of the model named here.
MILLION = 1e6
BILLS = {
    # read 1,000 of 3,000 from the cache, 500 out of which 400 thought
    "openai/gpt-4o": (
        Answer("x", prompt=3_000, cached=1_000, output=500, reasoning=400),
        (2_000 * 2.5 + 1_000 * 1.25 + 500 * 10) / MILLION,
    ),
    "anthropic/claude-sonnet-4-5": (
        Answer("x", prompt=4_000, cached=2_000, written=1_500, output=500),
        (500 * 3 + 2_000 * 0.3 + 1_500 * 3.75 + 500 * 15) / MILLION,
    ),
    "gemini/gemini-2.5-flash": (
        Answer("x", prompt=3_000, cached=1_000, output=500, reasoning=400),
        (2_000 * 0.3 + 1_000 * 0.03 + 500 * 2.5) / MILLION,
    ),
    "gemini/gemini-2.5-pro": (  # a long prompt
        Answer("x", prompt=300_000, cached=100_000, output=500),
        (200_000 * 2.5 + 100_000 * 0.25 + 500 * 15) / MILLION,
    ),
}


@pytest.mark.parametrize("name", BILLS)
def test_the_settled_cost_is_the_providers_bill(server, way, request_to, name):
    said, bill = BILLS[name]
    protocol = {**MODELS, "gemini/gemini-2.5-pro": GEMINI}[name]
    server.script(protocol.answer(said))
    base = server.base_url.removesuffix("/v1") + protocol.base
    asked = request_to(name=name, api_base=base)
    usage = usage_of(way(asked))
    assert (usage.cached_tokens, usage.cache_write_tokens) == (said.cached, said.written)
    assert settled_cost_usd(asked.card, usage) == pytest.approx(bill)


def test_an_answer_cut_by_max_tokens_says_so(server, way, ask, protocol):
    server.script(protocol.answer(Answer("one two", cut_short=True)))
    assert reason_of(way(ask(settings={"max_tokens": 2}))) == "length"


def test_a_tool_is_called(server, way, ask, protocol):
    server.script(protocol.answer(Answer(call=("weather", {"city": "Oslo"}))))
    got = way(ask("weather in Oslo?", tools=(TOOL,), tool_choice="auto"))
    [(name, arguments)] = calls_of(got)
    assert name == "weather"
    assert json.loads(arguments) == {"city": "Oslo"}
    assert reason_of(got) == "tool_calls"
    sent = json.dumps(server.requests[0].body)
    assert "weather" in sent
    assert "city" in sent


def test_a_tools_result_is_told_in_the_providers_form(server, whole_way, ask, protocol):
    server.script(protocol.answer(Answer("It rains.")))
    call = {
        "id": "call_1",
        "type": "function",
        "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
    }
    messages = [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "weather in Oslo?"},
        {"role": "assistant", "content": None, "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "call_1", "content": '{"rain": true}'},
    ]
    assert text_of(whole_way(ask(messages=messages, tools=(TOOL,)))) == "It rains."
    body = server.requests[0].body
    if protocol is OPENAI:
        assert body["messages"][-1]["role"] == "tool"
        assert body["messages"][-1]["tool_call_id"] == "call_1"
    elif protocol is ANTHROPIC:
        assert body["messages"][-1]["content"][0]["type"] == "tool_result"
        assert "Be brief." in json.dumps(body["system"])
    else:
        [part] = body["contents"][-1]["parts"]
        answered = part.get("function_response") or part["functionResponse"]
        assert answered["name"] == "weather"
        assert "Be brief." in json.dumps(body.get("system_instruction") or body)


@pytest.mark.parametrize("name", THREE, indirect=True)
def test_a_schema_is_asked_for_in_the_providers_form(server, way, ask, protocol):
    server.script(protocol.answer(Answer('{"city": "Oslo"}')))
    schema = {"name": "place", "schema": {**PARAMETERS, "additionalProperties": False}}
    got = way(ask(response_format={"type": "json_schema", "json_schema": schema}))
    assert json.loads(text_of(got)) == {"city": "Oslo"}
    body = server.requests[0].body
    if protocol is OPENAI:
        assert body["response_format"]["json_schema"]["schema"]["required"] == ["city"]
    elif protocol is GEMINI:
        config = body["generationConfig"]
        kind = config.get("response_mime_type") or config.get("responseMimeType")
        assert kind == "application/json"
        assert "city" in json.dumps(config)
    else:
        assert "city" in json.dumps({k: v for k, v in body.items() if k != "messages"})


@pytest.mark.parametrize("name", THREE, indirect=True)
def test_a_picture_is_sent_in_the_providers_form(server, whole_way, ask, protocol):
    server.script(protocol.answer(Answer("a red dot")))
    parts = [
        {"type": "text", "text": "what is this?"},
        {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{RED_DOT}"}},
    ]
    assert text_of(whole_way(ask(messages=[{"role": "user", "content": parts}]))) == "a red dot"
    body = server.requests[0].body
    if protocol is OPENAI:
        assert body["messages"][0]["content"][1]["image_url"]["url"].endswith(RED_DOT)
    elif protocol is ANTHROPIC:
        source = body["messages"][0]["content"][1]["source"]
        assert source == {"type": "base64", "media_type": "image/png", "data": RED_DOT}
    else:
        [data] = [
            part.get("inline_data") or part["inlineData"]
            for part in body["contents"][0]["parts"]
            if "text" not in part
        ]
        assert data["data"] == RED_DOT
        assert (data.get("mime_type") or data["mimeType"]) == "image/png"


@pytest.mark.parametrize(
    ("what", "error", "says"),
    [
        ("key", AuthenticationError, "refused the key"),
        ("retired", BadRequestError, "Check the model's name"),
        ("long", BadRequestError, "larger window"),
        ("slow down", RateLimitError, "slow down"),
        ("overloaded", ServerError, "(?i)overloaded"),
    ],
)
def test_the_providers_own_errors_are_typed(server, way, ask, protocol, what, error, says):
    server.script(protocol.error(what))
    got = outcome(way, ask())
    assert type(got) is error, f"{got!r}"
    assert got.status == protocol.failures[what][0]
    assert got.retry_after == (7.0 if what == "slow down" else None)
    assert KEY not in str(got)
    with pytest.raises(error, match=says):
        raise got


@pytest.mark.parametrize("name", ["gemini/gemini-2.5-flash"], indirect=True)
def test_a_blocked_prompt_is_an_answer_of_content_filter(server, whole_way, ask):
    usage = {"promptTokenCount": 9, "totalTokenCount": 9}
    body = {"promptFeedback": {"blockReason": "SAFETY"}, "usageMetadata": usage}
    server.script(raw(json.dumps(body)))
    got = whole_way(ask())
    assert (got.text, reason_of(got)) == ("", "content_filter")


CALL = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": "{}"}}
HISTORIES: dict[str, list[dict[str, Any]]] = {
    "an answer without text": [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": ""},
        {"role": "user", "content": "two"},
    ],
    "an answer of None": [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": None},
        {"role": "user", "content": "two"},
    ],
    "an answer that only reasons": [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": None, "reasoning_content": "hm"},
        {"role": "user", "content": "two"},
    ],
    "an empty question": [
        {"role": "user", "content": "  "},
        {"role": "assistant", "content": "yes?"},
        {"role": "user", "content": "two"},
    ],
    "empty parts": [
        {"role": "user", "content": [{"type": "text", "text": ""}, {"type": "text", "text": "a"}]},
    ],
    "an empty text beside a call": [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "", "tool_calls": [CALL]},
        {"role": "tool", "tool_call_id": "c1", "content": None},
    ],
    "a system prompt alone": [{"role": "system", "content": "Say hello."}],
    "an empty system prompt": [
        {"role": "system", "content": ""},
        {"role": "user", "content": "two"},
    ],
    "a developer's prompts alone": [
        {"role": "system", "content": "Be kind."},
        {"role": "developer", "content": "Say hello."},
    ],
}


@pytest.mark.parametrize("history", HISTORIES)
@pytest.mark.parametrize("name", THREE, indirect=True)
def test_history_as_programs_send_it_back_is_one_that_the_provider_takes(
    server, ask, protocol, name, history
):
    """The servers refuse empty contents, as the providers do."""
    server.script(protocol.answer(Answer("hello")))
    card = ask().card
    tools = [TOOL] if "call" in history else None
    with Router(catalog=Catalog([card])) as router:
        reply = router.completion(messages=HISTORIES[history], model=name, tools=tools)
    assert reply.text == "hello"
    assert '"reasoning_content"' not in json.dumps(server.requests[-1].body)


@pytest.mark.parametrize("name", ["openai/gpt-4o"], indirect=True)
def test_openai_gets_a_system_prompt_as_one(server, ask, protocol, name):
    server.script(protocol.answer(Answer("hello")))
    with Router(catalog=Catalog([ask().card])) as router:
        router.completion(messages=HISTORIES["a system prompt alone"], model=name)
    assert server.requests[-1].body["messages"] == HISTORIES["a system prompt alone"]
