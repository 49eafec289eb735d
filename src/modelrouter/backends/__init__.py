"""Backends: where models run. One contract, one folder or module for each library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from modelrouter.backends.base import Backend, Request

__all__ = ["DEFAULT_BACKENDS", "PREPARED_EARLY", "Backend", "Request"]


def _llamacpp() -> Backend:
    from modelrouter.backends.llamacpp import LlamaCppBackend

    return LlamaCppBackend()


def _litellm() -> Backend:
    from modelrouter.backends.hosted import LiteLLMBackend

    return LiteLLMBackend()


def _clip() -> Backend:
    from modelrouter.backends.clip import ClipBackend

    return ClipBackend()


DEFAULT_BACKENDS: Final[dict[str, Callable[[], Backend]]] = {
    "llamacpp": _llamacpp,
    "litellm": _litellm,
    "clip": _clip,
}
"""What makes the built-in backends, by the name cards use; their libraries load on first use."""

PREPARED_EARLY: Final = frozenset({"litellm"})
"""Of these, those that are made with a router that may ask them, to prepare their first call."""
