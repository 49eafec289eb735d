"""Turns litellm's and the network's errors into this package's, without any key in them.

litellm wraps whatever happens in exceptions of its own, with statuses that nobody sent (a reset
connection is its "500", an answer that it cannot read too). What really happened is further down
the chain of causes: httpx's error where a provider answered with an error status, the operating
system's where the network failed, Python's own where an answer could not be read.

What a provider says may be hostile, and all this runs on the event loop, outside of any deadline.
So of each text only the beginning is read, and no pattern takes more than a number of steps that
grows with the text: none looks from every place to the text's end.
"""

from __future__ import annotations

import json
import os
import re
import socket
import ssl
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import datetime, timezone
from email.utils import parsedate_to_datetime
from typing import Any, Final
from urllib.parse import urlsplit

from modelrouter.backends.hosted.bounds import BoundExceeded
from modelrouter.backends.hosted.secrets import without
from modelrouter.backends.hosted.waiting import TIMEOUTS
from modelrouter.catalog.address import secrets_of
from modelrouter.catalog.builtin import key_variables
from modelrouter.catalog.card import ModelCard
from modelrouter.catalog.loopback import ElsewhereError
from modelrouter.catalog.server import start_hint
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

__all__ = ["RedactedError", "interrupted", "malformed", "redacted", "timed_out", "translate"]

_LONGEST: Final = 300  # characters of what a provider said
_MOST_READ: Final = 4_096  # characters that are looked at for it
_MOST_PARSED: Final = 65_536  # where it may be JSON, with the message in its middle
_MOST_OF_CAUSE: Final = 16_384
"""An error of more characters, attributes and all, is not looked through for keys: a stand-in
takes its place."""
_AT_THE_CUT: Final = 64
"""Characters before the end of a text that was cut which are left out: half of a key is not known
for one."""
_MOST_LINKS: Final = 50  # of a chain of causes

_KEY_LIKE: Final = re.compile(
    r"\b(?:sk|pk|rk|xai|pplx|nvapi|csk)-[\w*.-]{6,}"
    r"|\b(?:gsk|hf|r8|fw|tgp|sk)_[\w*.-]{12,}"
    r"|\bAIza[\w-]{10,}|\bAKIA[A-Z0-9]{12,}|\beyJ[\w-]{10,}(?:\.[\w.-]+)?"
    r"|(?<=[Bb]earer )[^\s'\"]{8,}|(?<=[?&]key=)[^\s&'\"]+"
)

# -- what litellm and the providers write ------------------------------------------------------
_PREFIX: Final = re.compile(
    r"\s{0,9}(?:litellm\.)?\w{0,60}(?:Error|Exception|Timeout)(?: \w{1,60}Error)?\s{0,9}[:-]\s{1,9}"
)
_TAIL: Final = re.compile(
    r"(?:Traceback \(most recent|Original exception:|Original Response:|To drop (?:these|it)|"
    r"Pass model as E\.g\.|Handle with `litellm|Received Model Group|, no content string given)"
)
_CONTEXT: Final = re.compile(
    r"(?i)maximum context length|context.?window|prompt is too long|too many tokens|"
    r"exceeds? (?:the )?(?:max|context)"
)
_REFUSED: Final = re.compile(r"(?i)content.?(?:policy|filter|management)|safety system")
_NO_CREDIT: Final = re.compile(r"(?i)insufficient_quota|exceeded your current quota|credit balance")
_NO_KEY: Final = re.compile(
    r"(?i)(?:missing|no|unable to locate|could not resolve)\b.{0,30}?(?:api.?key|credentials)|"
    r"(?:api.?key|credentials)\b.{0,30}? (?:must be set|not set|not found|is missing)"
)
_UNREADABLE: Final = re.compile(
    r"Empty or invalid response|Invalid response object|Received response|"
    r"LiteLLM: provider returned|Unable to get json|not a valid JSON"
)
_WRONG: Final = re.compile(
    r"(?:LLM endpoint\. Received: |LiteLLM: provider returned )(.{1,80}?)\.? (?:Check|Raw keys)"
)
_READING: Final = re.compile(r"response|chunk|parse|json|__a?next__|_iter")
_PYTHONS: Final = (AttributeError, KeyError, IndexError, TypeError, ValueError)


