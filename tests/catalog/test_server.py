"""Cards of models on a server of this machine."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from modelrouter import APIConnectionError, ConfigurationError, MalformedResponseError, ModelCard

PHI = {"id": "phi3", "object": "model"}
SERVED = {"id": "served", "object": "model", "max_model_len": 16_384}  # as vLLM tells it


class Models:
    """Answers ``GET /v1/models`` and keeps what was asked."""

    def __init__(self) -> None:
        self.models: Any = [PHI]
        self.code = 200
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.address = ""


@pytest.fixture
def models() -> Iterator[Models]:
    told = Models()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            told.asked.append((self.path, dict(self.headers)))
            body = json.dumps({"object": "list", "data": told.models}).encode()
            self.send_response(told.code)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: Any) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        threading.Thread(target=http.serve_forever, args=(0.01,), daemon=True).start()
        told.address = f"http://127.0.0.1:{http.server_address[1]}/v1"
        yield told
        http.shutdown()


def test_a_server_is_a_free_local_model_and_is_not_asked_for_its_card(models: Models) -> None:
    card = ModelCard.server(models.address, model="phi3")
    assert (card.name, card.server_model, card.location) == ("phi3", "phi3", "local")
    assert card.price is not None
    assert card.price.cost_usd(1_000, 1_000) == 0
    assert card.api_key is card.api_key_env is None
    assert models.asked == []


def test_a_name_that_the_catalog_knows_brings_its_strengths_and_given_fields_win() -> None:
    card = ModelCard.server(
        "http://localhost:8080/v1", model="p2.gguf", name="phi-2", context_window=1_024
    )
    assert card.strengths == ModelCard.server("http://[::1]:1/v1", model="phi-2").strengths != {}
    assert (card.name, card.server_model, card.context_window) == ("phi-2", "p2.gguf", 1_024)


def test_the_only_model_and_its_window_are_asked_for(
    models: Models, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-of-the-user-0123456789")
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")  # nobody is there
    models.models = [SERVED]
    card = ModelCard.server(models.address)
    assert (card.name, card.server_model, card.context_window) == ("served", "served", 16_384)
    [(path, headers)] = models.asked
    assert path == "/v1/models"
    assert "sk-of-the-user" not in str(headers)


def test_a_probe_looks_for_the_model_that_is_named(models: Models) -> None:
    models.models = [PHI, SERVED, {"id": "gemma:latest"}]
    card = ModelCard.server(models.address, model="served", probe=True)
    assert card.context_window == 16_384
    assert ModelCard.server(models.address, model="phi3", probe=True).context_window == 4_096
    card = ModelCard.server(models.address, model="gemma", probe=True)
    assert (card.name, card.server_model) == ("gemma:latest", "gemma:latest")
    assert (
        ModelCard.server(
            models.address, model="served", probe=True, context_window=99
        ).context_window
        == 99
    )


def test_what_cannot_be_found_is_told_with_what_there_is(models: Models) -> None:
    models.models = [PHI, SERVED]
    with pytest.raises(ConfigurationError, match=r"has no 'phi4'.*'phi3', 'served'"):
        ModelCard.server(models.address, model="phi4", probe=True)
    with pytest.raises(ConfigurationError, match="Name one with model="):
        ModelCard.server(models.address)


def test_no_server_is_an_error_that_says_how_to_start_one() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(APIConnectionError, match="Is it running"):
        ModelCard.server(f"http://127.0.0.1:{port}/v1")


@pytest.mark.parametrize(("code", "told"), [(404, []), (200, 5), (200, ["phi3"])])
def test_another_protocol_is_told_so(models: Models, code: int, told: Any) -> None:
    models.code, models.models = code, told
    with pytest.raises(MalformedResponseError, match="OpenAI-compatible"):
        ModelCard.server(models.address)


@pytest.mark.parametrize(
    "address", ["http://192.168.1.7:11434/v1", "https://api.openai.com/v1", "127.0.0.1:80", ""]
)
def test_an_address_elsewhere_is_not_local_and_nothing_is_sent(address: str) -> None:
    with pytest.raises(ConfigurationError, match="address of this machine"):
        ModelCard.server(address, model="phi3")


def test_only_a_local_card_has_a_servers_name() -> None:
    with pytest.raises(ConfigurationError, match="server_model"):
        ModelCard.hosted("openai/gpt-4o", server_model="phi3")
