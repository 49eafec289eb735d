"""The labelled tasks that the kind detector is tuned on ("dev") and judged by ("held")."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from modelrouter.task import Kind, Task

KINDS_FILE = Path(__file__).parents[1] / "data" / "kinds.jsonl"


@dataclass(frozen=True)
class Labelled:
    """One labelled task."""

    split: str
    kind: Kind
    task: Task


@pytest.fixture(scope="session")
def labelled() -> list[Labelled]:
    rows: list[dict[str, Any]] = [
        json.loads(line) for line in KINDS_FILE.read_text("utf-8").splitlines()
    ]
    return [
        Labelled(row["split"], row["kind"], Task.of(row.get("text") or row["messages"]))
        for row in rows
    ]