class RedactedError(Exception):
    """Stands in for a library's error whose text held an API key, or was too long to tell."""


def translate(error: BaseException, card: ModelCard) -> BackendError:
    """The typed error for whatever a hosted call raised, chained from it."""
    if isinstance(error, BackendError):
        return error
    made = _Failure(error, card).typed()
    made.sent = not any(_is_before_sending(link) for link in _chain(error))
    made.__cause__ = _safe_cause(error, card)
    return made


def interrupted(card: ModelCard, partial_text: str, why: str) -> StreamInterruptedError:
    """The error of a stream that ended before its end."""
    why = redacted(why, card).removeprefix(card.name).strip().rstrip(".")
    return StreamInterruptedError(
        f"{card.name} broke off in mid-stream: {why.removeprefix(': ')}.",
        partial_text=partial_text,
        model=card.name,
        hint="`partial_text` holds what was received.",
    )


def malformed(card: ModelCard, problem: str) -> MalformedResponseError:
    """The error of an answer that is not the protocol's."""
    hint = "Check api_base: is it the root of an OpenAI-compatible API?" if card.api_base else ""
    return MalformedResponseError(
        f"{card.name}{_at(card)} gave a malformed answer: {redacted(problem, card).rstrip('. ')}.",
        model=card.name,
        hint=hint,
    )


def timed_out(card: ModelCard, seconds: float | None) -> BackendTimeoutError:
    """The error of an attempt that used up its time."""
    allowed = "the time allowed" if seconds is None else f"{round(seconds, 2):g} s"
    return BackendTimeoutError(
        f"{card.name}{_at(card)} gave no whole answer within {allowed}.", model=card.name
    )


def redacted(text: str, card: ModelCard) -> str:
    """The text without the card's key, the environment's, or anything that looks like one.

    Of a long text, its beginning.
    """
    if len(text) > _MOST_READ:
        return f"{_without_keys(text[:_MOST_READ], card)[:-_AT_THE_CUT]}..."
    return _without_keys(text, card)


def _without_keys(text: str, card: ModelCard) -> str:
    return _KEY_LIKE.sub("[key]", without(text, _secrets(card)))


