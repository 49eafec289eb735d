"""What a request carries is what was read for personal data: every field, every text in it."""

from __future__ import annotations

import copy
import dataclasses
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter import (
    Catalog,
    GenerationSettings,
    ModelCard,
    NoEligibleModelError,
    Policy,
    Router,
    Rule,
    Task,
)
from modelrouter.backends.base import EmbeddingRequest, ImageRequest, MixedRequest, Request
from modelrouter.catalog import Price
from modelrouter.client.options import CallOptions, ImageOptions
from modelrouter.payload import carried, texts
from modelrouter.signals import read
from modelrouter.testing import EchoBackend, example_card
from tests.support.scripted_server import ScriptedServer

MAIL = "jane@example.com"
HERE = Policy.best(rules=[Rule.when(contains_pii=True).only(location="local")])
SCHEMA = {
    "type": "object",
    "title": "a title",
    "description": "what it is",
    "properties": {"to": {"type": "string", "enum": ["one", "two"], "default": "one"}},
    "required": ["to"],
}
MESSAGES: list[dict[str, Any]] = [
    {"role": "system", "content": "Be brief.", "name": "house"},
    {"role": "developer", "content": [{"type": "text", "text": "Be kind."}]},
    {"role": "user", "content": "Write to her.", "name": "ann"},
    {
        "role": "assistant",
        "content": None,
        "refusal": "not yet",
        "reasoning_content": "she may be told",
        "tool_calls": [
            {
                "id": "call_1",
                "type": "function",
                "function": {"name": "send", "arguments": '{"to": "her"}'},
            }
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": "sent", "name": "send"},
    {
        "role": "user",
        "content": [
            {"type": "text", "text": "Look "},
            {"type": "text", "text": "at this."},
            {
                "type": "image_url",
                "image_url": {"url": "https://pictures.example/a.png", "detail": "low"},
            },
        ],
    },
]
"""Every kind of message and of part."""

OPTIONS: dict[str, Any] = {
    "tools": [
        {
            "type": "function",
            "function": {"name": "send", "description": "Sends mail.", "parameters": SCHEMA},
        }
    ],
    "tool_choice": {"type": "function", "function": {"name": "send"}},
    "response_format": {"type": "json_schema", "json_schema": {"name": "sent", "schema": SCHEMA}},
    "temperature": 0.5,
    "top_p": 0.9,
    "max_tokens": 50,
    "max_completion_tokens": 50,
    "stop": ["END", "STOP"],
    "seed": 7,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "n": 1,
    "user": "u-1",
    "logit_bias": {"50256": -1.0},
    "logprobs": False,
    "top_logprobs": 0,
    "parallel_tool_calls": True,
    "reasoning_effort": "low",
    "stream_options": {"include_usage": True},
    "extra_body": {"metadata": {"for": "a friend"}, "list": [["deep", {"key": "value"}]]},
}
OURS = {"policy", "kind", "metadata", "timeout", "confidence_floor", "tags", "conversation"}
"""The router's own: they are sent to nobody."""
NOT_SENT = {"stream_options"}
"""Taken for the openai client's sake; the backend writes its own."""
FIXED = {"role", "type"}
"""Names whose values are the protocol's own words: anything else there is refused."""

Path = tuple[Any, ...]


def leaves(value: Any, path: Path = ()) -> Iterator[Path]:
    """Where the texts are, and by ``None`` at the end the names that may be of the user's own."""
    if isinstance(value, str):
        yield path
    elif isinstance(value, dict):
        for name, each in value.items():
            if name not in FIXED:
                yield from leaves(each, (*path, name))
        if path and path[-1] in ("properties", "logit_bias", "metadata", "extra_body"):
            yield (*path, None)
    elif isinstance(value, list):
        for place, each in enumerate(value):
            yield from leaves(each, (*path, place))


def planted(value: Any, path: Path, text: str = MAIL) -> Any:
    """A copy with the text where the path leads."""
    made = copy.deepcopy(value)
    *way, last = path
    found = made
    for step in way:
        found = found[step]
    if last is None:
        found[f"{text}"] = {"type": "string"}
    else:
        between = "?to=" if str(found[last]).startswith("http") else " "
        found[last] = f"{found[last]}{between}{text}"
    return made


WHOLE = {"messages": MESSAGES, **{k: v for k, v in OPTIONS.items() if k not in NOT_SENT}}
PLACES = list(leaves(WHOLE))


@pytest.fixture(scope="module")
def far() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture(scope="module")
def router(far: ScriptedServer) -> Iterator[Router]:
    """A hosted model that would do everything better, and a small one that is here."""
    free = Price(input=0.0, output=0.0)
    every = {
        "price": free,
        "modalities_in": {"text", "image"},
        "capabilities": {"tools", "json_schema"},
        "context_window": 10**6,
    }
    away = example_card(
        "openai/far",
        backend="litellm",
        api_base=far.base_url,
        api_key="sk-test",
        general_strength=0.99,
        **every,
    )
    here = example_card("here/small", location="local", general_strength=0.5, **every)
    with Router(
        catalog=Catalog([away, here]), backends={"test": EchoBackend()}, policy=HERE
    ) as made:
        yield made


def test_every_option_there_is_is_tried_here() -> None:
    """A new option fails this until it stands above, and is then planted in."""
    assert set(CallOptions.__annotations__) == set(OPTIONS) | OURS
    assert len(PLACES) >= 45


def test_the_same_request_without_personal_data_does_leave(router, far) -> None:
    """The control; and every text that arrived was among those that were read."""
    before = len(far.requests)
    assert router.completion(**WHOLE).model == "openai/far"
    (sent,) = far.requests[before:]
    told = {name: v for name, v in WHOLE.items() if name not in ("messages", "extra_body")}
    task = Task.of(
        MESSAGES,
        tools=told.pop("tools"),
        tool_choice=told.pop("tool_choice"),
        response_format=told.pop("response_format"),
        parameters={**told, "extra_body": WHOLE["extra_body"]},
    )
    seen = carried(task)
    protocol = {"model", "far", *WHOLE}
    assert [t for t in texts(dict(sent.body)) if t not in seen and t not in protocol] == []
    assert "a friend" in json.dumps(sent.body)  # extra_body is sent


@pytest.mark.parametrize("path", PLACES, ids=lambda path: ".".join(map(str, path)))
def test_an_address_anywhere_in_a_request_keeps_it_here(router, far, path: Path) -> None:
    before = len(far.requests)
    reply = router.completion(**planted(WHOLE, path))
    assert reply.model == "here/small"
    assert "email" in reply.decision.signals.pii
    assert len(far.requests) == before
    assert reply.decision.proof().holds


free_text = st.text(max_size=20)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | st.floats(-9, 9) | free_text,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=12,
)


@st.composite
def with_a_secret(draw: st.DrawFn) -> Any:
    """Any plain data with an address somewhere in it, as a value or as a name."""
    value: Any = draw(st.sampled_from([MAIL, f"to {MAIL}!", f"<{MAIL}>", {MAIL: 1}, [MAIL]]))
    for _ in range(draw(st.integers(0, 5))):
        other = draw(json_values)
        value = draw(
            st.sampled_from([{"k": value}, [value], {"a": other, "b": value}, [other, value]])
        )
    return value


@settings(max_examples=150, deadline=None)
@given(
    where=st.sampled_from(["extra_body", "arguments", "schema", "format", "choice", "of_message"]),
    secret=with_a_secret(),
    words=free_text,
)
def test_an_address_in_any_plain_data_keeps_a_request_here(router, far, where, secret, words):
    request: dict[str, Any] = {"messages": [{"role": "user", "content": f"Go on. {words}"}]}
    message = request["messages"][0]
    tool: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {}}}
    if where == "extra_body":
        request["extra_body"] = {"x": secret}
    elif where == "arguments":
        called = {"name": "f", "arguments": json.dumps(secret)}
        calls = [{"id": "c", "type": "function", "function": called}]
        turn = {"role": "assistant", "content": None, "tool_calls": calls}
        answer = {"role": "tool", "tool_call_id": "c", "content": "ok"}
        request["messages"] = [message, turn, answer, message]
    elif where == "schema":
        tool["function"]["parameters"] = {"x": secret}
        request["tools"] = [tool]
    elif where == "format":
        request["response_format"] = {"type": "json_object", "x": secret}
    elif where == "choice":
        request |= {"tools": [tool], "tool_choice": {"type": "function", "x": secret}}
    else:
        message["x_field_of_the_future"] = secret
    before = len(far.requests)
    reply = router.completion(**request)
    assert reply.model == "here/small"
    assert len(far.requests) == before


