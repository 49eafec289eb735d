"""Imports litellm, once, quietly and off the network; gives the import up when the process ends."""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import sys
import threading
from typing import Any, Final

from modelrouter.backends.hosted.bounds import install
from modelrouter.backends.hosted.clients import watch
from modelrouter.exceptions import MissingDependencyError

__all__ = ["litellm", "loaded", "warm"]

_PACKAGED: Final = ("LITELLM_LOCAL_MODEL_COST_MAP", "LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS")
_EXIT_S: Final = 5.0
_import_lock = threading.Lock()
_litellm: Any = None


def litellm() -> Any:
    """The litellm module.

    Raises:
        MissingDependencyError: litellm is not installed, or its installation is broken.
    """
    global _litellm
    if _litellm is not None:
        return _litellm
    with _import_lock:
        if _litellm is None:
            for variable in _PACKAGED:
                os.environ[variable] = os.environ.get(variable) or "True"
            try:
                import litellm as module
            except Exception as exc:  # a broken installation may raise anything
                raise MissingDependencyError(
                    f"Hosted models need litellm, which cannot be imported: {exc}.",
                    hint="pip install --upgrade litellm",
                ) from exc
            _settle(module)
            watch()
            _litellm = module
    return _litellm


async def loaded() -> Any:
    """As :func:`litellm`, without blocking the event loop during the import."""
    return _litellm if _litellm is not None else await asyncio.to_thread(litellm)


def warm() -> None:
    """Import it, which takes seconds, in a background thread."""
    if _litellm is None and not _import_lock.locked():
        thread = threading.Thread(target=_import_quietly, name="import-litellm", daemon=True)
        atexit.register(_stop_importing, thread)
        thread.start()


def _settle(module: Any) -> None:
    install()
    module.telemetry = False
    module.suppress_debug_info = True
    module.disable_hf_tokenizer_download = True
    # After a hundred equal pieces litellm would end a stream; max_tokens and the deadline do that.
    if not os.environ.get("REPEATED_STREAMING_CHUNK_LIMIT"):
        module.REPEATED_STREAMING_CHUNK_LIMIT = sys.maxsize
    if not os.environ.get("LITELLM_LOG"):
        for name in ("LiteLLM", "LiteLLM Router", "LiteLLM Proxy"):
            logging.getLogger(name).setLevel(logging.CRITICAL)
    # The openai client tells each request's content to its log where all of the process's logging
    # is at DEBUG, which nobody means by that; who does sets its level, or $OPENAI_LOG.
    told = logging.getLogger("openai._base_client")
    if told.level == logging.NOTSET and not os.environ.get("OPENAI_LOG"):
        told.setLevel(logging.INFO)


def _import_quietly() -> None:
    # The first call reports what is wrong; a background thread has nobody to tell.
    with contextlib.suppress(Exception):
        litellm()
        import openai.resources.chat  # noqa: F401 (400 modules that the first call would load)


class _NoMore:
    """A finder that lets one thread import nothing more, so that what it imports fails soon."""

    def __init__(self, thread: threading.Thread) -> None:
        self._thread = thread

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> None:
        if threading.current_thread() is self._thread:
            raise ImportError(f"{name} is not imported: the process ends", name=name)


def _stop_importing(thread: threading.Thread) -> None:
    """A daemon thread stopped in the middle of an import would keep the import's lock.

    litellm's own objects import something when they are cleaned up, and would wait for it.
    """
    if thread.is_alive():
        sys.meta_path.insert(0, _NoMore(thread))
        thread.join(_EXIT_S)
