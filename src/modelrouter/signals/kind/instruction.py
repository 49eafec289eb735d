"""Finding a prompt's instruction and weighing the words it is made of.

A prompt is an instruction and, often, material to work on. The instruction usually opens the
prompt or closes it; the material between must not decide, or every text about code would be
"code". So the text is cut into clauses, the first and the last are read, and reading stops where
the material begins: after the colon, line break or arrow that follows a clear instruction. In
each clause the cues of ``cues.py`` are weighed by the clause's mood (command, question,
statement ...), by their order and by negation.
"""

from __future__ import annotations

import re
from typing import Final, Literal, TypeAlias

from modelrouter.signals.kind.cues import (
    BY_FIRST_WORD,
    COMMANDS,
    LANGUAGE_LINKS,
    LANGUAGES,
    LOOK_AT,
    MISSPELT,
    NEGATIONS,
    NOT_DRAWN,
    NOT_DRAWN_NEXT,
    OBJECTS,
    QUESTION_WORDS,
    SUBJECTS,
    TONES,
    Cue,
    find_cue,
    words,
)
from modelrouter.signals.kind_table import Role
from modelrouter.task import Kind

__all__ = ["DECISIVE", "Instruction", "Scores", "add", "without_material"]

Scores: TypeAlias = dict[Kind, float]
"""Evidence for each kind; no more than an order of magnitude."""

DECISIVE: Final = 2.0
"""From this score on a clause's instruction counts as clear."""

_FRONT_CLAUSES: Final = 6
_LAST_LINE: Final = 260
"""Characters of the text's end in which a closing instruction is looked for."""

_Mood: TypeAlias = Literal["command", "fragment", "question", "howto", "statement"]

_ROLES: Final[tuple[Role, ...]] = (
    "verb", "noun", "image", "tech", "plain", "phrase", "social", "loose"
)  # fmt: skip
_FACTORS: Final[dict[_Mood, dict[Role, float]]] = {
    "command": dict(zip(_ROLES, (1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.3, 1.0), strict=True)),
    "fragment": dict(zip(_ROLES, (0.5, 0.85, 0.85, 0.85, 0.25, 1.0, 1.0, 0.2), strict=True)),
    "question": dict(zip(_ROLES, (0.3, 0.4, 0.3, 0.4, 0.1, 1.0, 0.6, 0.1), strict=True)),
    "howto": dict(zip(_ROLES, (0.35, 0.45, 0.2, 1.1, 0.7, 1.0, 0.2, 0.8), strict=True)),
    "statement": dict(zip(_ROLES, (0.2, 0.2, 0.2, 0.35, 0.05, 0.8, 0.6, 0.05), strict=True)),
}
"""How far a cue's role carries in each mood."""

_CODE, _QUOTE = "xcodex", "xquotex"  # stand for material that was blanked
_FENCE: Final = re.compile(r"```.*?(?:```|$)", re.DOTALL)
_QUOTED: Final = re.compile(
    r"\"[^\"]+\"|“[^”]+”|«[^»]+»|„[^“”]+[“”]|(?<![\w'])'[^'\n]{2,}'(?!\w)|`[^`\n]+`|\"[^\"]{40,}$"
)
_STOP: Final = re.compile(r"([.?!:;\n]+(?:(?<=\n)|(?=\s|$)|(?<=[a-z]:)(?=[a-z])))")
_BLANKS: Final = '\t\r,-*#>()[]{}<=+/\\|_~^&%$@"“”„«»\N{EN DASH}—¿¡•·'
_SPACES: Final = {ord(sign): " " for sign in _BLANKS} | {
    ord("…"): ".",
    ord("。"): ".",
    ord("\N{FULLWIDTH QUESTION MARK}"): "?",
    ord("\N{FULLWIDTH COLON}"): ":",
    ord("\N{RIGHT SINGLE QUOTATION MARK}"): "'",
    ord("\N{LEFT SINGLE QUOTATION MARK}"): "'",
}
_ELISION: Final = re.compile(r"'(?:(?<=\b[ldjcsnqm]')|(?<=\bqu'))(?=\w)")
"""The apostrophe of French l'image, d'un, qu'il; read from it on, as it is quick to look for."""

