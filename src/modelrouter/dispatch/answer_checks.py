"""Whether an answer is one at all: empty, cut at once, a loop, the prompt again, another language.

Pure functions of texts; each says in words what is wrong, or "" where nothing is surely wrong. An
answer that is merely bad passes: whether it is right, no function can see.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from modelrouter.signals.language import UNDETERMINED, detect_language
from modelrouter.task import Kind

__all__ = ["Asked", "no_answer", "payload_of"]

_CLIPPED: Final = 2_000
"""Characters of a long text's beginning and of its end that are looked at."""


@dataclass(frozen=True)
class Asked:
    """What an answer is held against.

    Attributes:
        prompt: the last user turn.
        kind: what sort of task it is; ``None`` where that is not sure: checks of a kind rest.
        payload: the given text that is to be worked on, a part of ``prompt``; "" if it has none, or
            where that is not sure.
        context: the other turns; a language that they are in or speak of may be the answer's.
        certain: whether the kind is the caller's own word. A kind that was read may be wrong, and a
            corrected text be taken for an answer in the prompt's words: more is asked of an echo.
        language: the prompt's, as :func:`~modelrouter.signals.language.detect_language` reads it.
    """

    prompt: str
    kind: Kind | None = None
    payload: str = ""
    context: str = ""
    language: str = UNDETERMINED
    certain: bool = True

    @cached_property
    def instruction(self) -> str:
        """The prompt without the payload."""
        return self.prompt.replace(self.payload, "\n", 1) if self.payload else self.prompt


def no_answer(text: str, asked: Asked, *, stopped: bool = True) -> str:
    """The first reason why this is no answer; "" where it may be one.

    Args:
        stopped: whether the model ended by itself, and was not cut off by a limit of tokens.
    """
    if why := empty(text):
        return why
    text = _clipped(text)
    pieces = text.split()
    if len(text) > 15 * len(pieces):  # a script without spaces, or an address
        pieces = _words(text)
    return (
        loop(text, pieces, code=asked.kind == "code")
        or echo(text, pieces, asked)
        or (cut_short(text, pieces, asked) if stopped else "")
        or wrong_length(text, asked, stopped=stopped)
        or (other_language(text, asked) if len(pieces) >= _FEWEST else "")
    )


# ── words

_NO_SPACES: Final = "\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff"
"""Scripts that set no spaces between words: Thai, Lao, Burmese, Khmer, kana, Han."""
_WORD: Final = re.compile(r"\w+")
_WORD_OR_SIGN: Final = re.compile(rf"[{_NO_SPACES}]|[^\W{_NO_SPACES}]+")


def _words(text: str) -> list[str]:
    """The text's words in lower case; each character for one in scripts without spaces."""
    lowered = text.lower()
    return (_WORD if lowered.isascii() else _WORD_OR_SIGN).findall(lowered)


def _clipped(text: str) -> str:
    return text if len(text) <= 2 * _CLIPPED else f"{text[:_CLIPPED]}\n{text[-_CLIPPED:]}"


def _clipped_words(text: str) -> list[str]:
    return _words(_clipped(text))


def _threes(words: Sequence[str]) -> list[tuple[str, str, str]]:
    return list(zip(words, words[1:], words[2:], strict=False))


_TEXT_KINDS: Final = ("grammar", "translation")
"""Whose answers are to be the text alone, so that the payload in them is no echo."""


# ── empty, cut

_SOMETHING: Final = re.compile(r"[^\W_]|[^\x00-\x7f\s]|[+=<>$%&@?^\\]")
"""A letter, a digit, or a sign that may be an answer by itself: an emoji, an operator."""


def empty(text: str) -> str:
    """Nothing, or only blanks, marks and fences."""
    if _SOMETHING.search(text) is not None:
        return ""
    shown = text.strip()[:20]
    return f"the answer is only {shown!r}" if shown else "the answer is empty"