class _Failure:
    """What happened in one failed call, read from the chain of causes."""

    def __init__(self, error: BaseException, card: ModelCard) -> None:
        self.card = card
        self.error = error
        self.chain = list(_chain(error))
        self.texts = [_beginning(str(link)) for link in self.chain]
        self.said = _said(self.chain, card)

    def typed(self) -> BackendError:
        """The first reading that fits; the surest come first."""
        wire = self._wire_status()
        if wire is not None:
            return self._by_status(wire)
        for link in self.chain:
            if isinstance(link, BoundExceeded):
                return malformed(self.card, str(link))
        if (stopped := self._elsewhere()) is not None:
            return stopped
        if any(_is_timeout(link) for link in self.chain):
            return timed_out(self.card, None)
        return (
            self._network()
            or self._missing_library()
            or self._missing_key()
            or self._unreadable()
            or self._by_status(self._told_status())
        )

    def _wire_status(self) -> int | None:
        """The error status that the provider's HTTP response had."""
        for link in self.chain:
            if _library(link) in (*_HTTPX, "openai"):
                status = getattr(getattr(link, "response", None), "status_code", None)
                if isinstance(status, int) and status >= 400:
                    return status
        return None

    def _elsewhere(self) -> BackendError | None:
        """A redirect that was not followed, or a connection that would have left this machine."""
        name = self.card.name
        status, to = None, ""
        for link in self.chain:
            if isinstance(link, ElsewhereError):
                return BadRequestError(
                    f"{name} is a model of this machine, and {link}: nothing was sent there.",
                    model=name,
                    hint="Correct api_base, or make the card location='hosted'.",
                )
            response = getattr(link, "response", None)
            told = getattr(response, "status_code", None)
            if isinstance(told, int) and 300 <= told < 400:
                status = status or told
                location = str(getattr(response, "headers", {}).get("location") or "")
                to = to or (f" to {_host(location)}" if "//" in location else "")
        if status is None:
            return None
        where = f"{name}{_at(self.card)}"
        return BadRequestError(
            f"{where} answers with a redirect ({status}){to}, which is not followed.",
            model=name,
            status=status,
            hint="Correct api_base, or let the card follow: follow_redirects=True.",
        )

    def _told_status(self) -> int:
        """The status told in the answer's text (an error inside a stream), else litellm's."""
        for link in self.chain:
            body = getattr(link, "body", None)
            if isinstance(body, Mapping):
                told = " ".join(_beginning(str(body.get(n)))[:99] for n in ("code", "type"))
                if (number := re.search(r"\b[45]\d\d\b", told)) is not None:
                    return int(number[0])
                for word, status in _TOLD:
                    if word in told:
                        return status
        given = getattr(self.error, "status_code", None)
        return given if isinstance(given, int) and given >= 400 else 500

    def _by_status(self, status: int) -> BackendError:
        card, said = self.card, self.said
        about: dict[str, Any] = {"model": card.name, "status": status}
        if status in (401, 403):
            return AuthenticationError(
                f"{card.name}{_at(card)} refused the key: {said}", **about, hint=_key_hint(card)
            )
        if status == 408:
            return timed_out(card, None)
        if status == 429:
            return self._rate_limit(about)
        if status >= 500:
            text = f"{card.name}{_at(card)} failed: {said}"
            return ServerError(text, **about, retry_after=self._retry_after())
        return BadRequestError(
            f"{card.name}{_at(card)} refused the request: {said}",
            **about,
            hint=self._request_hint(status),
        )

    def _rate_limit(self, about: dict[str, Any]) -> RateLimitError:
        text = f"{self.card.name}{_at(self.card)} asks to slow down: {self.said}"
        if not _NO_CREDIT.search(" ".join(self.texts)):
            return RateLimitError(text, **about, retry_after=self._retry_after())
        error = RateLimitError(text, **about, hint="The account has no credit left.")
        error.retryable = False  # waiting will not help
        return error

    def _request_hint(self, status: int) -> str:
        if any(type(link).__name__ == "UnsupportedParamsError" for link in self.chain):
            return "Leave the parameter out, or choose a model that takes it."
        if _CONTEXT.search(self.said):
            return "Shorten the conversation or choose a model with a larger window."
        if _REFUSED.search(self.said):
            return "The provider's content policy forbids it; rephrase, or use another model."
        if "Provider NOT provided" in self.said:
            return 'Names are "provider/model", for example "openai/gpt-4o".'
        return "Check the model's name and api_base." if status == 404 else ""

    def _network(self) -> APIConnectionError | None:
        where = self._where()
        for link in self.chain:
            if isinstance(link, socket.gaierror):
                return self._unconnected(f"the host {where} does not resolve")
            if isinstance(link, ConnectionRefusedError):
                return self._unconnected(f"connection refused at {where}")
            if isinstance(link, (ConnectionResetError, BrokenPipeError)):
                return self._unconnected(f"the connection to {where} was reset")
            if isinstance(link, ssl.SSLError):
                reason = (getattr(link, "reason", None) or "TLS").replace("_", " ").lower()
                return self._unconnected(f"no secure connection to {where} ({reason})")
        if any(_is_transport_error(link) for link in self.chain):
            return self._unconnected(f"the connection to {where} broke")
        return None

    def _unconnected(self, problem: str) -> APIConnectionError:
        if self.card.location == "local":
            hint = start_hint(self.card.api_base or "")
        else:
            hint = "Check api_base and the network; is the server running?"
        return APIConnectionError(f"{self.card.name}: {problem}.", model=self.card.name, hint=hint)

    def _where(self) -> str:
        if self.card.api_base:
            return _host(self.card.api_base)
        for link in self.chain:
            with suppress(Exception):  # httpx raises where an error has no request
                if _library(link) in _HTTPX:
                    return str(link.request.url.host)  # type: ignore[attr-defined]  # httpx's
        return "its provider"

    def _missing_library(self) -> BadRequestError | None:
        if not any(isinstance(link, ImportError) for link in self.chain):
            return None
        text = f"{self.card.name} needs a library that is not installed: {self.said}"
        return BadRequestError(text, model=self.card.name)

    def _missing_key(self) -> AuthenticationError | None:
        if not _NO_KEY.search(self.said):
            return None
        name = self.card.name
        if self.card.api_key_env is None:
            return AuthenticationError(f"There is no key for {name}: {self.said}", model=name)
        variable = self.card.api_key_env
        return AuthenticationError(
            f"There is no key for {name}: {variable} is not set.",
            model=name,
            hint=f"export {variable}=...",
        )

    def _unreadable(self) -> BackendError | None:
        """An answer of another shape; a Python error elsewhere is the request's."""
        card = self.card
        for link in self.chain:
            if isinstance(link, json.JSONDecodeError):
                return malformed(card, f"it is not JSON ({link.msg})")
            if isinstance(link, UnicodeDecodeError):  # what is sent is encoded, never decoded
                return malformed(card, "it is not UTF-8")
            if isinstance(link, RecursionError):
                return malformed(card, "it is nested too deeply")
        text = " ".join(self.texts)
        if _UNREADABLE.search(text):
            wrong = _WRONG.search(text)
            return malformed(card, wrong[1] if wrong else "it cannot be read")
        for link in self.chain:
            if isinstance(link, _PYTHONS) and getattr(link, "status_code", None) is None:
                if any(_READING.search(place) for place in _places(link)):
                    return malformed(card, f"it cannot be read ({type(link).__name__})")
                return BadRequestError(
                    f"{card.name} cannot be asked this: {self.said}", model=card.name
                )
        return None

    def _retry_after(self) -> float | None:
        for link in self.chain:
            response = getattr(link, "response", None)
            for headers in (
                getattr(response, "headers", None),
                getattr(link, "litellm_response_headers", None),
            ):
                if headers is None:
                    continue
                with suppress(ValueError, TypeError):
                    return max(0.0, float(headers.get("retry-after-ms")) / 1_000)
                if (value := headers.get("retry-after")) is not None:
                    return _seconds(str(value)[:64])
        return None