@given(cut=st.integers(1, len(MAIL) - 1), second=st.integers(1, len(MAIL) - 1))
def test_an_address_cut_into_parts_is_found(cut: int, second: int) -> None:
    pieces = [MAIL[: min(cut, second)], MAIL[min(cut, second) : max(cut, second)]]
    pieces.append(MAIL[max(cut, second) :])
    whole: list[Any] = ["Write to ", *filter(None, pieces), " please."]
    parts = [{"type": "text", "text": piece} for piece in whole]
    for content in (parts, whole, [parts[0], *whole[1:]]):
        assert read(Task.of([{"role": "user", "content": content}])).pii == ("email",)


def test_a_request_has_no_field_that_is_not_carried() -> None:
    """A new field of a request fails this until its payload holds it, or it is said not to."""
    marked: dict[str, Any] = {
        "messages": [{"role": "user", "content": "m1"}],
        "settings": GenerationSettings(stop="m2", extra={"user": "m3"}),
        "tools": ({"type": "m4"},),
        "tool_choice": {"name": "m5"},
        "response_format": {"type": "m6"},
    }
    own = {"card", "timeout_s", "stop"}  # the last is never sent: it is set by another thread
    assert {f.name for f in dataclasses.fields(Request)} == set(marked) | own
    request = Request(card=example_card("a/b"), **marked)
    found = set(texts(request.payload()))
    assert {f"m{i}" for i in range(1, 7)} <= found


