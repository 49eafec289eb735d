"""Each fault of a provider or the network has its typed error, in every way of calling."""

from __future__ import annotations

import datetime
import email.utils
import json
import socket

import pytest

from modelrouter import (
    APIConnectionError,
    AuthenticationError,
    BackendTimeoutError,
    BadRequestError,
    MalformedResponseError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from modelrouter.backends.hosted import LiteLLMBackend
from tests.backends.hosted.conftest import links, outcome
from tests.support.scripted_server import (
    ScriptedServer,
    chunk,
    cut,
    events,
    raw,
    reset,
    status,
)

PAGE = "<html><head><title>502 Bad Gateway</title></head><body>nginx</body></html>"

FAULTS = [
    (status(401), AuthenticationError, "Check the card's api_key"),
    (status(403), AuthenticationError, "refused the key"),
    (status(400, message="bad temperature"), BadRequestError, "bad temperature"),
    (status(404, message="no such model"), BadRequestError, "Check the model's name and api_base"),
    (status(422, message="unprocessable"), BadRequestError, "unprocessable"),
    (status(413, message="too large"), BadRequestError, "too large"),
    (
        status(400, message="This model's maximum context length is 10 tokens"),
        BadRequestError,
        "larger window",
    ),
    (
        status(400, message="flagged by our content policy (content_policy_violation)"),
        BadRequestError,
        "content policy forbids it",
    ),
    (status(429), RateLimitError, "slow down"),
    (status(500), ServerError, "failed: no"),
    (status(503), ServerError, "failed"),
    (status(504), ServerError, "failed"),
    (status(529), ServerError, "failed"),
    (status(408), BackendTimeoutError, "no whole answer"),
    (raw(PAGE, code=502, kind="text/html"), ServerError, r"an HTML page \(502 Bad Gateway\)"),
    (raw(PAGE, code=429, kind="text/html"), RateLimitError, "an HTML page"),
    (raw("", code=503), ServerError, "failed"),
    (reset(), APIConnectionError, "the connection to 127.0.0.1:[0-9]+ (was reset|broke)"),
]


@pytest.mark.parametrize(("behaviour", "error", "says"), FAULTS)
def test_each_fault_has_its_typed_error(server, way, request_to, behaviour, error, says):
    server.script(behaviour)
    got = outcome(way, request_to())
    assert type(got) is error, f"{got!r}"
    assert got.model == "openai/gpt-4o"
    assert got.__cause__ is not None
    assert got.sent
    with pytest.raises(error, match=says):
        raise got


@pytest.mark.parametrize("name", ["anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"])
@pytest.mark.parametrize(
    ("behaviour", "error"),
    [
        (status(401), AuthenticationError),
        (status(400), BadRequestError),
        (status(429, retry_after=7), RateLimitError),
        (status(503), ServerError),
        (reset(), APIConnectionError),
        (raw(PAGE, kind="text/html"), MalformedResponseError),
    ],
)
def test_faults_of_providers_with_protocols_of_their_own_are_typed_alike(
    server, way, request_to, name, behaviour, error
):
    server.script(behaviour)
    got = outcome(way, request_to(name=name))
    assert type(got) is error, f"{got!r}"
    assert got.retry_after == (7.0 if error is RateLimitError else None)


@pytest.mark.parametrize("code", [400, 401, 429, 500, 503])
def test_nothing_is_retried_underneath(server, way, request_to, code):
    server.script(status(code))
    outcome(way, request_to())
    assert len(server.requests) == 1


def test_an_answer_cut_off_before_its_end_is_a_broken_connection(server, whole_way, request_to):
    server.script(cut())
    got = outcome(whole_way, request_to())
    assert type(got) is APIConnectionError
    assert "broke" in str(got)


def test_statuses_say_whether_asking_again_may_help(server, backend, request_to):
    for code, retryable in [(401, False), (400, False), (429, True), (500, True), (408, True)]:
        server.script(status(code))
        got = outcome(backend.complete, request_to())
        assert got.retryable is retryable, code


def test_a_spent_account_is_not_asked_again(server, way, request_to):
    body = {"error": {"message": "You exceeded your current quota", "code": "insufficient_quota"}}
    server.script(raw(json.dumps(body), code=429))
    got = outcome(way, request_to())
    assert type(got) is RateLimitError
    assert got.retryable is False
    assert "no credit" in str(got)


# -- how long to wait --------------------------------------------------------------------------


def in_a_minute() -> str:
    moment = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=60)
    return email.utils.format_datetime(moment, usegmt=True)


@pytest.mark.parametrize("code", [429, 503])
@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0.5", 0.5),
        ("-3", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 GMT", 0.0),
        ("Wed, 21 Oct 2015 07:28:00 -0000", 0.0),
        ("soon", None),
        (None, None),
    ],
)
def test_retry_after_is_read_as_seconds_or_date(server, way, request_to, code, header, seconds):
    server.script(status(code, retry_after=header))
    assert outcome(way, request_to()).retry_after == seconds


def test_retry_after_may_be_a_moment_to_come(server, way, request_to):
    server.script(status(429, retry_after=in_a_minute()))
    assert outcome(way, request_to()).retry_after == pytest.approx(60, abs=10)


# -- the network -------------------------------------------------------------------------------