_OPEN_ENDS: Final = (
    ":",
    ",",
    "\N{FULLWIDTH COLON}",
    "\N{FULLWIDTH COMMA}",
    "\N{IDEOGRAPHIC COMMA}",
)
_OPEN_WORDS: Final = frozenset(
    "the a an and of to with my your is are der die das und von zu mit ein eine ist le la les et "
    "de du un une est el los las y del con una il lo gli e di da per o os as do um uma é".split()
)
_LEAD_IN_WORDS: Final = 25
_FEW_ASKED: Final = re.compile(
    r"word|title|headline|tag|topic|label|name|emoji|wort|titel|thema|mot\b|titre|sujet|palabra"
    r"|título|tema|parol|titol|palavra|woord|słow|слов|kelime|ba\u015fl\u0131k|词|字|标题|語|題|단어|제목|كلمة"
    r"|عنوان|शब्द|शीर्षक",
    re.IGNORECASE,
)


def cut_short(text: str, pieces: Sequence[str], asked: Asked) -> str:
    """An end after the greeting, the announcement or the first word of what was asked for."""
    if len(pieces) > _LEAD_IN_WORDS:
        return ""
    words = _words(text)
    ending = text.rstrip(" \n\t*_`\"'#-")
    open_end = ending.rstrip(".").endswith(_OPEN_ENDS) or (
        asked.kind != "completion" and 1 < len(words) < 12
        and ending.isascii() and ending.endswith(words[-1]) and words[-1] in _OPEN_WORDS
    )  # fmt: skip
    if open_end and asked.kind in _TEXT_KINDS:  # the text given may end so
        last, said = words[-1], _words(asked.prompt[-_CLIPPED:])
        open_end = last not in said and not asked.payload.rstrip().endswith(_OPEN_ENDS)
    if open_end and asked.kind not in ("classification", "extraction", "code"):
        return f"the answer ends with {text.strip()[-40:]!r}"
    if asked.kind != "summarization" or len(words) > 2 or len(asked.payload) < 150:
        return ""
    return "" if _FEW_ASKED.search(asked.instruction) else f"the answer is only {text.strip()!r}"


# ── loops

_NUMBER: Final = re.compile(r"\d+")
_BLANKS: Final = re.compile(r"\s+")
_POINT: Final = re.compile(r"^[\W\d]+")
_LOOKED_AT: Final = 2_000
_LONGEST_PIECE: Final = 400
_COUNTED: Final = 1_000
"""Characters of the end in which numbers are taken for one."""
_MARKS_ONLY: Final = re.compile(r"[\s\-=_*~#.|+:<>/\\]*")
_SIGNS: Final = re.compile(r"[^\W_]")
_LETTERS: Final = re.compile(r"[^\W\d_]")


def loop(text: str, pieces: Sequence[str], *, code: bool = False) -> str:
    """The same words or characters again and again, at the end or all through the answer."""
    end = text[-_LOOKED_AT:].rstrip().rstrip("\N{REPLACEMENT CHARACTER}")
    found = _periodic(end, code=code)
    if not found and "  " in end:  # deeper and deeper in
        found = _periodic(_BLANKS.sub(" ", end), code=code)
    if not found and not code:
        # Lists go on counting while they repeat themselves: "7. the same 8. the same".
        counted = _NUMBER.sub("0", end[-_COUNTED:]) if any(map(str.isdigit, end[-60:])) else end
        found = (counted is not end and _periodic(counted, code=False, lettered=True)) or ""
        found = found or _same_lines(text) or _repetitive(pieces)
    return found


def _periodic(end: str, *, code: bool, lettered: bool = False) -> str:
    """An end of one piece many times over, character by character, so in any script.

    The piece's length is the distance to where the last characters stood before.
    """
    flipped = end[::-1]
    for size in (24, 6):
        before = flipped.find(flipped[:size], 1, _LONGEST_PIECE + size)
        if len(flipped) <= size or before < 0:
            continue
        same = _alike(flipped[before:], flipped)
        piece = flipped[:before][::-1]
        if lettered and len(_LETTERS.findall(piece)) < 3:
            continue
        times = 1 + same / before
        if lettered and times < (4 if before >= 60 else 8):
            continue
        if _is_loop(piece, times, same + before, code=code):
            return f"the answer repeats {piece.strip()[:40]!r} {int(times)} times"
    return ""


