"""Cache: whole answers kept on disk, for the same task under the same parameters and policy."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import threading
import time
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from pydantic import ValidationError

from modelrouter._common.process import OfOneProcess
from modelrouter._common.sqlite import Database, Schema, open_database, transaction
from modelrouter.catalog.card import ModelCard
from modelrouter.config import GenerationSettings
from modelrouter.exceptions import ConfigurationError, StorageError
from modelrouter.ledger.background import Background
from modelrouter.ledger.rows import dumped_task, pack, unpack
from modelrouter.policies import Policy
from modelrouter.policies.decision import Decision
from modelrouter.response import Chunk, ChunkChoice, Completion, Delta, ToolCallDelta
from modelrouter.signals.base import Signals
from modelrouter.task import Task

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Cache", "CacheLike", "CachedAnswer", "why_not"]

logger = logging.getLogger("modelrouter")

_SCHEMA: Final = Schema(
    what="cache",
    application_id=0x6D726361,  # "mrca"
    version=1,
    create=(
        "CREATE TABLE answers (key TEXT PRIMARY KEY, made_at REAL NOT NULL, used_at REAL NOT NULL,"
        " size INTEGER NOT NULL, body BLOB NOT NULL) WITHOUT ROWID",
        "CREATE INDEX by_use ON answers (used_at, size)",
        "CREATE INDEX by_age ON answers (made_at)",
    ),
)
_VERSION: Final = 1
"""Part of every key: a change in what an answer holds must not meet older ones."""
_WHOLE: Final = frozenset(("stop", "tool_calls", "function_call"))
_DAY_S: Final = 86_400.0
_FILL: Final = 0.9
"""Eviction goes on until the answers fill this share of what they may."""
_FRESH_S: Final = 60.0
"""A use is written down at most this often."""
_QUIET_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class CachedAnswer:
    """An answer from the cache: as a whole, and as the chunks it came in."""

    completion: Completion
    chunks: tuple[Chunk, ...]


class Cache(OfOneProcess):
    """Whole answers on disk, found again by the same task, parameters, policy and eligible models.

    ``Router(cache=True)``, ``Router(cache="answers.cache")`` or ``Router(cache=Cache(...))``; off
    by default. A task that holds personal data is neither looked up nor kept unless its policy says
    ``cache_pii=True``, one that must stay on this machine unless it says ``cache_private=True``.
    With ``temperature`` above 0, too, the first answer is given again: no new one is drawn.
    Threads, processes and routers may share the file. It holds JSON.

    Args:
        path: of the file, which is made if missing; its folder must exist.
        max_age_s: seconds for which an answer is given again.
        max_bytes: what all answers may take; those not used for longest go first.

    Raises:
        StorageError: the file is damaged, not a cache, of a later version, or cannot be made.
        ConfigurationError: a bound is not above 0.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        max_age_s: float = 7 * _DAY_S,
        max_bytes: int = 256 * 1024 * 1024,
    ) -> None:
        for name, value in (("max_age_s", max_age_s), ("max_bytes", max_bytes)):
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not value > 0:
                raise ConfigurationError(f"{name}={value!r} is not above 0.", hint="Give a number.")
        self.path = Path(path)
        self.max_age_s, self.max_bytes = max_age_s, max_bytes
        self.hits = self.misses = 0
        self._pid = os.getpid()
        self._logged_at = 0.0
        open_database(self.path, _SCHEMA).close()
        self._reading = Database(self.path, _SCHEMA, busy_s=0.02)
        self._writing = Database(self.path, _SCHEMA)
        self._lock = threading.Lock()
        self._start()

    @property
    def keeps(self) -> str:
        """What is kept of tasks that must stay on this machine, and where, in words."""
        return (
            "answers to tasks that must stay here are not kept, unless the policy says "
            f"cache_private=True; then in {self.path} on this machine"
        )

    @classmethod
    def of(cls, cache: CacheLike, *, beside: Path | None = None) -> Cache | None:
        """A cache, the cache of that path, or with ``True`` one beside the ledger.

        Raises:
            StorageError: see the class.
            ConfigurationError: none of these.
        """
        if cache is None or cache is False:
            return None
        if isinstance(cache, Cache):
            return cache
        if cache is True:
            return cls(_default_path(beside))
        if isinstance(cache, (str, Path)):
            return cls(cache)
        raise ConfigurationError(
            f"cache={cache!r} is neither a Cache, a path, nor True.", hint="Use cache=True."
        )

    def key(
        self, task: Task, settings: GenerationSettings, policy: Policy, decision: Decision
    ) -> str | None:
        """Under which name the task's answer is kept; ``None`` if it must not be."""
        if why_not(task, decision.signals, policy):
            return None
        return _key(task, settings, policy, decision)

    def get(self, key: str) -> CachedAnswer | None:
        """The answer kept under a key, if it is not too old. Damage counts as none."""
        body = self._body(key)
        found = None if body is None else _read(body)
        if found is None:
            self.misses += 1
        else:
            self.hits += 1
        return found

    def put(self, key: str, completion: Completion, chunks: Sequence[Chunk] = ()) -> bool:
        """Keep a whole answer; whether it was. What was cut short is not kept."""
        if any(choice.finish_reason not in _WHOLE for choice in completion.choices):
            return False
        body = pack(
            {
                "completion": completion.model_dump(mode="json", exclude={"decision", "trace"}),
                "chunks": [chunk.model_dump(mode="json", exclude={"decision"}) for chunk in chunks],
            }
        )
        if len(body) > self.max_bytes:
            return False
        self._own()
        with self._lock:
            self._pending[key] = (time.time(), body)
        if not self._later.put(key):
            self._write([key])
        return True

    def clear(self) -> None:
        """Forget every answer.

        Raises:
            StorageError: the file cannot be written.
        """
        self.flush()
        with self._writing as connection:
            connection.execute("DELETE FROM answers")

    def count(self) -> int:
        """How many answers there are, old ones included."""
        self.flush()
        with self._reading as connection:
            return int(connection.execute("SELECT count(*) FROM answers").fetchone()[0])

    def flush(self, timeout_s: float | None = 10.0) -> bool:
        """Wait until everything is in the file; whether it is."""
        self._own()
        return self._later.flush(timeout_s)

    def close(self) -> None:
        """Write what is left and close the file; safe to call twice."""
        self.flush()
        self._writing.close()
        self._reading.close()

    def _start(self) -> None:
        self._later: Background[str] = Background(self._write, name="modelrouter-cache")
        self._pending: dict[str, tuple[float, bytes]] = {}
        self._touched: dict[str, float] = {}
        self._grown = self.max_bytes  # so that the first batch looks at what is there already

    def _own(self) -> None:
        """A thread, and what it was to write, stay with the parent of a fork."""
        if self._pid != os.getpid():
            self._pid, self._lock = os.getpid(), threading.Lock()
            self._start()

    def _body(self, key: str) -> bytes | None:
        self._own()
        oldest = time.time() - self.max_age_s
        with self._lock:
            pending = self._pending.get(key)
        if pending is not None:
            return pending[1] if pending[0] > oldest else None
        row = self._looked_up(key, oldest)
        if row is None:
            return None
        if time.time() - row[1] > _FRESH_S:
            with self._lock:
                self._touched[key] = time.time()
            self._later.put(key)
        return bytes(row[0])

    def _looked_up(self, key: str, oldest: float) -> tuple[bytes, float] | None:
        import sqlite3

        try:
            with self._reading as connection:
                row: tuple[bytes, float] | None = connection.execute(
                    "SELECT body, used_at FROM answers WHERE key = ? AND made_at > ?", (key, oldest)
                ).fetchone()
        except (sqlite3.Error, StorageError) as exc:
            self._failed(exc)
            return None
        return row

    def _write(self, keys: list[str]) -> None:
        import sqlite3

        with self._lock:
            new = {key: self._pending[key] for key in keys if key in self._pending}
            used, self._touched = self._touched, {}
        try:
            with self._writing as connection, transaction(connection):
                connection.executemany(
                    "INSERT OR REPLACE INTO answers VALUES (?, ?, ?, ?, ?)",
                    [(key, at, at, len(body), body) for key, (at, body) in new.items()],
                )
                connection.executemany(
                    "UPDATE answers SET used_at = ? WHERE key = ?",
                    [(at, key) for key, at in used.items()],
                )
                self._grown += sum(len(body) for _, body in new.values())
                if self._grown > self.max_bytes * (1 - _FILL):
                    self._evict(connection)
                    self._grown = 0
        except (sqlite3.Error, StorageError) as exc:
            self._failed(exc)
        finally:
            with self._lock:
                for key, value in new.items():
                    if self._pending.get(key) is value:
                        del self._pending[key]

    def _evict(self, connection: sqlite3.Connection) -> None:
        """Let go of what is too old, then of what was not used for longest."""
        connection.execute(
            "DELETE FROM answers WHERE made_at <= ?", (time.time() - self.max_age_s,)
        )
        (size,) = connection.execute("SELECT coalesce(sum(size), 0) FROM answers").fetchone()
        if size <= self.max_bytes * _FILL:
            return
        left = size - self.max_bytes * _FILL
        gone = []
        for key, each in connection.execute("SELECT key, size FROM answers ORDER BY used_at"):
            gone.append((key,))
            left -= each
            if left <= 0:
                break
        connection.executemany("DELETE FROM answers WHERE key = ?", gone)

    def _failed(self, problem: Exception) -> None:
        """A cache that does not work costs no reply: say it, seldom, and ask the model."""
        now = time.monotonic()
        if not self._logged_at or now - self._logged_at > _QUIET_S:
            self._logged_at = now
            logger.error("The cache %s cannot be used (%s); models are asked.", self.path, problem)


