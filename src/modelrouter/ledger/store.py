"""Ledger: keeps what the router did, as one of its hooks, and gives it back."""

from __future__ import annotations

import atexit
import os
import threading
import time
import weakref
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from modelrouter._common.plain import parsed, shown
from modelrouter._common.process import OfOneProcess
from modelrouter._common.sqlite import open_database, translated
from modelrouter.exceptions import ConfigurationError, StorageError
from modelrouter.fitting.examples import Example
from modelrouter.ledger.export import to_jsonl, to_parquet
from modelrouter.ledger.recorder import Recorder, TextPolicy
from modelrouter.ledger.replay import Replay, replay
from modelrouter.ledger.rows import OUTCOMES, AskedModel, Row, unpack
from modelrouter.ledger.schema import LEDGER
from modelrouter.ledger.summary import Group, summarise
from modelrouter.policies import PolicyLike
from modelrouter.response import random_hex
from modelrouter.task import Kind
from modelrouter.trace import Trace

if TYPE_CHECKING:
    import sqlite3

__all__ = ["Ledger", "LedgerLike", "TextPolicy"]

_TEXTS: Final = ("hash", "keep", "none")
_PAGE: Final = 500
_FLUSH_S: Final = 10.0


class Ledger(OfOneProcess):
    """What was decided, asked, answered and spent, in one SQLite file.

    ``Router(ledger="tasks.ledger")`` or ``Router(ledger=Ledger("tasks.ledger", text="keep"))``. A
    ledger is a hook of the router: it receives the trace of every call. Threads and processes may
    share the file; routers may share a ledger. A file that cannot be written is logged and costs no
    reply.

    Args:
        path: of the file, which is made if missing; its folder must exist.
        text: what is kept of a task's text: ``"hash"`` (under a key of this file: equal tasks can
            be told, texts cannot be read), ``"keep"`` (the task and its answer; examples and a
            replay under rules that read it need them) or ``"none"``.
        keep_pii: whether ``"keep"`` keeps texts with personal data too; else their hash.

    Raises:
        StorageError: the file is damaged, not a ledger, of a later version, or cannot be made.
        ConfigurationError: ``text`` is not one of the three.
    """

    def __init__(
        self, path: str | Path, *, text: TextPolicy = "hash", keep_pii: bool = False
    ) -> None:
        if text not in _TEXTS:
            raise ConfigurationError(
                f"text={text!r} is unknown.", hint=f"Use one of {', '.join(_TEXTS)}."
            )
        self.path = Path(path)
        self.text: TextPolicy = text
        self._keep_pii = keep_pii
        self._lock = threading.Lock()
        self._recorder = self._made()
        atexit.register(_close_at_exit, weakref.ref(self))

    @classmethod
    def of(cls, ledger: LedgerLike) -> Ledger:
        """A ledger, or the ledger of that path.

        Raises:
            StorageError: see the class.
            ConfigurationError: neither a ledger nor a path.
        """
        if isinstance(ledger, Ledger):
            return ledger
        if isinstance(ledger, (str, Path)):
            return cls(ledger)
        raise ConfigurationError(
            f"ledger={ledger!r} is neither a Ledger nor a path.", hint='Use ledger="tasks.ledger".'
        )

    def begun(self, trace: Trace) -> None:
        """Write that a call has begun, before a model is asked; some 30 microseconds."""
        self._own().begun(_named(trace))

    def __call__(self, trace: Trace) -> None:
        """Write what came of a call; some 60 microseconds, the rest is done by a thread."""
        self._own().ended(_named(trace))

    def feedback(self, task: str | Trace | Any, score: float, *, note: str = "") -> None:
        """Keep how well a task was done; the last word on a task counts.

        Args:
            task: the call's id, its trace, or its reply.
            score: 0 (wrong) to 1 (right).
            note: why, in words.

        Raises:
            ConfigurationError: the score is out of range, or the ledger has no such call.
            StorageError: the file cannot be written.
        """
        checked = _score(score)
        name = call_id(task)
        self.flush()
        with translated(self.path, LEDGER.what):
            connection = open_database(self.path, LEDGER)
            try:
                cursor = connection.execute(
                    "INSERT INTO feedback (task, given_at, score, note) "
                    "SELECT number, ?, ?, ? FROM tasks WHERE id = ?",
                    (time.time(), checked, note, name),
                )
            finally:
                connection.close()
        if cursor.rowcount != 1:
            raise ConfigurationError(
                f"The ledger {self.path} has no call {name!r}.",
                hint="Give the reply itself, or its trace.id.",
            )

    def get(self, task: str | Trace | Any) -> Row | None:
        """The row of a call, by its id, trace or reply; ``None`` if there is none."""
        return next(self.rows(id=call_id(task)), None)

    def rows(
        self,
        *,
        last: int | None = None,
        since: float | None = None,
        until: float | None = None,
        id: str | None = None,
        details: bool = True,
    ) -> Iterator[Row]:
        """The calls in the order in which they came, read a page at a time.

        Args:
            last: only so many, the newest.
            since, until: only calls that came from then on, and before then, in Unix seconds.
            id: only the call of this id.
            details: whether to read decisions, texts and attempts too.

        Raises:
            StorageError: the file is damaged or gone.
        """
        self.flush()
        where, values = _condition(since, until, id)
        with translated(self.path, LEDGER.what):
            connection = open_database(self.path, LEDGER)
            try:
                after = _skipped(connection, where, values, last)
                while page := _page(connection, self.path, where, values, after, details):
                    yield from page
                    after = page[-1].number
            finally:
                connection.close()

    def model_of(self, conversation: str) -> str | None:
        """The model that last answered in a conversation; ``None`` if none has.

        Raises:
            StorageError: the file is damaged or gone.
        """
        self.flush()
        with translated(self.path, LEDGER.what):
            connection = open_database(self.path, LEDGER)
            try:
                found = connection.execute(
                    "SELECT model FROM tasks WHERE conversation = ? AND outcome = 'answered' "
                    "ORDER BY number DESC LIMIT 1",
                    (conversation,),
                ).fetchone()
            finally:
                connection.close()
        return None if found is None else str(found[0])

    def examples(self) -> Examples:
        """Calls that got feedback, as labelled answers: what ``fit`` learns from.

        Rows without text are left out and counted (:attr:`Examples.without_text`).

        Raises:
            StorageError: the file is damaged or gone.
        """
        found = Examples()
        for row in self.rows():
            if row.score is None:
                continue
            task = row.task
            if task is None or not row.model:
                found.without_text += 1
                continue
            found.append(
                Example(
                    task,
                    row.model,
                    row.score,
                    None if row.unpriced else row.cost_usd,
                    row.latency_s,
                    row.kind,
                )
            )
        return found

    def confidences(self) -> Iterator[tuple[Kind, float, float]]:
        """Of local answers that got feedback: kind, the model's own probability, and the score.

        ``Router(confidence=fit_curves(ledger.confidences()))`` then knows what its probabilities
        are worth.

        Raises:
            StorageError: the file is damaged or gone.
        """
        for row in self.rows():
            last = row.attempts[-1] if row.attempts else None
            if row.score is not None and last is not None and last.confidence is not None:
                yield cast("Kind", row.kind), last.confidence, row.score

    def summary(self, by: str = "model", **which: Any) -> list[Group]:
        """The calls in groups, the dearest first.

        Args:
            by: ``model``, ``kind``, ``day``, ``outcome``, ``policy``, ``location``,
                ``conversation`` or ``tag:NAME``.
            **which: as :meth:`rows` takes it: ``last``, ``since``, ``until``.

        Raises:
            ConfigurationError: ``by`` is not one of these.
            StorageError: the file is damaged or gone.
        """
        return summarise(self.rows(details=False, **which), by)

    def replay(self, policy: PolicyLike, **which: Any) -> Replay:
        """The calls decided again under another policy, from what is stored; no model is asked.

        Args:
            policy: a policy, a threshold, or a preset's name.
            **which: as :meth:`rows` takes it: ``last``, ``since``, ``until``.

        Raises:
            ConfigurationError: no such policy.
            StorageError: the file is damaged or gone.
        """
        return replay(self.rows(**which), policy)

    def export(self, path: str | Path, **which: Any) -> int:
        """Write the calls into a file, Parquet if its name ends so, else JSON lines; how many.

        Args:
            path: of the file to write.
            **which: as :meth:`rows` takes it: ``last``, ``since``, ``until``.

        Raises:
            MissingDependencyError: Parquet is asked for and pyarrow is not installed.
            StorageError: the ledger is damaged or gone, or the file cannot be written.
        """
        place = Path(path)
        try:
            if place.suffix == ".parquet":
                return to_parquet(self.rows(**which), place)
            with place.open("w", encoding="utf-8") as file:
                return to_jsonl(self.rows(**which), file)
        except OSError as exc:
            raise StorageError(
                f"{place} cannot be written: {exc.strerror or exc}.", path=place
            ) from exc

    @property
    def not_written(self) -> int:
        """Writes that failed since this ledger was opened; 0 unless the disk is broken."""
        return self._recorder.not_written

    def flush(self, timeout_s: float | None = _FLUSH_S) -> bool:
        """Wait until everything is in the file; whether it is."""
        return self._own().flush(timeout_s)

    def close(self) -> None:
        """Write what is left and close the file; safe to call twice."""
        if self._recorder.pid == os.getpid():
            self._recorder.close()

    def __enter__(self) -> Ledger:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @property
    def keeps(self) -> str:
        """What is kept of a task's text, and where, in words."""
        kept = {
            "keep": "tasks and answers" + ("" if self._keep_pii else ", hashes of personal ones"),
            "hash": "a hash of each task",
            "none": "nothing of a task's text",
        }
        return f"{kept[self.text]}, in {self.path} on this machine"

    def __repr__(self) -> str:
        return f"Ledger({str(self.path)!r}, text={self.text!r})"

    def _made(self) -> Recorder:
        with translated(self.path, LEDGER.what):
            return Recorder(self.path, text=self.text, keep_pii=self._keep_pii)

    def _own(self) -> Recorder:
        """The recorder of this process: a thread, and what it was to do, stay with the parent."""
        if self._recorder.pid != os.getpid():
            with self._lock:
                if self._recorder.pid != os.getpid():
                    self._recorder = self._made()
        return self._recorder