_TOLD: Final = (
    ("rate_limit", 429),
    ("overloaded", 529),
    ("authentication", 401),
    ("api_key", 401),
    ("invalid_request", 400),
    ("context_length", 400),
)


_HTTPX: Final = ("httpx", "httpx2")
"""litellm's own client and, from its third release on, openai's."""
_TRANSPORTS: Final = (*_HTTPX, "httpcore", "httpcore2", "h11", "aiohttp")


def _is_timeout(link: BaseException) -> bool:
    return isinstance(link, TIMEOUTS) or type(link).__name__.endswith("Timeout")


def _is_before_sending(link: BaseException) -> bool:
    """Whether there never was a connection; httpx's ConnectError may be a reset one (litellm's)."""
    never = (
        socket.gaierror,
        ConnectionRefusedError,
        ssl.SSLCertVerificationError,
        ElsewhereError,
    )
    return isinstance(link, never) or type(link).__name__ == "ConnectTimeout"


def _is_transport_error(link: BaseException) -> bool:
    library, name = _library(link), type(link).__name__
    if library == "openai" or "LocalProtocol" in name or "Unsupported" in name:
        return False
    return library in _TRANSPORTS and name != "HTTPStatusError"


def _library(link: BaseException) -> str:
    """Whose error it is."""
    return type(link).__module__.partition(".")[0]


def _places(link: BaseException) -> Iterator[str]:
    """The two functions in which an error was raised."""
    names = []
    trace = link.__traceback__
    while trace is not None:
        names.append(trace.tb_frame.f_code.co_name)
        trace = trace.tb_next
    yield from names[-2:]


def _seconds(value: str) -> float | None:
    """Retry-After is a number of seconds or an HTTP date."""
    with suppress(ValueError):
        return max(0.0, float(value))
    with suppress(ValueError, TypeError):
        until = parsedate_to_datetime(value)
        if until.tzinfo is None:  # "-0000": the zone is not known, and HTTP dates are in GMT
            until = until.replace(tzinfo=timezone.utc)
        return max(0.0, (until - datetime.now(timezone.utc)).total_seconds())
    return None