CacheLike: TypeAlias = "Cache | str | Path | bool | None"
"""A cache, the path of its file, or whether to have one."""


def why_not(task: Task, signals: Signals, policy: Policy) -> str:
    """Why a task's answer must not be kept or given again, in words; empty when it may."""
    if signals.contains_pii and not policy.cache_pii:
        return f"it holds personal data ({', '.join(signals.pii)})"
    if not policy.cache_private and _is_private(task, signals, policy):
        return "it must stay on this machine"
    if any(url.startswith("http") for message in task.messages for url in message.images):
        return "it names an image whose content may change"
    if getattr(policy, "accept", None) is not None:
        return "the policy holds a function that judges answers, which may change"
    return ""


def _is_private(task: Task, signals: Signals, policy: Policy) -> bool:
    return policy.location == "local" or any(
        rule.action == "only"
        and rule.target.location == "local"
        and rule.condition.matches(task, signals)
        for rule in policy.rules
    )


def _key(
    task: Task, settings: GenerationSettings, policy: Policy, decision: Decision
) -> str | None:
    described = {
        "version": _VERSION,
        "task": dumped_task(task),
        "parameters": settings.as_parameters(),
        "confidence_floor": settings.confidence_floor or None,
        "policy": policy.model_dump(mode="json"),
        # Which models may answer, not in which order: that follows from how fast they are just now.
        "models": sorted(_model(c.card) for c in decision.candidates if c.feasible),
    }
    try:
        text = json.dumps(described, sort_keys=True, separators=(",", ":"))
    except (
        TypeError,
        ValueError,
        RecursionError,
    ):  # a parameter that JSON does not know: nothing to compare by
        return None
    return hashlib.sha256(text.encode()).hexdigest()


