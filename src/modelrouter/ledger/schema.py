"""The tables of a ledger's file."""

from __future__ import annotations

from typing import Final

from modelrouter._common.sqlite import Schema

__all__ = ["LEDGER"]

_META: Final = "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID"

_SALT: Final = "INSERT INTO meta VALUES ('salt', randomblob(32))"
"""Hashes of texts are keyed with it: without the file nobody can try texts against them."""

_PROCESSES: Final = """
CREATE TABLE processes (
    number INTEGER PRIMARY KEY,
    host TEXT NOT NULL,
    pid INTEGER NOT NULL,
    started_at REAL NOT NULL
)"""

_TASKS: Final = """
CREATE TABLE tasks (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    process INTEGER NOT NULL,
    began_at REAL NOT NULL,
    outcome TEXT NOT NULL,
    kind TEXT NOT NULL,
    model TEXT NOT NULL,
    location TEXT NOT NULL,
    policy TEXT NOT NULL,
    cached INTEGER NOT NULL DEFAULT 0,
    latency_s REAL,
    first_token_s REAL,
    prompt_tokens INTEGER NOT NULL DEFAULT 0,
    completion_tokens INTEGER NOT NULL DEFAULT 0,
    cost_pico INTEGER NOT NULL DEFAULT 0,
    unpriced INTEGER NOT NULL DEFAULT 0,
    estimated INTEGER NOT NULL DEFAULT 0,
    tags TEXT NOT NULL DEFAULT '{}',
    conversation TEXT,
    error TEXT NOT NULL DEFAULT ''
)"""

_ATTEMPTS: Final = """
CREATE TABLE attempts (
    task INTEGER NOT NULL,
    place INTEGER NOT NULL,
    model TEXT NOT NULL,
    outcome TEXT NOT NULL,
    duration_s REAL NOT NULL,
    first_token_s REAL,
    usage TEXT,
    cost_pico INTEGER,
    error TEXT NOT NULL,
    confidence REAL,
    PRIMARY KEY (task, place)
) WITHOUT ROWID"""

_DETAILS: Final = """
CREATE TABLE details (
    task INTEGER PRIMARY KEY,
    decision BLOB,
    text_hash TEXT,
    text BLOB,
    answer BLOB
)"""
"""What is long: in a table of its own, so that sums over tasks need not read past it. ``decision``,
``text`` and ``answer`` are JSON, compressed with zlib."""

_FEEDBACK: Final = """
CREATE TABLE feedback (
    number INTEGER PRIMARY KEY,
    task INTEGER NOT NULL,
    given_at REAL NOT NULL,
    score REAL NOT NULL,
    note TEXT NOT NULL
)"""

LEDGER: Final = Schema(
    what="ledger",
    application_id=0x6D726C67,  # "mrlg"
    version=2,
    create=(
        _META,
        _SALT,
        _PROCESSES,
        _TASKS,
        "CREATE INDEX tasks_by_time ON tasks (began_at)",
        "CREATE INDEX tasks_by_conversation ON tasks (conversation, number) "
        "WHERE conversation IS NOT NULL",
        "CREATE INDEX open_tasks ON tasks (process) WHERE outcome = 'begun'",
        _ATTEMPTS,
        _DETAILS,
        _FEEDBACK,
        "CREATE INDEX feedback_by_task ON feedback (task)",
    ),
    upgrades=((1, ("ALTER TABLE tasks ADD COLUMN estimated INTEGER NOT NULL DEFAULT 0",)),),
)
