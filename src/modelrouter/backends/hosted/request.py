"""Turns a request into the parameters of litellm's completion."""

from __future__ import annotations

import math
import os
from typing import Any, Final
from urllib.parse import urlsplit

from modelrouter.backends.base import Request
from modelrouter.catalog.builtin import key_variables
from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import AuthenticationError, BadRequestError
from modelrouter.turns import asked_by_a_user

__all__ = ["parameters"]

_NO_KEY: Final = "none"
"""For a server of the user's own that takes no key: the clients insist on one."""

_ANSWER_A_SYSTEM_PROMPT: Final = ("openai/", "azure/")
_A_DAY: Final = 86_400.0


def parameters(request: Request, *, stream: bool = False) -> dict[str, Any]:
    """What litellm is called with.

    Raises:
        AuthenticationError: the key is missing or cannot be sent.
        BadRequestError: the card's api_base is not an address.
    """
    card = request.card
    made: dict[str, Any] = {
        **request.payload(),  # first: the rest is not the caller's to change
        "model": f"openai/{card.server_model}" if card.server_model else card.name,
        "messages": _messages(request),
        "timeout": _client_timeout(request.timeout_s),
        # Nothing is repeated underneath: the first stops litellm, whatever litellm.num_retries
        # says, the second the openai client, which would try three times.
        "num_retries": 0,
        "max_retries": 0,
    }
    if card.address is not None:
        made["api_base"] = _checked_address(card, card.address)
    if (key := _key(card)) is not None:
        made["api_key"] = key
    if stream:
        made["stream"] = True
        made["stream_options"] = {"include_usage": True}
    return made


def _messages(request: Request) -> list[dict[str, Any]]:
    """The messages, for litellm to edit.

    OpenAI's own models answer a system prompt alone; others must be asked by a user.
    """
    if request.card.name.startswith(_ANSWER_A_SYSTEM_PROMPT):
        return [dict(message) for message in request.messages]
    return asked_by_a_user(request.messages)


def _client_timeout(seconds: float | None) -> float:
    """The HTTP client's own timeout: a backstop behind the deadline, which is exact.

    Rounded up to a power of two, since litellm keeps a client, with its connections, for every
    value it meets, and the time left of a call is never the same twice.
    """
    if seconds is None or seconds > _A_DAY:
        return _A_DAY
    return float(2.0 ** math.ceil(math.log2(max(seconds, 0.25))))


def _checked_address(card: ModelCard, address: str) -> str:
    try:
        parts = urlsplit(address)
        if parts.scheme in ("http", "https") and parts.hostname and parts.port != 0:
            return address
    except ValueError:  # brackets without an end, a port that is not a number
        pass
    raise BadRequestError(
        f"{card.name}: its api_base must be an http:// or https:// address.",
        model=card.name,
        hint='Write it as "https://host:port/v1".',
    )


def _key(card: ModelCard) -> str | None:
    """The key to hand over; ``None`` leaves it to litellm, which knows its providers' variables."""
    if card.location == "local":  # never a provider's key: only one that the card names
        named = os.environ.get(card.api_key_env or "", "")
        return _checked_key(card, named) if named.strip() else _NO_KEY
    if card.api_key is not None:
        return _checked_key(card, card.api_key.get_secret_value())
    own = key_variables(card.name)
    if card.api_key_env is not None and card.api_key_env not in own:
        # A variable that litellm does not know; it would send another key instead.
        value = os.environ.get(card.api_key_env, "")
        if not value.strip() and card.api_base is not None:
            return _NO_KEY
        if not value.strip():
            raise AuthenticationError(
                f"There is no key for {card.name}: {card.api_key_env} is not set.",
                model=card.name,
                hint=f"export {card.api_key_env}=...",
            )
        return _checked_key(card, value)
    for variable in own:
        value = os.environ.get(variable, "")
        if value.strip():
            checked = _checked_key(card, value)
            return checked if checked != value else None
    return _NO_KEY if card.api_base is not None else None


def _checked_key(card: ModelCard, key: str) -> str:
    """The key without the line break that came along when it was copied."""
    key = key.strip()
    if key and key.isascii() and key.isprintable():
        return key
    raise AuthenticationError(
        f"The key of {card.name} is empty or holds a character that no key has.",
        model=card.name,
        hint="Copy it again, without quotes or line breaks.",
    )
