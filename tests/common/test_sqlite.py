"""Opening SQLite files: made safely, shared, and refused in words where they cannot be used."""

from __future__ import annotations

import os
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter import StorageError
from modelrouter._common.sqlite import (
    PICO,
    Schema,
    open_database,
    pico_usd,
    transaction,
    translated,
    usd,
)

SCHEMA = Schema("notebook", 0x6D726E62, 1, ("CREATE TABLE notes (number INTEGER, text TEXT)",))
LATER = Schema(
    "notebook",
    SCHEMA.application_id,
    3,
    ("CREATE TABLE notes (number INTEGER, text TEXT, a TEXT, b TEXT)",),
    (
        (1, ("ALTER TABLE notes ADD COLUMN a TEXT",)),
        (2, ("ALTER TABLE notes ADD COLUMN b TEXT",)),
    ),
)

ROOT = str(Path(__file__).parents[2])
WRITER = """
import sys
from modelrouter._common.sqlite import open_database
from tests.common.test_sqlite import SCHEMA
connection = open_database(sys.argv[1], SCHEMA)
for number in range(100):
    connection.execute("INSERT INTO notes VALUES (?, 'x')", (number,))
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "notes.db"


def test_what_is_written_is_there_when_the_file_is_opened_again(path):
    first = open_database(path, SCHEMA)
    first.execute("INSERT INTO notes VALUES (1, 'kept')")
    second = open_database(path, SCHEMA)
    assert second.execute("SELECT * FROM notes").fetchall() == [(1, "kept")]
    first.close()
    second.close()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
def test_only_its_owner_may_read_it(path):
    open_database(path, SCHEMA).close()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_path_may_hold_any_character(tmp_path):
    path = tmp_path / "a?mode=ro & b%20#1.db"
    open_database(path, SCHEMA).close()
    assert path.is_file()


def test_processes_that_start_at_once_share_it(path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, *filter(None, sys.path)])}
    writers = [
        subprocess.Popen([sys.executable, "-c", WRITER, str(path)], env=environment)
        for _ in range(4)
    ]
    assert [writer.wait(60) for writer in writers] == [0] * 4
    connection = open_database(path, SCHEMA)
    assert connection.execute("SELECT count(*) FROM notes").fetchone() == (400,)
    connection.close()


def test_threads_that_start_at_once_share_it(path):
    failed: list[BaseException] = []

    def write() -> None:
        try:
            connection = open_database(path, SCHEMA)
            connection.execute("INSERT INTO notes VALUES (1, 'x')")
            connection.close()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=write) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failed == []


def test_opening_a_file_again_leaves_the_locks_of_the_first_connection(path):
    first = open_database(path, SCHEMA)
    first.execute("INSERT INTO notes VALUES (1, 'x')")
    open_database(path, SCHEMA).close()  # would take the locks off, if it opened the file itself
    other = """
import sys
from tests.common.test_sqlite import *
open_database(sys.argv[1], SCHEMA).close()
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, *filter(None, sys.path)])}
    subprocess.run([sys.executable, "-c", other, str(path)], env=environment, check=True)
    assert path.with_name("notes.db-wal").exists()  # the last to leave would have taken it away
    first.execute("INSERT INTO notes VALUES (2, 'y')")
    assert first.execute("SELECT count(*) FROM notes").fetchone() == (2,)
    first.close()


def test_a_transaction_is_all_or_nothing(path):
    connection = open_database(path, SCHEMA)

    def fail() -> None:
        with transaction(connection):
            connection.execute("INSERT INTO notes VALUES (1, 'x')")
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with transaction(connection):
        connection.execute("INSERT INTO notes VALUES (2, 'y')")
    assert connection.execute("SELECT number FROM notes").fetchall() == [(2,)]
    connection.close()


def test_an_older_file_is_brought_up_and_keeps_what_it_holds(path):
    old = open_database(path, SCHEMA)
    old.execute("INSERT INTO notes VALUES (1, 'kept')")
    old.close()
    with pytest.raises(StorageError, match=r"version 1.*Open it for writing once"):
        open_database(path, LATER, read_only=True)
    new = open_database(path, LATER)
    assert new.execute("SELECT * FROM notes").fetchall() == [(1, "kept", None, None)]
    new.close()


def test_a_file_of_a_later_version_is_refused_and_left_alone(path):
    open_database(path, LATER).close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match=r"version 3, this modelrouter reads 1.*pip install -U"):
        open_database(path, SCHEMA)
    assert path.read_bytes() == before


@pytest.mark.parametrize("content", [b"not a database, but long enough to be one" * 40, b"PK\x03"])
def test_a_foreign_file_is_refused_and_left_alone(path, content):
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"file is not a database\. Name another"):
        open_database(path, SCHEMA)
    assert path.read_bytes() == content


def test_another_programs_database_is_refused_and_left_alone(path):
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(StorageError, match="an SQLite file, but not a notebook"):
        open_database(path, SCHEMA)
    assert path.read_bytes() == before


def test_a_damaged_file_is_said_to_be(path):
    connection = open_database(path, SCHEMA)
    with transaction(connection):
        connection.executemany(
            "INSERT INTO notes VALUES (?, ?)", [(n, "x" * 500) for n in range(99)]
        )
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    content = bytearray(path.read_bytes())
    content[4096:] = b"\xff" * (len(content) - 4096)
    path.write_bytes(content)
    with pytest.raises(StorageError, match=r"malformed.*\.recover"), translated(path, "notebook"):
        open_database(path, SCHEMA).execute("SELECT count(*), max(text) FROM notes").fetchall()


def test_a_cut_head_is_said_to_be_damage(path):
    open_database(path, SCHEMA).close()
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(StorageError):
        open_database(path, SCHEMA)


def test_a_missing_folder_a_folder_and_a_missing_file_are_named(tmp_path):
    with pytest.raises(StorageError, match=r"there is no folder .*nowhere"):
        open_database(tmp_path / "nowhere" / "notes.db", SCHEMA)
    with pytest.raises(StorageError, match="is a folder, not a notebook"):
        open_database(tmp_path, SCHEMA)
    with pytest.raises(StorageError, match="There is no notebook"):
        open_database(tmp_path / "none.db", SCHEMA, read_only=True)
    assert not (tmp_path / "none.db").exists()


def test_a_file_that_another_holds_for_long_is_said_to_be_locked(path):
    holder = open_database(path, SCHEMA)
    holder.execute("BEGIN IMMEDIATE")
    waiting = open_database(path, SCHEMA, busy_s=0.01)
    with (
        pytest.raises(StorageError, match=r"locked.*Another process"),
        translated(path, "notebook"),
    ):
        waiting.execute("INSERT INTO notes VALUES (1, 'x')")
    holder.close()
    waiting.close()


def test_a_reader_changes_nothing(path):
    open_database(path, SCHEMA).close()
    reader = open_database(path, SCHEMA, read_only=True)
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("INSERT INTO notes VALUES (1, 'x')")
    reader.close()


@given(st.integers(0, 10**12), st.integers(0, 10**6))
def test_money_is_exact(tokens_price_pico, tokens):
    price = tokens_price_pico / PICO
    assert abs(pico_usd(price * tokens) - tokens_price_pico * tokens) <= max(
        1, tokens_price_pico * tokens // 10**15
    )
    assert pico_usd(usd(tokens_price_pico)) == tokens_price_pico


def test_thousandths_of_a_cent_add_up():
    assert sum(pico_usd(0.1) for _ in range(10)) == pico_usd(1.0)
