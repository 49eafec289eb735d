"""Features of a text that say how hard it is: counts, never meanings, read in microseconds.

Everything is taken from two bounded windows of the text (its exact length besides), so the cost
has a ceiling. Words are looked up once: every known word carries one large integer whose fields
hold its groups (negations, comparisons, ...), and one sum over the words adds all fields at once.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from struct import Struct
from typing import Final, NamedTuple

__all__ = [
    "FIELD_BITS",
    "GROUPS",
    "LOAD",
    "NAMES",
    "Reading",
    "WordTable",
    "format_of",
    "group_table",
    "read_text",
    "words",
]

HEAD: Final = 1_400
TAIL: Final = 700
"""Characters looked at from the start and from the end of a longer text."""

FIELD_BITS: Final = 16
"""Bits of one count; the windows hold fewer words than such a field can count."""

GROUPS: Final[dict[str, str]] = {
    "negation": "not no never none neither nor without cannot except nothing nobody unless least"
    " false incorrect fails lack t",
    "comparison": "more less than most least larger greater fewer higher lower older younger longer"
    " shorter better worse best worst same different difference equal twice times half double"
    " triple third quarter thrice smaller bigger taller faster slower",
    "subordination": "because although though while whereas since until unless before after when"
    " whenever if whether so once as despite",
    "relative": "that which who whom whose where what how why",
    "condition": "if then suppose assuming assume given otherwise unless would could should might"
    " may had",
    "quantifier": "all every each some any both either neither only none many few several most"
    " another other rest remaining left total altogether",
    "conjunction": "and or but also however then next finally first second therefore thus instead"
    " moreover",
    "pronoun": "he she it they him her them his hers its their i we you my your our me us himself"
    " herself itself",
    "preposition": "of in on at by for with from to into between among during under over through"
    " against about within per",
    "modal": "must should would could might may can will shall ought need",
    "time": "before after day days week weeks month months year years hour hours minute minutes"
    " yesterday tomorrow today later ago morning evening night",
    "auxiliary": "is are was were be been being am has have had do does did",
    "number_word": "one two three four five six seven eight nine ten twelve twenty thirty hundred"
    " half third quarter twice thrice dozen",
    "rate": "each per every rate average total remaining percent cost costs price hour hours day"
    " week month miles speed",
    "logic": "if then all some true false statement therefore because either both only must"
    " implies valid argument",
    "what": "what",
    "which": "which",
    "person_place_time": "who whom when where",
    "why_how": "why how explain describe",
    "find": "find calculate compute solve evaluate determine simplify express",
    "write": "write compose create draft generate design function",
    "article": "the a an",
    "numeral": " ".join("0" * digits for digits in range(1, 10)),
    "big_numeral": " ".join("0" * digits for digits in range(3, 10)),
}
"""Words that carry structure rather than subject, by what they do (a word may be in several)."""

_PLAIN: Final = (
    "length", "stem", "sentence", "commas", "comma_share", "word_length", "digit_share",
    "sentences", "questions", "ends_in_question", "lines", "capital_share", "quotes", "dollars",
    "backslashes", "percents", "operators", "brackets", "blank", "slashes", "hyphens", "colons",
    "variety", "unknown_share", "rare_share", "frequency", "words", "longest_sentence",
    "long_words", "numbers", "distinct_numbers", "longest_number", "decimals", "options",
    "option_length", "option_spread", "option_digits", "option_capitals",
)  # fmt: skip
NAMES: Final = (*_PLAIN, *GROUPS)
"""The features, in the order of :attr:`Reading.values`."""

LOAD: Final = ("length", "sentence", "commas", "negation", "comparison")
"""Of what a reader must hold in mind: their plain sum is the language load."""

_AS_WORDS: Final = {ord(sign): " " for sign in "\n\t\r.,;:!?()[]{}\"'`*_/\\<>=+-^|~@#%&$"}
_AS_WORDS.update({ord(digit): "0" for digit in "123456789"})
_ONLY_CAPITALS: Final = {code: None for code in range(128) if not 65 <= code <= 90}
_SENTENCE_ENDS: Final = {ord(sign): "\n" for sign in ".?!"}
_NUMBER: Final = re.compile(r"[0-9]+")
_DECIMAL: Final = re.compile(r"[0-9]\.[0-9]")
_LONG: Final = 8
"""Letters that a long word has more than."""
_COUNT_MASK: Final = (1 << FIELD_BITS) - 1
_LOG: Final = tuple(math.log1p(count) for count in range(4_096))


class Reading(NamedTuple):
    """What was read from a text.

    Attributes:
        values: one number for each of :data:`NAMES`.
        total: the sum of the words' integers, for fields above the groups'.
        words: the words of the windows.
    """

    values: list[float]
    total: int
    words: list[str]


class WordTable(dict[str, int]):
    """Each known word's integer; a word that is not known counts nothing."""

    def __missing__(self, word: str) -> int:
        return 0


def words(window: str) -> list[str]:
    """The words of a text, lower case, every digit a zero."""
    return window.lower().translate(_AS_WORDS).split()


def group_table() -> WordTable:
    """Each grouped word's integer: a one in the field of each of its groups."""
    table = WordTable()
    for position, members in enumerate(GROUPS.values()):
        for word in dict.fromkeys(members.split()):
            table[word] = table.get(word, 0) | 1 << (FIELD_BITS * position)
    return table


