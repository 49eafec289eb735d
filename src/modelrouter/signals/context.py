"""Context: how many tokens a task takes, prompt and expected answer, by arithmetic.

A token count without a tokenizer is a weighted count of bytes by class (letters, digits,
punctuation, spaces, scripts), each class counted by one ``bytes`` operation, so the cost is
linear and small. The weights were fitted to OpenAI's ``cl100k_base`` and ``o200k_base`` over
English prose, Python, JavaScript, C, JSON, Markdown and twenty other languages; see
:data:`ESTIMATE_ERROR`.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final

from modelrouter.signals.base import UNDETERMINED, Tokenizer
from modelrouter.signals.kind_table import FACTS
from modelrouter.task import Kind, Message, Task

__all__ = [
    "ESTIMATE_ERROR",
    "EXACT_CHARACTERS",
    "IMAGE_TOKENS",
    "OTHER_SCRIPTS_ERROR",
    "UNKNOWN_LANGUAGE_ERROR",
    "Context",
    "count",
    "estimate_error",
    "estimate_tokens",
]

ESTIMATE_ERROR: Final = 0.25
"""Relative error of :func:`estimate_tokens` that 95 of 100 passages of 200 to 3,000 characters
keep within, for English prose, code and JSON (the mean error is 0.03 to 0.08; for Markdown 0.29
would be needed), and for text in another language of which it is told."""

UNKNOWN_LANGUAGE_ERROR: Final = 0.4
"""The relative error for ASCII words of a language not known: Finnish and Swahili take twice
as many tokens as English, Indonesian one and a half times."""

OTHER_SCRIPTS_ERROR: Final = 0.55
"""How far the estimate may be too low where the text is all in another script. Tokenizers differ
there by a factor of two: ``cl100k_base`` takes more tokens than estimated (Greek, Hebrew, Hindi),
``o200k_base`` down to half as many, so that costs can be stated too high."""

IMAGE_TOKENS: Final = 765
"""Tokens taken for an image: GPT-4o's for 1024 x 1024 pixels in high detail (85 + 4 x 170)."""

EXACT_CHARACTERS: Final = 20_000
"""Up to this many characters a conversation is counted with a tokenizer where there is one."""

_PER_MESSAGE: Final = 4
_PER_REPLY: Final = 3
"""Tokens of the chat format around each message, and before the answer (OpenAI's cookbook)."""


def _bytes_between(first: int, last: int) -> bytes:
    return bytes(range(first, last + 1))


_LOWER: Final = _bytes_between(ord("a"), ord("z"))
_UPPER: Final = _bytes_between(ord("A"), ord("Z"))
_DIGITS: Final = _bytes_between(ord("0"), ord("9"))
_PUNCTUATION: Final = bytes(c for c in range(33, 127) if not chr(c).isalnum())
_ASCII_CLASSES: Final = (
    (_LOWER, 0.105),
    (_UPPER, 0.175),
    (_DIGITS, 0.78),
    (_PUNCTUATION, 0.74),
)
_SPACE, _SPACE_PAIR, _NEWLINE = 0.59, 0.13, 0.52
# Classes of UTF-8 lead bytes: one for each character.
_OTHER_CLASSES: Final = (
    (_bytes_between(0xC2, 0xC9), 2.04),  # Latin letters with diacritics
    (_bytes_between(0xCE, 0xD4), 0.39),  # Greek, Cyrillic
    (_bytes_between(0xD5, 0xDF), 0.57),  # Hebrew, Arabic and their neighbours
    (_bytes_between(0xE0, 0xE1), 0.67),  # the scripts of South and South-East Asia
    (b"\xe2\xef", 1.0),  # punctuation, symbols, full-width forms
    (_bytes_between(0xE3, 0xE9), 0.91),  # kana, Chinese characters
    (_bytes_between(0xEA, 0xEE), 0.77),  # Hangul
    (_bytes_between(0xF0, 0xF4), 2.5),  # emoji and the rest
)


@dataclass(frozen=True, slots=True)
class Context:
    """Tokens of the prompt, of its system part and of the expected answer; the prompt's error."""

    prompt: int
    system: int
    output: int
    error: float


def estimate_tokens(text: str, language: str = "en") -> int:
    """About how many tokens a text takes; at least 1 unless it is empty.

    ``language`` matters for ASCII words: vocabularies hold fewer that are not English.
    """
    if not text:
        return 0
    size = len(text)
    if size <= _SAMPLED:
        return max(1, round(_estimate(text) + _foreign(text, language)))
    # Long texts are counted in windows spread evenly, and scaled up.
    step = (size - _SAMPLE) / (_SAMPLES - 1)
    starts = (round(i * step) for i in range(_SAMPLES))
    samples = [text[start : start + _SAMPLE] for start in starts]
    seen = sum(_estimate(sample) + _foreign(sample, language) for sample in samples)
    return round(seen * size / (_SAMPLES * _SAMPLE))


