"""What a prompt's shape says of its kind: code, formulas, counts, choices, an unfinished end."""

from __future__ import annotations

import re
from typing import Final

from modelrouter.signals.kind.cues import CODE_TARGETS, QUESTION_WORDS, words
from modelrouter.signals.kind.instruction import DECISIVE, Instruction, Scores, add
from modelrouter.task import Kind

__all__ = ["TRANSFORMS", "add_shape"]

TRANSFORMS: Final[frozenset[Kind]] = frozenset(
    {"grammar", "translation", "classification", "extraction", "embedding", "summarization"}
)
"""Kinds that work on material given with them, code among it."""

_ASKING: Final[frozenset[Kind]] = frozenset({"math", "question_answering", "reasoning", "chat"})

_CODE_SIGNS: Final = (
    "();", "){", ") {", "):\n", ");\n", "};", "=> ", "</", "/>", "print(", "console.", "#include",
    "Traceback (most", " == ", " != ", "&&", "+=", "self.", "[i]", "std::", "public static",
    "def __", "let mut", "return (", "return a", "return x", "){", "=\n", "{\n", ";\n",
)  # fmt: skip
_CODE_LINE: Final = re.compile(
    r"\n[ \t]*(?:def \w+\(|class \w+[:({]|from [\w.]+ import |import [\w.]+(?: as \w+)?;?[ \t]*$|"
    r"(?:const|let|var) \w+ ?=|function \w*\(|fn \w+\(|func \w+\(|public \w+|@\w+\(|"
    r"for \w+ in .+:[ \t]*$|if .+:[ \t]*$|while .+:[ \t]*$|return [\w.(\[]+;?[ \t]*$)",
    re.MULTILINE,
)
_CODE_LINE_STARTS: Final = (
    "def ", "class ", "import ", "const ", "let ", "var ", "function ", "fn ", "func ", "public ",
    "return ", "for ", "if ", "while ",
)  # fmt: skip
_SQL: Final = re.compile(
    r"\bselect\b[^.?!]{1,200}?\bfrom\b[^.?!]{1,80}?(?:\bwhere\b|\bjoin\b|\border by\b|"
    r"\bgroup by\b|\blimit \d|;)|\bselect \*"
)
_LATEX: Final = re.compile(r"\$(?! )[^$\n]*[^$\n ]\$(?!\w)|\\\[")
_OPERATOR: Final = re.compile(
    r"[=+*^\u00d7÷](?:(?<=[\d)].)|(?<=[\d)] .)|(?<=\b[a-z].)|(?<=\b[a-z] .)) ?"
    r"(?:-?\d|[(\\]|[a-z]\b|[a-z][\^(])"
)
_SPACED_OPERATOR: Final = re.compile(r"[-/](?:(?<=\d .)|(?<=\b[a-z] .)) (?:\d|[a-z]\b)")
_FORMULAS: Final = (
    *((sign, _OPERATOR) for sign in "=+*^\u00d7÷"),
    (" - ", _SPACED_OPERATOR),
    (" / ", _SPACED_OPERATOR),
    ("%", re.compile(r"%(?<=\d.) (?:of|off|de|von)\b")),
    ("% of", re.compile(r"% of(?<=\d % of)")),
    ("\\", re.compile(r"\\(?:frac|sum|int|sqrt|begin|lim|cdot|times|angle|[a-z]+\{)")),
    ("$", re.compile(r"\$(?![ \d.,]+[^$]*$)[^$\n]+\$")),
    (")", re.compile(r"\)\s?/\s?\(")),
    ("(", re.compile(r"\((?:(?<=\b[fgh]\()[a-z\d]\)|(?<=\b(?:sin|cos|tan|log)\()|(?<=\bln\())")),
    *((sign, re.compile(sign)) for sign in "∑∫√π"),
)
"""A sign that is quick to look for, and what must stand around it."""

_COUNT_ASKED: Final = tuple(
    (sign, re.compile(pattern))
    for sign, pattern in (
        ("how ", r"how (?:many|much|long|far|fast|old|late|wide|tall|deep|heavy|big|high)"),
        ("what", r"what(?:'s| is| was| will be) (?:the|her|his|their|its|\w+ times)\b"),
        ("what ", r"what (?:percent|fraction)"),
        ("when ", r"when (?:does|do|will)"),
        ("find ", r"find (?:the|all|how)"),
        ("calculate ", r"calculate (?:the|all|how)"),
        ("determine ", r"determine (?:the|all|how)"),
        ("cuánt", r"cuánt[oa]s?"),
        ("combien", r"combien"),
        ("wie", r"wie ?viele?"),
    )
)
"""A substring that is quick to look for, and the whole question."""

