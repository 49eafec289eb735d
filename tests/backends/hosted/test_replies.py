"""Replies and streams of the hosted backend, through litellm's real client, on loopback."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from modelrouter import BackendError, Completion, MalformedResponseError
from tests.backends.hosted.conftest import KEY, outcome, text_of
from tests.support.scripted_server import ScriptedServer, chunk, events, raw, reply

TOOL = {"type": "function", "function": {"name": "weather", "parameters": {"type": "object"}}}
TOOL_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}
USAGE = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def answer(message: object, finish_reason: object = "stop", **fields: object) -> str:
    """The JSON of a whole answer with that message."""
    choice = {"index": 0, "message": message, "finish_reason": finish_reason}
    head = {"id": "chatcmpl-1", "object": "chat.completion", "created": 1, "model": "m"}
    return json.dumps({**head, "choices": [choice], "usage": USAGE, **fields})


# -- what is sent ------------------------------------------------------------------------------


def test_only_what_was_asked_for_is_sent(server, backend, request_to):
    backend.complete(request_to())
    assert server.requests[0].body == {
        "model": "gpt-4o",
        "messages": [{"role": "user", "content": "hi"}],
    }


def test_settings_tools_and_schema_reach_the_provider(server, way, request_to):
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    way(
        request_to(
            settings={"temperature": 0.3, "max_tokens": 9, "extra": {"user": "u1"}},
            tools=(TOOL,),
            tool_choice="auto",
            response_format=schema,
        )
    )
    sent = server.requests[0]
    assert sent.headers["Authorization"] == f"Bearer {KEY}"
    assert (sent.body["temperature"], sent.body["max_tokens"], sent.body["user"]) == (0.3, 9, "u1")
    assert (sent.body["tools"], sent.body["tool_choice"]) == ([TOOL], "auto")
    assert sent.body["response_format"]["json_schema"]["name"] == "x"


def test_what_is_passed_on_cannot_change_whom_is_asked_or_how(server, backend, request_to):
    extra = {"model": "openai/other", "api_base": "http://127.0.0.1:9", "num_retries": 5}
    assert backend.complete(request_to(settings={"extra": extra})).text == "hello"
    assert server.requests[0].body["model"] == "gpt-4o"


def test_the_messages_asked_with_stay_as_they_are(server, way, request_to):
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "hi"}]
    before = copy.deepcopy(messages)
    way(request_to(messages=messages))
    assert messages == before


# -- whole replies -----------------------------------------------------------------------------


def test_all_four_ways_give_the_same_text(server, way, request_to):
    server.script(reply("one two three"))
    assert text_of(way(request_to())) == "one two three"


def test_a_reply_is_read_whole(server, whole_way, request_to):
    details = {"prompt_tokens_details": {"cached_tokens": 4}}
    reasoning = {"completion_tokens_details": {"reasoning_tokens": 2}}
    server.script(reply("hello there", usage={**USAGE, **details, **reasoning}))
    got = whole_way(request_to())
    assert (got.text, got.model, got.id) == ("hello there", "openai/gpt-4o", "chatcmpl-scripted")
    assert (got.created, got.provider_model) == (1_700_000_000, "gpt-4o")
    assert got.choices[0].finish_reason == "stop"
    assert (got.usage.total_tokens, got.usage.cached_tokens) == (10, 4)
    assert got.usage.model_dump()["completion_tokens_details"]["reasoning_tokens"] == 2


def test_tool_calls_come_whole(server, whole_way, request_to):
    server.script(reply("", tool_calls=[TOOL_CALL]))
    choice = whole_way(request_to(tools=(TOOL,))).choices[0]
    assert choice.finish_reason == "tool_calls"
    assert [call.model_dump() for call in choice.message.tool_calls] == [TOOL_CALL]


def test_reasoning_refusal_and_several_choices_are_kept(server, whole_way, request_to):
    choices = [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "x", "reasoning_content": "hm"},
            "finish_reason": "length",
        },
        {
            "index": 1,
            "message": {"role": "assistant", "content": None, "refusal": "I will not."},
            "finish_reason": "stop",
        },
    ]
    server.script(raw(answer(None, choices=choices)))
    first, second = whole_way(request_to(settings={"extra": {"n": 2}})).choices
    assert (first.message.reasoning_content, first.finish_reason) == ("hm", "length")
    assert (second.index, second.message.refusal) == (1, "I will not.")


@pytest.mark.parametrize(
    ("given", "shown"),
    [("stop", "stop"), ("length", "length"), ("eos", "stop"), (None, "stop"), (7, "stop")],
)
def test_a_finish_reason_that_openai_does_not_know_is_a_stop(
    server, backend, request_to, given, shown
):
    server.script(raw(answer({"role": "assistant", "content": "x"}, given)))
    assert backend.complete(request_to()).choices[0].finish_reason == shown


def test_an_answer_cut_short_before_any_text_is_an_empty_one(server, backend, request_to):
    server.script(raw(answer({"role": "assistant", "content": None}, "length")))
    got = backend.complete(request_to())
    assert (got.text, got.choices[0].finish_reason) == ("", "length")


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": 0, "completion_tokens": 0}])
def test_tokens_that_the_provider_does_not_count_are_estimated(
    server, whole_way, request_to, usage
):
    text = "The quick brown fox jumps over the lazy dog. " * 20
    server.script(raw(answer({"role": "assistant", "content": text}, usage=usage)))
    got = whole_way(request_to(text)).usage
    assert got.estimated is True
    assert got.completion_tokens == pytest.approx(201, rel=0.25)  # by OpenAI's o200k_base
    assert got.prompt_tokens == pytest.approx(208, rel=0.25)
    assert got.total_tokens == got.prompt_tokens + got.completion_tokens


# -- streams -----------------------------------------------------------------------------------


def test_a_stream_ends_with_one_event_of_finish_reason_and_usage(server, stream_way, request_to):
    details = {"prompt_tokens_details": {"cached_tokens": 4}}
    server.script(reply("one two", finish_reason="length", usage={**USAGE, **details}))
    chunks = stream_way(request_to())
    assert [c.choices[0].finish_reason for c in chunks] == [None, None, "length"]
    assert [c.choices[0].delta.role for c in chunks] == ["assistant", None, None]
    assert all(c.usage is None for c in chunks[:-1])
    assert (chunks[-1].usage.total_tokens, chunks[-1].usage.cached_tokens) == (10, 4)
    assert "estimated" not in chunks[-1].usage.model_dump()
    assert {(c.id, c.model, c.created) for c in chunks} == {
        ("chatcmpl-scripted", "openai/gpt-4o", chunks[0].created)
    }


@pytest.mark.parametrize("name", ["openai/gpt-4o", "openai/meta-llama/llama-3-8b"])
def test_a_stream_without_usage_is_estimated_and_no_tokenizer_is_fetched(
    server, stream_way, request_to, name
):
    server.script(reply("The quick brown fox jumps over the lazy dog. " * 20, with_usage=False))
    usage = stream_way(request_to(name=name))[-1].usage
    assert usage.estimated is True
    assert usage.completion_tokens == pytest.approx(201, rel=0.25)
    assert usage.prompt_tokens > 0


def test_tool_calls_come_in_pieces(server, stream_way, request_to):
    server.script(reply("", tool_calls=[TOOL_CALL]))
    chunks = stream_way(request_to(tools=(TOOL,)))
    pieces = [p for c in chunks for p in c.choices[0].delta.tool_calls or ()]
    assert (pieces[0].id, pieces[0].function.name) == ("call_1", "weather")
    assert "".join(p.function.arguments for p in pieces) == '{"city": "Oslo"}'
    assert chunks[-1].choices[0].finish_reason == "tool_calls"


def test_reasoning_is_streamed_beside_the_text(server, stream_way, request_to):
    server.script(
        events(
            chunk({"role": "assistant", "reasoning_content": "let me"}),
            chunk({"reasoning_content": " think"}),
            chunk({"content": "42"}),
            chunk({}, "stop"),
        )
    )
    chunks = stream_way(request_to())
    deltas = [c.choices[0].delta.model_dump() for c in chunks]
    assert "".join(d.get("reasoning_content") or "" for d in deltas) == "let me think"
    assert text_of(chunks) == "42"


def test_choices_of_one_stream_are_kept_apart(server, stream_way, request_to):
    server.script(
        events(
            *(chunk({"content": f"{word} "}, index=i) for word in ("a", "b") for i in (0, 1)),
            chunk({}, "length", index=0),
            chunk({"content": "c"}, index=1),
            chunk({}, "length", index=1),
        )
    )
    chunks = stream_way(request_to(settings={"extra": {"n": 2}}))
    texts = {0: "", 1: ""}
    for choice in (choice for c in chunks for choice in c.choices):
        texts[choice.index] += choice.delta.content or ""
    assert texts == {0: "a b ", 1: "a b c"}
    ends = [(c.index, c.finish_reason) for c in chunks[-1].choices]
    assert ends == [(0, "length"), (1, "length")]


@pytest.mark.parametrize(
    "script",
    [
        pytest.param(
            [chunk({"content": "a"}), chunk({"content": " b"}, "stop", usage=USAGE)],
            id="text and usage in the last event",
        ),
        pytest.param(
            [
                chunk({"content": "a"}, usage={**USAGE, "total_tokens": 1}),
                chunk({"content": " b"}, usage={**USAGE, "total_tokens": 2}),
                chunk({}, "stop", usage=USAGE),
            ],
            id="usage in every event",
        ),
        pytest.param(
            [
                {**chunk({}), "id": "", "choices": [], "prompt_filter_results": []},
                chunk({"content": "a b"}),
                chunk({}, "stop"),
                {**chunk({}), "choices": [], "usage": USAGE},
            ],
            id="Azure's first event",
        ),
        pytest.param(
            [chunk({"content": "a b"}), chunk({}, "eos", usage=USAGE)],
            id="a finish reason of the provider's own",
        ),
    ],
)
def test_streams_as_different_providers_write_them_read_alike(
    server, stream_way, request_to, script
):
    server.script(events(*script))
    chunks = stream_way(request_to())
    assert text_of(chunks) == "a b"
    assert [c.choices[0].finish_reason for c in chunks][-2:] == [None, "stop"]
    assert chunks[-1].usage.total_tokens == 10


def test_a_model_may_repeat_itself(server, stream_way, request_to):
    server.script(events(*[chunk({"content": "ha "})] * 150, chunk({}, "stop")))
    assert text_of(stream_way(request_to())) == "ha " * 150


@pytest.mark.parametrize("ends", [True, False])
def test_a_stream_cut_after_its_finish_reason_lost_nothing_but_the_usage(
    server, stream_way, request_to, ends
):
    server.script(
        events(chunk({"content": "all of it"}), chunk({}, "stop"), done=False, ends=ends, pause=0.1)
    )
    chunks = stream_way(request_to())
    assert text_of(chunks) == "all of it"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.estimated is True


# -- other protocols ---------------------------------------------------------------------------


def test_a_provider_with_a_protocol_of_its_own_is_read_alike(server, whole_way, request_to):
    message = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude-sonnet-4-5",
        "content": [{"type": "text", "text": "hello"}],
        "stop_reason": "max_tokens",
        "usage": {"input_tokens": 5, "output_tokens": 2},
    }
    server.script(raw(json.dumps(message)))
    got = whole_way(request_to(name="anthropic/claude-sonnet-4-5"))
    assert (got.text, got.choices[0].finish_reason) == ("hello", "length")
    assert (got.usage.prompt_tokens, got.usage.completion_tokens) == (5, 2)
    assert server.requests[0].headers["x-api-key"] == KEY


def test_a_stream_in_a_protocol_of_its_own_is_read_alike(server, stream_way, request_to):
    start = {"id": "m1", "type": "message", "role": "assistant", "model": "c", "content": []}
    usage = {"input_tokens": 5, "output_tokens": 1}
    server.script(
        events(
            {"type": "message_start", "message": {**start, "usage": usage}},
            *(
                {
                    "type": "content_block_delta",
                    "index": 0,
                    "delta": {"type": "text_delta", "text": text},
                }
                for text in ("one", " two")
            ),
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn"},
                "usage": {"output_tokens": 2},
            },
            {"type": "message_stop"},
            done=False,
        )
    )
    chunks = stream_way(request_to(name="anthropic/claude-sonnet-4-5"))
    assert text_of(chunks) == "one two"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert (chunks[-1].usage.prompt_tokens, chunks[-1].usage.completion_tokens) == (5, 2)


# -- answers of another shape ------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        "",
        '{"id": ',
        "<html>proxy</html>",
        "null",
        "[]",
        '"text"',
        '{"id": "x"}',
        answer(None, choices=[]),
        answer(None, choices=None),
        answer(None, choices="abc"),
        answer(None, choices=[{}]),
        answer(None),
        answer({"role": "assistant", "content": None}),
        answer({"role": "assistant", "content": 5}),
        answer({"role": "assistant", "content": "x", "tool_calls": "none"}),
        answer({"role": "assistant", "content": "x"}, usage="much"),
    ],
)
def test_an_answer_of_another_shape_is_malformed(server, whole_way, request_to, body):
    server.script(raw(body))
    got = outcome(whole_way, request_to())
    assert type(got) is MalformedResponseError, f"{got!r}"
    assert "api_base" in str(got)
    assert "Traceback" not in str(got)


@pytest.mark.parametrize(
    "script",
    [
        events(),
        events("{broken"),
        events('"text"'),
        events("[1]"),
        events(chunk({"role": "assistant", "content": 5}), chunk({}, "stop")),
        events({**chunk({}), "choices": "abc"}, chunk({}, "stop")),
        raw("<html>proxy</html>", kind="text/html"),
        raw(answer({"role": "assistant", "content": "whole"})),
    ],
    ids=["nothing", "broken", "text", "list", "number", "choices", "page", "no stream"],
)
def test_a_stream_of_another_shape_is_malformed(server, stream_way, request_to, script):
    server.script(script)
    assert type(outcome(stream_way, request_to())) is MalformedResponseError


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.text(max_size=3),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=3), inner, max_size=2)
    ),
    max_leaves=4,
)


@st.composite
def damaged(draw: st.DrawFn, whole: object) -> object:
    """The value with one part of it, however deep, replaced or left out."""
    if isinstance(whole, dict) and whole and draw(st.integers(0, 4)):
        name = draw(st.sampled_from(sorted(whole)))
        if not draw(st.integers(0, 5)):
            return {k: v for k, v in whole.items() if k != name}
        return {**whole, name: draw(damaged(whole[name]))}
    if isinstance(whole, list) and whole and draw(st.integers(0, 4)):
        index = draw(st.integers(0, len(whole) - 1))
        return [*whole[:index], draw(damaged(whole[index])), *whole[index + 1 :]]
    return draw(json_values)


WHOLE = json.loads(answer({"role": "assistant", "content": "x", "tool_calls": [TOOL_CALL]}))
STREAM = [
    chunk({"role": "assistant", "content": "a"}),
    chunk({"tool_calls": [{"index": 0, **TOOL_CALL}]}),
    chunk({}, "tool_calls"),
    {**chunk({}), "choices": [], "usage": USAGE},
]


def fuzzed(test):
    """Many examples against one server; litellm warns of the odd types that it meets."""
    many = settings(
        max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
    )
    return pytest.mark.filterwarnings("ignore:Pydantic serializer warnings")(many(test))


@fuzzed
@given(body=damaged(WHOLE))
def test_whatever_comes_is_a_reply_of_openais_shape_or_a_typed_error(
    server: ScriptedServer, backend, request_to, body
):
    server.script(raw(json.dumps(body)))
    try:
        got = backend.complete(request_to())
    except BackendError:
        return
    assert isinstance(got, Completion)
    ChatCompletion.model_validate(got.model_dump(mode="json"))


@fuzzed
@given(script=damaged(STREAM), done=st.booleans())
def test_whatever_is_streamed_ends_with_a_last_chunk_or_a_typed_error(
    server: ScriptedServer, backend, request_to, script, done
):
    script = script if isinstance(script, list) else [script]
    server.script(events(*(json.dumps(event) for event in script), done=done))
    try:
        chunks = list(backend.stream(request_to()))
    except BackendError:
        return
    for got in chunks:
        ChatCompletionChunk.model_validate(got.model_dump(mode="json"))
    assert chunks[-1].choices[0].finish_reason is not None
    assert chunks[-1].usage is not None
