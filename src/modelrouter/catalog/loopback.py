"""HTTP to servers of this machine: each connection is checked where it is made.

For httpx and for its successor, whichever the caller speaks through. A name is not looked up, so
that no answer of a name server counts; what is connected to is an address that was checked, after
a redirect as before it, whatever the URL was taken for elsewhere. No proxy is asked.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from typing import Any

from modelrouter.catalog.address import here

__all__ = ["ElsewhereError", "async_transport", "transport"]


class ElsewhereError(Exception):
    """A connection to another machine was to be made for a model of this one; it was not.

    Attributes:
        host: where it would have led.
    """

    def __init__(self, host: str) -> None:
        super().__init__(f"{host!r} is not an address of this machine")
        self.host = host


def transport(library: Any) -> Any:
    """A transport of httpx's, given as its module, that leaves this machine for nobody."""
    return _sync_kind(library)(trust_env=False)


def async_transport(library: Any) -> Any:
    """The awaited twin of :func:`transport`."""
    return _async_kind(library)(trust_env=False)


@functools.cache
def _sync_kind(library: Any) -> Any:
    class Here(library.HTTPTransport):  # type: ignore[misc]  # a module given as a value
        def handle_request(self, request: Any) -> Any:
            refused: Any = None
            for pinned in _pinned(library, request):
                try:
                    return super().handle_request(pinned)
                except library.ConnectError as exc:  # nothing was sent
                    refused = refused or exc
            raise refused

    return Here


@functools.cache
def _async_kind(library: Any) -> Any:
    class Here(library.AsyncHTTPTransport):  # type: ignore[misc]  # a module given as a value
        async def handle_async_request(self, request: Any) -> Any:
            refused: Any = None
            for pinned in _pinned(library, request):
                try:
                    return await super().handle_async_request(pinned)
                except library.ConnectError as exc:  # nothing was sent
                    refused = refused or exc
            raise refused

    return Here


def _pinned(library: Any, request: Any) -> Iterator[Any]:
    """The request for each address that its host means; the host stays in its headers.

    Raises:
        ElsewhereError: it means none of this machine.
    """
    host = request.url.host
    addresses = here(host)
    if not addresses:
        raise ElsewhereError(host)
    for address in addresses:
        if address == host:
            yield request
            continue
        yield library.Request(
            request.method,
            request.url.copy_with(host=address),
            headers=request.headers,
            stream=request.stream,
            extensions={**request.extensions, "sni_hostname": host},
        )
