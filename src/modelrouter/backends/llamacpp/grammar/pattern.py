"""A JSON schema's ``pattern`` as GBNF: the inside of a JSON string that the expression matches.

The expression is read by Python's own parser, whose notation is ECMA 262's for all that is
supported here. What is written is never more than what both would match: ``\\d`` is an ASCII digit.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterable, Sequence
from typing import Any, Final, TypeAlias

from modelrouter.backends.llamacpp.grammar.gbnf import (
    Rules,
    Unsupported,
    character_class,
    in_string,
    repeated,
)

__all__ = ["string_matching"]

Ranges: TypeAlias = "list[tuple[int, int]]"

_LAST: Final = 0x10FFFF
_SURROGATES: Final = (0xD800, 0xDFFF)
_CONTROLS: Final = [(0, 0x1F), (0x7F, 0x7F)]
_ESCAPED: Final = {'"': r'"\\\""', "\\": r'"\\\\"', "\n": r'"\\n"', "\t": r'"\\t"', "\r": r'"\\r"'}
_CATEGORIES: Final[dict[str, Ranges]] = {
    "DIGIT": [(0x30, 0x39)],
    "WORD": [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)],
    "SPACE": [(0x09, 0x0A), (0x0D, 0x0D), (0x20, 0x20)],
}
_WHY_NOT: Final = {
    "ASSERT": "it looks ahead or behind",
    "ASSERT_NOT": "it looks ahead or behind",
    "GROUPREF": "it refers back to a group",
    "GROUPREF_EXISTS": "it refers back to a group",
    "AT": "it has an anchor in its middle, or a word boundary",
    "ATOMIC_GROUP": "it has an atomic group",
}


def string_matching(pattern: str, rules: Rules) -> str:
    """GBNF for a JSON string, quotes and all, in which the expression matches.

    Raises:
        Unsupported: it is not a regular expression, or has what a grammar cannot say.
    """
    try:
        tree = _parser().parse(pattern)
    except Exception as exc:  # re.error, RecursionError, OverflowError ...
        raise Unsupported(f"it is not a regular expression ({exc})") from exc
    body = _Translation(rules).sequence(list(tree), start=True, end=True)
    return rf'"\"" {body} "\""'


def _parser() -> Any:
    # Private, as it is to every project that reads expressions; moved in 3.11.
    return importlib.import_module("re._parser" if sys.version_info >= (3, 11) else "sre_parse")


class _Translation:
    def __init__(self, rules: Rules) -> None:
        self._rules = rules

    def sequence(self, items: Sequence[Any], *, start: bool, end: bool) -> str:
        """What stands in a row.

        Args:
            items: as the parser gives them.
            start, end: whether the string begins, ends with it.
        """
        items = list(items)
        parts = []
        if start:
            if items and _is_anchor(items[0], "AT_BEGINNING"):
                start = False
                items = items[1:]
            elif not (items and _branches(items[0])):
                start = False
                parts.append(f"{self._rules.known('char')}*")
        tail = ""
        if end:
            if items and _is_anchor(items[-1], "AT_END"):
                end = False
                items = items[:-1]
            elif not (items and _branches(items[-1])):
                end = False
                tail = f"{self._rules.known('char')}*"
        last = len(items) - 1
        for i, item in enumerate(items):
            parts.append(self._item(item, start=start and i == 0, end=end and i == last))
        if tail:
            parts.append(tail)
        return " ".join(parts) or '""'

    def _item(self, item: Any, *, start: bool, end: bool) -> str:
        kind, value = str(item[0]), item[1]
        if kind == "LITERAL":
            return in_string(chr(value))
        if kind == "NOT_LITERAL":
            return self._outside([(value, value)], ascii_only=False)
        if kind == "ANY":
            return self._outside([(0x0A, 0x0A), (0x0D, 0x0D)], ascii_only=False)
        if kind == "IN":
            return self._set(value)
        if kind == "SUBPATTERN":
            _, on, off, inner = value
            if on or off:
                raise Unsupported("it sets flags within itself")
            return f"({self.sequence(list(inner), start=start, end=end)})"
        if kind == "BRANCH":
            ways = [self.sequence(list(way), start=start, end=end) for way in value[1]]
            return f"({' | '.join(ways)})"
        if kind in ("MAX_REPEAT", "MIN_REPEAT", "POSSESSIVE_REPEAT"):
            return self._repeat(value)
        raise Unsupported(_WHY_NOT.get(kind, f"it has {kind.lower()}"))

    def _repeat(self, value: Any) -> str:
        least, most, inner = value
        body = self.sequence(list(inner), start=False, end=False)
        rule = self._rules.add("repeated", body)
        # The parser's word for "no limit" is a number of its own type.
        return repeated(rule, int(least), None if str(most) == "MAXREPEAT" else int(most))

    def _set(self, members: Sequence[Any]) -> str:
        ranges: Ranges = []
        negated = categories = False
        for member in members:
            kind, value = str(member[0]), member[1]
            if kind == "NEGATE":
                negated = True
            elif kind == "LITERAL":
                ranges.append((value, value))
            elif kind == "RANGE":
                ranges.append((value[0], value[1]))
            else:
                name = str(value).removeprefix("CATEGORY_")
                of = _CATEGORIES.get(name.removeprefix("NOT_"))
                if of is None:
                    raise Unsupported(f"it has {name.lower()}")
                categories = True
                ranges += _without([(0, 0x7F)], of) if name.startswith("NOT_") else of
        # What lies beyond ASCII is a digit, letter or space to some readers and not to others.
        return self._outside(ranges, ascii_only=categories) if negated else self._inside(ranges)

    def _outside(self, ranges: Ranges, *, ascii_only: bool) -> str:
        return self._inside(_without([(0, 0x7F if ascii_only else _LAST)], ranges))

    def _inside(self, ranges: Ranges) -> str:
        plain = _without(ranges, [*_CONTROLS, (0x22, 0x22), (0x5C, 0x5C), _SURROGATES])
        ways = [character_class(plain)] if plain else []
        ways += [
            text
            for character, text in _ESCAPED.items()
            if any(first <= ord(character) <= last for first, last in ranges)
        ]
        if not ways:
            raise Unsupported("a set in it has no character that may stand in JSON")
        return ways[0] if len(ways) == 1 else f"({' | '.join(ways)})"


def _is_anchor(item: Any, which: str) -> bool:
    return str(item[0]) == "AT" and str(item[1]).startswith(which)


def _branches(item: Any) -> bool:
    return str(item[0]) in ("BRANCH", "SUBPATTERN")


def _without(ranges: Iterable[tuple[int, int]], taken: Iterable[tuple[int, int]]) -> Ranges:
    left = sorted(ranges)
    for first, last in taken:
        left = [
            piece
            for low, high in left
            for piece in ((low, min(high, first - 1)), (max(low, last + 1), high))
            if piece[0] <= piece[1]
        ]
    return sorted(set(left))
