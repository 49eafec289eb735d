"""Local models of a server on this machine: its address, what it says of its models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from modelrouter.catalog.address import shown
from modelrouter.catalog.loopback import ElsewhereError, transport
from modelrouter.exceptions import APIConnectionError, ConfigurationError, MalformedResponseError

__all__ = ["LONGEST_WAIT_S", "probe", "start_hint"]

LONGEST_WAIT_S: Final = 3.0

_STARTS: Final = {
    11434: "ollama serve",
    8080: "llama-server -m FILE.gguf",
    8000: "vllm serve MODEL",
    1234: "lms server start",
}
"""How the server is started that listens on a port unless told otherwise."""


def start_hint(address: str) -> str:
    """What to do about a server that does not answer."""
    try:
        command = _STARTS.get(urlsplit(address).port or 0)
    except ValueError:
        command = None
    if command is not None:
        return f"Is it running? Start it, for example with `{command}`."
    return "Is it running? Start it, or correct the address."


def probe(address: str, model: str | None) -> dict[str, Any]:
    """Card fields from ``GET {address}/models``: the model's name and, where told, its window.

    No proxy is asked on the way, no key is sent, no redirect followed. ``model`` may be left out
    where the server has one only.

    Raises:
        APIConnectionError: nobody answers there.
        MalformedResponseError: who answers does not speak the protocol.
        ConfigurationError: the server does not have the model, or several and none is named.
    """
    listed = _listed(address)
    if model is None and len(listed) == 1:
        model = next(iter(listed))
    entry = listed.get(model or "", listed.get(f"{model}:latest"))  # Ollama's name for the default
    if entry is None:
        problem = "which of its models is not said" if model is None else f"it has no {model!r}"
        names = ", ".join(repr(name) for name in sorted(listed)[:8]) or "none"
        raise ConfigurationError(
            f"The server at {shown(address)}: {problem}.",
            hint=f"Name one with model=; it has {names}.",
        )
    window = _window(entry)
    return {"server_model": entry["id"], **({} if window is None else {"context_window": window})}


def _listed(address: str) -> dict[str, Mapping[str, Any]]:
    """The server's models by name."""
    import httpx2

    parts = urlsplit(address)
    url = urlunsplit(parts._replace(path=f"{parts.path.rstrip('/')}/models"))
    try:
        with httpx2.Client(
            transport=transport(httpx2), timeout=LONGEST_WAIT_S, trust_env=False
        ) as client:
            answer = client.get(url)
        if answer.is_success:
            return {str(model["id"]): model for model in answer.json()["data"]}
        problem = f"it answered /models with status {answer.status_code}"
    except (ValueError, KeyError, TypeError, RecursionError) as exc:
        problem = f"its list of models cannot be read ({type(exc).__name__})"
    except (httpx2.HTTPError, httpx2.InvalidURL, ElsewhereError):
        # Raised below: the original names the address, which may hold a password.
        problem = ""
    if not problem:
        raise APIConnectionError(
            f"No server answers at {shown(address)}.", hint=start_hint(address)
        )
    raise MalformedResponseError(
        f"The server at {shown(address)}: {problem}.",
        hint="Give the root of its OpenAI-compatible API; most servers have it under /v1.",
    )


def _window(entry: Mapping[str, Any]) -> int | None:
    """The window that it serves, which vLLM tells; not the one that it was trained for."""
    meta = entry.get("meta")
    for told in (
        entry.get("max_model_len"),
        entry.get("context_length"),
        meta.get("n_ctx") if isinstance(meta, Mapping) else None,
    ):
        if isinstance(told, int) and told > 0:
            return told
    return None
