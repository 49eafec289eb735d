"""Language: the natural language of the text to be worked on, by script and by common words.

Scripts other than Latin decide by themselves. Texts in Latin letters are told apart by their
commonest words, each worth the more the fewer languages share it, and by letters that only some
of them write. Where an instruction comes with material ("Fix the grammar: Sie gehen ..."), the
material is judged: it is what a model must be able to read.
"""

from __future__ import annotations

import re
from itertools import repeat
from typing import Final

from modelrouter.signals.base import UNDETERMINED

__all__ = ["UNDETERMINED", "detect_language"]

_HEAD: Final = 500
_TAIL: Final = 300
"""Only the first and last characters are looked at."""

_INSTRUCTION_LENGTH: Final = 150
_QUOTED: Final = re.compile(r"[\"“«„]([^\"“”«»„]{8,})[\"”»“]")
_COLON: Final = re.compile(r"(?:(?<=\S)| )[:\N{FULLWIDTH COLON}](?=\s|[^\W\d_])(?!//)\s*")
_NOT_WORDS: Final = {
    ord(sign): " " for sign in '\n\t\r0123456789.,;:!?()[]{}<>"“”„«»-_/\\*#=+|`~@$%^&…¿¡'
} | {ord("\N{RIGHT SINGLE QUOTATION MARK}"): "'"}


def detect_language(text: str) -> str:
    """ISO 639-1 code of the text, :data:`UNDETERMINED` where there is too little to go by."""
    sample = text if len(text) <= _HEAD + _TAIL else f"{text[:_HEAD]}\n{text[-_TAIL:]}"
    material = _material(sample)
    if material is not None:
        of_material = _language(material)
        if of_material != UNDETERMINED:
            return of_material
    return _language(sample)


def _material(sample: str) -> str | None:
    """What an instruction is given with: after its colon, in quotation marks, or set off."""
    if ":" in sample or "\N{FULLWIDTH COLON}" in sample:
        colon = _COLON.search(sample, 0, _INSTRUCTION_LENGTH)
        if colon and len(sample) - colon.end() > 3:
            return sample[colon.end() :]
    if ('"' in sample or not sample.isascii()) and (quoted := _QUOTED.search(sample)):
        return quoted[1]
    if "\n" in sample.strip():
        return max(sample.split("\n"), key=len)
    return None


def _language(sample: str) -> str:
    if not sample.isascii():
        script = _by_script(sample)
        if script is not None:
            return script
    return _by_words(sample)


# ── other scripts

_SCRIPTS: Final = (
    ("\u0370", "\u03ff", "el"),
    ("\u0400", "\u052f", "ru"),
    ("\u0590", "\u05ff", "he"),
    ("\u0600", "\u06ff", "ar"),
    ("\u0900", "\u097f", "hi"),
    ("\u0e00", "\u0e7f", "th"),
    ("\u1100", "\u11ff", "ko"),
    ("\u3040", "\u30ff", "ja"),
    ("\u4e00", "\u9fff", "zh"),
    ("\uac00", "\ud7af", "ko"),
)
_OTHER_SCRIPT: Final = re.compile("[" + "".join(f"{a}-{b}" for a, b, _ in _SCRIPTS) + "]")
_KANA: Final = re.compile("[\u3040-\u30ff]")
_UKRAINIAN: Final = re.compile("[іїєґІЇЄҐ]")
_LATIN_LETTERS: Final = re.compile(r"[A-Za-z]+")
_OTHER_SHARE: Final = 0.3
"""Share of the letters from which another script decides."""


def _by_script(sample: str) -> str | None:
    others = _OTHER_SCRIPT.findall(sample)
    if not others:
        return None
    latin = sum(map(len, _LATIN_LETTERS.findall(sample)))
    if len(others) < _OTHER_SHARE * (len(others) + latin):
        return None
    counts: dict[str, int] = {}
    for letter in others:
        for first, last, code in _SCRIPTS:
            if first <= letter <= last:
                counts[code] = counts.get(code, 0) + 1
                break
    best = max(counts, key=counts.__getitem__)
    if best == "zh" and _KANA.search(sample):
        return "ja"
    if best == "ru" and _UKRAINIAN.search(sample):
        return "uk"
    return best