LedgerLike: TypeAlias = "Ledger | str | Path"
"""A ledger, or the path of its file."""


class Examples(list[Example]):
    """Labelled answers; ``without_text`` counts those whose text the ledger did not keep."""

    without_text: int = 0


def call_id(task: str | Trace | Any) -> str:
    """The id of a call, from itself, its trace, or its reply."""
    if isinstance(task, str):
        return task
    trace = task if isinstance(task, Trace) else getattr(task, "trace", None)
    if isinstance(trace, Trace) and trace.id:
        return trace.id
    raise ConfigurationError(
        f"{type(task).__name__} does not say which call is meant.",
        hint="Give a reply of this router, its trace, or trace.id.",
    )


def _score(score: float) -> float:
    if isinstance(score, bool):
        return float(score)
    if not isinstance(score, (int, float)) or not 0 <= score <= 1:
        raise ConfigurationError(f"score={score!r} is out of range.", hint="Use 0 to 1.")
    return float(score)


def _named(trace: Trace) -> Trace:
    """Traces that no router made have neither id nor time."""
    if trace.id and trace.began_at:
        return trace
    began = trace.began_at or time.time() - trace.duration_s
    return replace(trace, id=trace.id or random_hex(), began_at=began)


def _close_at_exit(found: weakref.ref[Ledger]) -> None:
    ledger = found()
    if ledger is not None:
        ledger.close()


