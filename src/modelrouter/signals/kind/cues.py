"""Words and phrases that tell what kind of task a request is: the cues of the table, and others."""

from __future__ import annotations

from typing import Final, NamedTuple

from modelrouter.signals.kind_table import CUES, Role
from modelrouter.task import Kind

__all__ = [
    "BY_FIRST_WORD",
    "CODE_TARGETS",
    "COMMANDS",
    "LANGUAGES",
    "LANGUAGE_LINKS",
    "LOOK_AT",
    "MISSPELT",
    "NEGATIONS",
    "NOT_DRAWN",
    "NOT_DRAWN_NEXT",
    "OBJECTS",
    "QUESTION_WORDS",
    "SUBJECTS",
    "TONES",
    "Cue",
    "Entry",
    "find_cue",
    "words",
]


class Cue(NamedTuple):
    """One cue, filed under its first word: what must follow, and what it says."""

    rest: tuple[str, ...]
    later: tuple[str, ...]
    kind: Kind
    strength: float
    role: Role


def words(text: str) -> frozenset[str]:
    """The set of a text's words."""
    return frozenset(text.split())


COMMANDS: Final = words(
    "write create make generate give get show produce build design provide return find list help"
    " add convert change turn rewrite rephrase describe read take use run set output print tell"
    " send put mark sort group identify detect determine decide check rate name pick choose"
    " suggest select propose recommend prepare develop craft design need want look update improve"
    " optimize optimise review test polish clean remove delete replace render encode transform"
    " represent predict fill copy highlight collect extract grab follow gimme lemme do try keep"
    " turn split merge format parse organize organise spell transcribe caption count measure"
    " escribe crea genera haz dame hazme diseña muestra busca encuentra lista convierte cambia"
    " quiero necesito redacta prepara écris écrivez crée créez génère fais faites donne donnez"
    " montre trouve liste convertis change rédige prépare veux voudrais schreibe schreib erstelle"
    " erzeuge mach mache gib zeige zeig finde nenne entwirf generiere verfasse baue brauche"
    " möchte wandle scrivi crea genera fai dammi escreva crie gere faça schrijf maak genereer geef"
)
"""Verbs that ask for something without saying of what kind; the noun after them says it."""

QUESTION_WORDS: Final = words(
    "what what's whats who who's whos whom whose when when's where where's wheres which why why's"
    " how how's hows is are was were do does did has have had am can could should would will may"
    " isn't aren't doesn't don't didn't"
    " qué cuál cuáles quién quiénes cuándo dónde cómo cuánto cuántos cuánta cuántas es son está"
    " que quel quelle quels quelles qui quand où pourquoi comment combien est"
    " was wer wann wo warum wieso wie welche welcher welches wieviel ist sind hat kann"
    " cosa chi quando dove perché come quanto qual quem onde porque como wat wie waar wanneer"
    " hoeveel waarom hoe"
)

SUBJECTS: Final = words(
    "here attached below above i i'm i've i'd im my we we're our he he's she she's it it's they"
    " they're you your his her their there there's the this that these those nobody everybody"
    " someone today yesterday yo mi mis nosotros él ella je j mon ma nous il elle ich mein meine"
    " wir er sie es"
)
"""First words of a clause that states something."""

LOOK_AT: Final = words(
    "describe caption analyze analyse identify look read explain transcribe what what's whats who"
    " who's is are how where which does do see tell can summarize summarise extract classify"
    " translate compare rate count detect qué que was wie"
)
"""First words of a clause that speaks of a picture that exists."""

NEGATIONS: Final = words(
    "don't dont not never no without doesn't didn't nicht kein keine ohne pas sans sin cannot can't"
)

NOT_DRAWN: Final = words(
    "conclusion conclusions inference inferences comparison comparisons distinction distinctions"
    " parallel parallels lesson lessons attention inspiration words"
    " conclusión conclusiones fazit schluss"
)
"""What "draw" may take without a picture being meant."""

NOT_DRAWN_NEXT: Final = words("up on upon from near closer blank blood strength breath")
"""Likewise, right after the verb."""

OBJECTS: Final = words(
    "text sentence sentences paragraph passage article essay email letter note notes review"
    " document story message post report abstract comment tweet headline statement headline reply"
)
"""Nouns for a text that is given."""

TONES: Final = words(
    "positive negative neutral spam ham sarcastic ironic urgent hostile friendly formal informal"
    " toxic angry happy sad polite rude offensive aggressive subjective objective biased fake"
    " clickbait hateful hate threatening sincere optimistic pessimistic"
)
"""What a text may be judged to be."""