# ── Latin letters

# Words that stand in almost any text of the language; those of other languages speak against.
_COMMON: Final[dict[str, str]] = {
    "en": """
        a the of and to in is you that it he was for on are with as i his they be at one have this
        from or had by not but what all were we when your can said there an each which she do how
        their if will up other about out many then them these so some her would like him into
        has more no way could my than first been who its now did get come may very much am our
        us me does don't doesn't isn't it's i'm you're we're they're can't won't didn't i've why
        where here just because only also after before over under between through should must
        every any too never always again still while although however than yet ever""",
    "es": """
        el la los las de que y en un una es por con para como está pero sus le ya este sí porque
        esta entre cuando muy sin sobre también me hasta hay donde quien desde todo nos durante ni
        contra ese eso mí qué son dos era yo del se lo su al más fue ser tiene ha hemos hacer puede
        están si no cada otro otra mi tu te les nosotros ellos estoy eres soy fueron había he""",
    "fr": """
        le la les de des du et en un une est que qui dans pour pas au sur ne se plus par ce il je
        avec vous son nous mais elle ou si leur y dont cette sont tout lui bien être été fait c'est
        j'ai aux ces mes mon ma sa ses où très n'est d'un d'une qu'il qu'elle l'on ils elles suis
        avez avons ont peut comme sans sous était a à votre notre tu te me moi""",
    "de": """
        der die das und in zu den ist nicht von mit sich des auf für im dem ein eine als auch es an
        er hat aus bei ich sie wir ihr nach einer um am sind noch wie einem über einen so zum war
        haben nur oder aber vor zur bis mehr durch man dann sein wird mich dich mein meine habe
        kann können wenn bitte diese dieser dieses dass daß keine kein ihnen ihm mir dir uns
        werden wurde du bin bist seit schon immer hier gestern heute""",
    "it": """
        il lo la i gli le di e che in un una è per non sono con si da come più anche ma se nel della
        del dei alla al questo quella ha ho io ci mi ti loro suo sua essere stato fare nella dal
        delle degli c'è dell'una l'ho perché molto tutto tutti quando dove chi cosa può sei siamo
        hanno era sul sulla""",
    "pt": """
        o a os as de que e do da em um uma para é com não por mais dos como mas foi ao ele das tem
        à seu sua ou ser quando muito há nos já está eu também só pelo pela até isso ela entre era
        depois sem mesmo aos você vocês são no na nas minha meu isto esta este fazer pode estão
        uns umas lhe nós""",
    UNDETERMINED: """
        och att det som på är av för inte till ett jag og ikke er jeg af ja on ei että se oli nie
        jest się na w z że v s ve bir bu için ile és nem hogy egy az și nu să""",
    "nl": """
        de het een van en in is dat op te zijn met voor niet aan er om ook als bij of uit nog maar
        door over ze hij dit wordt naar kan heeft ik je we wat mijn deze was worden tot geen dan
        zou moet wil jij u hebben had onze ons wij haar hun zij veel meer alle kunt bent ben""",
}
# Words that show the language of a short text; worth half.
_FREQUENT: Final[dict[str, str]] = {
    "en": """
        hi hello hey thanks thank please yes bye good morning night great nice well ok okay sorry
        go goes going went gone know think want need make made take see look find give tell work
        use day days time year years week people man woman child children boy girl friend house
        home school city country world life thing things way book food water money car dog cat
        red blue green black white big small old new long little best better last next right left
        today tomorrow yesterday two three four five ten how's what's let's that's love feel happy
        sad long story poem song picture image draw write written read word words sentence text
        grammar question answer list name number code function program python equation solve
        translate summarize correct fix complete explain create generate describe classify
        extract following run runs running play plays apple apples music phone computer game
        bored funny birthday weather table room door street train bus job team meeting email
        capital world war history science king movie film cake tea coffee""",
    "es": "hola gracias favor ayer hoy mañana texto oración frase siguiente buenos días casa años"
    " cuál cómo dónde cuándo quién escribe traduce resume corrige tengo tiene voy vamos",
    "fr": "bonjour salut merci hier demain aujourd'hui texte phrase suivante suivant oui non ça va"
    " comment pourquoi quand écris traduis résume corrige allé voudrais faire aller maison s'il",
    "de": "hallo danke ja nein morgen text satz folgenden schreibe übersetze korrigiere geht gehe"
    " gehen schule haus jahr jahre wer wo wann warum welche möchte guten tag gemacht machen viel",
    "it": "ciao grazie ieri oggi domani testo frase seguente buongiorno scrivi traduci casa anni"
    " vorrei andare fare sono stata",
    "pt": "olá obrigado obrigada ontem hoje amanhã texto frase seguinte bom dia escreva traduza"
    " casa anos quero vou gostaria fazer",
    "nl": "hallo bedankt gisteren vandaag morgen tekst zin volgende goed schrijf vertaal huis jaar"
    " gaat gaan school graag alsjeblieft dank",
}
_LETTERS: Final = {
    "ñ": "es", "ß": "de", "ä": "de", "ö": "de", "ü": "de", "ã": "pt", "õ": "pt", "ê": "fr pt",
    "è": "fr it", "à": "fr it", "ù": "fr it", "ò": "it", "ì": "it", "œ": "fr", "î": "fr",
    "ô": "fr pt", "û": "fr", "ç": "fr pt", "á": "es pt", "í": "es pt", "ó": "es pt", "ú": "es pt",
    "¿": "es", "¡": "es", "å": "und", "ø": "und", "æ": "und", "ł": "und", "ą": "und", "ę": "und",
    "ś": "und", "ż": "und", "ğ": "und", "ş": "und", "\u0131": "und", "ř": "und", "ě": "und",
    "ů": "und", "č": "und", "ž": "und", "ý": "und", "ő": "und", "ű": "und", "ț": "und", "ă": "und",
}  # fmt: skip


