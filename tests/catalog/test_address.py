"""Secrets in addresses: a name, a password or a key in ``api_base`` is sent, and shown nowhere."""

from __future__ import annotations

import io
import logging
import os
import pickle
import subprocess
import sys
import traceback
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from modelrouter import (
    BackendError,
    Catalog,
    ConfigurationError,
    ModelCard,
    ModelRouterError,
    RetryPolicy,
    Router,
)
from modelrouter.backends.hosted.library import litellm
from modelrouter.catalog.address import NO_ADDRESS, here, secrets_of, shown
from modelrouter.catalog.discovery import discover
from modelrouter.guards.deployment import deployment
from tests.support.scripted_server import ScriptedServer, reply, status

PASSWORD = "hunter2-Zq81xT"
KEY = "sk-proj-0123456789abcdefXYZ"
SECRETS = (PASSWORD, KEY)

ADDRESSES = [
    f"http://ann:{PASSWORD}@127.0.0.1:9/v1",
    f"http://{PASSWORD}@127.0.0.1:9/v1",
    f"http://127.0.0.1:9/v1?key={PASSWORD}",
    f"http://127.0.0.1:9/v1?api-version=2024-02-01&sig={PASSWORD}",
    f"http://127.0.0.1:9/{KEY}/v1",
    f"http://127.0.0.1:9/v1#{PASSWORD}",
    f"http://ann:{PASSWORD}@[::1]:9/v1?token={KEY}",
]


def card(address: str, **fields: Any) -> ModelCard:
    return ModelCard.hosted("openai/gpt-4o", api_base=address, api_key="sk-test", **fields)


def is_clean(*told: object) -> None:
    for each in told:
        for secret in SECRETS:
            assert secret not in str(each), each
            assert secret not in repr(each), each


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_card_shows_none_of_it_and_keeps_it(address: str) -> None:
    made = card(address)
    is_clean(made, made.api_base, made.model_dump(), made.model_dump_json(), vars(made))
    is_clean(made.model_dump(mode="json"), made.model_json_schema(), deployment(made))
    assert made.address == address
    copies = [
        ModelCard(**made.model_dump()),
        made.model_copy(update={"name": "openai/other"}),
        card("http://127.0.0.1:1/v1").model_copy(update={"api_base": address}),
        pickle.loads(pickle.dumps(made)),
    ]
    for copy in copies:
        is_clean(copy, copy.model_dump())
        assert copy.address == address
    assert made.model_copy(update={"api_base": "http://127.0.0.1:2/v1"}).address == (
        "http://127.0.0.1:2/v1"
    )
    assert deployment(made) != deployment(card(made.api_base or ""))


@pytest.mark.parametrize(
    "address",
    [
        "https://api.openai.com/v1",
        "http://[::1]:8080/v1/",
        "https://x.openai.azure.com/openai/deployments/gpt-4o-mini-2024-07-18?api-version=2024-02",
        "https://gateway.example.com/v1/accounts/my-team-gateway/openai",
        "no address at all",
        "127.0.0.1:80",
        "",
    ],
)
def test_an_address_without_a_secret_is_shown_as_it_is(address: str) -> None:
    assert shown(address) == address
    assert list(secrets_of(address)) == []


def test_what_is_shown_says_where_it_is() -> None:
    assert shown(ADDRESSES[0]) == "http://127.0.0.1:9/v1"
    assert shown(ADDRESSES[2]) == "http://127.0.0.1:9/v1?key=[key]"
    assert shown(ADDRESSES[3]) == "http://127.0.0.1:9/v1?api-version=2024-02-01&sig=[key]"
    assert shown(ADDRESSES[4]) == "http://127.0.0.1:9/[key]/v1"
    assert shown(f"ann:{PASSWORD}@host/v1") == NO_ADDRESS
    assert shown(f"http:/ann:{PASSWORD}@host/v1") == NO_ADDRESS
    assert shown(f"http://ann:{PASSWORD}@[host/v1") == NO_ADDRESS


@given(user=st.text(), password=st.text(min_size=1), path=st.text())
def test_any_password_is_left_out(user: str, password: str, path: str) -> None:
    marked = f"{password}-Zq81"
    address = f"http://{user}:{marked}@host.example/{path}"
    where = shown(address)
    if marked not in f"host.example/{path}":
        assert marked not in where
        assert where == address or any(marked in secret for secret in secrets_of(address))


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    litellm()
    with ScriptedServer() as running:
        yield running


def with_secret(server: ScriptedServer, form: str) -> str:
    base = server.base_url
    return {
        "user": base.replace("//", f"//ann:{PASSWORD}@"),
        "token": base.replace("//", f"//{PASSWORD}@"),
        "query": f"{base}?key={PASSWORD}",
        "path": f"{base}/{KEY}",
    }[form]