def _said(chain: list[BaseException], card: ModelCard) -> str:
    """What the provider said, without litellm's wrapping, on one line."""
    text = next((t for link in chain if (t := _stripped(link))), "")
    if text.startswith("<"):
        title = _title(text)
        text = f"an HTML page ({title})" if title else "an HTML page"
    text = " ".join(redacted(text, card).split())
    return f"{text[:_LONGEST]}..." if len(text) > _LONGEST else text or "no reason was given"


def _title(page: str) -> str:
    page = page[:_MOST_READ]
    small = page.lower()
    for tag in ("title", "h1"):
        start = small.find(">", small.find(f"<{tag}"))
        end = small.find(f"</{tag}", start)
        if f"<{tag}" in small and 0 <= start < end:
            return page[start + 1 : end].strip()
    return ""


def _stripped(link: BaseException) -> str:
    text = str(getattr(link, "message", None) or link)[:_MOST_PARSED]
    for _ in range(8):  # more wrappings than litellm has
        if (prefix := _PREFIX.match(text)) is None:
            break
        text = text[prefix.end() :]
    text = _TAIL.split(text, maxsplit=1)[0].strip()
    start = text.find("{")
    if start >= 0:  # the error object as the provider sent it
        with suppress(ValueError, RecursionError):
            return _told_message(json.loads(text[start:].rstrip("'"))) or text
    return text


def _beginning(text: str) -> str:
    return text[:_MOST_READ]


def _told_message(body: Any) -> str:
    body = body.get("error", body) if isinstance(body, dict) else body
    told = body.get("message") if isinstance(body, dict) else body
    return told if isinstance(told, str) else ""


def _safe_cause(error: BaseException, card: ModelCard) -> BaseException:
    """The error, or its stand-in where it or one of its causes holds a key."""
    for link in _chain(error):
        text = f"{link!s} {link!r} {getattr(link, '__dict__', '')!r}"
        if len(text) > _MOST_OF_CAUSE or _without_keys(text, card) != text:
            stand_in = RedactedError(redacted(f"{type(error).__name__}: {error}", card))
            return stand_in.with_traceback(error.__traceback__)
    return error


def _chain(error: BaseException) -> Iterator[BaseException]:
    """An error and what it came from, once each."""
    seen: set[int] = set()
    waiting: list[BaseException | None] = [error]
    while waiting and len(seen) < _MOST_LINKS:
        link = waiting.pop(0)
        if not isinstance(link, BaseException) or id(link) in seen:
            continue
        seen.add(id(link))
        yield link
        waiting += [link.__cause__ or link.__context__, getattr(link, "original_exception", None)]
        waiting += getattr(link, "exceptions", ())


def _secrets(card: ModelCard) -> Iterator[str]:
    if card.api_key is not None:
        yield from {card.api_key.get_secret_value(), card.api_key.get_secret_value().strip()} - {""}
    if card.address is not None:
        yield from secrets_of(card.address)
    for name in [name for name in os.environ if name.endswith(_BASES)]:
        yield from secrets_of(os.environ[name])
    for variable in {card.api_key_env, *key_variables(card.name)} - {None}:
        value = os.environ.get(str(variable), "").strip()
        if value:
            yield value


_BASES: Final = ("_API_BASE", "_BASE_URL", "_API_URL", "_ENDPOINT")
"""How litellm's variables end in which an address may stand."""


def _key_hint(card: ModelCard) -> str:
    if card.api_key_env is None:
        return "Check the card's api_key."
    if card.api_key is not None:
        return f"Check the card's api_key, which goes before {card.api_key_env}."
    return f"Check {card.api_key_env}."


def _at(card: ModelCard) -> str:
    return f" at {_host(card.api_base)}" if card.api_base else ""


def _host(address: str) -> str:
    """Host and port, without a user's name and password."""
    with suppress(ValueError):
        return urlsplit(address).netloc.rpartition("@")[2] or "its address"
    return "its address"