_REQUEST: Final = (
    r"(?:can|could|would|will) (?:you|u|ya|somebody|someone)"
    r"(?: mind| possibly| be able to| help me(?: to)?)*|"
    r"i(?:'d| would) (?:like|love|want)(?: you)?(?: to)?|"
    r"i (?:need|want|wish|wanna)(?: you)?(?: to)?|"
    r"help me(?: to| with)?|i was wondering if you could|your task is(?: to)?|"
    r"you are (?:asked|given)(?: to)?|i need help(?: with| to)?|tell me(?= wh| how| if| the)|"
    r"do you know(?= wh| how)|would you say|any idea|(?:puedes|podrías|puede|podría)|"
    r"(?:peux|pourrais) tu|(?:pouvez|pourriez) vous|tu peux|(?:kannst|könntest) du(?: mir| mal)?|"
    r"können sie(?: mir| bitte)?|quiero que|ich möchte|je voudrais|puoi|você pode"
)
_COURTESY: Final = (
    r"please|pls|plz|kindly|hey|hi|hello|ok(?:ay)?|so|now|then|also|and|well|just|sorry|next|first|"
    r"finally|quick question|excuse me|good (?:morning|evening|afternoon)|dear \w+|thanks|let's|to|"
    r"me|q|bitte|por favor|s' il (?:te|vous) plaît|hola|bonjour|hallo|ahora|maintenant|jetzt|"
    r"per favore"
)
_POLITE: Final = re.compile(rf"(?:(?:(?P<request>{_REQUEST})|{_COURTESY})(?: |$))+")
_POLITE_STARTS: Final = words(
    "can could would will i i'd help your you tell do any puedes podrías puede podría peux pourrais"
    " pouvez pourriez tu kannst könntest können quiero ich je puoi você please pls plz kindly hey"
    " hi hello ok okay so now then also and well just sorry next first finally quick excuse good"
    " dear thanks let's to me q bitte por s hola bonjour hallo ahora maintenant jetzt per"
)
_HOWTO: Final = re.compile(
    r"\bhow (?:do|can|could|should|would|to|might)\b|\bwhy (?:do|does|is|are|am|did|isn't|doesn't|"
    r"won't)\b|\bwhat's wrong with\b|\bcómo (?:puedo|hago)\b|\bcomment (?:puis|faire)\b|"
    r"\bwie (?:kann|mache)\b|\bwhat(?:'s| is| would be)? the (?:\w+ )?"
    r"(?:command|syntax|regex|query)\b"
)
_AUXILIARIES: Final = words(
    "is are was were do does did has have had can could should would will may isn't aren't doesn't"
    " don't didn't am"
)
_ASKING: Final = words("what which who when where how why whose whom")
_PREPOSITIONS: Final = words("in on at of for to from by with under since")
_OURSELVES: Final = words("i my me mine you your we us our")
_PERSONAL: Final = _OURSELVES | words("this so too very just im haha lol")
_FINITE: Final = words("is are was were has have had will did does said he she they it i we's")
_IMPERATIVE_TOO: Final = frozenset({"don't", "do", "is"})
_GIVEN: Final = words(
    "this that these those following above below my attached given our your her his their"
    " este esta estos cette ce cet ces diese diesen dieser dieses folgenden folgende siguiente"
    " suivant suivante suivantes questo"
)
_COORDINATORS: Final = words(
    "and then just or but instead please also only simply y o e et ou und oder puis luego dann"
    " nur solo sólo"
)
_NARROWERS: Final = words("about that which who whose where regarding sobre über")
"""After these comes what the wanted text is about."""

_WHETHER: Final = frozenset({"whether", "if", "ob", "si"})
_SLIPS: Final = frozenset(MISSPELT)
_TELLING: Final = frozenset(BY_FIRST_WORD) | frozenset(LANGUAGES) | _NARROWERS
"""The words that can change what a clause says."""


