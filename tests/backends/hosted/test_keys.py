"""Keys: which one is sent, and that none is in any message, cause or log."""

from __future__ import annotations

import base64
import json
import logging
import traceback
import urllib.parse

import pytest

from modelrouter import AuthenticationError
from tests.backends.hosted.conftest import KEY, links, outcome, text_of
from tests.support.scripted_server import echo_key, events, raw, reset, status

PLAIN = "7f3a9c1e5b2d4680aabbccdd"  # as some providers write them: nothing tells it is a key


def everything_told(error: BaseException) -> str:
    """All that a user, a log or an error reporter may see of an error."""
    told = [f"{link!s} {link!r} {vars(link)!r}" for link in links(error)]
    return "".join([*told, *traceback.format_exception(error)])


@pytest.mark.parametrize("key", [KEY, PLAIN])
@pytest.mark.parametrize("name", ["openai/gpt-4o", "anthropic/claude-sonnet-4-5"])
def test_a_key_that_the_provider_echoes_is_in_no_error_and_no_log(
    server, way, request_to, caplog, capfd, key, name
):
    message = {"error": {"message": f"Incorrect API key provided: {key}", "type": "invalid"}}
    server.script(raw(str(message).replace("'", '"'), code=401))
    libraries = ("LiteLLM", "openai", "httpx", "httpcore", "aiohttp", "asyncio")
    levels = {library: logging.getLogger(library).level for library in libraries}
    try:
        for library in libraries:  # as a user who looks for a fault would
            logging.getLogger(library).setLevel(logging.DEBUG)
        with caplog.at_level(logging.DEBUG):
            got = outcome(way, request_to(api_key=key, name=name))
    finally:
        for library, level in levels.items():
            logging.getLogger(library).setLevel(level)
    assert type(got) is AuthenticationError
    assert "Incorrect API key provided" in str(got)
    assert key not in everything_told(got)
    assert caplog.records
    ours = [r for r in caplog.records if r.name.startswith("modelrouter")]
    assert key not in "".join(r.getMessage() for r in ours)
    sent = [r for r in caplog.records if "Incorrect API key" not in r.getMessage()]
    assert key not in "".join(r.getMessage() for r in sent)
    capfd.readouterr()


@pytest.mark.parametrize("behaviour", [status(500), reset(), echo_key(), raw("{")])
def test_no_key_is_in_any_error(server, way, request_to, behaviour):
    server.script(behaviour)
    assert KEY not in everything_told(outcome(way, request_to()))


def test_a_key_told_inside_a_stream_is_redacted(server, stream_way, request_to):
    server.script(events({"error": {"message": f"no such key: {PLAIN}", "code": 401}}))
    got = outcome(stream_way, request_to(api_key=PLAIN))
    assert type(got) is AuthenticationError
    assert PLAIN not in everything_told(got)


@pytest.mark.parametrize(
    "told",
    [
        "sk-proj-abcdef***xyz",
        "gsk_0123456789abcdef",
        "hf_0123456789abcdefgh",
        "AIzaSyA0123456789abcdef",
        "AKIAIOSFODNN7EXAMPLE",
        "Bearer 0123456789abcdef",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl",
        "https://host/v1?key=0123456789",
    ],
)
def test_what_looks_like_somebodys_key_is_redacted(server, backend, request_to, told):
    server.script(status(400, message=f"refused: {told}!"))
    got = outcome(backend.complete, request_to())
    assert told not in everything_told(got)
    assert "[key]" in str(got)