def _alike(one: str, other: str) -> int:
    """How many characters both begin with."""
    least, most = 0, min(len(one), len(other))
    while least < most:
        middle = (least + most + 1) // 2
        if one[least:middle] == other[least:middle]:
            least = middle
        else:
            most = middle - 1
    return least


def _is_loop(piece: str, times: float, length: int, *, code: bool) -> bool:
    if code:  # tables of zeros and the like are code
        said = len(_LETTERS.findall(piece)) >= 8 and times >= 5 and length >= 100
        return said or (times >= 8 and length >= 300)
    if _MARKS_ONLY.fullmatch(piece):  # a ruled line, or empty points of a list
        return times >= 12 if "\n" in piece else length >= 200
    if len(_SIGNS.findall(piece)) <= 3:  # "ha ha ha" and "nooo" are said by people
        return times >= 12 and length >= (60 if any(map(str.isdigit, piece)) else 24)
    return (times >= 4 and length >= 48) or (times >= 2.5 and length >= 240)


def _same_lines(text: str) -> str:
    """A list whose points are the same (the share of lines that stood there before: Rae et al.
    2021, table A1)."""
    if text.count("\n") < 4:
        return ""
    lines = [line for raw in text.split("\n") if len(line := _POINT.sub("", raw)) >= 16]
    different = len(set(lines))
    if len(lines) < 5 or different > 0.4 * len(lines):
        return ""
    return f"the answer repeats itself: {len(lines)} lines, of which {different} are different"


_FEWEST_WORDS: Final = 30
_FEW_RAW: Final = 0.15
"""Share of runs from which the words are looked at without their marks and capitals."""
_RICH: Final = 0.6
"""Share of different words from which no loop is looked for."""


def _repetitive(pieces: Sequence[str]) -> str:
    """Runs of four words of which many stood there before (seq-rep-4, Welleck et al. 2019).

    Where they are fewer, some of eight words must be among them: a speech may begin its sentences
    alike.
    """
    pieces = pieces[-160:]
    count = len(pieces)
    if count < _FEWEST_WORDS or len(set(pieces)) > _RICH * count:
        return ""
    if _repeated(pieces, 4) < _FEW_RAW:
        return ""
    words = _words(" ".join(pieces))
    repeated = _repeated(words, 4)
    few = 0.28 if count >= 48 else 0.5  # a sentence said twice is none
    if repeated < few or (repeated < 0.5 and _repeated(words, 8) < 0.14):
        return ""
    return f"the answer repeats itself: {repeated:.0%} of its runs of four words"


def _repeated(words: Sequence[str], size: int) -> float:
    """Share of the runs of so many words that stood there before."""
    runs = list(zip(*(words[at:] for at in range(size)), strict=False))
    return 1 - len(set(runs)) / len(runs)


# ── the prompt again

_MARKED: Final = re.compile(
    r"(?:^|[\s(])[\"'\u201c\u2018«„][^\"\u201d\u2019»\u201c]{4,}[\"'\u201d\u2019»\u201c](?=[\s?.,)]|$)"
)
"""Something in quotation marks: there is an instruction around it."""
_OWN_WORDS: Final = ("chat", "code", "creative_writing", "math", "reasoning", "summarization")
"""Whose answers are not to be found in the prompt."""
_NEW_WORDS: Final = ("completion", "creative_writing")
"""Whose answers add something to the payload, or say it otherwise."""
_POINTS: Final = ".,;:!?\"'()[]*_`#-"
_TRIED: Final = 16
"""Words that are looked for before all are."""
_SHORTER_KINDS: Final = ("classification", "summarization")
"""Whose answers say less than the payload."""


