"""Takes keys out of texts, in whatever form a provider or a library repeats them."""

from __future__ import annotations

import re
from base64 import b64encode
from collections.abc import Iterable, Iterator
from typing import Final
from urllib.parse import quote

__all__ = ["without"]

_PIECE: Final = 8  # so many characters of a key in a row are not an accident, and tell too much
_MASK: Final = r"(?:[*#•…]{1,64}|\.{2,64}|[xX]{3,64})"
"""Bounded, so that a text of nothing else does not make each place be looked at from each other;
of a longer mask the rest is found in the next place."""


def without(text: str, secrets: Iterable[str]) -> str:
    """The text with ``[key]`` for each secret and for what tells a part of it.

    Parts are eight or more characters in a row of the secret, or of it percent-encoded or in
    base64 (alone or within something longer), and its first or last four to seven characters
    beside a mask ("****cdef") or after "ending in".
    """
    secrets = list(secrets)
    long = [secret for secret in secrets if len(secret) >= _PIECE]
    text = _without_pieces(text, {p for s in long for form in _forms(s) for p in _pieces(form)})
    for secret in secrets:
        if len(secret) >= _PIECE:
            text = _without_masked(text, secret)
        else:  # a short one ("none", "x") may be a part of any word
            text = re.sub(rf"(?<!\w){re.escape(secret)}(?!\w)", "[key]", text)
    return text


def _forms(secret: str) -> Iterator[str]:
    yield secret
    yield quote(secret, safe="")
    raw = secret.encode()
    for before in range(3):  # base64 takes three bytes at a time: where the secret begins counts
        encoded = b64encode(b"\0" * before + raw).decode().rstrip("=")
        # The digits at both ends mix with what stands beside the secret.
        own = encoded[(0, 2, 3)[before] : len(encoded) - bool((before + len(raw)) % 3)]
        yield own
        yield own.replace("+", "-").replace("/", "_")


def _pieces(form: str) -> Iterator[str]:
    for start in range(len(form) - _PIECE + 1):
        yield form[start : start + _PIECE]


def _without_pieces(text: str, pieces: set[str]) -> str:
    kept: list[str] = []
    done = 0  # up to here the text is kept or taken out
    start = 0
    while pieces and start <= len(text) - _PIECE:
        if text[start : start + _PIECE] not in pieces:
            start += 1
            continue
        kept += [text[done:start], "[key]"]
        while text[start : start + _PIECE] in pieces:
            start += 1
        done = start = start + _PIECE - 1
    return "".join([*kept, text[done:]])


def _without_masked(text: str, secret: str) -> str:
    lengths = range(_PIECE - 1, 3, -1)
    heads = "|".join(re.escape(secret[:n]) for n in lengths)
    tails = "|".join(re.escape(secret[-n:]) for n in lengths)
    text = re.sub(rf"(?:{heads})?{_MASK}(?:{tails})|(?:{heads}){_MASK}", "[key]", text)
    return re.sub(rf"(\bend(?:s|ing)(?: in| with)?:? [\"'`]?)(?:{tails})\b", r"\1[key]", text)