@pytest.mark.parametrize("written", range(9))
def test_a_key_is_redacted_however_it_is_repeated(server, way, request_to, written):
    """In other codings, in part, or masked."""
    encoded = [
        base64.b64encode(f"{before}{PLAIN}:".encode()).decode() for before in ("", "a", "ab")
    ]
    odd = "p+w/7f3a 9c1e&5b2d=4680"
    key, told, never = [
        (PLAIN, PLAIN[-9:], PLAIN[-9:]),
        (PLAIN, PLAIN[:9], PLAIN[:9]),
        (PLAIN, f"7f3a****{PLAIN[-4:]}", PLAIN[-4:]),
        (PLAIN, f"...{PLAIN[-4:]}", PLAIN[-4:]),
        (PLAIN, f"the key ending in {PLAIN[-4:]} is", PLAIN[-4:]),
        (PLAIN, encoded[0], encoded[0][2:26]),
        (PLAIN, encoded[1], encoded[1][4:26]),
        (PLAIN, encoded[2], encoded[2][4:26]),
        (odd, urllib.parse.quote(odd, safe=""), urllib.parse.quote(odd, safe="")[4:20]),
    ][written]
    body = {"error": {"message": f"Incorrect API key provided: {told}", "type": "invalid"}}
    server.script(raw(json.dumps(body), code=401))
    got = outcome(way, request_to(api_key=key))
    assert "[key]" in str(got)
    # Four characters may stand in an object's address too.
    assert never not in (everything_told(got) if len(never) > 8 else str(got))


def test_a_short_key_does_not_garble_the_message(server, backend, request_to):
    server.script(status(400, message="the model needs x"))
    assert "the model needs [key]" in str(outcome(backend.complete, request_to(api_key="x")))
    server.script(status(400, message="next example"))
    assert "next example" in str(outcome(backend.complete, request_to(api_key="x")))


def test_a_password_in_the_address_is_not_told(server, way, request_to):
    base = server.base_url.replace("http://", "http://me:hunter22@")
    server.script(status(500))
    assert "hunter22" not in str(outcome(way, request_to(api_base=base)))


def test_no_key_is_in_the_repr_of_a_request(request_to):
    assert KEY not in repr(request_to())


# -- which key is sent -------------------------------------------------------------------------


def sent_key(server) -> str:
    return server.requests[-1].headers["Authorization"].removeprefix("Bearer ")


def test_a_key_copied_with_its_line_break_is_sent_without(server, way, request_to):
    way(request_to(api_key=f" {KEY}\n"))
    assert sent_key(server) == KEY


def test_so_is_one_from_the_environment(server, way, request_to, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", f"{KEY}\n")
    way(request_to(api_key=None))
    assert sent_key(server) == KEY


@pytest.mark.parametrize(
    "key", ["abc\ndef-secret", "abcdéf-secret", "\u201cabcdef-secret\u201d", ""]
)
def test_a_key_that_cannot_be_sent_is_refused_without_being_told(server, way, request_to, key):
    got = outcome(way, request_to(api_key=key))
    assert type(got) is AuthenticationError
    assert "Copy it again" in str(got)
    assert "f-secret" not in everything_told(got)
    assert server.requests == []


def test_a_variable_of_the_users_own_is_read(server, way, request_to, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-0123456789")
    monkeypatch.setenv("TEAM_KEY", PLAIN)
    way(request_to(api_key=None, api_key_env="TEAM_KEY"))
    assert sent_key(server) == PLAIN


def test_where_it_is_not_set_no_other_key_is_sent_instead(server, way, request_to, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-another-0123456789")
    way(request_to(api_key=None, api_key_env="TEAM_KEY"))
    assert sent_key(server) == "none"  # a server of the user's own may need none
    got = outcome(way, request_to(api_key=None, api_key_env="TEAM_KEY", api_base=None))
    assert type(got) is AuthenticationError
    assert "export TEAM_KEY=" in str(got)
    assert len(server.requests) == 1


def test_a_provider_without_a_key_names_the_variable_to_set(way, request_to):
    got = outcome(way, request_to(api_key=None, api_base=None))
    assert type(got) is AuthenticationError
    assert "export OPENAI_API_KEY=" in str(got)


def test_a_refused_key_of_the_environment_names_its_variable(server, way, request_to, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    server.script(status(401))
    assert "Check OPENAI_API_KEY" in str(outcome(way, request_to(api_key=None)))


def test_a_server_of_the_users_own_needs_no_key(server, way, request_to):
    assert text_of(way(request_to(api_key=None))) == "hello"
