"""Loads a GGUF file, or says what is wrong with it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from modelrouter.backends.llamacpp.native import Context, Model, NativeError, library
from modelrouter.backends.llamacpp.prompt import PromptWriter
from modelrouter.backends.llamacpp.settings import LlamaCppSettings
from modelrouter.backends.llamacpp.trial import try_out
from modelrouter.catalog.gguf import check
from modelrouter.exceptions import LocalModelError, ModelFileError

__all__ = ["Loaded", "load"]

_SMALLEST_CONTEXT = 1_024


@dataclass(slots=True)
class Loaded:
    """A model in memory, and what answers are made with."""

    model: Model
    prompts: PromptWriter
    n_batch: int
    n_threads: int
    context: Context | None = None

    def room_for(self, tokens: int, window: int, name: str) -> Context:
        """A context of at least ``tokens``; the one there is, if it is large enough.

        It grows by doubling up to ``window``, because a window of 128,000 tokens takes gigabytes
        that a short text does not need.

        Raises:
            LocalModelError: not enough memory.
        """
        if self.context is not None and self.context.n_ctx >= tokens:
            return self.context
        size = _SMALLEST_CONTEXT
        while size < tokens:
            size *= 2
        self.context = None  # its memory is free before more is asked for
        try:
            self.context = Context(self.model, min(size, window), self.n_batch, self.n_threads)
        except NativeError as exc:
            raise LocalModelError(
                f"{name} cannot hold {tokens:,} tokens: {exc}.",
                model=name,
                hint="It may need more memory than is free; shorten the prompt or max_tokens.",
            ) from exc
        return self.context


def load(path: Path, settings: LlamaCppSettings, go_on: Callable[[], bool]) -> Loaded:
    """Check the file, try it out in another process, load it here.

    Args:
        path: an absolute path.
        settings: of the backend.
        go_on: asked now and then; ``False`` gives up.

    Raises:
        ModelFileError: missing, truncated, no GGUF, or one that llama.cpp refuses.
        LocalModelError: llama.cpp is not there, or the model cannot be talked to.
    """
    try:
        header = check(path)
    except ValueError as exc:  # a path that no file can have
        raise ModelFileError(f"{str(path)!r} is no path: {exc}.", hint="Check the path.") from exc
    n_threads = settings.threads_for(header.file_size)
    if settings.trial:
        try_out(path, n_threads, settings.cache_dir, go_on)
    try:
        library()
    except NativeError as exc:
        raise LocalModelError(
            f"{exc}.", hint="pip install --force-reinstall llama-cpp-python may mend it."
        ) from exc
    try:
        model = Model(path, go_on)
    except NativeError as exc:
        raise ModelFileError(
            f"{path} is refused by llama.cpp: {exc}.",
            hint="Another version of llama-cpp-python may read it.",
        ) from exc
    prompts = PromptWriter(model, path, settings.chat_template)
    return Loaded(model, prompts, settings.n_batch, n_threads)