FORMS = ["user", "token", "query", "path"]
PROVIDERS = ["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "mistral/mistral-small"]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("code", [401, 404, 429, 500])
def test_no_error_health_decision_ledger_or_log_shows_it(
    server: ScriptedServer, form: str, code: int, provider: str, tmp_path, caplog
) -> None:
    address = with_secret(server, form)
    own = KEY if form == "path" else PASSWORD
    server.script(status(code, message=f"no, said {address} to {own}"))
    made = ModelCard.hosted(provider, api_base=address, api_key="sk-test", context_window=8_192)
    ledger = tmp_path / "tasks.ledger"
    with (
        caplog.at_level(logging.DEBUG),
        Router(
            catalog=Catalog([made]),
            ledger=ledger,
            retry=RetryPolicy(max_attempts=1),
        ) as router,
    ):
        with pytest.raises(BackendError) as caught:
            router.completion("Hello.")
        assert server.requests
        told = "".join(traceback.format_exception(caught.value))
        decision = router.consider("Hello.")
        assert router.ledger is not None
        rows = list(router.ledger.rows())
        is_clean(told, caught.value, caught.value.trace, router.health(), router.catalog)
        is_clean(decision, decision.explain(), decision.model_dump(), decision.proof(), rows)
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert not any(secret.encode() in kept for secret in SECRETS)
    is_clean(caplog.text)


@pytest.mark.parametrize("form", FORMS)
def test_it_is_sent_all_the_same(server: ScriptedServer, form: str) -> None:
    server.script(reply())
    with Router(catalog=Catalog([card(with_secret(server, form))])) as router:
        assert router.completion("Hello.").text == "hello"
    asked = server.requests[0]
    if form in ("user", "token"):
        assert asked.headers["Authorization"].startswith(("Basic ", "Bearer "))
    else:
        assert (PASSWORD if form == "query" else KEY) in asked.path


def test_nobody_listens_where_it_leads(server: ScriptedServer) -> None:
    for address in ADDRESSES:
        made = card(address)
        with (
            Router(catalog=Catalog([made]), retry=RetryPolicy(max_attempts=1)) as router,
            pytest.raises(BackendError) as caught,
        ):
            router.completion("Hello.")
        is_clean("".join(traceback.format_exception(caught.value)))


@pytest.mark.parametrize("form", FORMS)
def test_a_server_of_this_machine_is_asked_for_its_models_without_showing_it(
    server: ScriptedServer, form: str
) -> None:
    server.script(status(404))
    for address in (with_secret(server, form), f"http://ann:{PASSWORD}@127.0.0.1:9/v1"):
        with pytest.raises(ModelRouterError) as caught:
            ModelCard.server(address)
        is_clean("".join(traceback.format_exception(caught.value)))
        assert PASSWORD not in ModelCard.server(address, model="phi3").name
        is_clean(ModelCard.server(address, model="phi3"))


@pytest.mark.parametrize(
    "address",
    [
        f"http://ann:{PASSWORD}@elsewhere.example/v1",
        f"http://ann:{PASSWORD}@[elsewhere/v1",
        f"http://ann:{PASSWORD}@\u2100.example/v1",
    ],
)
def test_a_refused_card_does_not_show_it(address: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        ModelCard.server(address, model="phi3")
    is_clean("".join(traceback.format_exception(caught.value)))
    with pytest.raises(ConfigurationError) as caught:
        card(address, window=3)
    is_clean("".join(traceback.format_exception(caught.value)))


def test_an_address_in_the_environment_is_kept_apart_too() -> None:
    found = discover({"OPENAI_BASE_URL": ADDRESSES[0], "OPENAI_API_KEY": "sk-test"})
    made = found.catalog.get("openai/gpt-4o")
    is_clean(made, found.catalog)
    assert made.address == ADDRESSES[0]


@pytest.mark.parametrize(
    "command",
    [
        ["models"],
        ["models", "--json"],
        ["route", "--json", "hello there"],
        ["ask", "--model", "openai/gpt-4o", "hello there"],
    ],
    ids=" ".join,
)
def test_the_command_line_does_not_show_it(command: list[str]) -> None:
    environment = {**os.environ, "OPENAI_BASE_URL": ADDRESSES[0], "OPENAI_API_KEY": "sk-test"}
    done = subprocess.run(
        [sys.executable, "-m", "modelrouter.cli", *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.stdout + done.stderr
    is_clean(done.stdout, done.stderr)


def test_a_printed_table_does_not_show_it() -> None:
    out = io.StringIO()
    Console(file=out, width=200).print(card(ADDRESSES[0]), [card(ADDRESSES[2])])
    is_clean(out.getvalue())


@pytest.mark.parametrize(
    ("host", "addresses"),
    [
        ("localhost", ("127.0.0.1", "::1")),
        ("127.0.0.1", ("127.0.0.1",)),
        ("127.9.9.9", ("127.9.9.9",)),
        ("[::1]", ("::1",)),
        ("0.0.0.0", ()),
        ("192.168.0.1", ()),
        ("localhost.example", ()),
        ("localhost.", ()),
        ("127.1", ()),
        ("2130706433", ()),
        ("", ()),
    ],
)
def test_what_counts_as_this_machine(host: str, addresses: tuple[str, ...]) -> None:
    assert here(host) == addresses