def test_requests_of_other_kinds_have_no_field_that_is_not_read() -> None:
    """Of drawing, prompt and options are read; of vectors the texts. The rest is no text."""
    fields = {
        ImageRequest: {"card", "timeout_s", "prompt", "options"},
        EmbeddingRequest: {"card", "timeout_s", "texts", "dimensions", "truncate"},
        MixedRequest: {"card", "timeout_s", "items", "truncate"},
    }
    for kind, known in fields.items():
        assert {f.name for f in dataclasses.fields(kind)} == known


@pytest.mark.parametrize("name", sorted(set(ImageOptions.__annotations__)))
def test_options_of_drawing_are_read_too(far, name: str) -> None:
    """All but the router's own; those that take no free text cannot hold an address."""
    if name in {"policy", "timeout", "tags", "metadata", "n", "output_compression"}:
        return
    if name == "response_format":  # one of two words
        return
    card = ModelCard.hosted("openai/dall-e-3", api_base=far.base_url, api_key="sk-test")
    value: Any = {"x": MAIL} if name == "extra_body" else MAIL
    before = len(far.requests)
    with (
        Router(catalog=Catalog([card]), policy=HERE) as one,
        pytest.raises(NoEligibleModelError),
    ):
        one.image_generation("A red kite.", model=card.name, **{name: value})
    assert len(far.requests) == before


def test_texts_of_vectors_are_read_too(far) -> None:
    card = ModelCard.hosted(
        "openai/text-embedding-3-small", api_base=far.base_url, api_key="sk-test"
    )
    before = len(far.requests)
    with Router(catalog=Catalog([card]), policy=HERE) as one:
        for ask in (
            lambda: one.embedding(["a kite", f"to {MAIL}"], model=card.name),
            lambda: one.embedding(["a kite", f"to {MAIL}"], multimodal=True, model=card.name),
        ):
            with pytest.raises(NoEligibleModelError):
                ask()
    assert len(far.requests) == before


def test_pictures_are_read_but_for_their_pixels() -> None:
    pixels = "A" * 40_000  # as an encoded file it would count as unread
    body = {"url": f"data:image/png;base64,{pixels}", "seen": "x"}
    assert list(texts(body)) == ["url", "data:image/png;base64,", "seen", "x"]


def test_schemas_that_are_no_json_are_read_all_the_same() -> None:
    odd = {"type": "function", "function": {"name": "f", "x": {f"to {MAIL}"}}}
    assert read(Task.of("Go on.", tools=[odd])).pii == ("email",)
    quoted = {"type": "function", "description": f'say:\n"{MAIL}" or "\\u002b44 20 7946 0958"'}
    assert read(Task.of("Go on.", tools=[quoted])).pii == ("email", "phone")


def test_what_holds_itself_ends() -> None:
    loop: dict[str, Any] = {"a": MAIL}
    loop["b"] = [loop]
    assert MAIL in texts(loop)
    deep: Any = MAIL
    for _ in range(20_000):
        deep = [deep]
    assert list(texts(deep)) == [MAIL]


def test_long_numbers_are_read_and_short_ones_are_not() -> None:
    assert list(texts([4111111111111111, 7, True, 0.5, None, -5])) == ["4111111111111111"]


def test_a_continued_conversation_keeps_what_was_sent_with_it(router) -> None:
    """What is decided anew for the same call is decided on the same payload."""
    decision = router.completion("Hello.", user=MAIL).decision
    assert decision.context.task.parameters == {"user": MAIL}
    assert decision.signals.pii == ("email",)
    assert decision.confined_by is not None
