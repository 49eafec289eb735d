"""GBNF, llama.cpp's notation for grammars: rules, literals, characters, ranges of numbers."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from decimal import Decimal
from typing import Final

__all__ = [
    "FORMATS",
    "MOST_REPEATS",
    "PLAIN",
    "Rules",
    "Unsupported",
    "between",
    "character_class",
    "fractions",
    "in_string",
    "integers",
    "literal",
    "numbers",
    "repeated",
]

MOST_REPEATS: Final = 1_000
"""Each is a rule of its own to llama.cpp, whose memory and stack they take."""

PLAIN: Final = r'[^"\\\x7F\x00-\x1F]'
"""A character that stands for itself in a JSON string."""

_DIGITS: Final = 16
"""The most a number is written with; more are not kept by JSON readers that know doubles only."""

_MOST_PLACES: Final = 6
_BAD_NAME: Final = re.compile(r"[^a-zA-Z0-9]+")
_WHITESPACE: Final = r'| " " | "\n" [ \t]{0,20}'
_HEX: Final = "[0-9a-fA-F]"
# Half a surrogate pair is not a character, so no escape makes one.
_CHARACTER: Final = (
    rf'{PLAIN} | "\\" (["\\/bfnrt] | "u" ([0-9a-cA-CefEF] {_HEX} | [dD] [0-7]) {_HEX} {_HEX})'
)
_YEAR: Final = "[12] [0-9]{3}"
_DATE: Final = (
    f'{_YEAR} "-" (("0" [13578] | "1" [02]) "-" ("0" [1-9] | [12] [0-9] | "3" [01])'
    ' | ("0" [469] | "11") "-" ("0" [1-9] | [12] [0-9] | "30")'
    ' | "02-" ("0" [1-9] | "1" [0-9] | "2" [0-8]))'
)
_TIME: Final = (
    '([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9] ":" [0-5] [0-9] ("." [0-9]{1,6})?'
    ' ("Z" | [-+] ([01] [0-9] | "2" [0-3]) ":" [0-5] [0-9])'
)
_LABEL: Final = "[a-z0-9] ([a-z0-9-]{0,20} [a-z0-9])?"
_BYTE: Final = '([0-9] | [1-9] [0-9] | "1" [0-9]{2} | "2" [0-4] [0-9] | "25" [0-5])'

_KNOWN: Final[dict[str, str]] = {
    "ws": _WHITESPACE,
    "char": _CHARACTER,
    "string": r'"\"" char* "\""',
    "boolean": '"true" | "false"',
    "null": '"null"',
    "integer": f'"-"? ("0" | [1-9] [0-9]{{0,{_DIGITS - 1}}})',
    "number": f'integer ("." [0-9]{{1,{_DIGITS}}})? ([eE] [-+]? [0-9]{{1,2}})?',
    "value": "object | array | string | number | boolean | null",
    "object": '"{" ws (string ws ":" ws value ("," ws string ws ":" ws value)*)? ws "}"',
    "array": '"[" ws (value ("," ws value)*)? ws "]"',
    "date": _DATE,
    "time": _TIME,
    "date-time": 'date "T" time',
    "uuid": ' "-" '.join(f"{_HEX}{{{n}}}" for n in (8, 4, 4, 4, 12)),
    "ipv4": ' "." '.join([_BYTE] * 4),
    "label": _LABEL,
    "hostname": 'label ("." label){0,3} "." [a-z]{2,12}',
    "email": '[a-zA-Z0-9] [a-zA-Z0-9_+-]{0,30} ("." [a-zA-Z0-9_+-]{1,30}){0,2} "@" hostname',
    "uri": '("https" | "http") "://" hostname ("/" [a-zA-Z0-9._~-]{0,40}){0,6}',
}
FORMATS: Final = ("date", "time", "date-time", "uuid", "ipv4", "hostname", "email", "uri")
_NEEDS: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\[(?:[^\]\\]|\\.)*\]|([a-z][a-z0-9-]*)')


class Unsupported(Exception):
    """Something that no grammar here can say; the text is why."""


class Rules:
    """A grammar's rules as they come together."""

    def __init__(self) -> None:
        self._bodies: dict[str, str] = {}
        self._names: dict[str, str] = {}

    def known(self, name: str) -> str:
        """A rule for a JSON type, a format, or a part of them; returns its name."""
        if name not in self._bodies:
            self._bodies[name] = body = _KNOWN[name]
            for found in _NEEDS.finditer(body):
                if found.group(1) in _KNOWN:
                    self.known(found.group(1))
        return name

    def add(self, hint: str, body: str) -> str:
        """A rule with this body; returns its name."""
        same = self._names.get(body)
        if same is None:
            same = self._names[body] = self.reserve(hint)
            self._bodies[same] = body
        return same

    def reserve(self, hint: str) -> str:
        """The name of a rule that is to be defined yet."""
        # The number makes it differ from every known rule and from every other.
        name = f"{_BAD_NAME.sub('-', hint).strip('-').lower() or 'rule'}-{len(self._bodies)}"
        self._bodies[name] = ""
        return name

    def define(self, name: str, body: str) -> None:
        """Give a reserved rule its body."""
        self._bodies[name] = body

    def text(self, root: str) -> str:
        """The whole grammar, beginning with ``root``."""
        rules = {"root": root, **self._bodies}
        return "\n".join(f"{name} ::= {body}" for name, body in rules.items())


