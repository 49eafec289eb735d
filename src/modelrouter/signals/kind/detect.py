"""detect_kind: the turn's instruction and shape, pictures, then what earlier turns settle."""

from __future__ import annotations

import re
from typing import Final

from modelrouter.signals.kind.cues import words
from modelrouter.signals.kind.instruction import (
    DECISIVE,
    Instruction,
    Scores,
    add,
    without_material,
)
from modelrouter.signals.kind.shape import TRANSFORMS, add_shape
from modelrouter.task import Kind, Message, Task

__all__ = ["detect_kind"]

_HEAD: Final = 600
_TAIL: Final = 400
"""Only the first and last characters are looked at, so the cost is bounded."""

_FOLLOW_UP: Final = words(
    "now and another again also then make more shorter longer same try but or in with without no"
    " add use instead continue keep even less change one simpler better ahora y otra otro más en"
    " maintenant et encore plus jetzt und noch kürzer länger it them"
)
_TURNS_BACK: Final = 3
_YOU: Final = re.compile(r"\b[Yy]ou (?:must |should |will |always |only )*(?!are\b)")


def detect_kind(task: Task) -> tuple[Kind, float]:
    """The kind of the last user turn, and how sure the reading is (0 to 1).

    A kind set by the caller wins with 1.0. Earlier turns and the system prompt only settle what
    the turn itself leaves open ("now shorter").
    """
    if task.kind is not None:
        return task.kind, 1.0
    turn = task.last_user
    scores = _read(turn)
    if len(task.messages) > 1 and max(scores.values(), default=0.0) < DECISIVE:
        _recall(scores, task, turn)
    kind = _best(scores)
    top = scores.get(kind, 0.0)
    if top <= 0.0:
        return kind, 0.3
    rest = sum(scores.values()) - top
    return kind, min(0.98, top / (top + 0.6 * rest + 0.9 / (1.0 + top)))


def _best(scores: Scores) -> Kind:
    return max(scores, key=scores.__getitem__, default="chat")


def _read(turn: Message) -> Scores:
    """The evidence for each kind in one turn."""
    scores = _read_text(turn.text)
    if turn.images:
        _see(scores, turn.text)
    return scores


def _read_text(text: str) -> Scores:
    raw = text.strip()
    if not raw:
        return {}
    head, tail = (raw, "") if len(raw) <= _HEAD + _TAIL else (raw[:_HEAD], raw[-_TAIL:])
    front, end = without_material(head), without_material(tail) if tail else ""
    found = Instruction()
    found.read(front, end)
    add_shape(found, raw, head + tail, front + end)
    return found.scores


def _see(scores: Scores, text: str) -> None:
    """With a picture attached, it is the matter unless the text asks clearly for something else."""
    if scores.get("image_generation", 0.0) >= DECISIVE:
        add(scores, "image_generation", 1.0)
        return
    has_material = '"' in text or "“" in text or "```" in text or ": " in text or "\n" in text
    for kind, amount in scores.items():
        if kind != "image_understanding" and not (has_material and amount >= DECISIVE):
            scores[kind] = 0.3 * amount
    add(scores, "image_understanding", 2.5)


def _recall(scores: Scores, task: Task, turn: Message) -> None:
    """Let earlier turns, then the system prompt, settle what the turn leaves open."""
    if scores.get("chat", 0.0) > 1.5:
        return
    said = turn.text[:200].lower().split()
    kind = _best(scores)
    earlier = _earlier(task, turn)
    if earlier is not None:
        follows = len(said) <= 14 and not _FOLLOW_UP.isdisjoint(said[:3])
        if follows or (kind == "chat" and earlier in TRANSFORMS and len(said) > 2):
            add(scores, earlier, 2.0)
            return
    if kind in ("chat", "completion") and len(said) > 2 and (system := task.system_text):
        asked = _read_text(_YOU.sub("", system[:_HEAD]))
        kind = _best(asked)
        if kind in TRANSFORMS and asked[kind] >= DECISIVE:
            add(scores, kind, 1.6)


def _earlier(task: Task, turn: Message) -> Kind | None:
    """The kind of the nearest earlier user turn that is clear in itself."""
    turns = [m for m in task.messages if m.role == "user" and m is not turn]
    for message in reversed(turns[-_TURNS_BACK:]):
        scores = _read(message)
        kind = _best(scores)
        if scores.get(kind, 0.0) >= DECISIVE:
            return kind
    return None
