"""How much memory this process may still take, so that too large a model is refused, not killed."""

from __future__ import annotations

import contextlib
from pathlib import Path

__all__ = ["available_bytes", "container_free", "gigabytes"]

_CONTAINER = Path("/sys/fs/cgroup")


def available_bytes() -> int:
    """What is free now, without swapping: of the machine, or of its container (cgroup v2)."""
    import psutil

    free = int(psutil.virtual_memory().available)
    allowed = container_free(_CONTAINER)
    return max(0, free if allowed is None else min(free, allowed))


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
