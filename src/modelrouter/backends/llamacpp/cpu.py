"""How many cores this process may compute with."""

from __future__ import annotations

import contextlib
import functools
import math
import os
import sys
from pathlib import Path

__all__ = ["usable_cores"]

_TOPOLOGY = Path("/sys/devices/system/cpu")
_QUOTA = Path("/sys/fs/cgroup/cpu.max")


@functools.cache
def usable_cores() -> int:
    """Physical cores among the processors this process may use, at least 1.

    Two hardware threads of one core share its arithmetic units, so a second one only slows
    llama.cpp down. Where the system does not tell (Windows), half the logical processors.
    """
    if sys.platform == "linux":
        return max(1, min(_linux_cores(os.sched_getaffinity(0)), _linux_quota()))
    logical = os.cpu_count() or 1
    if sys.platform == "darwin":
        return _mac_cores() or logical
    return max(1, logical // 2)


def _linux_cores(processors: set[int]) -> int:
    cores = set()
    for processor in processors:
        siblings = _TOPOLOGY / f"cpu{processor}" / "topology" / "thread_siblings_list"
        try:
            cores.add(siblings.read_text("ascii").strip())
        except OSError:  # a sandbox without /sys
            cores.add(str(processor))
    return len(cores)


def _linux_quota() -> int:
    """The container's share of processors (cgroup v2), rounded up; huge where unlimited."""
    with contextlib.suppress(OSError, ValueError):
        quota, period = _QUOTA.read_text("ascii").split()
        return max(1, math.ceil(int(quota) / int(period)))  # "max" is not a number: unlimited
    return sys.maxsize


def _mac_cores() -> int:
    """The performance cores on Apple silicon, the physical ones on Intel; 0 where unknown."""
    import ctypes

    libc = ctypes.CDLL(None)
    for name in (b"hw.perflevel0.physicalcpu", b"hw.physicalcpu"):
        value, size = ctypes.c_int32(0), ctypes.c_size_t(4)
        found = libc.sysctlbyname(name, ctypes.byref(value), ctypes.byref(size), None, 0)
        if found == 0 and value.value > 0:
            return value.value
    return 0
