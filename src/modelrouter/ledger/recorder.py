"""Writing calls into a ledger's file: beginnings and ends at once, what is long a little later."""

from __future__ import annotations

import hashlib
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

from modelrouter._common.sqlite import Database, open_database, transaction
from modelrouter.exceptions import StorageError
from modelrouter.fitting.examples import task_key
from modelrouter.ledger import processes
from modelrouter.ledger.background import Background
from modelrouter.ledger.rows import begun_values, dumped_task, ended_values, pack
from modelrouter.ledger.schema import LEDGER
from modelrouter.trace import Trace

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Recorder", "TextPolicy"]

logger = logging.getLogger("modelrouter")

TextPolicy: TypeAlias = Literal["hash", "keep", "none"]

_PATIENCE_S: Final = 0.02
"""A caller waits so long for another process that writes; then the thread does it."""
_THREAD_PATIENCE_S: Final = 5.0
_PAUSE_S: Final = 0.02
_AVOID_S: Final = 1.0
"""After a write that could not be made, callers leave theirs to the thread for so long."""
_QUIET_S: Final = 60.0
"""A disk that stays broken is logged this often."""
_LONGEST_TEXT: Final = 4_000_000
"""Bytes of a packed task or answer beyond which only the hash is kept."""
_WAL_PAGES: Final = 4_000
"""From this length on the thread folds the write-ahead log into the file, which waits for disks."""
_WAL_TOO_LONG: Final = 10 * _WAL_PAGES

_Event: TypeAlias = Literal["begun", "ended", "details"]


@dataclass(frozen=True, slots=True)
class _Note:
    """Something to be written by the thread."""

    event: _Event
    trace: Trace


