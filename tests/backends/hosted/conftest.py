"""A scripted provider, and a request to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from modelrouter import GenerationSettings, ModelCard
from modelrouter.backends.base import Request
from modelrouter.backends.hosted import LiteLLMBackend
from tests.support.scripted_server import ScriptedServer

KEY = "sk-test-0123456789abcdef"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def backend() -> LiteLLMBackend:
    return LiteLLMBackend()


@pytest.fixture
def request_to(server: ScriptedServer) -> Callable[..., Request]:
    def make(text: str = "hi", *, api_base: str | None = None, **fields: Any) -> Request:
        card = ModelCard.hosted("openai/gpt-4o", api_base=api_base or server.base_url, api_key=KEY)
        fields.setdefault("timeout_s", 20.0)
        settings = GenerationSettings(**fields.pop("settings", {}))
        messages = [{"role": "user", "content": text}]
        return Request(card=card, messages=messages, settings=settings, **fields)

    return make