# Four figures that may be a year are left out.
_FIGURES: Final = re.compile(r"[0-9](?<![\w.,].)(?!(?<=1)\d{3}\b|(?<=2)0\d\d\b)\d*(?:[.,]\d+)*")
_NUMERALS: Final = words(
    "two three four five six seven eight nine ten eleven twelve twenty thirty fifty hundred twice"
    " half dozen double triple third quarter"
)

_CHOICES: Final = re.compile(r"\n\(?a[.)] .*\n\(?b[.)] ")
_TARGET: Final = re.compile(r"\b(?:in)?to (\w+)")
_PICTURE_LINK: Final = re.compile(r"https?://\S+\.(?:png|jpe?g|gif|webp|bmp)\b")
_BLANK: Final = re.compile(r"___|\s_(?=[\s.?])")
_ONE_SENTENCE: Final = 200
_UNFINISHED: Final = words(
    "the a an to of and or but is are was were because that with in on at for from by as if when"
    " than my your his her their its will would can could has have had be been into about"
)


def add_shape(found: Instruction, raw: str, window: str, lowered: str) -> None:
    """Add to ``found`` what the text's shape says.

    Args:
        found: what the instruction's words said.
        raw: the whole turn, stripped.
        window: the parts of it that are looked at.
        lowered: those parts in lower case, quotations blanked.
    """
    scores = found.scores
    code = _code_evidence(window, lowered)
    if code:
        _add_code(scores, code)
    elif not found.clear or max(scores, key=scores.__getitem__) in _ASKING:
        _add_math(scores, lowered)
    if "translation" in scores and "code" in scores:
        _translate_code(scores, lowered)
    if "\nb" in lowered and _CHOICES.search(lowered):
        add(scores, "question_answering", 2.0)
    if "://" in lowered and _PICTURE_LINK.search(lowered):
        add(scores, "image_understanding", 1.5)
    if found.clear or code:
        return
    if _is_unfinished(raw, found.words):
        add(scores, "completion", 2.4)
    elif "_" in lowered and _BLANK.search(lowered):
        add(scores, "completion" if len(raw) < _ONE_SENTENCE else "question_answering", 1.5)


def _code_evidence(window: str, lowered: str) -> float:
    """0.0 to 4.5."""
    if "```" in window:
        return 3.0
    if "$" in window and _LATEX.search(window):
        return 0.0
    signs = 0
    if "=" in window or "(" in window or "{" in window or "<" in window or ";" in window:
        signs = sum(sign in window for sign in _CODE_SIGNS)
    if "\n" in window or window.startswith(_CODE_LINE_STARTS):
        signs += 2 * len(_CODE_LINE.findall("\n" + window))
    if "select " in lowered and _SQL.search(lowered):
        signs += 2
    evidence = 3.0 if signs > 2 else (0.0, 1.0, 2.2)[signs]
    return evidence + 1.5 if signs > 1 and _CODE_LINE.match("\n" + window) else evidence


def _add_code(scores: Scores, evidence: float) -> None:
    """Code beside a clear instruction of another kind is material, else it is the matter."""
    material = any(kind in TRANSFORMS and amount >= 2.4 for kind, amount in scores.items())
    add(scores, "code", (0.3 if material else 1.0) * evidence)


def _translate_code(scores: Scores, lowered: str) -> None:
    """Translating "this Python code to Go" is programming."""
    if any(word in CODE_TARGETS for word in _TARGET.findall(lowered)):
        add(scores, "code", scores.pop("translation"))


def _add_math(scores: Scores, lowered: str) -> None:
    if any(sign in lowered and formula.search(lowered) for sign, formula in _FORMULAS):
        add(scores, "math", 2.2)
    if scores.get("reasoning", 0.0) >= DECISIVE:
        return
    for sign, asked in _COUNT_ASKED:
        if sign in lowered and asked.search(lowered) and _has_two_numbers(lowered):
            add(scores, "math", 2.4)
            return


def _has_two_numbers(lowered: str) -> bool:
    figures = len(_FIGURES.findall(lowered))
    return figures > 1 or figures + sum(map(_NUMERALS.__contains__, lowered.split())) > 1


def _is_unfinished(raw: str, words: int) -> bool:
    if words < 3 or "?" in raw or "\n" in raw:
        return False
    first = raw.split(None, 1)[0].lower()
    if first in QUESTION_WORDS and first not in ("when", "where"):
        return False
    if raw.endswith(("...", "…")):
        return words >= 4
    if first in QUESTION_WORDS:
        return False
    return raw[-1].isalpha() and raw.rsplit(None, 1)[-1].lower() in _UNFINISHED