def echo(text: str, pieces: Sequence[str], asked: Asked) -> str:
    """The prompt comes back, or its instruction does where the text alone was asked for."""
    if len(pieces) < 3 or len(text) > 2 * len(asked.prompt) + 200:
        return ""
    if _is_instruction(text, asked):
        return "the answer is the instruction"
    if asked.kind in _TEXT_KINDS:
        return _instruction_again(text, asked)
    prompt = _clipped(asked.prompt).lower()
    first = [piece.strip(_POINTS).lower() for piece in pieces[:_TRIED]]
    if sum(word in prompt for word in first) < 0.6 * len(first):
        return ""  # as nearly always
    words, said = _words(text), _words(prompt)
    known = set(said)
    if (
        len(said) < (5 if asked.kind == "chat" else 4)
        or not words
        or sum(word in known for word in words) < 0.7 * len(words)
    ):
        return ""
    if _prompt_again(words, said, known, asked):
        return "the answer is the prompt again"
    if asked.payload and asked.kind in _SHORTER_KINDS:
        own, given = _threes(words), set(_threes(_clipped_words(asked.payload)))
        same = given.intersection(own)
        if len(given) >= 6 and len(same) >= max(0.85 * len(given), 0.75 * len(own)):
            return "the answer is the given text again"
    return ""


def _is_instruction(text: str, asked: Asked) -> bool:
    """Whether the instruction alone comes back, without the text that it is about."""
    if asked.context or len(text) > len(asked.instruction) + 20:
        return False
    if asked.payload:
        if asked.kind in _TEXT_KINDS and not _is_cued(asked.instruction):
            return False  # the text may have been taken for it
        return _words(text) == _words(asked.instruction)
    first, gap, rest = asked.prompt.strip().partition("\n")
    is_question = rest.endswith(("?", "\N{FULLWIDTH QUESTION MARK}"))
    may_be = asked.kind in _OWN_WORDS or (asked.kind not in _TEXT_KINDS and not is_question)
    return may_be and bool(gap) and _words(text) == _words(first)


def _prompt_again(words: Sequence[str], said: Sequence[str], known: set[str], asked: Asked) -> bool:
    """Whether nothing but the prompt is there, some words of it lost or garbled at most."""
    count = len(said)
    if len(words) > count and list(words[:count]) == said:  # it goes on after the prompt
        return asked.kind != "completion" and (
            (count >= 16 and asked.certain) or all(word in known for word in words[count:])
        )
    if words[-1] not in known:
        return False  # a question said again, and its answer
    if asked.kind in _NEW_WORDS and asked.payload and list(words) == _words(asked.payload):
        return True
    own, theirs = _threes(words), _threes(said)
    same = len(set(theirs).intersection(own))
    if not asked.certain and not set(said[-2:]).issubset(words):
        return False  # the end may be an instruction about the text before it
    # A first word or two are lost, or one is garbled.
    shift = 3 if asked.certain and words[0] in known else 1
    if any(three in theirs[at : at + shift] for at, three in enumerate(own[:3])):
        least = 0.75 if asked.kind == "extraction" else 0.4
        return same >= 0.5 * len(own) and same >= least * len(theirs)
    is_same = len(words) >= 8 and same >= 0.85 * len(own) and same >= 0.8 * len(theirs)
    return is_same and asked.certain and words[0] in known


def _instruction_again(text: str, asked: Asked) -> str:
    if asked.context:  # whose words are whose is not sure
        return ""
    if not asked.payload:
        same = "?" in asked.prompt and _MARKED.search(asked.prompt) is not None
        whole = same and _words(text) == _clipped_words(asked.prompt)
        return "the answer is the prompt again" if whole else ""
    given = _clipped_words(asked.instruction)
    lowered = text.lower()
    if len(given) < 2 or sum(w in lowered for w in given[:_TRIED]) < 0.6 * len(given[:_TRIED]):
        return ""
    words = _words(text)
    payload = set(_clipped_words(asked.payload))
    known = payload.union(given)
    if sum(word in known for word in words) < 0.7 * len(words):
        return ""  # more than a text and its instruction is there
    if len(payload.intersection(words)) < 0.5 * len(payload):
        return ""  # the text is not there: what was taken for the instruction may be the text
    threes, own = set(_threes(given)), set(_threes(words))
    covered = len(threes.intersection(own)) / len(threes) if threes else 0.0
    first = asked.prompt.lstrip().startswith(asked.instruction.strip()[:20])
    if first and list(words[: min(len(given), 3)]) == given[:3] and (covered >= 0.5 or not threes):
        return "the answer begins with the instruction"
    if len(threes) >= 2 and covered >= 0.7:
        return "the instruction's words are in the answer"
    return ""


