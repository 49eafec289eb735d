"""The hosted backend, through litellm's real client, against a provider on loopback."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest

from modelrouter import (
    APIConnectionError,
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    BadRequestError,
    MalformedResponseError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from modelrouter.backends.hosted import LiteLLMBackend
from tests.backends.hosted.conftest import KEY
from tests.support.scripted_server import (
    ScriptedServer,
    cut,
    drip,
    echo_key,
    raw,
    reply,
    reset,
    slow,
    status,
)

TOOL_CALL = {
    "id": "call_1",
    "type": "function",
    "function": {"name": "weather", "arguments": '{"city": "Oslo"}'},
}


async def acollect(stream) -> list:
    return [chunk async for chunk in stream]


def outcome(call):
    """The BackendError that a call raises."""
    with pytest.raises(BackendError) as caught:
        call()
    return caught.value


def four_ways(backend: LiteLLMBackend, request):
    """Every way to make the same call."""
    return [
        lambda: backend.complete(request),
        lambda: list(backend.stream(request)),
        lambda: asyncio.run(backend.acomplete(request)),
        lambda: asyncio.run(acollect(backend.astream(request))),
    ]


def test_a_reply_is_read_whole(server, backend, request_to):
    details = {"cached_tokens": 4}
    usage = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
    server.script(reply("hello there", usage={**usage, "prompt_tokens_details": details}))
    got = backend.complete(request_to(settings={"temperature": 0.3, "max_tokens": 9}))
    assert (got.text, got.model, got.id) == ("hello there", "openai/gpt-4o", "chatcmpl-scripted")
    assert got.usage.total_tokens == 10
    assert got.usage.cached_tokens == 4
    sent = server.requests[0]
    assert sent.headers["Authorization"] == f"Bearer {KEY}"
    assert sent.body["model"] == "gpt-4o"
    assert (sent.body["temperature"], sent.body["max_tokens"]) == (0.3, 9)


def test_only_what_was_asked_for_is_sent(server, backend, request_to):
    backend.complete(request_to())
    assert set(server.requests[0].body) == {"model", "messages"}


async def test_all_four_ways_give_the_same_text(server, backend, request_to):
    server.script(reply("one two three"))
    request = request_to()
    whole = backend.complete(request).text
    awaited = (await backend.acomplete(request)).text
    streamed = "".join(c.text for c in backend.stream(request))
    astreamed = "".join(c.text for c in await acollect(backend.astream(request)))
    assert whole == awaited == streamed == astreamed == "one two three"


def test_a_stream_ends_with_one_event_of_finish_reason_and_usage(server, backend, request_to):
    server.script(reply("one two", finish_reason="length"))
    chunks = list(backend.stream(request_to()))
    assert [c.choices[0].finish_reason for c in chunks] == [None, None, "length"]
    assert chunks[-1].usage.total_tokens == 10
    assert all(c.usage is None for c in chunks[:-1])


def test_a_stream_whose_provider_reports_no_usage_is_counted(server, backend, request_to):
    server.script(reply("one two three four", with_usage=False))
    last = list(backend.stream(request_to()))[-1]
    assert last.usage.completion_tokens == 4
    assert last.usage.prompt_tokens > 0


def test_tool_calls_come_whole_and_in_pieces(server, backend, request_to):
    server.script(reply("", tool_calls=[TOOL_CALL]))
    tools = ({"type": "function", "function": {"name": "weather", "parameters": {}}},)
    request = request_to(tools=tools, tool_choice="auto")
    whole = backend.complete(request)
    assert whole.choices[0].finish_reason == "tool_calls"
    assert whole.choices[0].message.tool_calls[0].function.arguments == '{"city": "Oslo"}'
    chunks = list(backend.stream(request))
    pieces = [p for c in chunks for p in c.choices[0].delta.tool_calls or ()]
    assert "".join(p.function.arguments for p in pieces) == '{"city": "Oslo"}'
    assert chunks[-1].choices[0].finish_reason == "tool_calls"
    assert server.requests[0].body["tools"] == list(tools)


def test_a_schema_reaches_the_provider(server, backend, request_to):
    schema = {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "object"}}}
    backend.complete(request_to(response_format=schema))
    assert server.requests[0].body["response_format"]["json_schema"]["name"] == "x"


@pytest.mark.parametrize(
    ("behaviour", "error", "says"),
    [
        (status(401), AuthenticationError, "OPENAI_API_KEY"),
        (status(403), AuthenticationError, "refused the key"),
        (status(400, message="bad temperature"), BadRequestError, "bad temperature"),
        (status(404, message="no such model"), BadRequestError, "api_base"),
        (status(422, message="unprocessable"), BadRequestError, "unprocessable"),
        (
            status(400, message="This model's maximum context length is 10 tokens"),
            BadRequestError,
            "larger window",
        ),
        (status(429), RateLimitError, "slow down"),
        (status(500), ServerError, "failed"),
        (status(503), ServerError, "failed"),
        (raw('{"id": '), MalformedResponseError, "malformed"),
        (raw("<html>proxy</html>", kind="text/html"), MalformedResponseError, "malformed"),
        (raw('{"id": "x", "choices": []}'), MalformedResponseError, "malformed"),
        (raw('{"broken', kind="text/event-stream"), MalformedResponseError, "malformed"),
        (reset(), APIConnectionError, "reset|broke"),
    ],
)
def test_each_fault_has_its_typed_error_in_every_way_of_calling(
    server, backend, request_to, behaviour, error, says
):
    server.script(behaviour)
    for way in four_ways(backend, request_to()):
        got = outcome(way)
        assert type(got) is error, f"{got!r}"
        assert got.model == "openai/gpt-4o"
        assert got.__cause__ is not None or isinstance(got, MalformedResponseError)
        with pytest.raises(error, match=says):
            raise got


def test_nothing_is_retried_underneath(server, backend, request_to):
    server.script(status(500))
    for way in four_ways(backend, request_to()):
        server.requests.clear()
        outcome(way)
        assert len(server.requests) == 1


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("7", 7.0), ("0.5", 0.5), ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0), ("soon", None)],
)
def test_retry_after_is_read_as_seconds_or_date(server, backend, request_to, header, seconds):
    server.script(status(429, retry_after=header))
    for way in four_ways(backend, request_to()):
        assert outcome(way).retry_after == seconds


def test_a_refused_connection_and_a_host_that_does_not_resolve_are_told_apart(backend, request_to):
    with ScriptedServer() as gone:
        base = gone.base_url
    for way in four_ways(backend, request_to(api_base=base)):
        assert "refused" in str(outcome(way))
    for way in four_ways(backend, request_to(api_base="http://nowhere.invalid/v1")):
        got = outcome(way)
        assert isinstance(got, APIConnectionError)
        assert "does not resolve" in str(got)


@pytest.mark.parametrize("how", [cut(3), cut(3, reset=True)])
def test_a_stream_cut_after_text_carries_the_text(server, backend, request_to, how):
    server.script(how)
    for way in four_ways(backend, request_to())[1::2]:
        got = outcome(way)
        assert isinstance(got, StreamInterruptedError), f"{got!r}"
        assert got.partial_text == "one two"


def test_a_stream_cut_before_text_is_a_connection_error(server, backend, request_to):
    server.script(cut(0))
    for way in four_ways(backend, request_to())[1::2]:
        assert isinstance(outcome(way), APIConnectionError)


def test_a_stream_that_ends_quietly_without_a_finish_is_noticed(server, backend, request_to):
    unfinished = (
        '{"id": "x", "object": "chat.completion.chunk", "created": 1, "model": "m", '
        '"choices": [{"index": 0, "delta": {"content": "half"}, "finish_reason": null}]}'
    )
    server.script(raw(unfinished, kind="text/event-stream"))
    for way in four_ways(backend, request_to())[1::2]:
        got = outcome(way)
        assert isinstance(got, StreamInterruptedError)
        assert got.partial_text == "half"


def test_a_slow_answer_times_out(server, backend, request_to):
    server.script(slow(5))
    for way in four_ways(backend, request_to(timeout_s=0.4)):
        started = time.monotonic()
        assert isinstance(outcome(way), BackendTimeoutError)
        assert time.monotonic() - started < 3


def test_a_dripping_stream_is_bounded_in_sum(server, backend, request_to):
    server.script(drip(0.05))
    for way in four_ways(backend, request_to(timeout_s=0.6))[1::2]:
        got = outcome(way)
        assert isinstance(got, StreamInterruptedError)
        assert "0.6 s" in str(got)


def test_leaving_a_stream_early_hangs_up(server, backend, request_to):
    server.script(drip(0.01))
    stream = backend.stream(request_to())
    next(stream)
    stream.close()
    assert server.disconnected.wait(5)


async def test_leaving_an_awaited_stream_early_hangs_up(server, backend, request_to):
    server.script(drip(0.01))
    stream = backend.astream(request_to())
    await anext(stream)
    await stream.aclose()
    assert await asyncio.to_thread(server.disconnected.wait, 5)


async def test_cancelling_an_awaited_call_hangs_up(server, backend, request_to):
    server.script(drip(0.01))
    reading = asyncio.create_task(acollect(backend.astream(request_to())))
    await asyncio.sleep(0.3)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await asyncio.to_thread(server.disconnected.wait, 5)


async def test_a_cancellation_is_never_lost_whenever_it_comes(server, backend, request_to):
    server.script(drip(0.0005))
    for turns in range(20):
        reading = asyncio.create_task(acollect(backend.astream(request_to())))
        await asyncio.sleep(0.1)
        time.sleep(0.005)
        for _ in range(turns):  # of the loop: each cuts the reading at another step
            await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading


def test_one_backend_serves_several_event_loops(server, backend, request_to):
    for _ in range(3):
        assert asyncio.run(backend.acomplete(request_to())).text == "hello"


def test_no_key_is_in_any_error_cause_or_log(server, backend, request_to, caplog):
    server.script(echo_key())
    with caplog.at_level(logging.DEBUG):
        for way in four_ways(backend, request_to()):
            got = outcome(way)
            link: BaseException | None = got
            while link is not None:
                assert KEY not in f"{link!s} {link!r} {vars(link)!r}"
                link = link.__cause__ or link.__context__
    ours = [r for r in caplog.records if r.name.startswith(("modelrouter", "LiteLLM"))]
    assert KEY not in "".join(r.getMessage() for r in ours)


def test_no_key_is_in_the_repr_of_a_request(request_to):
    assert KEY not in repr(request_to())


def test_a_server_of_the_users_own_needs_no_key(server, backend, request_to):
    from dataclasses import replace

    request = request_to()
    request = replace(request, card=request.card.model_copy(update={"api_key": None}))
    assert backend.complete(request).text == "hello"
