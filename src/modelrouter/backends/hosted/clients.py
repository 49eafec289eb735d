"""Through which HTTP clients litellm asks: whom they may follow where, and whom they may reach.

A server of this machine is asked through clients of our own, which connect to this machine only.
Other models are asked through litellm's; a redirect is followed by neither unless the card allows
it. Since litellm makes its clients to follow, each reads whether to follow for each request from
what is said here, and for calls of our own alone: the process's other clients do as they did.
"""

from __future__ import annotations

import asyncio
import functools
import logging
import sys
import threading
from collections.abc import Generator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Final
from weakref import WeakKeyDictionary

from modelrouter.backends.hosted.secrets import without
from modelrouter.catalog.address import secrets_of
from modelrouter.catalog.card import ModelCard
from modelrouter.catalog.loopback import ElsewhereError, async_transport, transport

__all__ = ["asking", "awaited_client", "client", "left", "once", "watch"]

_LIBRARIES: Final = ("httpx", "httpx2")
_asked: ContextVar[ModelCard | None] = ContextVar("modelrouter_asked", default=None)
_lock = threading.Lock()
_ours: Final[WeakKeyDictionary[Any, None]] = WeakKeyDictionary()
"""The HTTP clients that connect to this machine only."""
_of_loops: Final[WeakKeyDictionary[Any, dict[bool, Any]]] = WeakKeyDictionary()


@contextmanager
def asking(card: ModelCard) -> Generator[None, None, None]:
    """While this model is asked, its card says what the HTTP clients do."""
    token = _asked.set(card)
    try:
        yield
    finally:
        _asked.reset(token)


class _Follows:
    """An HTTP client's ``follow_redirects``: what it was made with, unless the card forbids it.

    It is read whenever a request is sent, so here too a client that is none of ours is kept from
    being used for a model of this machine, whatever way litellm takes.
    """

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        card = _asked.get()
        if card is None:
            return instance.__dict__["follow_redirects"]
        if card.location == "local" and instance not in _ours:
            raise ElsewhereError("a connection that is not checked")
        return card.follow_redirects

    def __set__(self, instance: Any, value: Any) -> None:
        instance.__dict__["follow_redirects"] = value


def watch() -> None:
    """Have the clients of the process, and their logs, read what :func:`asking` says."""
    for name in _LIBRARIES:
        library = sys.modules.get(name)
        if library is not None and not isinstance(
            vars(library.Client).get("follow_redirects"), _Follows
        ):
            library.Client.follow_redirects = _Follows()
            library.AsyncClient.follow_redirects = _Follows()
    for name in _LOGGERS:
        logging.getLogger(name).addFilter(_unsaid)


class _Unsaid(logging.Filter):
    """Takes what is secret in the address of the model that is asked out of a library's lines."""

    def filter(self, record: logging.LogRecord) -> bool:
        card = _asked.get()
        if card is not None and card.api_address is not None:
            text = record.getMessage()[:_LONGEST_LINE]
            record.msg, record.args = without(text, secrets_of(card.address or "")), ()
            record.exc_info = record.exc_text = None
        return True


_LOGGERS: Final = (*_LIBRARIES, "openai._base_client", "LiteLLM")
"""Who writes down where a request is sent."""
_LONGEST_LINE: Final = 4_000
_unsaid: Final = _Unsaid()


def once(kind: str) -> Any:
    """A class of openai's clients whose number of retries is 0, whatever litellm sets it to."""
    import openai

    none = property(lambda client: 0, lambda client, value: None)
    return type(kind, (getattr(openai, kind),), {"max_retries": none})


def client(card: ModelCard, given: dict[str, Any]) -> Any:
    """A client of openai's for a server of this machine; it may be used by all threads."""
    return _wrapped("OpenAI", _http(card.follow_redirects), given)


def awaited_client(card: ModelCard, given: dict[str, Any]) -> Any:
    """The awaited twin of :func:`client`, for the running event loop."""
    loop = asyncio.get_running_loop()
    with _lock:
        clients = _of_loops.setdefault(loop, {})
        http = clients.get(card.follow_redirects)
        if http is None:
            import openai

            http = openai.DefaultAsyncHttpxClient(
                transport=async_transport(_library(openai.DefaultAsyncHttpxClient)),
                follow_redirects=card.follow_redirects,
                trust_env=False,
            )
            clients[card.follow_redirects] = http
            _ours[http] = None
    return _wrapped("AsyncOpenAI", http, given)


def left(loop: Any) -> list[Any]:
    """The clients of a loop that ends, to be closed by who calls this."""
    with _lock:
        return list(_of_loops.pop(loop, {}).values())


@functools.cache
def _http(follow: bool) -> Any:
    import openai

    http = openai.DefaultHttpxClient(
        transport=transport(_library(openai.DefaultHttpxClient)),
        follow_redirects=follow,
        trust_env=False,
    )
    _ours[http] = None
    return http


def _wrapped(kind: str, http: Any, given: dict[str, Any]) -> Any:
    return _kind(kind)(
        api_key=given.get("api_key"),
        base_url=given.get("api_base"),
        timeout=given["timeout"],
        http_client=http,
    )


_kind = functools.cache(once)


def _library(kind: Any) -> Any:
    """The HTTP library that a class of openai's is made from."""
    for base in kind.__mro__:
        name = base.__module__.partition(".")[0]
        if name in _LIBRARIES:
            return sys.modules[name]
    raise ImportError("the openai client speaks through a library that is not known here")
