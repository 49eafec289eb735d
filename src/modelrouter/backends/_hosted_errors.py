"""Turns litellm's and the network's errors into this package's, without any key in them."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import (
    APIConnectionError,
    AuthenticationError,
    BackendError,
    BackendTimeoutError,
    BadRequestError,
    MalformedResponseError,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)

__all__ = ["RedactedError", "interrupted", "malformed", "timed_out", "translate"]

_KEY_LIKE: Final = re.compile(
    r"\b(?:sk|pk|rk|gsk|xai|key)-[\w*.-]{6,}|\bAIza[\w-]{10,}|(?<=Bearer )\S+"
)
_MALFORMED: Final = ("Empty or invalid response", "Received response")
_CONTEXT: Final = ("maximum context length", "context window", "ContextWindowExceeded")


class RedactedError(Exception):
    """Stands in for a library's error whose text held an API key."""


def translate(error: BaseException, card: ModelCard) -> BackendError:
    """The typed error for whatever a hosted call raised, chained from it."""
    if isinstance(error, BackendError):
        return error
    made = _classified(error, card)
    made.__cause__ = _safe_cause(error, card)
    return made


def interrupted(card: ModelCard, partial_text: str, why: str) -> StreamInterruptedError:
    """The error of a stream that ended before its end."""
    return StreamInterruptedError(
        f"{card.name} broke off in mid-stream: {redacted(why, card)}",
        partial_text=partial_text,
        model=card.name,
        hint="`partial_text` holds what was received.",
    )


def malformed(card: ModelCard, problem: str) -> MalformedResponseError:
    """The error of an answer that is not the protocol's."""
    return MalformedResponseError(
        f"{card.name}{_at(card)} gave a malformed answer: {redacted(problem, card)}",
        model=card.name,
        hint="Check api_base: is it the root of an OpenAI-compatible API?",
    )


def timed_out(card: ModelCard, seconds: float | None) -> BackendTimeoutError:
    """The error of an attempt that used up its time."""
    allowed = "the time allowed" if seconds is None else f"{seconds:g} s"
    return BackendTimeoutError(
        f"{card.name}{_at(card)} gave no whole answer within {allowed}.", model=card.name
    )


def redacted(text: str, card: ModelCard) -> str:
    """The text without the card's key, the environment's, or anything that looks like one."""
    for secret in _secrets(card):
        text = text.replace(secret, "[key]")
    return _KEY_LIKE.sub("[key]", text)


def _classified(error: BaseException, card: ModelCard) -> BackendError:
    chain = list(_chain(error))
    status = getattr(error, "status_code", None)
    said = redacted(_message(error), card)
    about: dict[str, Any] = {"model": card.name, "status": status}
    if any(isinstance(e, TimeoutError) or type(e).__name__.endswith("Timeout") for e in chain):
        return timed_out(card, None)
    if (network := _network_problem(chain)) is not None:
        where = card.api_base or "its provider"
        return APIConnectionError(
            f"{card.name}: {network} ({where}).",
            model=card.name,
            hint="Check api_base and the network; is the server running?",
        )
    not_json = any(isinstance(e, json.JSONDecodeError) for e in chain)
    if not_json or any(sign in said for sign in _MALFORMED):
        return malformed(card, said)
    if status in (401, 403):
        hint = f"Check {card.api_key_env}." if card.api_key_env else "Check the card's api_key."
        return AuthenticationError(f"{card.name} refused the key: {said}", **about, hint=hint)
    if status == 429:
        return RateLimitError(
            f"{card.name} asks to slow down: {said}", **about, retry_after=_retry_after(chain)
        )
    if status == 408:
        return timed_out(card, None)
    if isinstance(status, int) and 400 <= status < 500:
        return BadRequestError(
            f"{card.name} refused the request: {said}", **about, hint=_request_hint(said, status)
        )
    if isinstance(status, int) and status >= 500:
        retry_after = _retry_after(chain)
        return ServerError(f"{card.name} failed: {said}", **about, retry_after=retry_after)
    return BadRequestError(f"{card.name}: {type(error).__name__}: {said}", **about)


def _request_hint(said: str, status: int) -> str:
    if any(sign in said for sign in _CONTEXT):
        return "Shorten the conversation or choose a model with a larger window."
    if status == 404:
        return "Check the model's name and api_base."
    return ""


def _network_problem(chain: list[BaseException]) -> str | None:
    for error in chain:
        if isinstance(error, socket.gaierror):
            return "the host does not resolve"
        if isinstance(error, ConnectionRefusedError):
            return "the connection was refused"
        if isinstance(error, (ConnectionResetError, BrokenPipeError)):
            return "the connection was reset"
    names = {type(error).__name__ for error in chain}
    if names & {"ConnectError", "ReadError", "RemoteProtocolError", "APIConnectionError"}:
        return "the connection broke"
    return None


def _retry_after(chain: list[BaseException]) -> float | None:
    for error in chain:
        response = getattr(error, "response", None)
        for headers in (
            getattr(error, "litellm_response_headers", None),
            getattr(response, "headers", None),
        ):
            value = headers.get("retry-after") if headers is not None else None
            if value is not None:
                return _seconds(str(value))
    return None


def _seconds(value: str) -> float | None:
    """Retry-After is a number of seconds or an HTTP date."""
    try:
        return max(0.0, float(value))
    except ValueError:
        pass
    try:
        until = parsedate_to_datetime(value)
    except ValueError:
        return None
    return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())


def _message(error: BaseException) -> str:
    """What the provider said, without litellm's prefixes."""
    text = str(getattr(error, "message", None) or error)
    _, found, said = text.partition("Exception - ")
    return (said if found else text).strip()[:500]


def _safe_cause(error: BaseException, card: ModelCard) -> BaseException:
    for link in _chain(error):
        text = f"{link!s} {link!r}"
        if redacted(text, card) != text:
            return RedactedError(f"{type(error).__name__}: {redacted(_message(error), card)}")
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        yield link
        for nested in getattr(link, "exceptions", ()):
            yield from _chain(nested)
        link = link.__cause__ or link.__context__


def _secrets(card: ModelCard) -> Iterator[str]:
    if card.api_key is not None and card.api_key.get_secret_value():
        yield card.api_key.get_secret_value()
    if card.api_key_env and os.environ.get(card.api_key_env):
        yield os.environ[card.api_key_env]


def _at(card: ModelCard) -> str:
    return f" at {urlsplit(card.api_base).netloc}" if card.api_base else ""
