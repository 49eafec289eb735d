"""A conversation as a model is sent it: without the turns that say nothing.

Programs send back what they were given: an answer without text, one that only reasons, a turn that
was left empty. Providers and chat templates refuse some of these, and some want user and
assistant to take turns, so that what stands beside a turn that is left out may have to be joined.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

__all__ = ["alternating", "asked_by_a_user", "said"]

Turn = dict[str, Any]

_CALLS: Final = ("tool_calls", "function_call", "refusal", "audio")
_SYSTEM: Final = ("system", "developer")


def said(messages: Sequence[Mapping[str, Any]]) -> list[Turn]:
    """The turns that say something, joined where one that says nothing stood between.

    A conversation in which nobody says anything is left as it is.
    """
    kept: list[Turn] = []
    dropped = False
    for message in messages:
        turn = _tidied(message)
        if _is_empty(turn):
            dropped = True
            continue
        joined = _joined(kept[-1], turn) if kept and dropped else None
        if joined is not None:
            kept[-1] = joined
        else:
            kept.append(turn)
        dropped = False
    return kept or [dict(message) for message in messages]


def alternating(messages: Sequence[Mapping[str, Any]], *, system: bool = True) -> list[Turn]:
    """The same conversation for a reader that wants user and assistant to take turns.

    Args:
        messages: with texts as contents.
        system: whether it takes a system turn, before all others; else the user's first turn
            begins with it. Without a user's turn the last system turn is one.
    """
    turns = asked_by_a_user(messages)
    first = [turn for turn in turns if turn["role"] in _SYSTEM]
    rest = [turn for turn in turns if turn["role"] not in _SYSTEM]
    merged: list[Turn] = []
    for turn in rest:
        joined = _joined(merged[-1], turn) if merged else None
        if joined is not None:
            merged[-1] = joined
        else:
            merged.append(dict(turn))
    if not first:
        return merged
    text = "\n\n".join(str(turn["content"]) for turn in first)
    if system:
        return [{**first[0], "content": text}, *merged]
    if merged and merged[0]["role"] == "user":
        merged[0]["content"] = f"{text}\n\n{merged[0]['content']}"
        return merged
    return [{"role": "user", "content": text}, *merged]


def asked_by_a_user(messages: Sequence[Mapping[str, Any]]) -> list[Turn]:
    """The same conversation; where there is nothing but instructions, the last is the user's."""
    turns = [dict(message) for message in messages]
    if turns and all(turn["role"] in _SYSTEM for turn in turns):
        turns[-1]["role"] = "user"
    return turns


def _tidied(message: Mapping[str, Any]) -> Turn:
    """The turn with nothing in it that some providers refuse: no empty text among its parts.

    Beside calls an empty text is none, and a result that is none is an empty text.
    """
    content = message.get("content")
    if message["role"] in ("tool", "function") and content is None:
        return {**message, "content": ""}
    if isinstance(content, str) and not content.strip() and message.get("tool_calls"):
        return {**message, "content": None}
    if not isinstance(content, (list, tuple)):
        return dict(message)
    parts = [part for part in content if not _is_empty_part(part)]
    return {**message, "content": parts or ""}


def _is_empty_part(part: Any) -> bool:
    if isinstance(part, Mapping) and part.get("type") in ("text", "input_text", "refusal"):
        part = part.get("text", part.get("refusal"))
    return isinstance(part, str) and not part.strip()


def _is_empty(turn: Mapping[str, Any]) -> bool:
    content = turn.get("content")
    if turn["role"] in ("tool", "function") or any(turn.get(name) for name in _CALLS):
        return False  # a result is one even if it is empty
    return not content or (isinstance(content, str) and not content.strip())


def _joined(one: Turn, other: Mapping[str, Any]) -> Turn | None:
    """Two turns of one speaker as one; ``None`` where they are not that or have calls."""
    if one["role"] != other["role"] or one["role"] not in ("user", "assistant"):
        return None
    if any(turn.get(name) for turn in (one, other) for name in _CALLS):
        return None
    if one.get("name") != other.get("name"):
        return None
    first, second = one.get("content"), other.get("content")
    if isinstance(first, str) and isinstance(second, str):
        return {**one, "content": f"{first}\n\n{second}"}
    return {**one, "content": [*_as_parts(first), *_as_parts(second)]}


def _as_parts(content: Any) -> list[Any]:
    return [{"type": "text", "text": content}] if isinstance(content, str) else list(content or ())