KNOWN_SHIFT: Final = FIELD_BITS * len(GROUPS)
"""Above the groups: how many words are known, how many common, the sum of their log frequencies."""
COMMON_SHIFT: Final = KNOWN_SHIFT + FIELD_BITS
FREQUENCY_SHIFT: Final = COMMON_SHIFT + FIELD_BITS
FREQUENCY_BITS: Final = 20
SKILL_SHIFT: Final = FREQUENCY_SHIFT + FREQUENCY_BITS
"""From here on the fields are the model's own."""
_FREQUENCY_MASK: Final = (1 << FREQUENCY_BITS) - 1


def read_text(text: str, table: WordTable) -> Reading:
    """Read the features; ``table`` holds each known word's integer."""
    size = len(text)
    window = text if size <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"
    found = words(window)
    total = sum(map(table.__getitem__, found))
    number = len(found) or 1
    count = window.count
    commas, periods, questions = count(","), count(". "), count("?")
    log = _LOG
    capitals = (
        len(window.translate(_ONLY_CAPITALS)) if window.isascii() else sum(map(str.isupper, window))
    )
    digits = sum(map(count, "0123456789"))
    known = total >> KNOWN_SHIFT & _COUNT_MASK
    frequency = total >> FREQUENCY_SHIFT & _FREQUENCY_MASK
    inside = len(window) or 1
    start = window.find("\nA")
    if start > 0 and (second := window.find("\nB", start)) > 0:
        options = _options(window, start, second)
    else:
        start, options = size, _NO_OPTIONS
    end = min(start, inside)
    values = [
        math.log(size + 1.0),
        math.log(start + 1.0),
        math.log(number / (1.0 + periods + questions)),
        log[commas],
        commas / number,
        inside / number,
        digits / inside,
        log[periods],
        log[questions],
        1.0 if window[max(0, end - 3) : end].rstrip().endswith("?") else 0.0,
        log[count("\n")],
        capitals / inside,
        log[count('"') + count("'")],
        log[count("$")],
        log[count("\\")],
        log[count("%")],
        log[count("=") + count("+") + count("^") + count("<") + count(">")],
        log[count("(")],
        1.0 if "_" in window else 0.0,
        log[count("/")],
        log[count("-")],
        log[count(":") + count(";")],
        len(set(found)) / number,
        1.0 - known / number,
        1.0 - (total >> COMMON_SHIFT & _COUNT_MASK) / number,
        frequency / (16.0 * (known or 1)),
        log[len(found)],
        math.log1p(max(map(len, window.translate(_SENTENCE_ENDS).split("\n")))),
        log[len([word for word in found if len(word) > _LONG])],
        *(_numbers(window) if digits else _NO_NUMBERS),
        *options,
    ]
    counts = _UNPACK_GROUPS((total & _GROUP_MASK).to_bytes(_GROUP_BYTES, "little"))
    values += map(log.__getitem__, counts)
    return Reading(values, total, found)


_GROUP_BYTES: Final = KNOWN_SHIFT // 8
_UNPACK_GROUPS: Final = Struct(f"<{len(GROUPS)}H").unpack
_GROUP_MASK: Final = (1 << KNOWN_SHIFT) - 1
_NO_OPTIONS: Final = (0.0, 0.0, 0.0, 0.0, 0.0)
_NO_NUMBERS: Final = (0.0, 0.0, 0.0, 0.0)


def _numbers(window: str) -> tuple[float, ...]:
    """Of the numbers in a text: how many, how many distinct, the longest, how many decimals."""
    runs = _NUMBER.findall(window)
    decimals = len(_DECIMAL.findall(window)) if "." in window else 0
    return (
        _LOG[len(runs)],
        _LOG[len(set(runs))],
        _LOG[max(map(len, runs), default=0)],
        _LOG[decimals],
    )


def _options(window: str, start: int, second: int) -> tuple[float, ...]:
    """Of options listed on lines of their own: that they are, their length, spread, look."""
    third = window.find("\nC", second)
    fourth = window.find("\nD", third) if third > 0 else -1
    lengths = [second - start]
    if third > 0:
        lengths.append(third - second)
    if fourth > 0:
        lengths.append(fourth - third)
    listed = window[start:]
    size = len(listed)
    return (
        1.0,
        math.log(sum(lengths) / len(lengths)),
        math.log(1.0 + max(lengths) - min(lengths)),
        sum(map(listed.count, "0123456789")) / size,
        (len(listed.translate(_ONLY_CAPITALS)) if listed.isascii() else 4) / size,
    )


def format_of(values: Sequence[float]) -> str:
    """``options`` (listed line by line), ``story`` (a problem told with numbers), or ``open``.

    What was learned from one format says little of another.
    """
    if values[_OPTIONS] > 0.0:
        return "options"
    if (
        values[_NUMBERS] + values[_NUMBER_WORDS] >= _TWO
        and _FIFTEEN <= values[_WORDS] <= _LONG_STORY
        and values[_QUESTIONS] > 0.0
        and not values[_OPERATORS]
        and not values[_BACKSLASHES]
        and values[_LINES] <= _TWO
    ):
        return "story"
    return "open"


_OPTIONS: Final = NAMES.index("options")
_NUMBERS: Final = NAMES.index("distinct_numbers")
_WORDS: Final = NAMES.index("words")
_NUMBER_WORDS: Final = NAMES.index("number_word")
_QUESTIONS: Final = NAMES.index("questions")
_OPERATORS: Final = NAMES.index("operators")
_BACKSLASHES: Final = NAMES.index("backslashes")
_LINES: Final = NAMES.index("lines")
_TWO: Final = math.log1p(2)
_FIFTEEN: Final = math.log1p(15)
_LONG_STORY: Final = math.log1p(150)