LANGUAGES: Final = words(
    "english french spanish german italian portuguese dutch russian chinese mandarin cantonese"
    " japanese korean arabic hindi polish swedish norwegian danish finnish greek turkish hebrew"
    " ukrainian czech hungarian romanian thai vietnamese indonesian latin bengali urdu persian"
    " farsi swahili tamil catalan irish welsh croatian serbian bulgarian slovak"
    " inglés francés español alemán italiano portugués japonés chino ruso"
    " anglais français espagnol allemand italien portugais japonais chinois russe"
    " englisch englische französisch französische spanisch spanische deutsch deutsche italienisch"
    " italienische portugiesisch japanisch chinesisch russisch inglese francese tedesco spagnolo"
    " inglês francês espanhol alemão engels frans duits spaans nederlands"
)
"""Names of languages, in English and in the languages whose instructions are read."""

LANGUAGE_LINKS: Final = words("to into in en al au auf ins nach naar para pour zu")

CODE_TARGETS: Final = words(
    "python javascript typescript java kotlin go golang rust ruby php perl scala haskell cpp"
    " csharp c sql bash swift julia r lua"
)
"""Programming languages that code may be translated to."""


def _one_slip(word: str) -> set[str]:
    """The word with one letter left out, doubled, or swapped with the next; the first one kept."""
    out = set()
    for i in range(1, len(word)):
        out.add(word[:i] + word[i + 1 :])
        out.add(word[:i] + word[i] + word[i:])
        if i + 1 < len(word):
            out.add(word[:i] + word[i + 1] + word[i] + word[i + 2 :])
    out.discard(word)
    return out


_OFTEN_MISSPELT: Final = words(
    "translate summarize summarise grammar grammatical correct sentence complete continue classify"
    " categorize extract generate embedding embed proofread spelling sentiment function python"
    " javascript calculate equation solve square describe picture image illustration paragraph"
    " story write finish compute translation summary autocomplete mistakes question poem"
)

# Slips that are words themselves.
_NO_SLIPS: Final = words(
    "compete sole store poe pem pome stor selling sentient mistake finnish summaries"
)

MISSPELT: Final = {
    slip: word for word in _OFTEN_MISSPELT for slip in _one_slip(word) if slip not in _NO_SLIPS
} | {"grammer": "grammar", "compleet": "complete", "writ": "write", "sumarise": "summarise"}
"""Common slips in the words that decide most, and what was meant."""


_GAP: Final = 6


class Entry(NamedTuple):
    """The cues that begin with one word."""

    by_second: dict[str, tuple[Cue, ...]]
    """Cues whose next word is fixed, under that word, longest first."""
    others: tuple[Cue, ...]
    """Cues of one word, or of one word and a gap; those with a gap first."""
    is_verb: bool
    """Whether the word alone is an instruction's verb."""


def find_cue(entry: Entry, tokens: list[str], at: int) -> tuple[Cue, int] | None:
    """The longest cue standing at ``tokens[at]`` and the position after it."""
    if at + 1 < len(tokens) and (cues := entry.by_second.get(tokens[at + 1])):
        for cue in cues:
            end = at + 1 + len(cue.rest)
            if len(cue.rest) == 1 or tuple(tokens[at + 1 : end]) == cue.rest:
                if not cue.later:
                    return cue, end
                if _later_end(cue.later, tokens, end):
                    return cue, end
    for cue in entry.others:
        if not cue.later or _later_end(cue.later, tokens, at + 1):
            return cue, at + 1
    return None


def _later_end(later: tuple[str, ...], tokens: list[str], start: int) -> int:
    """The position after ``later`` when it stands within the gap, else 0."""
    width = len(later)
    for at in range(start, min(start + _GAP, len(tokens) - width) + 1):
        if tokens[at] == later[0] and (width == 1 or tuple(tokens[at : at + width]) == later):
            return at + width
    return 0


def _by_first_word() -> dict[str, Entry]:
    filed: dict[str, list[Cue]] = {}
    for role, kind, strength, cues in CUES:
        for text in cues:
            before, _, after = text.partition(" * ")
            first, *rest = before.split()
            cue = Cue(tuple(rest), tuple(after.split()), kind, strength, role)
            filed.setdefault(first, []).append(cue)
    return {word: _entry(cues) for word, cues in filed.items()}


def _entry(cues: list[Cue]) -> Entry:
    cues.sort(key=_longest_first)
    by_second: dict[str, tuple[Cue, ...]] = {}
    for cue in cues:
        if cue.rest:
            by_second[cue.rest[0]] = (*by_second.get(cue.rest[0], ()), cue)
    others = tuple(cue for cue in cues if not cue.rest)
    return Entry(by_second, others, any(c.role == "verb" for c in others))


def _longest_first(cue: Cue) -> tuple[int, float]:
    return -(len(cue.rest) + len(cue.later)), -cue.strength


BY_FIRST_WORD: Final = _by_first_word()
"""Every cue, under its first word."""