def _weights() -> dict[str, dict[str, float]]:
    """Each word's weight for each language: less for words that several share."""
    table: dict[str, dict[str, float]] = {}
    for worth, words_of in ((0.5, _FREQUENT), (1.0, _COMMON)):
        for code, words in words_of.items():
            for word in words.split():
                table.setdefault(word, {})[code] = worth
    for letter, codes in _LETTERS.items():
        table[letter] = dict.fromkeys(codes.split(), 0.5)
    return {
        word: {code: worth / len(codes) ** 0.5 for code, worth in codes.items()}
        for word, codes in table.items()
    }


_WEIGHTS: Final = _weights()
_ENGLISH_ONLY: Final = {w: codes["en"] for w, codes in _WEIGHTS.items() if list(codes) == ["en"]}
_SHARED: Final = {w: tuple(c.items()) for w, c in _WEIGHTS.items() if w not in _ENGLISH_ONLY}
_ELISION: Final = re.compile(r"'(?:(?<=\b[ldjcns]')|(?<=\bqu'))[a-zàâéèêîôû]{2}")
"""French l'image, qu'il; read from the apostrophe on, as it is quick to look for."""
_ENGLISH_ENDINGS: Final = ("ing", "ness", "ght", "ould", "tion", "ly", "ed", "ck", "sh", "th", "ee")


def _by_words(sample: str) -> str:
    lowered = sample.lower()
    words = lowered.translate(_NOT_WORDS).split()
    votes = {"en": 0.0}  # first, so that it wins a draw
    hits = words if sample.isascii() else [*words, *(c for c in lowered if c in _LETTERS)]
    # Words of English alone are the most, and need no table of languages.
    english = sum(map(_ENGLISH_ONLY.get, hits, repeat(0.0)))
    for word in [word for word in hits if word in _SHARED]:
        for code, weight in _SHARED[word]:
            votes[code] = votes.get(code, 0.0) + weight
    votes["en"] += english
    if "'" in lowered:
        votes["fr"] = votes.get("fr", 0.0) + 0.7 * len(_ELISION.findall(lowered))
    if any(votes.values()):
        best = max(votes, key=votes.__getitem__)
        # One or two chance words in a long text of some other language prove nothing.
        if votes[best] >= _EVIDENCE * len(words):
            return best
    elif sample.isascii() and any(word.endswith(_ENGLISH_ENDINGS) for word in words):
        return "en"
    return UNDETERMINED


_EVIDENCE: Final = 0.08
"""Votes for each word of the text that a language needs."""
