"""Which natural language a text is in, from its script and its commonest words."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["detect_language"]

_HEAD: Final = 600
_TAIL: Final = 600
"""Only the first and last characters are looked at."""

_SCRIPTS: Final = (
    ("ja", re.compile("[\u3040-\u30ff]")),
    ("ko", re.compile("[\uac00-\ud7af\u1100-\u11ff]")),
    ("zh", re.compile("[\u4e00-\u9fff]")),
    ("ru", re.compile("[\u0400-\u04ff]")),
    ("ar", re.compile("[\u0600-\u06ff]")),
    ("he", re.compile("[\u0590-\u05ff]")),
    ("hi", re.compile("[\u0900-\u097f]")),
    ("el", re.compile("[\u0370-\u03ff]")),
    ("th", re.compile("[\u0e00-\u0e7f]")),
)
_UKRAINIAN: Final = re.compile("[іїєґІЇЄҐ]")
_FOREIGN_SHARE: Final = 0.15
"""Share of letters outside the Latin script from which the script decides."""

_WORDS: Final[dict[str, frozenset[str]]] = {
    "en": frozenset(
        "the of and to in is you that it he was for on are with as i his they be at one have this"
        " from or had by not but what all were we when your can said there an each which she do"
        " how their if will up other about out many then them these so some her would make like"
        " him into has more go no way could my than first been who its now did get come may hi"
        " hello thanks please yes don't doesn't isn't it's i'm you're we're they're can't why"
        " where here very much good am our us me does going goes went want every day"
        " yesterday".split()
    ),
    "es": frozenset(
        "el la los las de que y en un una es por con para como está pero sus le ya o este sí porque"
        " esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante"
        " ni contra ese eso mí qué e son dos era yo del se lo su al más fue ser tiene qué hola"
        " gracias favor ayer siguiente texto oración frase".split()
    ),
    "fr": frozenset(
        "le la les de des du et en un une est que qui dans pour pas au sur ne se plus par ce il je"
        " avec vous son nous mais elle ou si leur y dont cette sont tout lui bien être été fait"
        " c'est j'ai aux ces mes mon ma sa ses où très bonjour merci hier suivant texte"
        " phrase".split()
    ),
    "de": frozenset(
        "der die das und in zu den ist nicht von mit sich des auf für im dem ein eine als auch es"
        " an er hat aus bei ich sie wir ihr nach einer um am sind noch wie einem über einen so zum"
        " war haben nur oder aber vor zur bis mehr durch man dann sein wird mich dich mein meine"
        " gehe gehen geht schule gestern hallo danke bitte folgenden text satz habe".split()
    ),
    "it": frozenset(
        "il lo la i gli le di e che in un una è per non sono con si da come più anche ma se nel"
        " della del dei alla al questo quella ha ho io ci mi ti loro suo sua essere stato fare"
        " ieri ciao grazie seguente testo frase perché".split()
    ),
    "pt": frozenset(
        "o a os as de que e do da em um uma para é com não por mais dos como mas foi ao ele das tem"
        " à seu sua ou ser quando muito há nos já está eu também só pelo pela até isso ela entre"
        " era depois sem mesmo aos ontem olá obrigado seguinte texto frase você".split()
    ),
    "nl": frozenset(
        "de het een van en in is dat op te zijn met voor niet aan er om ook als bij of uit nog maar"
        " door over ze hij dit wordt naar kan heeft ik je we wat mijn deze was worden tot geen"
        " gisteren hallo bedankt volgende tekst zin".split()
    ),
}
_LANGUAGES_OF: Final[dict[str, tuple[str, ...]]] = {
    word: tuple(code for code, words in _WORDS.items() if word in words)
    for word in frozenset().union(*_WORDS.values())
}
_WORD: Final = re.compile(r"[^\W\d_]+(?:['\u2019][^\W\d_]+)?")
_INSTRUCTION: Final = re.compile(r"^[^\n:]{3,80}:\s+(?=\S)")


def detect_language(text: str) -> str:
    """ISO 639-1 code of the text, ``"und"`` where there is too little to go by.

    Where an instruction is followed by a colon and the material ("Fix the grammar: ..."), the
    material decides: it is what a model has to be able to read.
    """
    sample = text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]} {text[-_TAIL:]}"
    match = _INSTRUCTION.match(sample)
    if match:
        of_material = _language(sample[match.end() :])
        if of_material != "und":
            return of_material
    return _language(sample)


def _language(sample: str) -> str:
    if not sample.isascii():
        script = _by_script(sample)
        if script is not None:
            return script
    return _by_words(sample)


def _by_script(sample: str) -> str | None:
    letters = sum(map(str.isalpha, sample)) or 1
    for code, pattern in _SCRIPTS:
        found = len(pattern.findall(sample))
        if found / letters >= _FOREIGN_SHARE:
            return "uk" if code == "ru" and _UKRAINIAN.search(sample) else code
    return None


def _by_words(sample: str) -> str:
    words = _WORD.findall(sample.lower())
    if not words:
        return "und"
    scores = dict.fromkeys(_WORDS, 0)
    for word in words:
        for code in _LANGUAGES_OF.get(word, ()):
            scores[code] += 1
    first, second = sorted(scores, key=scores.__getitem__, reverse=True)[:2]
    best = scores[first]
    if best == 0:
        # Plain ASCII without any common word of another language: English, or too short to tell.
        return "en" if sample.isascii() and len(words) >= 2 else "und"
    if best == scores[second] and "en" not in (first, second):
        return "und"
    return "en" if best == scores["en"] else first
