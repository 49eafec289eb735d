"""How much memory this process may still take, so that too large a model is refused, not killed."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["available_bytes", "container_free", "gigabytes", "process_free"]

_CONTAINER = Path("/sys/fs/cgroup")
_BESIDE = 256 << 20
"""Of a process's own limit, what is left for stacks, threads' heaps and what llama.cpp computes in:
it ends the process when it is refused one of many small pieces of memory."""


def available_bytes() -> int:
    """What is free now, without swapping: here, in the container, under this process's limit."""
    import psutil

    free = int(psutil.virtual_memory().available)
    bounds = (container_free(_CONTAINER), process_free())
    return max(0, min([free, *(bound for bound in bounds if bound is not None)]))


def process_free() -> int | None:
    """What this process's own limit (``ulimit -v``) leaves; ``None`` without one."""
    import psutil

    try:
        import resource
    except ImportError:  # Windows has none
        return None
    limit = resource.getrlimit(resource.RLIMIT_AS)[0]
    if limit == resource.RLIM_INFINITY:
        return None
    return int(limit - psutil.Process().memory_info().vms) - _BESIDE


def container_free(folder: Path) -> int | None:
    """What a container's memory controller would still give; ``None`` without a limit.

    Args:
        folder: its files (cgroup v2).
    """
    try:
        limit = int((folder / "memory.max").read_text("ascii"))
        used = int((folder / "memory.current").read_text("ascii"))
    except (OSError, ValueError):  # no container, or "max": no limit
        return None
    # Files lately read or mapped, models among them, are counted as used until the room is needed.
    with contextlib.suppress(OSError, ValueError):
        stat = dict(
            line.split() for line in (folder / "memory.stat").read_text("ascii").splitlines()
        )
        used -= int(stat.get("inactive_file", 0))
    return limit - used


def gigabytes(size: int) -> str:
    """A size in words."""
    return f"{size / 1e9:,.2f} GB"
