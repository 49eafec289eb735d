"""A scripted provider, and a request to it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from modelrouter import BackendError, Completion, GenerationSettings, ModelCard
from modelrouter.backends.base import Request
from modelrouter.backends.hosted import LiteLLMBackend
from modelrouter.backends.hosted.library import litellm
from tests.support.scripted_server import ScriptedServer

KEY: Final = "sk-test-0123456789abcdef"

Way = Callable[[Request], Any]


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture(scope="session")
def backend() -> LiteLLMBackend:
    litellm()  # seconds, which no deadline counts
    return LiteLLMBackend()


@pytest.fixture
def request_to(server: ScriptedServer) -> Callable[..., Request]:
    """Makes a request to the server; fields of the card and of the request may be given."""

    def make(text: str = "hi", **fields: Any) -> Request:
        of_card = {"api_base": server.base_url, "api_key": KEY}
        of_card |= {n: fields.pop(n) for n in ("api_base", "api_key", "api_key_env") if n in fields}
        card = ModelCard.hosted(fields.pop("name", "openai/gpt-4o"), **of_card)
        settings = GenerationSettings(**fields.pop("settings", {}))
        fields = {"messages": [{"role": "user", "content": text}], "timeout_s": 20.0, **fields}
        return Request(card=card, settings=settings, **fields)

    return make


@pytest.fixture(params=["complete", "acomplete", "stream", "astream"])
def way(request: pytest.FixtureRequest, backend: LiteLLMBackend) -> Way:
    """Every way of calling; a stream comes as the list of its chunks."""
    return WAYS[request.param](backend)


@pytest.fixture(params=["complete", "acomplete"])
def whole_way(request: pytest.FixtureRequest, backend: LiteLLMBackend) -> Way:
    return WAYS[request.param](backend)


@pytest.fixture(params=["stream", "astream"])
def stream_way(request: pytest.FixtureRequest, backend: LiteLLMBackend) -> Way:
    return WAYS[request.param](backend)


WAYS: Final[dict[str, Callable[[LiteLLMBackend], Way]]] = {
    "complete": lambda backend: backend.complete,
    "acomplete": lambda backend: lambda request: asyncio.run(backend.acomplete(request)),
    "stream": lambda backend: lambda request: list(backend.stream(request)),
    "astream": lambda backend: lambda request: asyncio.run(collect(backend.astream(request))),
}


async def collect(stream: Any) -> list[Any]:
    return [chunk async for chunk in stream]


def outcome(way: Way, request: Request) -> BackendError:
    """The BackendError that a call raises."""
    with pytest.raises(BackendError) as caught:
        way(request)
    return caught.value


def text_of(answer: Any) -> str:
    """Of a reply or of a stream's chunks."""
    if isinstance(answer, Completion):
        return answer.text
    return "".join(chunk.text for chunk in answer)


def links(error: BaseException | None) -> Iterator[BaseException]:
    """An error and all that it is chained from."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