def _condition(
    since: float | None, until: float | None, id: str | None
) -> tuple[str, tuple[Any, ...]]:
    given = (("began_at >= ?", since), ("began_at < ?", until), ("id = ?", id))
    used = [(text, value) for text, value in given if value is not None]
    where = " AND ".join(text for text, _ in used) or "1"
    return where, tuple(value for _, value in used)


def _skipped(
    connection: sqlite3.Connection, where: str, values: Iterable[Any], last: int | None
) -> int:
    """The number after which the wanted rows come."""
    if last is None:
        return 0
    if last < 1:
        raise ConfigurationError(f"last={last!r} is out of range.", hint="Use 1 or more.")
    found = connection.execute(
        f"SELECT number FROM tasks WHERE {where} ORDER BY number DESC LIMIT 1 OFFSET ?",
        (*values, last),
    ).fetchone()
    return 0 if found is None else int(found[0])


_COLUMNS: Final = (
    "number",
    "id",
    "began_at",
    "outcome",
    "kind",
    "model",
    "location",
    "policy",
    "cached",
    "latency_s",
    "first_token_s",
    "prompt_tokens",
    "completion_tokens",
    "cost_pico",
    "unpriced",
    "estimated",
    "tags",
    "conversation",
    "error",
)


_NONE: Final = type(None)
_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "number": (int,),
    "id": (str,),
    "began_at": (float,),
    "outcome": (str,),
    "kind": (str,),
    "model": (str,),
    "location": (str,),
    "policy": (str,),
    "cached": (int,),
    "latency_s": (float, _NONE),
    "first_token_s": (float, _NONE),
    "prompt_tokens": (int,),
    "completion_tokens": (int,),
    "cost_pico": (int,),
    "unpriced": (int,),
    "estimated": (int,),
    "tags": (str,),
    "conversation": (str, _NONE),
    "error": (str,),
}
_ATTEMPT_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "model": (str,),
    "outcome": (str,),
    "duration_s": (float,),
    "first_token_s": (float, _NONE),
    "cost_pico": (int, _NONE),
    "error": (str,),
    "confidence": (float, _NONE),
}
_DETAIL_KINDS: Final[Mapping[str, tuple[type, ...]]] = {
    "decision": (dict, _NONE),
    "text_hash": (str, _NONE),
    "text": (dict, _NONE),
    "answer": (list, _NONE),
}