# ── length


_REMARKS: Final = 600
"""Characters in which a text may be explained beside it."""


def wrong_length(text: str, asked: Asked, *, stopped: bool) -> str:
    """A corrected or translated text far shorter or longer than the one given."""
    if asked.kind not in _TEXT_KINDS or not asked.payload:
        return ""
    given, got = _weight(asked.payload), _weight(text)
    is_short = stopped and got < 0.4 * given and "?" not in asked.instruction
    if given < 40 or not (is_short or got > 3 * given + _REMARKS):
        return ""
    if asked.kind == "grammar" and not _is_of_payload(text, asked):
        return ""
    if is_short:
        return f"the answer is far shorter than the text given ({got / given:.0%})"
    return f"the answer is far longer than the text given ({got / given:.0f} times)"


def _is_of_payload(text: str, asked: Asked) -> bool:
    """Whether the answer has more of the payload's words than of the instruction's."""
    own = set(_words(text[:400]))
    given, said = (set(_clipped_words(part)) for part in (asked.payload, asked.instruction))
    return len(own & given) >= len(own & said)


_DENSE: Final = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]")


def _weight(text: str) -> int:
    """Characters, those of Han, kana and Hangul for three: as much text in any script."""
    text = text.strip()
    return len(text) if text.isascii() else len(text) + 2 * len(_DENSE.findall(text))


# ── language


