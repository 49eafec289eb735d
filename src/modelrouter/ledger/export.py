"""A ledger's rows in other formats: JSON lines, and Parquet where pyarrow is installed."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import IO, Any, Final

from modelrouter.exceptions import MissingDependencyError
from modelrouter.ledger.rows import Row

__all__ = ["to_jsonl", "to_parquet"]

_BATCH: Final = 1_000
_NESTED: Final = ("tags", "attempts", "decision", "text", "answer")
"""Written as JSON text in Parquet: what they hold differs from row to row."""
_TYPES: Final = {
    "number": "int64",
    "id": "string",
    "began_at": "float64",
    "outcome": "string",
    "kind": "string",
    "model": "string",
    "location": "string",
    "policy": "string",
    "cached": "bool_",
    "latency_s": "float64",
    "first_token_s": "float64",
    "prompt_tokens": "int64",
    "completion_tokens": "int64",
    "cost_pico": "int64",
    "cost_usd": "float64",
    "unpriced": "int64",
    "estimated": "int64",
    "conversation": "string",
    "error": "string",
    "score": "float64",
    "text_hash": "string",
    **dict.fromkeys(_NESTED, "string"),
}


def to_jsonl(rows: Iterable[Row], file: IO[str]) -> int:
    """Write one JSON object a line; how many there were. ``cost_pico`` is exact, in 1e-12 USD."""
    count = 0
    for count, row in enumerate(rows, 1):  # noqa: B007 (counted)
        file.write(json.dumps(row.model_dump(), default=str) + "\n")
    return count


def to_parquet(rows: Iterable[Row], path: str | Path) -> int:
    """Write a Parquet file, what is nested as JSON text; how many rows there were.

    Raises:
        MissingDependencyError: pyarrow is not installed.
    """
    try:
        import pyarrow as arrow
        import pyarrow.parquet as parquet
    except ImportError as exc:
        raise MissingDependencyError(
            "Parquet is written by pyarrow, which is not installed.",
            hint="pip install 'modelrouter[parquet]'",
        ) from exc
    schema = arrow.schema([(name, getattr(arrow, kind)()) for name, kind in _TYPES.items()])
    count = 0
    with parquet.ParquetWriter(str(path), schema) as writer:
        for batch in _batches(rows):
            writer.write_table(arrow.Table.from_pylist([_flat(row) for row in batch], schema))
            count += len(batch)
    return count


def _batches(rows: Iterable[Row]) -> Iterator[list[Row]]:
    left = iter(rows)
    while batch := list(islice(left, _BATCH)):
        yield batch


def _flat(row: Row) -> dict[str, Any]:
    dumped = row.model_dump()
    for name in _NESTED:
        if dumped[name] is not None:
            dumped[name] = json.dumps(dumped[name], default=str)
    return dumped
