"""What a card may not say."""

from __future__ import annotations

import pytest

from modelrouter.catalog import ModelCard
from modelrouter.exceptions import ConfigurationError


def server(api_base: str | None) -> ModelCard:
    return ModelCard(
        name="openai/own",
        families=["slm"],
        location="local",
        backend="litellm",
        context_window=4_096,
        api_base=api_base,
    )


@pytest.mark.parametrize(
    "address", ["http://127.0.0.1:8080/v1", "http://localhost:11434/v1", "http://[::1]:1/v1"]
)
def test_a_server_on_this_machine_is_local(address: str) -> None:
    assert server(address).location == "local"


@pytest.mark.parametrize(
    "address",
    [
        "http://192.168.0.7:8080/v1",
        "https://api.example.com/v1",
        "http://localhost.example.com/v1",
        "http://127.0.0.1@example.com/v1",
        "",
        None,
    ],
)
def test_a_server_elsewhere_cannot_call_itself_local(address: str | None) -> None:
    """Private policies let local models have the text."""
    with pytest.raises(ConfigurationError, match="not an address of this machine"):
        server(address)
