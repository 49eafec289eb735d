"""Which processes write into a ledger, and which of them are gone."""

from __future__ import annotations

import os
import platform
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import sqlite3

__all__ = ["enter", "mark_lost"]

_SAME_S: Final = 5.0
"""Two start times that differ by less are of one process: clocks are adjusted."""
_FOREIGN_S: Final = 24 * 3600.0
"""A process on another host (or in another container) cannot be looked up: after so long without an
end, its calls count as lost."""
_LOST: Final = "The process ended before the call did."


def enter(connection: sqlite3.Connection) -> int:
    """Write this process down; its number."""
    cursor = connection.execute(
        "INSERT INTO processes (host, pid, started_at) VALUES (?, ?, ?)",
        (platform.node(), os.getpid(), _started_at(os.getpid())),
    )
    return int(cursor.lastrowid or 0)


def mark_lost(connection: sqlite3.Connection) -> int:
    """Give an outcome to calls whose process is gone: ``lost``; how many there were.

    What a lost call cost is not known: its model may have been asked and may have answered.
    """
    gone = [
        (_LOST, number)
        for number, host, pid, started, newest in connection.execute(
            "SELECT p.number, p.host, p.pid, p.started_at, max(t.began_at) FROM processes p "
            "JOIN tasks t ON t.process = p.number AND t.outcome = 'begun' GROUP BY p.number"
        ).fetchall()
        if _is_gone(host, pid, started, newest)
    ]
    cursor = connection.executemany(
        "UPDATE tasks SET outcome = 'lost', unpriced = (location <> 'local'), error = ? "
        "WHERE process = ? AND outcome = 'begun'",
        gone,
    )
    return max(cursor.rowcount, 0)


def _is_gone(host: str, pid: int, started_at: float, newest: float) -> bool:
    if host != platform.node():
        return time.time() - newest > _FOREIGN_S
    try:
        return abs(_started_at(pid) - started_at) > _SAME_S
    except ProcessLookupError:
        return True


def _started_at(pid: int) -> float:
    import psutil

    try:
        process = psutil.Process(pid)
        if process.status() == psutil.STATUS_ZOMBIE:
            raise ProcessLookupError(pid)
        return float(process.create_time())
    except psutil.NoSuchProcess as exc:
        raise ProcessLookupError(pid) from exc