def test_a_refused_connection_says_where(way, request_to):
    with ScriptedServer() as gone:
        base = gone.base_url
    got = outcome(way, request_to(api_base=base))
    assert type(got) is APIConnectionError
    host = base.removeprefix("http://").removesuffix("/v1")
    assert f"connection refused at {host}" in str(got)
    assert not got.sent  # so that a budget counts nothing


def test_a_host_that_does_not_resolve_is_named(way, request_to):
    got = outcome(way, request_to(api_base="http://nowhere.invalid/v1"))
    assert type(got) is APIConnectionError
    assert "the host nowhere.invalid does not resolve" in str(got)
    assert not got.sent
    assert any(isinstance(link, socket.gaierror) for link in links(got))


def test_a_plain_server_asked_by_https_is_a_connection_error(server, way, request_to):
    got = outcome(way, request_to(api_base=server.base_url.replace("http", "https")))
    assert type(got) is APIConnectionError
    assert "no secure connection" in str(got)


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:8000/v1", "ftp://host/v1", "http://", "http://[::1/v1", "http://host:port/v1", ""],
)
def test_an_api_base_that_is_no_address_is_refused_before_anything_is_sent(
    server, way, request_to, address
):
    got = outcome(way, request_to(api_base=address))
    assert type(got) is BadRequestError
    assert "api_base" in str(got)
    assert server.requests == []


# -- what the provider does not take -----------------------------------------------------------


def test_a_parameter_that_the_provider_does_not_take_is_named(server, way, request_to):
    extra = {"logit_bias": {"1": 2}}
    request = request_to(name="anthropic/claude-sonnet-4-5", settings={"extra": extra})
    got = outcome(way, request)
    assert type(got) is BadRequestError
    assert "logit_bias" in str(got)
    assert "Leave the parameter out" in str(got)
    assert "litellm" not in str(got)
    assert server.requests == []


def test_an_unknown_provider_is_a_bad_request(way, request_to):
    got = outcome(way, request_to(name="nosuch/model"))
    assert type(got) is BadRequestError
    assert '"provider/model"' in str(got)


def test_what_cannot_be_sent_is_a_bad_request_and_not_retried(server, way, request_to):
    got = outcome(way, request_to(settings={"extra": {"user": object()}}))
    assert type(got) is BadRequestError
    assert "not JSON serializable" in str(got)
    assert server.requests == []


# -- streams -----------------------------------------------------------------------------------

TEXT = chunk({"role": "assistant", "content": "one two"})


@pytest.mark.parametrize(
    "script",
    [
        cut(3),
        cut(3, reset=True),
        events(TEXT),
        events(TEXT, done=False),
        events(TEXT, done=False, ends=False, pause=0.1),
        events(TEXT, '{"id": "c1", "obj', done=False, ends=False, pause=0.1),
        events(TEXT, "[1]", pause=0.1),
        events(TEXT, {"error": {"message": "overloaded", "code": 503}}, pause=0.1),
    ],
    ids=[
        "hung up",
        "reset",
        "quiet end",
        "no last event",
        "no end",
        "half an event",
        "another shape",
        "error event",
    ],
)
def test_a_stream_broken_off_after_text_carries_the_text(server, stream_way, request_to, script):
    server.script(script)
    got = outcome(stream_way, request_to())
    assert type(got) is StreamInterruptedError, f"{got!r}"
    assert got.partial_text == "one two"


def test_a_stream_broken_off_after_a_tool_call_is_interrupted_too(server, stream_way, request_to):
    call = {"index": 0, "id": "a", "type": "function", "function": {"name": "f", "arguments": "{"}}
    server.script(events(chunk({"role": "assistant", "tool_calls": [call]}), pause=0.1))
    got = outcome(stream_way, request_to())
    assert type(got) is StreamInterruptedError
    assert got.partial_text == ""


@pytest.mark.parametrize("reset", [False, True])
def test_a_stream_cut_before_text_is_a_connection_error(server, stream_way, request_to, reset):
    server.script(cut(0, reset=reset))
    assert type(outcome(stream_way, request_to())) is APIConnectionError


@pytest.mark.parametrize(
    ("told", "error"),
    [
        ({"code": 503, "type": "server_error"}, ServerError),
        ({"code": "429", "type": "rate_limit"}, RateLimitError),
        ({"code": None, "type": "rate_limit_exceeded"}, RateLimitError),
        ({"code": "invalid_api_key", "type": "invalid_request_error"}, AuthenticationError),
        ({"code": None, "type": "invalid_request_error"}, BadRequestError),
        ({"type": "overloaded_error"}, ServerError),
    ],
)
def test_an_error_told_inside_a_stream_before_text_is_typed(
    server, stream_way, request_to, told, error
):
    server.script(events({"error": {"message": "not now", **told}}))
    got = outcome(stream_way, request_to())
    assert type(got) is error, f"{got!r}"
    assert "not now" in str(got)


def test_a_stream_that_fails_before_text_may_be_asked_again_elsewhere(
    server, backend: LiteLLMBackend, request_to
):
    server.script(status(503))
    stream = backend.stream(request_to())
    assert server.requests == []  # nothing is sent before the first chunk is asked for
    assert outcome(lambda _: next(stream), request_to()).retryable