def _model(card: ModelCard) -> list[Any]:
    file: tuple[int, int] | None = None
    if card.path is not None and card.path.exists():
        found = card.path.stat()
        file = (found.st_size, found.st_mtime_ns)
    return [card.name, card.backend, card.address or "", str(card.path or ""), *(file or ())]


def _read(body: bytes) -> CachedAnswer | None:
    try:
        found = unpack(body)
        completion = Completion.model_validate(
            {**found["completion"], "cost_usd": 0.0, "cached": True}
        )
        chunks = tuple(
            Chunk.model_validate({**chunk, "cost_usd": None}) for chunk in found["chunks"]
        )
    except (zlib.error, ValueError, KeyError, TypeError, RecursionError, ValidationError):
        return None
    return CachedAnswer(completion, chunks or tuple(_as_chunks(completion)))


def _as_chunks(completion: Completion) -> Iterable[Chunk]:
    """A reply that did not come in chunks, in two: what it says, and its end."""
    head: dict[str, Any] = {
        "id": completion.id,
        "created": completion.created,
        "model": completion.model,
    }
    said = [
        ChunkChoice(
            index=choice.index,
            delta=Delta(
                role="assistant",
                content=choice.message.content,
                tool_calls=[
                    ToolCallDelta.model_validate({"index": at, **call.model_dump()})
                    for at, call in enumerate(choice.message.tool_calls or ())
                ]
                or None,
            ),
            logprobs=choice.logprobs,
        )
        for choice in completion.choices
    ]
    ends = [
        ChunkChoice(
            index=choice.index,
            delta=Delta(),
            finish_reason=choice.finish_reason,
            confidence=choice.confidence,
        )
        for choice in completion.choices
    ]
    yield Chunk(**head, choices=said)
    yield Chunk(**head, choices=ends, usage=completion.usage)


def _default_path(beside: Path | None) -> Path:
    if beside is not None:
        return beside.with_name(f"{beside.name}.cache")
    from platformdirs import user_cache_path

    folder = user_cache_path("modelrouter", ensure_exists=True)
    return folder / "answers.cache"