def add(scores: Scores, kind: Kind, amount: float) -> None:
    """Add evidence for a kind."""
    scores[kind] = scores.get(kind, 0.0) + amount


def without_material(text: str) -> str:
    """Lower case, with fenced code and quotations blanked: they never hold the instruction."""
    text = text.lower()
    if "```" in text:
        text = _FENCE.sub(f" {_CODE} ", text)
    if '"' in text or "`" in text or not text.isascii() or _may_quote(text):
        unquoted = _QUOTED.sub(f" {_QUOTE} ", text)
        # Where nearly all is quoted, the quotation is the turn.
        if text[0] not in "\"'`“«„" or len(unquoted.split()) > 3:
            text = unquoted
    return text


def _may_quote(text: str) -> bool:
    """Whether an apostrophe stands where a quotation may begin: not inside or after a word."""
    at = text.find("'")
    while at > 0 and (text[at - 1].isalnum() or text[at - 1] in "_'"):
        at = text.find("'", at + 1)
    return at >= 0


def _words_only(text: str) -> str:
    """Words and the marks that end a clause; all else is a space."""
    if "->" in text:
        text = text.replace("->", ": ")
    if "+" in text or "#" in text:
        text = text.replace("c++", "cpp").replace("c#", "csharp")
    if "://" in text:
        text = text.replace("://", "//")
    if "tl;dr" in text:
        text = text.replace("tl;dr", "tldr")
    text = text.translate(_SPACES)
    return _ELISION.sub(" ", text) if "'" in text else text


class Instruction:
    """Evidence collected from a prompt, clause by clause.

    Attributes:
        scores: evidence for each kind so far.
        clear: whether a clear instruction has been read.
        words: words read.
    """

    __slots__ = ("clear", "scores", "words")

    def __init__(self) -> None:
        self.scores: Scores = {}
        self.clear = False
        self.words = 0

    def read(self, head: str, tail: str) -> None:
        """Read a prompt's beginning and, where it is long, its end (else "")."""
        rest = self._read_front(_STOP.split(_words_only(head)))
        if tail:
            rest = _words_only(tail)
        if rest:
            self._read_end(rest)

    def _read_front(self, parts: list[str]) -> str:
        """Read until the material begins; return what was not read."""
        weight = 1.0
        clauses = 0
        for at in range(0, len(parts), 2):
            clause = parts[at]
            stop = parts[at + 1] if at + 1 < len(parts) else ""
            if clause and not clause.isspace():
                if clauses == _FRONT_CLAUSES:
                    return "".join(parts[at:])
                clauses += 1
                self._clause(clause, stop, weight)
                weight *= 0.4 if self.clear and weight > 0.5 else 0.9
            if self.clear and (":" in stop or "\n" in stop):
                return "".join(parts[at + 2 :])
        return ""

    def _read_end(self, text: str) -> None:
        """Read the last two clauses: an instruction often follows its material."""
        end = text.rstrip()
        last_line = end[end.rfind("\n") + 1 :]
        parts = _STOP.split(last_line[-_LAST_LINE:])
        weight = 0.4 if self.clear else 1.0
        read = 0
        for at in range(len(parts) - 1 - (len(parts) - 1) % 2, -1, -2):
            clause = parts[at]
            if clause and not clause.isspace():
                stop = parts[at + 1] if at + 1 < len(parts) else ""
                self._clause(clause, stop, weight)
                weight *= 0.8
                read += 1
                if read == 2:
                    return

    def _clause(self, clause: str, stop: str, weight: float) -> None:
        tokens = clause.split()
        request = False
        if tokens[0] in _POLITE_STARTS:
            body = " ".join(tokens)
            polite = _POLITE.match(body)
            if polite:
                request = polite["request"] is not None
                tokens = body[polite.end() :].split()
                if not tokens:
                    self._at_least("chat", 0.9 * weight)
                    return
        if not _SLIPS.isdisjoint(tokens):
            tokens = [MISSPELT.get(token, token) for token in tokens]
        self.words += len(tokens)
        mood = _mood(tokens, stop, request=request)
        strongest = _weigh_clause(tokens, mood, weight, self.scores)
        if "or" in tokens or not TONES.isdisjoint(tokens):
            strongest = max(strongest, _judge(tokens, mood, weight, self.scores))
        if strongest < DECISIVE:
            self._default(tokens, mood, stop, weight)
        elif mood != "statement":
            self.clear = True

    def _default(self, tokens: list[str], mood: _Mood, stop: str, weight: float) -> None:
        """What a clause is when its words do not say: a question, a remark, a request."""
        if mood == "question":
            yes_or_no = tokens[0] in _AUXILIARIES
            if yes_or_no and ("you" in tokens[:3] or "your" in tokens[:4]):
                self._at_least("chat", 1.6 * weight)
            else:
                self._at_least("question_answering", (1.2 if yes_or_no else 1.6) * weight)
        elif mood == "howto":
            self._at_least("question_answering", 1.5 * weight)
        elif mood == "statement":
            self._at_least("chat", 1.1 * weight)
        elif mood == "command":
            self._at_least("question_answering", 0.9 * weight)
        elif len(tokens) > 3 and "?" not in stop and _PERSONAL.isdisjoint(tokens):
            self._at_least("question_answering", 0.8 * weight)  # "nearest metro station to ..."
            self._at_least("chat", 0.6 * weight)
        else:
            self._at_least("chat", (1.0 if "?" in stop else 0.7) * weight)
            self._at_least("question_answering", 0.55 * weight)

    def _at_least(self, kind: Kind, amount: float) -> None:
        if self.scores.get(kind, 0.0) < amount:
            self.scores[kind] = amount


