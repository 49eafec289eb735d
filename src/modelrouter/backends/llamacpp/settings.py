"""How local models are run: threads, batch size, defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelrouter.backends.llamacpp.cpu import usable_cores
from modelrouter.exceptions import ConfigurationError

__all__ = ["LlamaCppSettings"]

_BYTES_A_THREAD: Final = 32_000_000


@dataclass(frozen=True, slots=True)
class LlamaCppSettings:
    """Options of :class:`~modelrouter.backends.llamacpp.LlamaCppBackend`.

    Models run on the processor; nothing is put on a GPU in this version.

    Attributes:
        n_threads: threads that one model computes with. By default one for each 32 MB of the
            file, at most the physical cores that this process may use (its affinity and its
            container's quota are honoured): on a small model threads wait for each other longer
            than they compute, and far longer where other programs are at work.
        n_batch: prompt tokens read in one step. Larger is a little faster on long prompts;
            a prompt's beginning is kept and reused in steps of this many tokens.
        max_tokens: bound on an answer where neither the call nor the card gives one.
        chat_template: Jinja template for GGUF files that have none of their own. By default such
            a file is refused, because a template that it was not trained with spoils its answers.
        unload_after_s: seconds without work after which a model's memory is freed; the next call
            loads it again. ``None`` keeps it until the backend is closed.
        trial: whether a file that is not part of this package is first loaded in a process of its
            own, once for each version of the file. llama.cpp ends the process on some damaged
            files; with the trial that is a :class:`~modelrouter.exceptions.ModelFileError`.
        cache_dir: where passed trials are remembered; by default the user's cache directory.

    Raises:
        ConfigurationError: a number that is not positive.
    """

    n_threads: int | None = None
    n_batch: int = 512
    max_tokens: int = 1024
    chat_template: str | None = None
    unload_after_s: float | None = None
    trial: bool = True
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        for name in ("n_threads", "n_batch", "max_tokens"):
            value = getattr(self, name)
            if value is None and name == "n_threads":
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigurationError(f"{name}={value!r} is not a positive whole number.")
        idle = self.unload_after_s
        if idle is not None and not (isinstance(idle, (int, float)) and idle > 0):
            raise ConfigurationError(
                f"unload_after_s={idle!r} is not a positive number of seconds.",
                hint="None keeps models loaded.",
            )

    def threads_for(self, file_size: int) -> int:
        """How many threads to compute with, for a file of so many bytes."""
        return self.n_threads or max(1, min(file_size // _BYTES_A_THREAD, usable_cores()))
