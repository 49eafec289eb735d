"""Accounts in an SQLite file, shared by every thread and process that opens it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

from modelrouter._common.process import OfOneProcess
from modelrouter._common.sqlite import Database, Schema, transaction, translated
from modelrouter.exceptions import StorageError
from modelrouter.guards.store import DAY, DAYS_KEPT, Account, Claim, Hold, Short

if TYPE_CHECKING:
    import sqlite3

__all__ = ["SqliteStore", "default_path"]

_SCHEMA: Final = Schema(
    what="budget file",
    application_id=0x6D726267,  # "mrbg"
    version=1,
    create=(
        "CREATE TABLE accounts (key TEXT PRIMARY KEY, until REAL, pico_usd INTEGER NOT NULL, "
        "tokens INTEGER NOT NULL) WITHOUT ROWID",
        "CREATE TABLE holds (number INTEGER, account TEXT, pico_usd INTEGER NOT NULL, "
        "tokens INTEGER NOT NULL, expires REAL NOT NULL, PRIMARY KEY (number, account)) "
        "WITHOUT ROWID",
    ),
)

_TAKE: Final = """
INSERT INTO accounts (key, until, pico_usd, tokens) VALUES (?1, ?2, ?3, ?4)
ON CONFLICT (key) DO UPDATE SET pico_usd = pico_usd + ?3, tokens = tokens + ?4
WHERE (?5 IS NULL OR pico_usd + ?3 <= ?5) AND (?6 IS NULL OR tokens + ?4 <= ?6)
"""
_HOLD: Final = (
    "INSERT INTO holds (number, account, pico_usd, tokens, expires) VALUES (?, ?, ?, ?, ?)"
)
_RELEASE: Final = "DELETE FROM holds WHERE number = ? AND account = ?"
_CORRECT: Final = "UPDATE accounts SET pico_usd = pico_usd + ?, tokens = tokens + ? WHERE key = ?"
_SELECT: Final = """
SELECT key, pico_usd, tokens, coalesce(held.pico, 0), coalesce(held.toks, 0), until
FROM accounts LEFT JOIN (
    SELECT account, sum(pico_usd) AS pico, sum(tokens) AS toks FROM holds
    WHERE expires > ?1 GROUP BY account
) AS held ON held.account = key
"""

_KEPT: Final = f"""
SELECT DISTINCT CAST(until / {DAY} AS INTEGER) AS day FROM accounts WHERE until IS NOT NULL
ORDER BY day DESC LIMIT 1 OFFSET ?
"""
_KEPT_S: Final = 35 * DAY
"""How long accounts of periods that are over stay readable."""


class SqliteStore(OfOneProcess):
    """Accounts in a file. The file and its folder are made where they are missing.

    Args:
        path: of the file; :func:`default_path` unless given.
        busy_s: seconds to wait while other processes write, before a call fails.

    Raises:
        StorageError: the file is damaged, foreign, of a later version, or cannot be opened. A
            budget is never treated as unlimited because its file cannot be read. Likewise in
            every call when the file is removed or replaced while it is in use.
    """

    def __init__(self, path: str | Path | None = None, *, busy_s: float = 5.0) -> None:
        self.path = default_path() if path is None else Path(path)
        self._swept = 0.0
        _make_folder(self.path.parent)
        self._database = Database(self.path, _SCHEMA, busy_s=busy_s, renew=False)
        with self._database:  # what is wrong with the file is said at once
            pass

    def __repr__(self) -> str:
        return f"SqliteStore({str(self.path)!r})"

    def reserve(self, claims: Sequence[Claim], *, now: float, expires: float) -> Hold | Short:
        """Take every claim, or none and say which account is short.

        Raises:
            StorageError: the file cannot be used; nothing is reserved then.
        """
        number = secrets.randbits(63)
        for claim in claims:
            if not claim.fits(0, 0):  # not even an empty account could take it
                return Short(claim, self._one(claim, now))
        with translated(self.path, _SCHEMA.what), self._database as connection:
            try:
                with transaction(connection):
                    self._sweep(connection, now)
                    for claim in claims:
                        self._take(connection, number, claim, expires)
            except _ShortError as short:
                return Short(short.claim, self._read(connection, short.claim, now))
        return Hold(number, tuple(claims))

    def settle(self, hold: Hold, *, pico_usd: int, tokens: int) -> None:
        """Put what was used in the place of what was reserved; a second time changes nothing.

        Raises:
            StorageError: the file cannot be used; the reservation stays counted.
        """
        pico_usd, tokens = max(0, pico_usd), max(0, tokens)
        with (
            translated(self.path, _SCHEMA.what),
            self._database as connection,
            transaction(connection),
        ):
            for claim in hold.claims:
                held = connection.execute(_RELEASE, (hold.number, claim.account)).rowcount
                more = (pico_usd - claim.pico_usd, tokens - claim.tokens)
                if held and more != (0, 0):
                    connection.execute(_CORRECT, (*more, claim.account))

    def accounts(self, prefix: str, *, now: float) -> Sequence[Account]:
        """The accounts whose keys begin so and whose period has not ended.

        Raises:
            StorageError: the file cannot be used.
        """
        query = f"{_SELECT} WHERE substr(key, 1, ?2) = ?3 AND (until IS NULL OR until > ?1)"
        with translated(self.path, _SCHEMA.what), self._database as connection:
            rows = connection.execute(query, (now, len(prefix), prefix)).fetchall()
        return [_account(row) for row in rows]

    def close(self) -> None:
        """Close the file; safe to call twice."""
        self._database.close()

    def _take(
        self, connection: sqlite3.Connection, number: int, claim: Claim, expires: float
    ) -> None:
        key, pico_usd, tokens, limit_pico_usd, limit_tokens, until = claim
        given = (key, until, pico_usd, tokens, limit_pico_usd, limit_tokens)
        if connection.execute(_TAKE, given).rowcount != 1:
            raise _ShortError(claim)
        connection.execute(_HOLD, (number, key, pico_usd, tokens, expires))

    def _one(self, claim: Claim, now: float) -> Account:
        with translated(self.path, _SCHEMA.what), self._database as connection:
            return self._read(connection, claim, now)

    def _read(self, connection: sqlite3.Connection, claim: Claim, now: float) -> Account:
        row = connection.execute(f"{_SELECT} WHERE key = ?2", (now, claim.account)).fetchone()
        return Account(claim.account, until=claim.until) if row is None else _account(row)

    def _sweep(self, connection: sqlite3.Connection, now: float) -> None:
        """Forget periods and reservations that are long over, once a day.

        A clock that was set far ahead for a while must not make today's account one of these, so
        that those of the last days on which there were any stay, however long ago that seems.
        """
        if 0 <= now - self._swept < DAY:
            return
        self._swept = now
        kept = connection.execute(_KEPT, (DAYS_KEPT - 1,)).fetchone()
        if kept is None:
            return
        over = min(now - _KEPT_S, kept[0] * DAY)
        connection.execute("DELETE FROM accounts WHERE until < ?", (over,))
        connection.execute("DELETE FROM holds WHERE expires < ?", (over,))


def _make_folder(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise StorageError(
            f"The folder {folder} cannot be made: {exc.strerror or exc}.",
            path=folder,
            hint='Name another place: Router(budget_store="budgets.db").',
        ) from exc


def default_path() -> Path:
    """``budgets.db`` in this user's data folder: all that this user runs counts together."""
    from platformdirs import user_data_path

    return user_data_path("modelrouter") / "budgets.db"


class _ShortError(Exception):
    """Takes a transaction back."""

    def __init__(self, claim: Claim) -> None:
        self.claim = claim


def _account(row: tuple[str, int, int, int, int, float | None]) -> Account:
    key, pico_usd, tokens, reserved_pico_usd, reserved_tokens, until = row
    return Account(key, pico_usd, tokens, reserved_pico_usd, reserved_tokens, until)