class Recorder:
    """The writing half of a ledger, for one process. Threads may share it.

    A row of a few columns is committed before a model is asked and again when the call has ended,
    in the caller's thread: some 20 to 60 microseconds, and a killed process leaves no call without
    a trace. The decision, the text's hash and the text are written by a thread, in batches.
    """

    def __init__(self, path: Path, *, text: TextPolicy, keep_pii: bool) -> None:
        """Open the file and give an outcome to calls of processes that are gone."""
        self.path, self._text, self._keep_pii = path, text, keep_pii
        self.pid = os.getpid()
        self.not_written = 0
        import sqlite3  # now: a stream that is left open at the end of Python ends after imports do

        self._faults = (sqlite3.Error, StorageError)
        self._process: int | None = None
        self._logged_at = 0.0
        self._busy_until = 0.0
        self._later: Background[_Note] = Background(self._write_batch, name="modelrouter-ledger")
        with transaction(connection := open_database(path, LEDGER)):
            processes.mark_lost(connection)
        found = connection.execute("SELECT value FROM meta WHERE name='salt'").fetchone()
        connection.close()
        if found is None or not isinstance(found[0], bytes):
            raise StorageError(
                f"The ledger {path} is damaged: the key of its hashes is gone.",
                path=path,
                hint="Name another file, or move this one away.",
            )
        self._salt: bytes = found[0]
        # Folding the log into the file waits for the disk: that is the thread's part alone.
        pragmas = ("PRAGMA wal_autocheckpoint=0",)
        self._quick = Database(path, LEDGER, busy_s=_PATIENCE_S, pragmas=pragmas)
        self._slow = Database(path, LEDGER, busy_s=0.0, pragmas=pragmas)

    def begun(self, trace: Trace) -> None:
        """Write that a call has begun."""
        self._write("begun", trace)

    def ended(self, trace: Trace) -> None:
        """Write what came of a call."""
        self._write("ended", trace)
        if not self._later.put(_Note("details", trace)):
            self._write_batch([_Note("details", trace)])

    def flush(self, timeout_s: float | None = None) -> bool:
        """Wait for the thread; whether all is written."""
        return self._later.flush(timeout_s)

    def close(self) -> None:
        """Write what is left and close the file; safe to call twice."""
        self.flush()
        self._slow.close()
        self._quick.close()

    def _write(self, event: _Event, trace: Trace) -> None:
        """Write a short row now, or have the thread do it where the file is busy."""
        note = _Note(event, trace)
        problem: object = "it was busy a moment ago"
        if time.monotonic() >= self._busy_until:
            try:
                with self._quick as connection, transaction(connection):
                    self._short(connection, note)
                return
            except self._faults as exc:
                problem = exc
                self._busy_until = time.monotonic() + _AVOID_S
        if not self._later.put(note):
            self._failed(1, problem)

    def _short(self, connection: sqlite3.Connection, note: _Note) -> None:
        if self._process is None:
            self._process = processes.enter(connection)
        if note.event == "begun":
            connection.execute(_BEGUN, begun_values(note.trace, self._process))
        elif note.event == "ended":
            task, attempts = ended_values(note.trace, self._process)
            connection.execute(_ENDED, task)
            rows = [(*values, note.trace.id) for values in attempts]
            connection.executemany(_ATTEMPT, rows)

    def _write_batch(self, notes: list[_Note]) -> None:
        """Write what callers left, with patience; done by the thread, else by a caller."""

        details = [self._details(note.trace) for note in notes if note.event == "details"]
        until = time.monotonic() + _THREAD_PATIENCE_S
        while (problem := self._tried(notes, details)) is not None:
            if time.monotonic() > until or "locked" not in str(problem):
                self._failed(len(notes), problem)
                return
            # With no lock held: callers need not wait for others because this thread does.
            time.sleep(_PAUSE_S)

    def _tried(self, notes: list[_Note], details: list[tuple[Any, ...]]) -> Exception | None:
        try:
            # Callers wait their turn here rather than in SQLite, which would have them sleep.
            with self._quick, self._slow as connection, transaction(connection):
                for note in notes:
                    self._short(connection, note)
                connection.executemany(_DETAILS, details)
            self._fold()
        except self._faults as exc:
            return exc
        return None

    def _fold(self) -> None:
        """Fold the log into the file; callers go on writing meanwhile."""
        wal = self.path.with_name(f"{self.path.name}-wal")
        pages = wal.stat().st_size // 4096 if wal.exists() else 0
        if pages < _WAL_PAGES:
            return
        with self._slow as connection:
            connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
        if pages > _WAL_TOO_LONG:  # they never paused, so that it could not begin anew
            with self._quick, self._slow as connection:
                connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def _details(self, trace: Trace) -> tuple[Any, ...]:
        """The row of ``details``, its task's id last."""
        decision = trace.decision
        if decision is None:
            return (None, None, None, None, trace.id)
        task, text, answer = decision.context.task, None, None
        personal = decision.signals.contains_pii and not self._keep_pii
        if self._text == "keep" and not personal:
            text = _bounded(pack(dumped_task(task)))
            answer = _bounded(pack([choice.model_dump() for choice in trace.answer]))
        hashed = None
        if self._text != "none":
            key = task_key(task).encode("utf-8", "surrogatepass")
            hashed = hashlib.blake2b(key, key=self._salt, digest_size=16).hexdigest()
        return (pack(decision.model_dump()), hashed, text, answer, trace.id)

    def _failed(self, count: int, problem: object) -> None:
        """A reply is never lost for the ledger's sake: say it, seldom, and go on."""
        self.not_written += count
        now = time.monotonic()
        if self._logged_at and now - self._logged_at < _QUIET_S:
            return
        self._logged_at = now
        logger.error(
            "The ledger %s could not be written (%s); calls go on without it. "
            "%d writes failed so far.",
            self.path,
            problem,
            self.not_written,
        )


def _bounded(packed: bytes) -> bytes | None:
    return packed if len(packed) <= _LONGEST_TEXT else None


def _upsert(columns: tuple[str, ...]) -> str:
    names, values = ", ".join(columns), ", ".join(f":{name}" for name in columns)
    changed = ", ".join(f"{name} = excluded.{name}" for name in columns if name != "id")
    return f"INSERT INTO tasks ({names}) VALUES ({values}) ON CONFLICT (id) DO UPDATE SET {changed}"


_BEGUN_COLUMNS: Final = (
    "id",
    "process",
    "began_at",
    "outcome",
    "kind",
    "model",
    "location",
    "policy",
    "tags",
    "conversation",
)
_BEGUN: Final = (
    f"INSERT OR IGNORE INTO tasks ({', '.join(_BEGUN_COLUMNS)}) "
    f"VALUES ({', '.join(f':{name}' for name in _BEGUN_COLUMNS)})"
)
_ENDED: Final = _upsert(
    (
        *_BEGUN_COLUMNS,
        "cached",
        "latency_s",
        "first_token_s",
        "prompt_tokens",
        "completion_tokens",
        "cost_pico",
        "unpriced",
        "estimated",
        "error",
    )
)
_ATTEMPT: Final = (
    "INSERT OR REPLACE INTO attempts SELECT number, ?, ?, ?, ?, ?, ?, ?, ?, ? FROM tasks "
    "WHERE id = ?"
)
_DETAILS: Final = "INSERT OR REPLACE INTO details SELECT number, ?, ?, ?, ? FROM tasks WHERE id = ?"
