"""Lets hosted calls be awaited in any number of event loops, one after another or side by side.

litellm keeps HTTP clients for each loop and leaves them, with their open connections, when the loop
ends: a program that calls ``asyncio.run`` for every request runs out of file descriptors.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import threading
from collections.abc import AsyncGenerator
from typing import Any, Final
from weakref import WeakKeyDictionary

from modelrouter.backends.hosted.clients import left

__all__ = ["entered"]

_closers: Final[WeakKeyDictionary[Any, AsyncGenerator[None, None]]] = WeakKeyDictionary()
_lock = threading.Lock()


async def entered(module: Any) -> None:
    """Have litellm's clients of the running loop closed when the loop is shut down."""
    loop = asyncio.get_running_loop()
    if loop in _closers:
        return
    closer = _closed_with_the_loop(module, loop)
    with _lock:
        _closers[loop] = closer
    await anext(closer)


async def _closed_with_the_loop(module: Any, loop: Any) -> AsyncGenerator[None, None]:
    """A generator that is left open: ``asyncio.run`` closes all such when it ends."""
    try:
        yield
    finally:
        for client in left(loop):
            await _closed(client)
        with contextlib.suppress(Exception):  # litellm's cache is its own to change
            cache = module.in_memory_llm_clients_cache
            ending = cache.update_cache_key_with_event_loop("")  # what a key has of its loop
            for key in [key for key in list(cache.cache_dict) if key.endswith(ending)]:
                client = cache.cache_dict[key]
                cache.delete_cache(key)  # another loop may come to have the same id
                await _closed(client)


async def _closed(client: Any) -> None:
    with contextlib.suppress(Exception):  # one that fails must not keep the others open
        close = getattr(client, "aclose", None) or client.close
        result = close()
        if inspect.isawaitable(result):
            await result
