"""A schema's ``pattern`` as a grammar's engine reads it.

Schemas are written in ECMA 262's expressions; llguidance reads those of Rust's regex crate, which
differ in how they escape and in what they leave out.
"""

from __future__ import annotations

import re
from typing import Final

from modelrouter.schemas.base import NotKept

__all__ = ["portable"]

_MOST_REPEATS: Final = 10_000
_LONGEST: Final = 20_000
_GROUP: Final = re.compile(
    r"\((?:\?(?:(?P<named>P?<(?![=!])\w+>)|(?P<plain>:)|(?P<flags>[is]+[:)])|(?P<other>..?)))?"
)
_COUNT: Final = re.compile(r"\{(\d+)(?:,(\d*))?\}")
_CODE: Final = re.compile(
    r"\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})"  # two halves of one
    r"|\\u([0-9a-fA-F]{4})|\\u\{([0-9a-fA-F]{1,6})\}|\\x([0-9a-fA-F]{2})"
    r"|\\x\{([0-9a-fA-F]{1,6})\}"
)
_PROPERTY: Final = re.compile(r"\\[pP](\{[\w=^-]+\}|[A-Za-z])")
_TOKEN: Final = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|\((?:\?(?:P?<\w+>|:))?|.", re.DOTALL)
_ANCHORS: Final = {"A": "^", "z": "$", "Z": "$"}
_KEPT_ESCAPES: Final = "dDwWsStnrfv"
_WHY_NOT: Final = {
    "=": "it looks ahead",
    "!": "it looks ahead",
    "<": "it looks behind",
    ">": "it has an atomic group",
    "P": "it refers back to a group",
    "(": "it refers back to a group",
}


def portable(pattern: str) -> str:
    """The same expression in Rust's notation.

    Raises:
        NotKept: it has what no grammar can keep, or is too long.
    """
    if len(pattern) > _LONGEST:
        raise NotKept(f"it is longer than {_LONGEST:,} characters")
    return _Translation(pattern).text()


class _Translation:
    def __init__(self, pattern: str) -> None:
        self._pattern, self._at = pattern, 0
        self._out: list[str] = []

    def text(self) -> str:
        while self._at < len(self._pattern):
            self._out.append(self._next())
        return "".join(self._out)

    def _next(self) -> str:
        pattern, at = self._pattern, self._at
        character = pattern[at]
        if character == "\\":
            return self._escape(in_set=False)
        if character == "[":
            return self._set()
        if character == "(":
            return self._group()
        if character == "{":
            return self._count()
        self._at += 1
        if character in "]}":
            return "\\" + character
        if character in "*+?" and pattern[at + 1 : at + 2] == "+":
            raise NotKept("it has a possessive quantifier")
        if character in "^$" and not _at_border(self._pattern, at):
            raise NotKept("it has an anchor in its middle")
        return character

    def _group(self) -> str:
        found = _GROUP.match(self._pattern, self._at)
        assert found is not None
        self._at = found.end()
        if (other := found["other"]) is not None:
            raise NotKept(_WHY_NOT.get(other[0], "it has a group of a kind that is unknown"))
        if found["named"] is not None:
            return "(?:"
        return found.group()

    def _count(self) -> str:
        found = _COUNT.match(self._pattern, self._at)
        if found is None:  # to ECMA 262 a brace may stand for itself
            self._at += 1
            return r"\{"
        self._at = found.end()
        if max(int(found[1]), int(found[2] or 0)) > _MOST_REPEATS:
            raise NotKept(f"{_MOST_REPEATS:,} repetitions are the most")
        if self._pattern[self._at : self._at + 1] == "+":
            raise NotKept("it has a possessive quantifier")
        return found.group()

    def _escape(self, *, in_set: bool) -> str:
        pattern, at = self._pattern, self._at
        for known in (_CODE, _PROPERTY):
            if found := known.match(pattern, at):
                self._at = found.end()
                return _code(found) if known is _CODE else found.group()
        letter = pattern[at + 1 : at + 2]
        self._at += 2
        if letter in _KEPT_ESCAPES and letter:
            return "\\" + letter
        if letter in _ANCHORS and not in_set:
            if (letter != "A" and self._at < len(pattern)) or (letter == "A" and at):
                raise NotKept("it has an anchor in its middle")
            return _ANCHORS[letter]
        if letter == "b" and in_set:
            return r"\x08"
        if letter in ("b", "B"):
            raise NotKept("it has a word boundary")
        if letter == "0":
            return r"\x00"
        if letter == "c" and re.match("[A-Za-z]", pattern[self._at : self._at + 1]):
            self._at += 1
            return f"\\x{ord(pattern[self._at - 1]) % 32:02X}"
        if letter.isdigit() or letter == "k":
            raise NotKept("it refers back to a group")
        if not letter or letter.isalpha():
            raise NotKept(f"it has the unknown escape \\{letter}")
        return re.escape(letter)

    def _set(self) -> str:
        pattern = self._pattern
        self._at += 1
        out = ["["]
        if pattern.startswith("^", self._at):
            self._at += 1
            out.append("^")
        if pattern.startswith("]", self._at):
            raise NotKept("it has an empty set")
        while not pattern.startswith("]", self._at):
            if self._at >= len(pattern):
                raise NotKept("a set in it has no end")
            character = pattern[self._at]
            if character == "\\":
                out.append(self._escape(in_set=True))
                continue
            self._at += 1
            # Doubled, these are operators on sets to Rust; a bracket would open a set in a set.
            doubled = character in "-&~" and out[-1] in (character, "\\" + character)
            out.append("\\" + character if character == "[" or doubled else character)
        self._at += 1
        return "".join(out) + "]"


def _at_border(pattern: str, at: int) -> bool:
    """Whether nothing that takes a character stands before a ``^``, or after a ``$``."""
    if pattern[at] == "^":
        tokens, opens, closes = _TOKEN.findall(pattern[:at])[::-1], ")", "("
    else:
        tokens, opens, closes = _TOKEN.findall(pattern[at + 1 :]), "(", ")"
    skipping, depth = False, 0
    for token in tokens:
        if skipping:  # past the other ways of the group or the whole
            if token[0] == opens:
                depth += 1
            elif token[0] == closes and depth:
                depth -= 1
            elif token[0] == closes:
                skipping = False
        elif token == "|":
            skipping = True
        elif token[0] not in (closes, pattern[at]):
            return False
    return True


def _code(found: re.Match[str]) -> str:
    if found[1] is not None:
        high, low = int(found[1], 16), int(found[2], 16)
        return f"\\U{0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00):08X}"
    value = next(int(group, 16) for group in found.groups()[2:] if group is not None)
    if 0xD800 <= value <= 0xDFFF or value > 0x10FFFF:
        raise NotKept("it has a code point that is not a character")
    return f"\\U{value:08X}"