_NAMES: Final[dict[str, str]] = {
    "en": """
        english englisch anglais ingles inglés inglese engels angielsk
        англійськ английск ingilizce 英語 英语 英文 영어 영문 الإنجليزية
        الانجليزية إنجليزي انجليزي अंग्रेज अंग्रे़ इंग्लिश""",
    "es": """
        spanish spanisch espagnol español espanol castellano spagnolo
        espanhol spaans hiszpańsk іспанськ испанск ispanyolca スペイン語
        西班牙 스페인어 الإسبانية الاسبانية स्पेनिश""",
    "fr": """
        french französisch français francais frances francés francese
        francês frans. francusk французьк французск fransizca
        frans\u0131zca フランス語 法语 法語 法文 프랑스어 불어 الفرنسية फ़्रेंच फ़रेंच
        फ्रेंच""",
    "de": """
        german deutsch allemand aleman alemán alemão tedesco duits
        niemieck німецьк немецк almanca ドイツ語 德语 德語 德文 독일어 독어 الألمانية
        الالمانية जर्मन""",
    "it": """
        italian italienisch italien italiaans włosk італійськ
        итальянск italyanca イタリア語 意大利 이탈리아어 الإيطالية इतालवी""",
    "pt": """
        portugu portoghese portugees португальськ португальск
        portekizce ポルトガル語 葡萄牙 葡语 포르투갈어 البرتغالية पुर्तगाली""",
    "nl": """
        dutch niederländisch holländisch néerlandais neerlandes
        neerlandés holandes holandés olandese nederlands niderlandzk
        нідерландськ нидерландск голландск hollandaca felemenkçe オランダ語
        荷兰 네덜란드어 الهولندية डच""",
    "pl": """
        polish. polnisch polonais polaco polacco polones polonês pools. polsk польськ
        польск lehçe ポーランド語 波兰 폴란드어 البولندية पोलिश""",
    "ru": """
        russian russisch russe. ruso russo rosyjsk російськ русск
        rusça ロシア語 俄语 俄文 러시아어 الروسية रूसी""",
    "uk": """
        ukrain ucraino ucranian oekraïens українськ украинск ウクライナ語
        乌克兰 우크라이나어 الأوكرانية यूक्रेनी""",
    "tr": """
        turkish türkisch turc. turco turks. tureck турецьк турецк
        türkçe トルコ語 土耳其 터키어 튀르키예어 التركية तुर्की""",
    "zh": """
        chinese mandarin chinesisch chinois chino. cinese chines
        chinês chinees chińsk китайськ китайск çince 中国語 中文 汉语 漢語 普通话
        중국어 الصينية चीनी""",
    "ja": """
        japan japonais japones japonês giapponese japońsk японськ
        японск 日本語 日语 日文 일본어 일어로 اليابانية जापानी""",
    "ko": """
        korean koreanisch coréen coreano koreaans koreańsk корейськ
        корейск korece 韓国語 韩语 韩文 한국어 한글 الكورية कोरियाई""",
    "ar": """
        arabic arabisch arabe árabe arabo. arabsk арабськ арабск
        arapça アラビア語 阿拉伯 아랍어 العربية अरबी""",
    "hi": """
        hindi хінді хинди hintçe ヒンディー語 印地语 힌디어 الهندية हिंदी हिन्दी""",
    "el": """
        greek griechisch grec. griego greco. yunanca ギリシャ語 希腊 그리스어""",
    "he": """
        hebrew hebräisch hébreu hebreo ebraico ivrit ヘブライ語 希伯来""",
    "th": """
        thai. thailändisch タイ語 泰语 태국어""",
    "ro": """
        romanian rumänisch roumain rumano rumeno romeno rumuńsk""",
    "sv": """
        swedish schwedisch suédois sueco svedese svenska szwedzk
        шведськ шведск""",
    "da": """
        danish dänisch danois danés danese dansk duńsk""",
    "no": """
        norwegian norwegisch norvégien noruego norvegese norsk bokmål
        nynorsk""",
    "fi": """
        finnish finnisch finnois finlandés finlandese suomeksi fińsk""",
    "cs": """
        czech tschechisch tchèque checo ceco. česk czesk""",
    "hu": """
        hungarian ungarisch hongrois húngaro ungherese magyar węgiersk""",
    "vi": """
        vietnamese vietnamesisch vietnamien tiếng ベトナム語 越南""",
    "la": """
        latin. latein latín. łacin""",
    "?": """
        catalan basque galician welsh irish gaelic scots slovak
        slovene croatian serbian bosnian bulgarian estonian latvian
        lithuanian albanian icelandic persian farsi urdu bengali tamil
        swahili indonesian malay tagalog esperanto afrikaans yiddish
        cantonese dialect dialekt language bilingual klingon pirate bayrisch
        bairisch bayerisch hochdeutsch schwizer schwyzer""",
}  # fmt: skip
"""Beginnings of the languages' names in most of the languages that are told apart; a point ends a
whole word; "?" are other languages."""


def _stems() -> dict[str, list[tuple[str, str]]]:
    """The names' beginnings and their languages, by the first three letters."""
    table: dict[str, list[tuple[str, str]]] = {}
    for code, names in _NAMES.items():
        for name in names.split():
            table.setdefault(name[:3], []).append((name, code))
    return table


_SPACED: Final = re.compile(r"[a-zà-ӿ]")
_STEMS: Final = _stems()
_UNSPACED: Final = [
    (name, code)
    for code, names in _NAMES.items()
    for name in names.split()
    if not _SPACED.match(name)
]
"""Names in scripts whose words hang together, or have an article before them."""
_ALIKE: Final = ({"uk", "ru"}, {"ja", "zh"}, {"es", "pt"}, {"nl", "de"}, {"no", "da", "sv"})
"""Languages that short texts do not surely tell apart, as they are told apart here."""
_SEEN: Final = 240
"""Characters of an answer's beginning whose language is looked at."""
_FEWEST: Final = 8
"""Words from which a language is sure."""
_LATIN: Final = re.compile(r"[A-Za-zÀ-ɏ]")
_OTHER_SCRIPTS: Final = frozenset("ar el he hi ja ko ru th uk zh".split())
_FOREIGN: Final = re.compile(r"[^\W\d_\u0000-\u024f]")
_SET_OFF: Final = re.compile(r"[\"“«„*(:]\s*([^\"“”«»„*():]{6,})")
"""What stands in quotation marks, in bold, in brackets or after a colon."""
_LATIN_SPOKEN: Final = frozenset("en es fr de it pt nl".split())


