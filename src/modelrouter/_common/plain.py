"""Plain data from outside: read, measured and shown, however deeply it is nested."""

from __future__ import annotations

import json
import reprlib
from collections.abc import Mapping
from typing import Any, Final

__all__ = ["MOST_LEVELS", "parsed", "shown", "too_deep"]

MOST_LEVELS: Final = 100
"""How deeply what a call is given may be nested. Much is done with it by functions that call
themselves, and Python stops them at a thousand calls, of which the caller has used some."""

_SHORT: Final = reprlib.Repr()
_SHORT.maxlevel, _SHORT.maxstring, _SHORT.maxother, _SHORT.maxlong = 6, 500, 500, 100
_SHORT.maxdict = _SHORT.maxlist = _SHORT.maxtuple = _SHORT.maxset = 50


def parsed(text: str | bytes) -> Any:
    """The value of a JSON text.

    Raises:
        ValueError: it is not JSON, or nested more deeply or with longer numbers than Python reads.
    """
    try:
        return json.loads(text)
    except RecursionError as exc:
        raise ValueError("it is nested too deeply to be read") from exc


def too_deep(value: object, most: int = MOST_LEVELS) -> bool:
    """Whether mappings, lists and tuples stand in each other more than so many levels deep.

    What holds itself is.
    """
    if not isinstance(value, (Mapping, list, tuple)):
        return False
    level: dict[int, object] = {id(value): value}
    for _ in range(most):
        level = {
            id(inner): inner
            for outer in level.values()
            for inner in (outer.values() if isinstance(outer, Mapping) else _items(outer))
            if isinstance(inner, (Mapping, list, tuple))
        }
        if not level:
            return False
    return True


def _items(value: object) -> list[object] | tuple[object, ...]:
    assert isinstance(value, (list, tuple))
    return value


def shown(value: object) -> str:
    """The value as Python writes it, cut where it is long or deep."""
    try:
        return _SHORT.repr(value)
    except ValueError:  # a number of more digits than Python writes
        return f"a very large {type(value).__name__}"