def _page(
    connection: sqlite3.Connection,
    path: Path,
    where: str,
    values: Iterable[Any],
    after: int,
    details: bool,
) -> list[Row]:
    found = connection.execute(
        f"SELECT {', '.join(_COLUMNS)} FROM tasks WHERE number > ? AND {where} "
        "ORDER BY number LIMIT ?",
        (after, *values, _PAGE),
    ).fetchall()
    if not found:
        return []
    try:
        rows = [_row(dict(zip(_COLUMNS, each, strict=True))) for each in found]
        span = (rows[0].number, rows[-1].number)
        scores = _scores(connection, span)
        for score in scores.values():
            _check("score", score, (float,))
        rows = [replace(row, score=scores.get(row.number)) for row in rows]
        return _with_details(connection, span, rows) if details else rows
    except ValueError as exc:
        raise StorageError(
            f"The ledger {path} holds a damaged row near number {found[0][0]}: {exc}.", path=path
        ) from exc


def _row(values: dict[str, Any]) -> Row:
    for name, kinds in _KINDS.items():
        _check(name, values[name], kinds)
    tags = parsed(values["tags"])
    if not isinstance(tags, dict) or not all(isinstance(tag, str) for tag in tags.values()):
        raise ValueError(f"tags is {shown(tags)}")
    return Row(
        **{
            **values,
            "outcome": values["outcome"] if values["outcome"] in OUTCOMES else "failed",
            "cached": bool(values["cached"]),
            "tags": tags,
        }
    )


def _check(name: str, value: Any, kinds: tuple[type, ...]) -> None:
    """SQLite takes anything in any column.

    Raises:
        ValueError: it is of none of these kinds, or a number that no time and no sum can be.
    """
    if type(value) not in kinds or (type(value) is float and not abs(value) < _MOST):
        raise ValueError(f"{name} is {shown(value)}")


_MOST: Final = 1e11
"""Seconds; some three thousand years."""


def _scores(connection: sqlite3.Connection, span: tuple[int, int]) -> Mapping[int, float]:
    return dict(
        connection.execute(
            "SELECT task, score FROM feedback WHERE task BETWEEN ? AND ? ORDER BY number", span
        ).fetchall()
    )


def _with_details(
    connection: sqlite3.Connection, span: tuple[int, int], rows: list[Row]
) -> list[Row]:
    attempts: dict[int, list[AskedModel]] = {}
    for number, usage, *values in connection.execute(
        "SELECT task, usage, model, outcome, duration_s, first_token_s, cost_pico, error, "
        "confidence "
        "FROM attempts WHERE task BETWEEN ? AND ? ORDER BY task, place",
        span,
    ):
        model, outcome, duration_s, first_token_s, cost_pico, error, sure = values
        told = None if usage is None else parsed(usage)
        _check("usage", told, (dict, type(None)))
        asked = AskedModel(model, outcome, duration_s, first_token_s, told, cost_pico, error, sure)
        for name, kinds in _ATTEMPT_KINDS.items():
            _check(name, getattr(asked, name), kinds)
        attempts.setdefault(number, []).append(asked)
    long = {
        number: values
        for number, *values in connection.execute(
            "SELECT task, decision, text_hash, text, answer FROM details "
            "WHERE task BETWEEN ? AND ?",
            span,
        )
    }
    return [_filled(row, attempts.get(row.number, []), long.get(row.number)) for row in rows]


def _filled(row: Row, attempts: list[AskedModel], long: list[Any] | None) -> Row:
    decision, text_hash, text, answer = long or (None, None, None, None)
    filled = replace(
        row,
        attempts=tuple(attempts),
        decision=unpack(decision),
        text_hash=text_hash,
        text=unpack(text),
        answer=unpack(answer),
    )
    for name, kinds in _DETAIL_KINDS.items():
        _check(name, getattr(filled, name), kinds)
    return filled
