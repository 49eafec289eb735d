"""How local models are run: threads, batch size, defaults."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final, get_args

from modelrouter.backends.llamacpp.cpu import usable_cores
from modelrouter.backends.llamacpp.engine.engine import PART
from modelrouter.backends.llamacpp.engine.native import CacheType
from modelrouter.backends.llamacpp.templates import named
from modelrouter.exceptions import ConfigurationError

__all__ = ["LlamaCppSettings"]

_BYTES_A_THREAD: Final = 32_000_000
_MOST_SLOTS: Final = 256
_OPTIONAL: Final = ("n_threads", "context_per_slot", "cache_bytes")
_WHOLE: Final = (*_OPTIONAL, "slots", "max_queue", "n_batch", "max_tokens")


@dataclass(frozen=True, slots=True)
class LlamaCppSettings:
    """Options of :class:`~modelrouter.backends.llamacpp.LlamaCppBackend`.

    Models run on the processor; nothing is put on a GPU in this version.

    Attributes:
        n_threads: threads that one model computes with. By default one for each 32 MB of the
            file, at most the physical cores that this process may use (its affinity and its
            container's quota are honoured): on a small model threads wait for each other longer
            than they compute, and far longer where other programs are at work.
        slots: how many answers may be under way at once. More requests wait in line. What was
            read of earlier prompts is kept in the slots until another needs the room.
        context_per_slot: the most tokens, prompt and answer together, of one request. By default
            2,048 at first, and more, up to the model's window, once a request needs it; there
            may then be fewer slots.
        cache_bytes: what the memory of all slots may take; there are fewer of them if it does not
            suffice, but always one. By default a quarter of what is free, at most 1 GiB.
        cache_type: how keys and values are kept: ``f16``, or ``q8_0``, which rounds them to eight
            bits and takes half the memory. By default ``q8_0`` for models whose attention heads
            have 32 numbers, where it is up to twice as fast, else ``f16``.
        exact: whether an answer has to be the same to the bit whatever was asked before and
            whatever else runs, as far as the weights' kernels allow. Keys and values are then kept
            in ``q8_0`` by default, which come out the same however they are read; where that is
            not possible, earlier prompts are reused in multiples of 64 tokens and earlier answers
            not at all.
        max_queue: how many requests may wait for a slot; one more is a
            :class:`~modelrouter.exceptions.QueueFullError`.
        n_batch: prompt tokens read in one computation while no answer is under way, a multiple of
            64. Otherwise 128 at a time, so that running streams are not held up.
        max_tokens: bound on an answer where neither the call nor the card gives one.
        chat_template: a template's name or its Jinja, for GGUF files that have none of their own.
            By default such a file is refused, because a template that it was not trained with
            spoils its answers, unless its metadata leaves no doubt which one that was.
        unload_after_s: seconds without work after which a model's memory is freed; the next call
            loads it again. ``None`` keeps it until the backend is closed.
        trial: whether a file that is not part of this package is first loaded in a process of its
            own, once for each version of the file. llama.cpp ends the process on some damaged
            files; with the trial that is a :class:`~modelrouter.exceptions.ModelFileError`.
        cache_dir: where passed trials are remembered; by default the user's cache directory.

    Raises:
        ConfigurationError: a number that is not positive, or a name that is unknown.
    """

    n_threads: int | None = None
    slots: int = 16
    context_per_slot: int | None = None
    cache_bytes: int | None = None
    cache_type: CacheType | None = None
    exact: bool = False
    max_queue: int = 1_024
    n_batch: int = 512
    max_tokens: int = 1024
    chat_template: str | None = None
    unload_after_s: float | None = None
    trial: bool = True
    cache_dir: Path | None = None

    def __post_init__(self) -> None:
        for name in _WHOLE:
            value = getattr(self, name)
            if value is None and name in _OPTIONAL:
                continue
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise ConfigurationError(f"{name}={value!r} is not a positive whole number.")
        if self.slots > _MOST_SLOTS:
            raise ConfigurationError(
                f"slots={self.slots} is more than llama.cpp has.", hint=f"Use 1 to {_MOST_SLOTS}."
            )
        if self.n_batch % PART:
            raise ConfigurationError(f"n_batch={self.n_batch} must be a multiple of {PART}.")
        if self.cache_type not in (None, *get_args(CacheType)):
            raise ConfigurationError(
                f"cache_type={self.cache_type!r} is unknown.",
                hint=f"Use {' or '.join(get_args(CacheType))}.",
            )
        if self.chat_template is not None and "{" not in self.chat_template:
            named(self.chat_template)
        idle = self.unload_after_s
        if idle is not None and not (isinstance(idle, (int, float)) and idle > 0):
            raise ConfigurationError(
                f"unload_after_s={idle!r} is not a positive number of seconds.",
                hint="None keeps models loaded.",
            )

    def threads_for(self, file_size: int) -> int:
        """How many threads to compute with, for a file of so many bytes."""
        return self.n_threads or max(1, min(file_size // _BYTES_A_THREAD, usable_cores()))