def literal(text: str) -> str:
    """The text itself."""
    return '"' + "".join(_escaped(c) for c in text) + '"'


def in_string(text: str) -> str:
    """The text as it stands within a JSON string, without the quotes."""
    return literal(json.dumps(text, ensure_ascii=False)[1:-1])


def character_class(ranges: Iterable[tuple[int, int]], *, outside: bool = False) -> str:
    """One character of these ranges of code points, both ends included, or of none of them."""
    body = "".join(
        _in_class(first) if first == last else f"{_in_class(first)}-{_in_class(last)}"
        for first, last in ranges
    )
    return f"[{'^' if outside else ''}{body}]"


def repeated(item: str, least: int, most: int | None) -> str:
    """The item so many times.

    Raises:
        Unsupported: more than :data:`MOST_REPEATS`.
    """
    if max(least, most or 0) > MOST_REPEATS:
        raise Unsupported(f"{MOST_REPEATS} repetitions are the most")
    if (least, most) == (1, 1):
        return item
    if most == 0:
        return '""'
    plain = {(0, None): "*", (1, None): "+", (0, 1): "?"}.get((least, most))
    return f"({item})" + (plain or f"{{{least},{'' if most is None else most}}}")


def integers(least: int | None, most: int | None) -> str:
    """A whole number between the two, both included.

    Raises:
        Unsupported: there is none.
    """
    bound = 10**_DIGITS - 1
    low, high = -bound if least is None else least, bound if most is None else most
    if low > high:
        raise Unsupported(f"no whole number is from {low} to {high}")
    parts = []
    if low < 0:
        parts.append(f'"-" ({between(max(1, -high), -low)})')
    if high >= 0:
        parts.append(between(max(0, low), high))
    return " | ".join(parts)


def numbers(least: int | None, most: int | None, above: bool, below: bool) -> str:
    """A decimal number between two whole ones.

    Args:
        least, most: the bounds; ``None`` for none.
        above, below: whether the number must differ from ``least``, from ``most``.

    Raises:
        Unsupported: there is none.
    """
    bound = 10**_DIGITS - 1
    low, high = -bound if least is None else least, bound if most is None else most
    if low > high or (low == high and (above or below)):
        raise Unsupported(f"no number is between {low} and {high}")
    parts = []
    if low < 0:  # magnitudes run the other way
        parts.append(f'"-" ({_decimals(max(0, -high), -low, below and high <= 0, above)})')
    if high > 0 or (high == 0 and not below):
        parts.append(_decimals(max(0, low), high, above and low >= 0, below))
    return " | ".join(parts)