_SAMPLED: Final = 100_000
_SAMPLE, _SAMPLES = 2_000, 32


def _estimate(text: str) -> float:
    data = text.encode("utf-8", "surrogatepass")
    size = len(data)
    pairs = data.count(b"  ")
    total = _SPACE * (data.count(b" ") - 2 * pairs) + _SPACE_PAIR * pairs
    total += _NEWLINE * data.count(b"\n")
    for members, weight in _ASCII_CLASSES:
        total += weight * (size - len(data.translate(None, members)))
    if len(text) != size:
        for members, weight in _OTHER_CLASSES:
            total += weight * (size - len(data.translate(None, members)))
    return total


def _foreign(text: str, language: str) -> float:
    """What ASCII words of another language take more than English ones."""
    if language == "en" or not text.isascii():
        return 0.0  # letters with diacritics carry the difference in their own weight
    data = text.encode()
    letters = len(data) - len(data.translate(None, _LOWER))
    if language != UNDETERMINED:
        return _OTHER_LANGUAGE * letters
    # Of no known language are code and lists as well: those are not words.
    return _UNKNOWN_LANGUAGE * letters if _is_wordy(text) else 0.0


def _is_wordy(text: str) -> bool:
    data = text[:_WINDOW].encode("utf-8", "surrogatepass")
    return len(data.translate(None, _LOWER + b" ,")) < _NOT_WORDY * len(data)


def estimate_error(text: str, language: str = "en") -> float:
    """The relative error of :func:`estimate_tokens` on this text."""
    if text.isascii():
        unknown = language == UNDETERMINED and _is_wordy(text)
        return UNKNOWN_LANGUAGE_ERROR if unknown else ESTIMATE_ERROR
    data = text.encode("utf-8", "surrogatepass")
    others = (len(data) - len(text)) / len(data)  # 0 for English, about 2/3 for Chinese
    return ESTIMATE_ERROR + (OTHER_SCRIPTS_ERROR - ESTIMATE_ERROR) * min(1.0, 2.0 * others)


def count(
    task: Task, kind: Kind, tokenizer: Tokenizer | None = None, language: str = "en"
) -> Context:
    """Count a task's prompt, system prompt and expected answer.

    With a tokenizer and at most :data:`EXACT_CHARACTERS` characters the prompt is counted, not
    estimated; the error is 0.0 then, unless there are images, whose tokens are only a guess.
    ``language`` is the last user turn's; the others are taken to share it, but the system prompt.
    """
    characters = sum(len(message.text) for message in task.messages)
    exact = tokenizer is not None and characters <= EXACT_CHARACTERS
    tokens_of = tokenizer if tokenizer is not None and exact else estimate_tokens
    prompt = _PER_REPLY
    system = asked = 0
    error = 0.0
    last = task.last_user
    for message in task.messages:
        spoken = "en" if message.role in ("system", "developer") else language
        tokens = (
            tokenizer(message.text)
            if tokenizer is not None and exact
            else estimate_tokens(message.text, spoken)
        )
        prompt += tokens + _PER_MESSAGE + IMAGE_TOKENS * len(message.images)
        prompt += _call_tokens(message, tokens_of)
        if message is last:
            asked = tokens
        elif message.role in ("system", "developer"):
            system += tokens
        if not exact:
            error = max(error, estimate_error(message.text, spoken))
    if task.tools:
        prompt += tokens_of(_compact(task.tools))
    if task.response_format:
        prompt += tokens_of(_compact(task.response_format))
    if exact and task.has_images:
        error = ESTIMATE_ERROR
    output = _expected_output(kind, last.text, asked)
    if task.max_tokens is not None:
        output = min(output, task.max_tokens)
    return Context(prompt, system, output, error)


def _call_tokens(message: Message, tokens_of: Tokenizer) -> int:
    calls = message.raw.get("tool_calls")
    return tokens_of(_compact(calls)) if calls else 0


def _compact(value: Any) -> str:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, default=str)


_WORDS_WANTED: Final = re.compile(r"[0-9](?<![0-9.,].)[0-9]{1,4}(?=[ -]words?\b)")
_TOKENS_PER_WORD: Final = 1.35
_WINDOW: Final = 2_000

_OTHER_LANGUAGE, _UNKNOWN_LANGUAGE = 0.06, 0.125
"""Tokens that an ASCII letter takes more: Dutch, French, German, Italian, Portuguese, Spanish; and
others. Midway between what ``cl100k_base`` and ``o200k_base`` take."""
_NOT_WORDY: Final = 0.1


def _expected_output(kind: Kind, text: str, tokens: int) -> int:
    least, per_token, most = FACTS[kind].output
    if most and "word" in text[:_WINDOW] and (wanted := _WORDS_WANTED.search(text[:_WINDOW])):
        return round(int(wanted[0]) * _TOKENS_PER_WORD)
    return round(min(most, max(least, per_token * tokens)))
