"""Where a request goes: to the address of its card and nowhere else, whatever a server answers.

127.0.0.2 stands for another host. What leads off this machine is tried too, and must not become so
much as a look-up of its name.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelrouter import (
    APIConnectionError,
    BackendTimeoutError,
    BadRequestError,
    Catalog,
    ConfigurationError,
    MalformedResponseError,
    ModelCard,
    Router,
)
from modelrouter.backends.base import EmbeddingRequest, ImageRequest, MixedRequest, Request
from modelrouter.response import GeneratedImage
from tests.backends.hosted.conftest import KEY, outcome, text_of
from tests.support.scripted_server import ScriptedServer, raw, redirect, reply, slow

HI = [{"role": "user", "content": "Write to jane@example.com"}]
CODES = [301, 302, 303, 307, 308]
AWAY = "http://192.0.2.7:80"
"""An address that nobody has (RFC 5737)."""
NAMED = "http://elsewhere.example:80"

_watched: list[list[str]] = []


def _hook(event: str, arguments: tuple[Any, ...]) -> None:
    if not _watched:
        return
    if event == "socket.connect":
        _watched[-1].append(str(arguments[1][0] if len(arguments) > 1 else arguments))
    elif event == "socket.getaddrinfo":
        _watched[-1].append(str(arguments[0]))


sys.addaudithook(_hook)


@contextlib.contextmanager
def reached() -> Iterator[list[str]]:
    """What is connected to or looked up inside, as the interpreter itself tells it."""
    found: list[str] = []
    _watched.append(found)
    try:
        yield found
    finally:
        _watched.remove(found)


@pytest.fixture
def other() -> Iterator[ScriptedServer]:
    with ScriptedServer(host="127.0.0.2") as running:
        yield running


def root(server: ScriptedServer) -> str:
    return server.base_url.removesuffix("/v1")


def local(server: ScriptedServer, **fields: Any) -> ModelCard:
    return ModelCard.server(server.base_url, model="phi3", **fields)


def hosted(server: ScriptedServer, name: str = "openai/gpt-4o", **fields: Any) -> ModelCard:
    return ModelCard.hosted(name, api_base=server.base_url, api_key=KEY, **fields)


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("make", [local, hosted])
def test_no_redirect_is_followed(server, other, way, make: Callable[..., ModelCard], code: int):
    server.script(redirect(code, root(other)))
    got = outcome(way, Request(make(server), HI, timeout_s=20))
    assert type(got) is BadRequestError
    assert f"redirect ({code}) to 127.0.0.2:" in str(got)
    assert "follow_redirects=True" in str(got)
    assert not got.retryable
    assert other.requests == []
    assert len(server.requests) == 1


@pytest.mark.parametrize(
    "name", ["anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", "mistral/mistral-small",
             "groq/llama-3.3-70b-versatile", "deepinfra/meta-llama/Meta-Llama-3-8B-Instruct",
             "cohere_chat/command-r", "ollama/phi3", "azure/gpt-4o"],
)  # fmt: skip
def test_no_provider_s_client_follows_one(server, other, way, name: str):
    server.script(redirect(307, root(other)))
    fields = {"context_window": 8_192}
    got = outcome(way, Request(hosted(server, name, **fields), HI, timeout_s=20))
    assert other.requests == []
    assert server.requests  # it was asked, and answered with a redirect
    assert "jane" not in str(got)


@pytest.mark.parametrize("make", [local, hosted])
def test_a_card_may_allow_it(server, other, way, make: Callable[..., ModelCard]):
    server.script(redirect(307, root(other)))
    card = make(server, follow_redirects=True)
    assert text_of(way(Request(card, HI, timeout_s=20))) == "hello"
    assert other.requests[0].body["messages"] == HI


@pytest.mark.parametrize("to", [AWAY, NAMED, "http://127.0.0.1.example", "http://[::2]:80"])
def test_a_local_model_is_followed_to_this_machine_only(server, way, to: str):
    server.script(redirect(307, to))
    card = local(server, follow_redirects=True)
    with reached() as found:
        got = outcome(way, Request(card, HI, timeout_s=20))
    assert type(got) is BadRequestError
    assert "not an address of this machine" in str(got)
    assert set(found) <= {"127.0.0.1"}


@pytest.mark.parametrize(
    "address",
    [f"{AWAY}/v1", f"{NAMED}/v1", "http://localhost.example/v1", "http://0.0.0.0:80/v1",
     "http://127.0.0.1:80@192.0.2.7/v1"],
)  # fmt: skip
def test_an_address_is_checked_where_it_is_connected_to(server, way, address: str):
    """A card is a value: what was checked when it was made may not be what it holds now."""
    card = local(server).model_copy(update={"api_base": address})
    assert card.location == "local"
    with reached() as found:
        got = outcome(way, Request(card, HI, timeout_s=20))
    assert type(got) is BadRequestError
    assert "not an address of this machine" in str(got)
    assert not got.sent
    assert set(found) <= {"127.0.0.1"}  # an event loop's own


def test_localhost_is_not_looked_up(server, way):
    """So nobody who answers for names, the hosts file included, says where a private task goes."""
    address = server.base_url.replace("127.0.0.1", "localhost")
    card = ModelCard.server(address, model="phi3")
    with reached() as found:
        assert text_of(way(Request(card, HI, timeout_s=20))) == "hello"
    assert set(found) <= {"127.0.0.1", "::1"}
    assert server.requests[0].headers["Host"].startswith("localhost:")


def test_localhost_is_found_where_it_listens_on_the_other_address_only(way):
    import socket

    try:
        probe = socket.create_server(("::1", 0), family=socket.AF_INET6)
    except OSError:
        pytest.skip("this machine has no ::1")
    port = probe.getsockname()[1]
    probe.close()

    from http.server import ThreadingHTTPServer

    class Six(ThreadingHTTPServer):
        address_family = socket.AF_INET6

    with ScriptedServer() as four:
        http = Six(("::1", port), four._handler())
        import threading

        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        try:
            card = ModelCard.server(f"http://localhost:{port}/v1", model="phi3")
            assert text_of(way(Request(card, HI, timeout_s=20))) == "hello"
        finally:
            http.shutdown()
            http.server_close()


def test_a_client_that_is_not_ours_is_refused_for_a_local_model(server, way):
    """Whatever way litellm finds to ask: here a protocol for which it has a client of its own."""
    made = hosted(server, "anthropic/claude-sonnet-4-5")
    card = made.model_copy(update={"location": "local", "api_key": None})
    got = outcome(way, Request(card, HI, timeout_s=20))
    assert server.requests == []
    assert not isinstance(got, APIConnectionError)


def test_a_local_server_needs_the_openai_protocol(server):
    fields = {"api_base": server.base_url, "location": "local", "backend": "litellm"}
    with pytest.raises(ConfigurationError, match="needs server_model"):
        ModelCard(name="ollama/phi3", families=["slm"], context_window=4_096, **fields)


@pytest.mark.parametrize("awaited", [False, True])
@pytest.mark.parametrize("make", [local, hosted])
def test_vectors_and_pictures_follow_none_either(backend, server, other, make, awaited):
    server.script(redirect(307, root(other)))
    card = make(server)
    asked: list[Callable[[], Any]] = [
        lambda: _one(backend.embed, backend.aembed, EmbeddingRequest(card, ("a",)), awaited),
        lambda: _one(backend.draw, backend.adraw, ImageRequest(card, "a kite"), awaited),
        lambda: _one(
            backend.embed_mixed, backend.aembed_mixed, MixedRequest(card, ("a",)), awaited
        ),
    ]
    for ask in asked:
        before = len(server.requests)
        with pytest.raises(BadRequestError, match=r"redirect \(307\)"):
            ask()
        assert len(server.requests) == before + 1
    assert other.requests == []


def _one(blocking: Any, awaited: Any, request: Any, is_awaited: bool) -> Any:
    return asyncio.run(awaited(request)) if is_awaited else blocking(request)


def test_asking_what_a_server_has_follows_none(server, other):
    server.script(redirect(302, root(other)))
    with pytest.raises(MalformedResponseError, match="status 302"):
        ModelCard.server(server.base_url)
    assert other.requests == []


@pytest.mark.parametrize("code", CODES)
def test_a_drawn_picture_is_fetched_from_where_it_is_said_to_be(server, other, code):
    server.script(redirect(code, root(other)))
    with pytest.raises(APIConnectionError, match=str(code)):
        GeneratedImage(url=f"{root(server)}/a.png").content()
    assert other.requests == []


def test_a_private_policy_falls_back_to_nobody(server, other):
    server.script(redirect(307, root(other)))
    with (
        Router(catalog=Catalog([local(server)]), policy="private") as router,
        pytest.raises(BadRequestError, match="redirect"),
    ):
        router.completion(messages=HI)
    assert other.requests == []


def test_what_else_the_process_asks_is_as_it_was(backend, server, other):
    """The clients of a program that uses httpx or litellm itself follow as they did."""
    import httpx
    import httpx2

    server.script(redirect(307, root(other)))
    other.script(raw("{}"))
    for library in (httpx, httpx2):
        with library.Client(follow_redirects=True) as client:
            assert client.follow_redirects is True
            assert client.post(f"{server.base_url}/x", json={}).status_code == 200
        with library.Client() as client:
            assert client.follow_redirects is False
            client.follow_redirects = True
            assert client.follow_redirects is True
            assert client.post(f"{server.base_url}/x", json={}).status_code == 200
    assert len(other.requests) == 4


def test_connections_to_a_local_server_are_kept_and_its_loops_closed(server, backend):
    server.script(reply())
    request = Request(local(server), HI, timeout_s=20)
    for _ in range(3):
        backend.complete(request)
    assert len({asked.connection for asked in server.requests}) == 1

    async def thrice() -> None:
        for _ in range(3):
            await backend.acomplete(request)

    asyncio.run(thrice())
    assert len({asked.connection for asked in server.requests}) == 2


def test_a_local_server_that_is_given_up_is_hung_up_on(server, way):
    server.script(slow(30))
    got = outcome(way, Request(local(server), HI, timeout_s=0.5))
    assert type(got) is BackendTimeoutError
    assert server.disconnected.wait(10)
