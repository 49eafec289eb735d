"""One suite over every backend: what dispatch relies on, whichever library runs the model."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from modelrouter import GenerationSettings, ModelCard
from modelrouter.backends.base import Backend, Request
from modelrouter.backends.hosted import LiteLLMBackend
from modelrouter.backends.llamacpp import LlamaCppBackend
from modelrouter.testing import EchoBackend, example_card
from tests.support.scripted_server import ScriptedServer, reply


@dataclass(frozen=True)
class Subject:
    backend: Backend
    request: Request


@pytest.fixture(scope="module", params=["echo", "llamacpp", "litellm"])
def subject(request: pytest.FixtureRequest, bundled_model: Path) -> Iterator[Subject]:
    asked = [{"role": "user", "content": "Fix the grammar: He don't like coffee."}]
    settings = GenerationSettings(max_tokens=40)
    if request.param == "echo":
        yield Subject(EchoBackend(), Request(example_card(), asked, settings, timeout_s=30))
    elif request.param == "llamacpp":
        backend = LlamaCppBackend()
        card = ModelCard.local(bundled_model)
        yield Subject(backend, Request(card, asked, settings, timeout_s=30))
        backend.close()
    else:
        with ScriptedServer() as server:
            server.script(reply("He doesn't like coffee."))
            card = ModelCard.hosted("openai/gpt-4o", api_base=server.base_url, api_key="sk-x")
            yield Subject(LiteLLMBackend(), Request(card, asked, settings, timeout_s=30))


async def collect(stream) -> list:
    return [chunk async for chunk in stream]


def test_it_fulfils_the_protocol(subject):
    assert isinstance(subject.backend, Backend)


def test_a_reply_is_one_the_openai_client_would_accept(subject):
    got = subject.backend.complete(subject.request)
    ChatCompletion.model_validate(got.model_dump(mode="json"))
    assert got.text
    assert got.model == subject.request.card.name
    assert got.usage.prompt_tokens > 0
    assert got.usage.completion_tokens > 0
    assert got.usage.total_tokens == got.usage.prompt_tokens + got.usage.completion_tokens


def test_a_streams_chunks_are_ones_the_openai_client_would_accept(subject):
    for chunk in subject.backend.stream(subject.request):
        ChatCompletionChunk.model_validate(chunk.model_dump(mode="json"))


def test_only_the_last_chunk_has_a_finish_reason_and_the_usage(subject):
    chunks = list(subject.backend.stream(subject.request))
    assert len({chunk.id for chunk in chunks}) == 1
    assert all(c.usage is None for c in chunks[:-1])
    assert all(c.choices[0].finish_reason is None for c in chunks[:-1])
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert chunks[-1].usage.completion_tokens > 0


def test_all_four_ways_say_the_same(subject):
    backend, request = subject.backend, subject.request
    whole = backend.complete(request).text
    assert "".join(c.text for c in backend.stream(request)) == whole
    assert asyncio.run(backend.acomplete(request)).text == whole
    chunks = asyncio.run(collect(backend.astream(request)))
    assert "".join(c.text for c in chunks) == whole


def test_a_stream_left_early_leaves_the_backend_usable(subject):
    stream = subject.backend.stream(subject.request)
    next(stream)
    stream.close()
    assert subject.backend.complete(subject.request).text


async def test_an_awaited_stream_left_early_leaves_the_backend_usable(subject):
    stream = subject.backend.astream(subject.request)
    await anext(stream)
    await stream.aclose()
    assert (await subject.backend.acomplete(subject.request)).text


async def test_a_cancelled_call_leaves_the_backend_usable(subject):
    call = asyncio.create_task(subject.backend.acomplete(subject.request))
    await asyncio.sleep(0)
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):  # the echo is done already
        await call
    assert (await subject.backend.acomplete(subject.request)).text


async def test_many_awaited_calls_at_once_each_get_their_answer(subject):
    answers = await asyncio.gather(*(subject.backend.acomplete(subject.request) for _ in range(16)))
    assert len({a.text for a in answers}) == 1


def test_a_token_counter_counts_or_is_absent(subject):
    counter = subject.backend.tokenizer(subject.request.card)
    assert counter is None or counter("two words") > 0