def other_language(text: str, asked: Asked) -> str:
    """Surely in another language than the one asked for, or than the prompt's if none is."""
    if asked.kind in (None, "code") or "```" in text:
        return ""
    language = _sure_language(text[:_SEEN])
    if language == UNDETERMINED:
        return ""
    if asked.kind == "translation":
        return _untranslated(text, language, asked)
    if asked.kind in _WRITTEN and (wanted := _wanted(asked)) and not _is_among(language, {wanted}):
        return f"the answer is in {language!r}, asked for was {wanted!r}"
    if asked.language in (UNDETERMINED, language):
        return ""  # as nearly always
    parts = [asked.instruction, _ends(asked.prompt), asked.context]
    spoken = {asked.language, *(detect_language(part) for part in parts if part.strip())}
    if UNDETERMINED in spoken or _is_among(language, spoken | _named(asked)):
        return ""
    if language in _LATIN_SPOKEN:
        prompt = _ends(asked.prompt)
        if spoken & _LATIN_SPOKEN and _sure_language(prompt) not in spoken:
            return ""
        if not spoken & _LATIN_SPOKEN and len(_LATIN.findall(prompt)) >= 12:
            return ""
    return f"the answer is in {language!r}, the prompt is not"


_WRITTEN: Final = ("summarization", "creative_writing")
_IN_LANGUAGE: Final = re.compile(
    r"\b(?:in|auf|en|em|po|på|in het|на|по)[ -](\w+)(?=\s*(?:[.,;:!?)\n]|$))", re.IGNORECASE
)
"""A preposition and a word that ends a part of the sentence: "in French, please"."""


def _wanted(asked: Asked) -> str:
    """The language that the instruction says the text is to be written in; "" if none."""
    found = {
        code
        for match in _IN_LANGUAGE.finditer(_ends(asked.instruction))
        for code in _names_in(match[1])
    }
    return found.pop() if len(found) == 1 and "?" not in found else ""


def _untranslated(text: str, language: str, asked: Asked) -> str:
    named = _named(asked)
    payload = asked.payload
    if not payload and asked.context and not _names_in(_ends(asked.prompt)):
        payload = asked.prompt  # the system prompt has the instruction
    given = detect_language(payload)
    if len(payload) < 25 or UNDETERMINED in (given, language):
        return ""
    if named <= {given} and given == language:
        spoken = detect_language(asked.instruction)
        if spoken in (UNDETERMINED, given) or not asked.payload:
            return ""
        return f"the answer is still in {language!r}, as the text given"
    if len(named) != 1 or given in named or _is_among(language, named):
        return ""  # where the language of the given text is named, the wanted one is not
    (wanted,) = named
    if wanted in _OTHER_SCRIPTS and not text.isascii() and _FOREIGN.search(text):
        return ""
    prompt = asked.prompt.lower()
    if any(piece.lower() not in prompt for piece in _SET_OFF.findall(text)):
        return ""  # said about the translation, with the translation in it
    return f"the answer is in {language!r}, asked for was {wanted!r}"


def _named(asked: Asked) -> set[str]:
    """The languages that the instruction speaks of."""
    named = _names_in(f"{_ends(asked.instruction)}\n{_ends(asked.context)}")
    return set(_NAMES) if "?" in named else named


def _names_in(text: str) -> set[str]:
    lowered = text.lower()
    words = _WORD.findall(lowered)
    found = {
        code
        for word in words
        for stem, code in _STEMS.get(word[:3], ())
        if (word == stem[:-1] if stem[-1] == "." else word.startswith(stem))
    }
    if "pl" in found and "Polish" not in text and "to polish" not in lowered:
        found -= {"pl"} if "polish" in words else set()  # the verb
    if not lowered.isascii():
        found |= {code for name, code in _UNSPACED if name in lowered}
    return found


