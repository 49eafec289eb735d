"""A text as personal data is looked for in it: other spaces, hyphens and digits as ASCII's.

What is pasted holds spaces that do not break, characters without width, full-width digits; what was
taken from JSON, HTML or a URL has its own ways of writing a sign. Whoever reads it sees a number;
so must the patterns. Nothing is kept of this form.
"""

from __future__ import annotations

import html
import re
from typing import Final
from urllib.parse import unquote

__all__ = ["plain"]


def plain(text: str) -> str:
    """The text in ASCII as far as numbers and addresses go; the same object where it is already."""
    if not text.isascii():
        text = _ODD.sub(_written, text)
        if _BEYOND.search(text) is not None:
            text = _ODD_BEYOND.sub(_written, text)
    if "\\" in text:
        text = _ESCAPE.sub(_meant, text)
    if "&" in text and ";" in text:
        text = html.unescape(text).replace("\u00a0", " ").replace("\u00ad", "")
    if "%" in text:
        text = _PERCENT.sub(_decoded, text)
    if "  " in text:
        text = _GAP.sub(" ", text)
    return text


def _between(first: int, last: int) -> str:
    return "".join(map(chr, range(first, last + 1)))


_SPACES: Final = "\u00a0\u1680" + _between(0x2000, 0x200A) + "\u202f\u205f\u3000"
_NOTHING: Final = (
    "\u00ad\u034f\u061c\u180e"
    + _between(0x200B, 0x200F)
    + _between(0x202A, 0x202E)
    + _between(0x2060, 0x206F)
    + _between(0xFE00, 0xFE0F)
    + "\ufeff"
    + _between(0xE0100, 0xE01EF)
)
"""Of no width: joiners, marks of direction, soft hyphens, selectors of a variant."""
_HYPHENS: Final = _between(0x2010, 0x2015) + "\u2212\u2043\ufe58\ufe63\uff0d"
_ZEROS: Final = (
    0x660, 0x6F0, 0x7C0, 0x966, 0x9E6, 0xA66, 0xAE6, 0xB66, 0xBE6, 0xC66, 0xCE6, 0xD66, 0xE50,
    0xED0, 0xF20, 0x1040, 0x17E0, 0x1810, 0xFF10, 0x1D7CE, 0x1D7D8, 0x1D7E2, 0x1D7EC, 0x1D7F6,
)  # fmt: skip
"""Where ten digits begin: of Arabic, the scripts of India and its neighbours, full-width, bold."""
_SIGNS: Final = "@.+()/#_"
_TABLE: Final[dict[str, str]] = {
    **dict.fromkeys(_SPACES, " "),
    **dict.fromkeys(_NOTHING, ""),
    **dict.fromkeys(_HYPHENS, "-"),
    **{chr(zero + digit): str(digit) for zero in _ZEROS for digit in range(10)},
    **{chr(ord(sign) + 0xFEE0): sign for sign in _SIGNS},
    **{chr(letter + 0xFEE0): chr(letter) for letter in (*range(65, 91), *range(97, 123))},
    "\uff1a": ": ",
    "\ufe6b": "@",
    "\u2024": ".",
}
_LAST: Final = "\uffff"
# Apart from each other, since a class that goes beyond the first plane is searched slowly.
_ODD: Final = re.compile(f"[{re.escape(''.join(sign for sign in _TABLE if sign <= _LAST))}]")
_ODD_BEYOND: Final = re.compile(f"[{re.escape(''.join(sign for sign in _TABLE if sign > _LAST))}]")
_BEYOND: Final = re.compile("[\U00010000-\U0010ffff]")


def _written(found: re.Match[str]) -> str:
    return _TABLE[found[0]]


_ESCAPE: Final = re.compile(r"\\{1,8}(?:u([0-9a-fA-F]{4})|x([0-9a-fA-F]{2})|([nrt])|([\"'/]))")
"""As JSON and most languages write signs."""


def _meant(found: re.Match[str]) -> str:
    code = found[1] or found[2]
    if code is None:
        return found[4] or " "
    sign = chr(int(code, 16))
    return _TABLE.get(sign, sign)


_PERCENT: Final = re.compile(r"(?:%[2-7][0-9A-Fa-f]|%C2%A0)+", re.IGNORECASE)


def _decoded(found: re.Match[str]) -> str:
    return unquote(found[0]).replace("\u00a0", " ")


_GAP: Final = re.compile(r"(?<=[0-9)]) {2,3}(?=[0-9(])")
"""Columns are wider apart."""
