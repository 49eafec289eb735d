"""Loads a GGUF file, or says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelrouter._common.memory import available_bytes, gigabytes
from modelrouter.backends.llamacpp.adapter import Adapter
from modelrouter.backends.llamacpp.engine.native import (
    CacheType,
    Context,
    Model,
    NativeError,
    NoTextError,
    library,
)
from modelrouter.backends.llamacpp.prompt import PromptWriter
from modelrouter.backends.llamacpp.settings import LlamaCppSettings
from modelrouter.backends.llamacpp.trial import try_out, wants_memory
from modelrouter.catalog.gguf import check
from modelrouter.catalog.lora import check_adapter
from modelrouter.exceptions import LocalModelError, ModelFileError

__all__ = ["SMALLEST_CONTEXT", "Loaded", "load"]

SMALLEST_CONTEXT: Final = 2_048
"""Tokens; of a slot whose size the settings leave open."""
_MOST_CACHE: Final = 1 << 30
_BLOCK: Final = 32
"""Numbers that ``q8_0`` rounds together."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model in memory, and what answers are made with."""

    model: Model
    prompts: PromptWriter
    settings: LlamaCppSettings
    n_threads: int

    @property
    def _cache_type(self) -> CacheType:
        """Eight bits where they are quicker, or where no bit may differ and they are possible."""
        head, settings = self.model.head_size, self.settings
        if settings.cache_type is not None:
            return settings.cache_type
        eight = head == _BLOCK or (settings.exact and head % _BLOCK == 0)
        return "q8_0" if eight else "f16"

    def context(self, tokens: int, window: int, name: str) -> Context:
        """Room for answers of at least ``tokens``, prompt included.

        A slot's room is doubled until it is enough, up to ``window``: a window of 128,000 tokens
        takes gigabytes that a short text does not need. There are as many slots as the settings'
        memory bound allows, but always one.

        Raises:
            LocalModelError: not enough memory.
        """
        settings = self.settings
        size = min(window, settings.context_per_slot or SMALLEST_CONTEXT)
        while size < tokens:
            size = min(2 * size, window)
        kind = self._cache_type
        bytes_a_slot = max(1, _padded(size) * self.model.bytes_a_token(kind))
        free = available_bytes()
        if bytes_a_slot > free:
            raise LocalModelError(
                f"{name} takes {gigabytes(bytes_a_slot)} of memory for a text of {size:,} tokens, "
                f"and {gigabytes(free)} are free.",
                model=name,
                hint="Shorten the prompt or max_tokens, or set LlamaCppSettings.context_per_slot.",
            )
        bound = settings.cache_bytes or min(_MOST_CACHE, free // 4)
        slots = max(1, min(settings.slots, bound // bytes_a_slot))
        try:
            return Context(self.model, slots, size, settings.n_batch, self.n_threads, kind)
        except NoTextError as exc:
            raise LocalModelError(
                f"{name} is an encoder, which makes vectors and no text.",
                model=name,
                hint="Ask router.embedding() for them.",
            ) from exc
        except NativeError as exc:
            raise LocalModelError(
                f"{name} cannot hold {tokens:,} tokens: {exc}.",
                model=name,
                hint="It may need more memory than is free; shorten the prompt or max_tokens.",
            ) from exc


def _padded(tokens: int) -> int:
    return -(-tokens // 256) * 256  # llama.cpp's own grain


def load(
    path: Path,
    settings: LlamaCppSettings,
    go_on: Callable[[], bool],
    adapter: Adapter | None = None,
) -> Loaded:
    """Check the file, try it out in another process, load it here.

    Args:
        path: an absolute path.
        settings: of the backend.
        go_on: asked now and then; ``False`` gives up.
        adapter: what it is to run with.

    Raises:
        ModelFileError: missing, truncated, no GGUF, or one that llama.cpp refuses; likewise the
            adapter's file, which may also be for another model.
        LocalModelError: llama.cpp is not there, or the model does not fit into memory.
    """
    try:
        header = check(path)
        if adapter is not None:
            check_adapter(adapter.path, path)
    except ValueError as exc:  # a path that no file can have
        raise ModelFileError(
            f"{str(path)!r} is not a path: {exc}.", hint="Check the path."
        ) from exc
    free = available_bytes()
    if header.file_size > free:
        raise LocalModelError(
            f"{path} has {gigabytes(header.file_size)}, and {gigabytes(free)} of memory are free.",
            hint="Use a smaller quantization, or unload another model.",
        )
    n_threads = settings.threads_for(header.file_size)
    if settings.trial:
        lora = adapter.path if adapter is not None else None
        try_out(path, n_threads, settings.cache_dir, go_on, lora)
    try:
        library()
    except NativeError as exc:
        raise LocalModelError(
            f"{exc}.", hint="pip install --force-reinstall llama-cpp-python may mend it."
        ) from exc
    try:
        model = Model(path, go_on)
        if adapter is not None:
            model.adapt(adapter.path, adapter.scale)
    except NativeError as exc:
        if wants_memory(str(exc)):
            raise LocalModelError(
                f"There is not enough memory for {path}: {exc}.", hint="Free some, and try again."
            ) from exc
        raise ModelFileError(
            f"{path}{f' with {adapter.path}' if adapter else ''} is refused by llama.cpp: {exc}.",
            hint="Another version of llama-cpp-python may read it.",
        ) from exc
    prompts = PromptWriter(model, path, settings.chat_template)
    return Loaded(model, prompts, settings, n_threads)