def _sure_language(text: str) -> str:
    """The language in which both halves are."""
    middle = text.find(" ", len(text) // 2)
    middle = len(text) // 2 if middle < 0 else middle
    first = detect_language(text[:middle])
    if first == UNDETERMINED or detect_language(text[middle:]) != first:
        return UNDETERMINED
    return first


def _is_among(language: str, others: set[str]) -> bool:
    return language in others or any(
        language in group and not group.isdisjoint(others) for group in _ALIKE
    )


def _ends(text: str) -> str:
    return text if len(text) <= 800 else f"{text[:500]}\n{text[-300:]}"


# ── the payload

_FENCED: Final = re.compile(r"(```|\"\"\"|''')[a-z]*\n?(.+?)\1", re.DOTALL)
_QUOTED: Final = re.compile(r"[\"“«„「]([^\"“”«»„「」]{12,})[\"”»“」]")
_COLON: Final = re.compile(r"[:\N{FULLWIDTH COLON}](?!//|\d)\s*")
_SENTENCE: Final = re.compile(r"[.!?\u3002\uff01\uff1f]\s+|[\u3002\uff01\uff1f]")
_MOST: Final = 0.45
_CUES: Final = frozenset(
    "correct corrections fix check grammar spelling spell proofread punctuation mistakes errors "
    "english translate translation native korrigiere korrigieren fehler deutsch corrige corriger "
    "corrija corrigir corregir fautes faute errores erros ortografía orthographe traduis traduire "
    "traduce traduza traduci correggi verbeter fouten popraw błędy исправь ошибки düzelt".split()
)
"""Words that an instruction about a text has, and seldom the text."""


def payload_of(prompt: str) -> str:
    """The given text that an instruction is about, where that is sure; "" where not.

    It stands in a fence or in quotation marks, after a colon, or in lines or sentences of its own.
    """
    text = prompt.strip()
    for pattern, group in ((_FENCED, 2), (_QUOTED, 1)):
        found = list(pattern.finditer(text))
        if len(found) == 1:
            before = text[: found[0].start()].rstrip()
            inner = found[0][group].strip()
            most = len(inner) >= _MOST * len(text) or before.endswith(":")
            return inner if most else ""
        if found:
            return ""
    blocks = [block.strip() for block in text.split("\n") if block.strip()]
    if len(blocks) == 1:
        return _after_colon(text) or _after_sentence(text)
    if len(blocks) == 2:
        return _longer(*blocks)
    first, last = blocks[0], blocks[-1]
    cued = [_is_cued(first), _is_cued(last)]
    if cued == [False, True] and len(last) < 150:
        return text[: text.rindex(last)].strip()
    is_announced = first.endswith((":", "\N{FULLWIDTH COLON}")) and 3 <= len(first.split()) <= 20
    if is_announced or (cued == [True, False] and len(first) < 150):
        return text[text.index(blocks[1], len(first)) :]
    return ""


def _is_cued(text: str) -> bool:
    return not _CUES.isdisjoint(_WORD.findall(text.lower()))


def _after_colon(text: str) -> str:
    colon = _COLON.search(text, 0, 150)
    if colon is None or len(text) - colon.end() < 12:
        return ""
    before = text[: colon.start()]
    count = len(before.split())
    return text[colon.end() :] if count <= 10 or (count <= 20 and _is_cued(before)) else ""


def _after_sentence(text: str) -> str:
    """What follows one or two short sentences that are instructions."""
    at = 0
    for end in _SENTENCE.finditer(text, 0, 200):
        sentence = text[at : end.start()]
        if len(sentence.split()) > 12 or not _is_cued(sentence):
            break
        at = end.end()
    return text[at:] if at and len(text) - at >= 12 else ""


def _longer(first: str, second: str) -> str:
    """Of two lines the one that is not the instruction."""
    for tells in (_is_cued, _names_in):
        told = [bool(tells(_ends(line))) for line in (first, second)]
        if told == [True, False] and len(second) >= 0.5 * len(first):
            return second
        if told == [False, True] and len(first) >= 0.5 * len(second):
            return first
    short, long = sorted((first, second), key=len)
    return long if len(long) >= 1.5 * len(short) and not short.endswith(",") else ""
