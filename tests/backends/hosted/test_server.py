"""A server on this machine as a local model: llama-cpp-python's real one, and a scripted one."""

from __future__ import annotations

import os
import socket
import sys
import threading

import pytest

from modelrouter import APIConnectionError, AsyncRouter, Catalog, ModelCard, Router
from modelrouter.backends.base import Request
from tests.backends.hosted.conftest import outcome, text_of

HI = [{"role": "user", "content": "Fix the grammar: She go to school."}]


def test_a_private_policy_uses_a_real_server(llama_server):
    card = ModelCard.server(llama_server.base_url, probe=True)
    assert card.server_model == llama_server.model
    with Router(catalog=Catalog([card]), policy="private") as router:
        reply = router.completion(messages=HI, max_tokens=12, temperature=0)
        assert reply.text
        assert (reply.model, reply.cost_usd) == (llama_server.model, 0.0)
        assert reply.decision.location == "local"
        assert reply.usage.prompt_tokens > 0
        with router.completion(messages=HI, max_tokens=12, temperature=0, stream=True) as chunks:
            assert "".join(c.text for c in chunks) == reply.text


async def test_it_is_awaited_too(llama_server):
    card = ModelCard.server(llama_server.base_url, model=llama_server.model)
    async with AsyncRouter(catalog=Catalog([card]), policy="private") as router:
        reply = await router.completion(messages=HI, max_tokens=12, temperature=0)
    assert reply.text


def test_no_key_of_the_user_is_sent_whatever_the_model_is_called(server, way, monkeypatch):
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user-0123456789")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/v1")
    for name in ("openai/gpt-4o", "gpt-4o", "gemini/gemini-2.5-flash", "phi3:latest"):
        card = ModelCard.server(server.base_url, model=name)
        assert text_of(way(Request(card, HI, timeout_s=20))) == "hello"
        asked = server.requests.pop()
        assert asked.body["model"] == name
        assert asked.headers["Authorization"] == "Bearer none"
        assert "sk-of-the-user" not in str(asked.headers)


def test_a_key_of_its_own_is_sent(server, way, monkeypatch):
    monkeypatch.setenv("VLLM_KEY", "token-0123456789")
    card = ModelCard.server(server.base_url, model="phi3", api_key_env="VLLM_KEY")
    way(Request(card, HI, timeout_s=20))
    assert server.requests[0].headers["Authorization"] == "Bearer token-0123456789"


@pytest.mark.parametrize("excepted", ["", "intranet.example"])
def test_no_proxy_is_asked_on_the_way(server, way, monkeypatch, excepted):
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nobody is there
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", excepted)
    card = ModelCard.server(server.base_url, model="phi3")
    assert text_of(way(Request(card, HI, timeout_s=20))) == "hello"
    assert excepted in os.environ["NO_PROXY"]


def test_a_server_that_is_not_running_is_told_with_how_to_start_it(way):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    card = ModelCard.server(f"http://127.0.0.1:{port}/v1", model="phi3")
    got = outcome(way, Request(card, HI, timeout_s=20))
    assert type(got) is APIConnectionError
    assert f"connection refused at 127.0.0.1:{port}" in str(got)
    assert "Is it running?" in str(got)


def test_the_usual_command_is_named_for_a_usual_port():
    from modelrouter.catalog.server import start_hint

    assert "`ollama serve`" in start_hint("http://127.0.0.1:11434/v1")
    assert "correct the address" in start_hint("http://127.0.0.1:5/v1")


def test_a_router_warms_it(server):
    with Router(catalog=Catalog([ModelCard.server(server.base_url, model="phi3")])) as router:
        named = [thread.name for thread in threading.enumerate()]
        assert "litellm" in sys.modules or "import-litellm" in named
        assert router.completion("hi").text == "hello"