def _mood(tokens: list[str], stop: str, *, request: bool) -> _Mood:
    first = tokens[0]
    if first in QUESTION_WORDS:
        if first in _IMPERATIVE_TOO and "?" not in stop:
            return "command"
        return "howto" if _HOWTO.search(" ".join(tokens)) else "question"
    if first in _PREPOSITIONS and len(tokens) > 2 and tokens[1] in _ASKING:
        return "question"
    if request or first in COMMANDS or ((entry := BY_FIRST_WORD.get(first)) and entry.is_verb):
        return "command"
    if "how" in tokens and _HOWTO.search(" ".join(tokens)):
        return "howto"
    # "class time, import for my lunch?" is a remark, "they sailed in 1492 on?" a question.
    asks = not _ASKING.isdisjoint(tokens) or _OURSELVES.isdisjoint(tokens)
    if "?" in stop and len(tokens) > 3 and asks:
        return "question"
    if first in SUBJECTS or (len(tokens) > 4 and not _FINITE.isdisjoint(tokens)):
        return "statement"
    return "fragment"


def _weigh_clause(tokens: list[str], mood: _Mood, weight: float, scores: Scores) -> float:
    """Add what the clause's cues say to ``scores``; return the strongest kind's share.

    The first strong cue sets the matter: what comes after it counts less ("write a song about
    Python functions" is a song).
    """
    found: Scores = {}
    first: Kind | None = None
    later = narrow = 1.0
    skip = 0
    last = len(tokens) - 1
    # Most words say nothing: picking out the others first is several times faster.
    for at, token in [pair for pair in enumerate(tokens) if pair[1] in _TELLING]:
        if at < skip:
            continue
        if first is not None and token in _NARROWERS:
            narrow = 0.4
        entry = BY_FIRST_WORD.get(token)
        if entry is None:
            if token in LANGUAGES and not LANGUAGE_LINKS.isdisjoint(tokens[max(0, at - 2) : at]):
                add(found, "translation", _towards_language(at, mood) * later)
            continue
        if not entry.others and (at == last or tokens[at + 1] not in entry.by_second):
            continue
        hit = find_cue(entry, tokens, at)
        if hit is None:
            continue
        cue, end = hit
        kind, amount = _weigh(cue, tokens, at, mood)
        if not amount:
            continue
        skip = end
        amount *= narrow
        if first is None and amount > 2.2 and cue.role not in ("phrase", "social"):
            first = kind
            later = 0.5 if cue.role == "verb" else 0.3
        elif first not in (None, kind) and (
            later < 0.5 or (cue.role != "phrase" and kind != "embedding")
        ):
            amount *= later
        before = found.get(kind, 0.0)
        found[kind] = max(before, amount) + 0.35 * min(before, amount)
    for kind, amount in found.items():
        add(scores, kind, amount * weight)
    return max(found.values(), default=0.0)


