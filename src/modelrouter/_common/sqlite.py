"""Opening this package's SQLite files: checked, shared between processes, money as integers."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeAlias

from modelrouter.exceptions import StorageError

if TYPE_CHECKING:
    import sqlite3

__all__ = [
    "PICO",
    "Database",
    "Schema",
    "open_database",
    "pico_usd",
    "transaction",
    "translated",
    "usd",
]

_Identity: TypeAlias = tuple[int, int]
"""Of a file, whatever its name: its device and its number there."""

PICO: Final = 10**12
"""Money is kept in whole units of 1e-12 USD: a token at 0.0375 USD a million is 37,500 of them, and
sums are exact."""


@dataclass(frozen=True)
class Schema:
    """What a file of ours holds.

    Attributes:
        what: the file's name in messages ("ledger").
        application_id: SQLite's mark of whose file it is, a number of 32 bits.
        version: of the tables; a file of a later version is refused, an older one is brought up.
        create: statements that make an empty file one of this version.
        upgrades: by the version they start from, the statements that lead to the next.
    """

    what: str
    application_id: int
    version: int
    create: tuple[str, ...]
    upgrades: tuple[tuple[int, tuple[str, ...]], ...] = ()


class Database:
    """The connection of this process to a file, for many threads; a context manager that lends it.

        with database as connection:
            connection.execute(...)

    Who has it has it alone. It is opened when first asked for, and closed before a fork: what
    SQLite knows of a file's locks is wrong in a child, and a child that went on with it, or even
    opened the file anew beside it, would lose what others write (sqlite.org/howtocorrupt.html,
    2.6). Afterwards both processes open it again. Take several in the order they were made.

    A file that is removed or replaced while it is open would be written on, seen by nobody: it is
    noticed the next time that the connection is asked for.

    Args:
        path, schema, busy_s: as for :func:`open_database`.
        pragmas: statements to begin a connection with.
        renew: whether the file at the path is then opened, made anew where there is none; else
            a StorageError is raised from then on.
    """

    def __init__(
        self,
        path: str | Path,
        schema: Schema,
        *,
        busy_s: float = 5.0,
        pragmas: tuple[str, ...] = (),
        renew: bool = True,
    ) -> None:
        self.path, self.schema = Path(path), schema
        self._busy_s, self._pragmas, self._renew = busy_s, pragmas, renew
        self._file: _Identity | None = None
        self._log: _Identity | None = None
        self._lock = threading.Lock()
        self._connection: sqlite3.Connection | None = None
        self._closed = False
        with _opened_lock:
            _opened.append(weakref.ref(self, _opened.remove))

    def __enter__(self) -> sqlite3.Connection:
        self._lock.acquire()
        try:
            if self._closed:
                raise StorageError(f"The {self.schema.what} {self.path} is closed.", path=self.path)
            self._look_whether_it_is_there()
            if self._connection is None:
                self._connection = open_database(self.path, self.schema, busy_s=self._busy_s)
                self._file = _identity(self.path)
                for pragma in self._pragmas:
                    self._connection.execute(pragma)
            return self._connection
        except BaseException:
            self._lock.release()
            raise

    def __exit__(self, *exc: object) -> None:
        self._lock.release()

    def close(self) -> None:
        """Close the file for good; safe to call twice."""
        with self._lock:
            self._closed = True
            self._let_go()

    def _look_whether_it_is_there(self) -> None:
        """Whether the file is still the one that was opened, and its log, which is a part of it.

        The log comes with the first writing and stays as long as anybody has the file open.

        Raises:
            StorageError: it is not, and is not to be made anew.
        """
        if self._file is None:
            return
        log = _identity(self._log_path) if self._connection is not None else None
        gone = _identity(self.path) != self._file or self._log not in (None, log)
        if not gone:
            self._log = log
            return
        if not self._renew:
            raise StorageError(
                f"The {self.schema.what} {self.path} was removed or replaced while it was in use, "
                "so that what it counted is not known any more.",
                path=self.path,
                hint="Put it back, or begin anew: close what uses it and open it again.",
            )
        self._let_go()
        self._file = None

    @property
    def _log_path(self) -> Path:
        return self.path.with_name(f"{self.path.name}-wal")

    def _let_go(self) -> None:
        self._log = None  # the last to close the file takes it away
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _before_fork(self) -> None:
        self._lock.acquire()
        self._let_go()

    def _after_fork(self) -> None:
        self._lock.release()


_opened: list[weakref.ref[Database]] = []
_opened_lock = threading.Lock()
_forking: list[Database] = []


def _before_fork() -> None:
    _opened_lock.acquire()
    _forking.extend(found for reference in _opened if (found := reference()) is not None)
    for database in _forking:
        database._before_fork()


def _after_fork() -> None:
    for database in _forking:
        database._after_fork()
    _forking.clear()
    _opened_lock.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork, after_in_child=_after_fork
    )


def _identity(path: Path) -> _Identity | None:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_dev, found.st_ino


def open_database(
    path: str | Path, schema: Schema, *, busy_s: float = 5.0, read_only: bool = False
) -> sqlite3.Connection:
    """Open a file, made if it is missing and readable by its owner alone.

    The connection commits each statement unless a :func:`transaction` is begun; threads may share
    it under a lock of theirs. Written pages reach the file at once, so that a killed process loses
    nothing that was written; a machine that loses power may lose the last moments, never the rest.

    Args:
        path: of the file; its folder must exist.
        schema: what the file is to hold.
        busy_s: seconds to wait while another process writes.
        read_only: the file must exist and is not changed.

    Raises:
        StorageError: there is no folder, the file cannot be opened, is damaged, is not one of ours
            or was written by a later version.
    """
    import sqlite3

    place = Path(path)
    _check(place, schema, read_only)
    if not read_only:
        _make(place, schema)
    with translated(place, schema.what):
        connection = sqlite3.connect(
            f"{place.absolute().as_uri()}?mode={'ro' if read_only else 'rwc'}",
            uri=True,
            timeout=busy_s,
            isolation_level=None,
            check_same_thread=False,
        )
        try:
            if not read_only:
                _prepare(connection, schema)
            _check_version(connection, place, schema)
        except BaseException:
            connection.close()
            raise
    return connection


@contextmanager
def transaction(connection: sqlite3.Connection) -> Iterator[None]:
    """All or nothing: what is written inside is undone when an error leaves the block."""
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextmanager
def translated(path: Path, what: str) -> Iterator[None]:
    """SQLite's errors become StorageErrors that name the file.

    Raises:
        StorageError: the file is damaged, locked for long, read-only, or the disk is full.
    """
    import sqlite3

    try:
        yield
    except sqlite3.Error as exc:
        raise StorageError(
            f"The {what} {path} cannot be used: {exc}.", path=path, hint=_way_out(exc)
        ) from exc
    except UnicodeDecodeError as exc:  # in what the file says, or in SQLite's own message about it
        raise StorageError(
            f"The {what} {path} is damaged: it holds what is not a text.",
            path=path,
            hint=_MOVE_AWAY,
        ) from exc


def pico_usd(amount_usd: float) -> int:
    """USD as a whole number of 1e-12 USD: exact for every price a token has."""
    return round(amount_usd * PICO)


def usd(amount_pico: int) -> float:
    """A whole number of 1e-12 USD as USD."""
    return amount_pico / PICO


def _check(place: Path, schema: Schema, read_only: bool) -> None:
    if place.is_dir():
        raise StorageError(
            f"{place} is a folder, not a {schema.what}.", path=place, hint="Name a file in it."
        )
    if not place.parent.is_dir():
        raise StorageError(
            f"{place}: there is no folder {place.parent}.", path=place, hint="Make it first."
        )
    if read_only and not place.exists():
        raise StorageError(
            f"There is no {schema.what} {place}.", path=place, hint="Check the path."
        )


def _make(place: Path, schema: Schema) -> None:
    """Tasks and answers are the user's own: nobody else on this machine need read them.

    A file that exists must not be opened here: closing it again would take this process's locks
    off it, those of other connections included (sqlite.org/howtocorrupt.html, 2.2).
    """
    try:
        os.close(os.open(place, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600))
    except FileExistsError:
        pass
    except OSError as exc:
        raise StorageError(
            f"The {schema.what} {place} cannot be made: {exc.strerror or exc}.", path=place
        ) from exc


def _prepare(connection: sqlite3.Connection, schema: Schema) -> None:
    """Make the tables of an empty file, or bring an older one up; any other is left alone."""
    # WAL: readers do not wait for a writer. It is a property of the file, and setting it needs the
    # file for itself for a moment, so that it is asked for only where it is not so already.
    if _statements(connection, schema) is None:
        return
    if connection.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
        _to_wal(connection)
    connection.execute("PRAGMA synchronous=NORMAL")
    if not _statements(connection, schema):
        return
    with transaction(connection):  # of several processes that start at once, one makes the tables
        for statement in _statements(connection, schema) or ():
            connection.execute(statement)
        connection.execute(f"PRAGMA application_id={schema.application_id}")
        connection.execute(f"PRAGMA user_version={schema.version}")


def _statements(connection: sqlite3.Connection, schema: Schema) -> tuple[str, ...] | None:
    """What is left to be done to the file; ``None`` if it is none that we may change."""
    mark, version = _marks(connection)
    if mark == 0 and version == 0 and not _tables(connection):
        return schema.create
    if mark != schema.application_id or version > schema.version:
        return None
    return tuple(s for since, each in schema.upgrades if since >= version for s in each)


def _to_wal(connection: sqlite3.Connection) -> None:
    """SQLite does not wait for others here by itself."""
    import sqlite3

    for pause in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError:
            time.sleep(pause)
    connection.execute("PRAGMA journal_mode=WAL")


def _check_version(connection: sqlite3.Connection, place: Path, schema: Schema) -> None:
    mark, version = _marks(connection)
    if mark != schema.application_id:
        raise StorageError(
            f"{place} is an SQLite file, but not a {schema.what} of modelrouter.",
            path=place,
            hint="Name another file.",
        )
    if version != schema.version:
        later = version > schema.version
        raise StorageError(
            f"The {schema.what} {place} has version {version}, "
            f"this modelrouter reads {schema.version}.",
            path=place,
            hint="Update modelrouter (pip install -U modelrouter), or name another file."
            if later
            else "Open it for writing once, which brings it up to date.",
        )


def _marks(connection: sqlite3.Connection) -> tuple[int, int]:
    (mark,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return mark, version


def _tables(connection: sqlite3.Connection) -> int:
    (count,) = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
    return int(count)


_MOVE_AWAY: Final = (
    "Move the file and those beside it (-wal, -shm) away; what is readable can be saved with "
    'sqlite3\'s ".recover".'
)


def _way_out(exc: sqlite3.Error) -> str:
    text = str(exc)
    if "not a database" in text:
        return "Name another file, or move this one away."
    if "malformed" in text or "corrupt" in text:
        return _MOVE_AWAY
    if "locked" in text:
        return "Another process has been writing for long; close it."
    if "readonly" in text or "unable to open" in text:
        return "See that this user may write the file and its folder."
    return ""
