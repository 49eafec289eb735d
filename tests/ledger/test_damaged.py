"""A ledger whose file holds what no ledger writes: a StorageError, or the rest of what it holds."""

from __future__ import annotations

import random
import shutil
import sqlite3
import zlib
from pathlib import Path
from typing import Any

import pytest

from modelrouter import Policy, Router, StorageError
from modelrouter.exceptions import ModelRouterError
from modelrouter.ledger import Ledger
from modelrouter.testing import EchoBackend, example_card

VALUES: list[Any] = [
    None, 0, -1, 1.5, 1e308, float("inf"), 2**62, "", "x", "null", "5", "[1]", '{"a":1}',
    "[" * 100_000, "9" * 5_000, b"", b"\xff\xfe", zlib.compress(b"[" * 100_000),
    zlib.compress(b"null"), zlib.compress(b"\xff"), zlib.compress(b"[1]"),
    zlib.compress(b'{"a":1}'), zlib.compress(b"[1]")[:-4],
]  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("ledger") / "sound.db"
    card = example_card()
    with Ledger(path) as ledger:
        backends = {card.backend: EchoBackend()}
        with Router([card], backends=backends, ledger=ledger) as router:
            for word in ("one", "two", "three"):
                ledger.feedback(router.completion(word, model=card.name), 1.0, note="good")
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


def fresh(sound: Path, path: Path) -> Path:
    for suffix in ("", "-wal", "-shm"):
        path.with_name(path.name + suffix).unlink(missing_ok=True)
    shutil.copy(sound, path)
    return path


def use(path: Path, folder: Path) -> list[str]:
    """Read it in every way; the kinds of what was raised."""
    ways = {
        "rows": lambda ledger: [str(row) for row in ledger.rows()],
        "summary": lambda ledger: str(ledger.summary()),
        "summary by day": lambda ledger: str(ledger.summary(by="day")),
        "replay": lambda ledger: str(ledger.replay(Policy.balanced())),
        "examples": lambda ledger: ledger.examples(),
        "confidences": lambda ledger: list(ledger.confidences()),
        "export": lambda ledger: ledger.export(folder / "out.jsonl"),
        "model": lambda ledger: ledger.model_of("x"),
    }
    raised = []
    try:
        with Ledger(path) as ledger:
            for way in ways.values():
                try:
                    way(ledger)
                except ModelRouterError as error:
                    raised.append(type(error).__name__)
    except ModelRouterError as error:
        raised.append(type(error).__name__)
    return raised


@pytest.mark.parametrize("table", ["tasks", "attempts", "details", "feedback", "processes", "meta"])
def test_any_value_in_any_column_is_a_typed_error_or_read(
    sound: Path, tmp_path: Path, table: str
) -> None:
    tried = 0
    connection = sqlite3.connect(sound)
    columns = [row[1] for row in connection.execute(f"PRAGMA table_info({table})")]
    connection.close()
    for column in columns:
        for value in random.Random(column).sample(VALUES, 6):
            path = fresh(sound, tmp_path / "damaged.db")
            connection = sqlite3.connect(path)
            try:
                connection.execute(f"UPDATE OR IGNORE {table} SET {column} = ?", (value,))
                connection.commit()
            except sqlite3.IntegrityError:
                continue  # what SQLite itself refuses
            finally:
                connection.close()
            tried += 1
            use(path, tmp_path)
    assert tried >= len(columns)


def test_damaged_bytes_are_a_typed_error_or_read(sound: Path, tmp_path: Path) -> None:
    data, chance = sound.read_bytes(), random.Random(12)
    raised: list[str] = []
    for _ in range(60):
        changed = bytearray(data)
        for _ in range(chance.choice((1, 5, 50))):
            changed[chance.randrange(len(changed))] = chance.randrange(256)
        path = fresh(sound, tmp_path / "damaged.db")
        path.write_bytes(changed[: chance.choice((len(data), chance.randrange(len(data))))])
        raised += use(path, tmp_path)
    assert "StorageError" in raised


@pytest.mark.parametrize(
    ("table", "column", "value"),
    [
        ("tasks", "tags", "["),
        ("tasks", "tags", "[" * 100_000),
        ("tasks", "prompt_tokens", "many"),
        ("tasks", "began_at", 1e308),
        ("attempts", "usage", "{"),
        ("attempts", "cost_pico", "dear"),
        ("details", "decision", 5),
        ("details", "decision", zlib.compress(b"[" * 100_000)),
        ("details", "text", zlib.compress(b"[1]")),
    ],
    ids=lambda value: str(value)[:12],
)
def test_the_error_says_which_row_is_damaged(
    sound: Path, tmp_path: Path, table: str, column: str, value: Any
) -> None:
    path = fresh(sound, tmp_path / "damaged.db")
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE {table} SET {column} = ?", (value,))
    connection.commit()
    connection.close()
    with Ledger(path) as ledger, pytest.raises(StorageError, match="holds a damaged row near"):
        list(ledger.rows())


def test_a_decision_that_is_none_is_left_out_of_a_replay(sound: Path, tmp_path: Path) -> None:
    path = fresh(sound, tmp_path / "damaged.db")
    connection = sqlite3.connect(path)
    packed = zlib.compress(b'{"signals":{}}')
    connection.execute("UPDATE details SET decision = ? WHERE task = 1", (packed,))
    connection.commit()
    connection.close()
    with Ledger(path) as ledger:
        replayed = ledger.replay(Policy.balanced())
    assert replayed.not_replayed["what is stored of them is damaged"] == 1
    assert len(replayed.answered) == 2
