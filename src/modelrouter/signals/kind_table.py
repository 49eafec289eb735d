"""The table of kinds, ``kinds.toml``, read once: what is known of each kind, and its cues."""

from __future__ import annotations

from importlib.resources import files
from typing import Any, Literal, NamedTuple, TypeAlias

from modelrouter._common.toml import loads
from modelrouter.task import KINDS, Kind

__all__ = ["CUES", "FACTS", "CueRow", "KindFacts", "Role"]

Role: TypeAlias = Literal["verb", "noun", "image", "tech", "plain", "phrase", "social", "loose"]


class KindFacts(NamedTuple):
    """What is known of a kind before a text is read.

    Attributes:
        complexity: where the estimate of a text of this kind starts.
        output: tokens of an answer: at least, per token of the turn, at most.
        makes: what an answer is.
    """

    complexity: float
    output: tuple[int, float, int]
    makes: Literal["text", "image", "embedding"]


class CueRow(NamedTuple):
    """Cues of one role, kind and strength; see the head of ``kinds.toml``."""

    role: Role
    kind: Kind
    strength: float
    cues: tuple[str, ...]


def _read() -> tuple[dict[Kind, KindFacts], tuple[CueRow, ...]]:
    table: dict[str, Any] = loads((files(__package__) / "kinds.toml").read_text("utf-8"))
    facts: dict[Kind, KindFacts] = {}
    for kind in KINDS:
        found = table["kinds"][kind]
        output = found["output"]
        facts[kind] = KindFacts(
            found["complexity"],
            (output["least"], float(output["per_token"]), output["most"]),
            found.get("makes", "text"),
        )
    cues = tuple(
        CueRow(
            row["role"],
            row["kind"],
            row["strength"],
            tuple(" ".join(row["cues"].split()).split(", ")),
        )
        for row in table["cues"]
    )
    return facts, cues


FACTS, CUES = _read()
