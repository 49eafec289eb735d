"""How much memory this process may still take, so that too large a model is refused, not killed."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["available_bytes", "gigabytes"]

_LIMIT = Path("/sys/fs/cgroup/memory.max")
_USED = Path("/sys/fs/cgroup/memory.current")


def available_bytes() -> int:
    """What is free now, without swapping: of the machine, or of its container (cgroup v2)."""
    import psutil

    free = int(psutil.virtual_memory().available)
    with contextlib.suppress(OSError, ValueError):  # no container, or "max": no limit
        free = min(free, int(_LIMIT.read_text("ascii")) - int(_USED.read_text("ascii")))
    return max(0, free)


def gigabytes(size: int) -> str:
    """A size in words."""
    return f"{size / 1e9:,.2f} GB"