def fractions(least: Decimal | None, most: Decimal | None, above: bool, below: bool) -> str:
    """A number between two decimal ones, always with two places more than these have.

    Args:
        least, most, above, below: as for :func:`numbers`.

    Raises:
        Unsupported: there is none, or a bound has more than six places.
    """
    places = max(-int(b.as_tuple().exponent) for b in (least, most) if b is not None)
    if places > _MOST_PLACES:
        raise Unsupported(f"{_MOST_PLACES} decimal places are the most")
    places = max(0, places) + 2
    bound = 10 ** (_DIGITS - 1)
    low = -bound if least is None else int(least.scaleb(places)) + above
    high = bound if most is None else int(most.scaleb(places)) - below
    if low > high:
        raise Unsupported(f"no number is between {least} and {most}")
    parts = []
    if low < 0:
        parts.append(f'"-" ({_pointed(max(1, -high), -low, places)})')
    if high >= 0:
        parts.append(_pointed(max(0, low), high, places))
    return " | ".join(parts)


def _pointed(low: int, high: int, places: int) -> str:
    """As :func:`between`, with a point before the last ``places`` digits."""
    parts = []
    width = places + 1
    while low <= high:
        width = max(width, len(str(low)))
        end = min(high, 10**width - 1)
        parts += _same_length(str(low).zfill(width), str(end).zfill(width), places)
        low = end + 1
    return " | ".join(parts)


def _decimals(low: int, high: int, above: bool, below: bool) -> str:
    # So few that no reader rounds them up to the next whole number.
    fraction, nonzero = '"." [0-9]{1,6}', '"." [0-9]{0,3} [1-9] [0-9]{0,2}'
    parts = []
    if above:
        if low < high:
            parts.append(f'"{low}" {nonzero}')
        low += 1
    if low < high:
        parts.append(f"({between(low, high - 1)}) ({fraction})?")
    if low <= high and not below:
        parts.append(f'"{high}" ("." "0"{{1,4}})?')
    return " | ".join(parts)


def between(low: int, high: int) -> str:
    """The decimal digits of a number from ``low`` to ``high``, neither below 0."""
    parts = []
    while low <= high:
        end = min(high, 10 ** len(str(low)) - 1)
        parts += _same_length(str(low), str(end))
        low = end + 1
    return " | ".join(parts)


def _same_length(low: str, high: str, places: int = 0) -> list[str]:
    """Ways to write a number between two of as many digits, the last ``places`` after a point."""
    rest = len(low) - 1

    def after(first: str, low: str, high: str) -> str:
        point = '"." ' if rest == places and places else ""
        return f"{first} {point}({' | '.join(_same_length(low, high, places))})"

    if low[0] == high[0]:
        return [after(f'"{low[0]}"', low[1:], high[1:]) if rest else f'"{low}"']
    first, last = int(low[0]), int(high[0])
    parts = []
    if rest and low[1:] != "0" * rest:
        parts.append(after(f'"{first}"', low[1:], "9" * rest))
        first += 1
    cut = rest and high[1:] != "9" * rest
    if first <= last - bool(cut):
        parts.append(f"[{first}-{last - bool(cut)}]{_any_digits(rest, places)}")
    if cut:
        parts.append(after(f'"{last}"', "0" * rest, high[1:]))
    return parts


def _any_digits(count: int, places: int) -> str:
    if not count:
        return ""
    if not places or count < places:
        return f" [0-9]{{{count}}}"
    whole = f" [0-9]{{{count - places}}}" if count > places else ""
    return f'{whole} "." [0-9]{{{places}}}'


def _escaped(character: str) -> str:
    if character in '"\\':
        return "\\" + character
    code = ord(character)
    return f"\\x{code:02X}" if code < 0x20 or code == 0x7F else character


def _in_class(code: int) -> str:
    if code > 0xFFFF:
        return f"\\U{code:08X}"
    if code > 0x7E:
        return f"\\u{code:04X}"
    return chr(code) if chr(code).isalnum() else f"\\x{code:02X}"