def _towards_language(at: int, mood: _Mood) -> float:
    if mood in ("question", "howto", "statement"):
        return 0.4
    return 2.3 if at <= 2 else 1.6


def _weigh(cue: Cue, tokens: list[str], at: int, mood: _Mood) -> tuple[Kind, float]:
    """The kind a cue speaks for where it stands, and how strongly."""
    role, kind = cue.role, cue.kind
    amount = cue.strength * _FACTORS[mood][role]
    if role == "phrase":
        return kind, amount
    if role == "social":
        return kind, amount * (1.0 if len(tokens) <= 6 and at <= 1 else 0.25)
    if at > 0 and _negated(tokens, at):
        return kind, 0.0
    if role == "image":
        return _picture(tokens, at, mood, amount)
    if role == "verb":
        if at > 0 and mood in ("command", "fragment"):
            amount = cue.strength * (0.85 if tokens[at - 1] in _COORDINATORS else 0.5)
        if kind == "image_generation" and _means_no_picture(tokens[at + 1 : at + 6]):
            amount = 0.0
    elif role == "noun" and kind == "creative_writing":
        if _is_given(tokens, at) or (tokens[0] in LOOK_AT and "the" in tokens[max(0, at - 2) : at]):
            amount *= 0.2
    elif role in ("plain", "loose") and at == 0:
        amount *= 0.2
    return kind, amount


def _means_no_picture(after: list[str]) -> bool:
    return bool(after) and (after[0] in NOT_DRAWN_NEXT or not NOT_DRAWN.isdisjoint(after))


def _negated(tokens: list[str], at: int) -> bool:
    return (
        tokens[at - 1] in NEGATIONS
        or (at > 1 and tokens[at - 2] in NEGATIONS)
        or (at > 2 and tokens[at - 3] in NEGATIONS and tokens[at - 1] not in _COORDINATORS)
    )


def _is_given(tokens: list[str], at: int) -> bool:
    """Whether the noun at this place is material at hand ("this short story")."""
    return (at > 0 and tokens[at - 1] in _GIVEN) or (at > 1 and tokens[at - 2] in _GIVEN)


def _picture(tokens: list[str], at: int, mood: _Mood, amount: float) -> tuple[Kind, float]:
    """Tell asking for a picture ("a picture of") from speaking of one ("this picture")."""
    if _means_no_picture(tokens[at + 1 : at + 6]) or (mood == "fragment" and at > 4):
        return "image_generation", 0.2 * amount
    if _is_given(tokens, at):
        return "image_understanding", max(amount, 2.0)
    if tokens[0] in LOOK_AT or mood == "question":
        near = tokens[max(0, at - 2) : at]
        return "image_understanding", 2.2 if "the" in near else 0.6
    return "image_generation", amount


def _judge(tokens: list[str], mood: _Mood, weight: float, scores: Scores) -> float:
    """Weigh questions that want a label: "is this message angry?", "is this text about A or B?"."""
    if mood != "question" and _WHETHER.isdisjoint(tokens):
        return 0.0
    given = _QUOTE in tokens or any(
        token in OBJECTS and _is_given(tokens, at) for at, token in enumerate(tokens)
    )
    if not given:
        return 0.0
    amount = 2.8 if not TONES.isdisjoint(tokens) else 2.2 if tokens[0] in _AUXILIARIES else 0.0
    add(scores, "classification", amount * weight)
    return amount
