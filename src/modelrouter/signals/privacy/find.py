"""Finding personal data in a text: patterns first, then the check of what they found.

Every character is looked at, but for encoded files and long tables of numbers: of those in a text
of more than :data:`LONG` characters some stretches are read, spread evenly. A list of customers is
found; one number among ten thousand others may not be, so such a text counts as holding personal
data all the same, of the kind :data:`UNREAD`.

Each kind has an anchor that is rare in usual text and quick to find ("@", "-dd-", "+"), and a
check of what stands around it, so a text without personal data costs a few substring searches
and no expression can backtrack beyond a bounded stretch. What a pattern finds is checked by the
rules of its issuer: check digits, numbering plans (``validate.py``). Precision comes first: dates,
versions, ISBNs, prices and order numbers are not phone numbers. What is found are the kinds,
never the data: nothing of the text is kept.

Not looked for, because text alone does not tell them reliably: names, postal addresses,
passport numbers, health. How much is found, and how much is not mistaken for it, is measured on
labelled lines in the tests.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

from modelrouter.signals.privacy.national import (
    is_marked_shape,
    is_national_number,
    labelled_rules,
)
from modelrouter.signals.privacy.plain import plain
from modelrouter.signals.privacy.validate import (
    REGIONS,
    iban_size,
    is_card,
    is_national,
    is_phone,
)

__all__ = ["LONG", "PII_KINDS", "UNREAD", "find_pii"]


def find_pii(text: str) -> tuple[str, ...]:
    """The kinds of personal data in a text, in the order of :data:`PII_KINDS`; empty when none.

    The last is :data:`UNREAD` where not all of a long text was looked at.
    """
    text = whole = plain(text)
    if len(text) > LONG:
        text = _bounded(text)
    found: set[str] = set()
    if "@" in text and _has_email(text):
        found.add("email")
    if _PRIVATE_KEY in text and "PRIVATE KEY" in text:
        found.add("api_key")
    if _has_digit(text):
        found |= _grouped_numbers(text)
        found.update(kind for kind, has in _DETECTORS if kind not in found and has(text))
    kinds = tuple(kind for kind in PII_KINDS if kind in found) if found else ()
    return kinds if text is whole else (*kinds, UNREAD)


UNREAD: Final = "unread"
"""Numbers or encoded text that were not looked at; what they hold is not known."""

LONG: Final = 20_000
"""Characters up to which every one is looked at, whatever they are."""

_STRETCH: Final = 500
_SIGNS: Final = b"0123456789@"
_DIGITS: Final = "0123456789"
_SEPARATORS: Final = frozenset(" \t,;:'\"")
_DENSE: Final = 0.2
"""Share of digits and at signs from which a stretch of text counts as a table of numbers."""
_DENSE_READ: Final = 10
"""Stretches of numbers that are looked at in a long text: it bounds the time that any can take."""


def _bounded(text: str) -> str:
    """The text, with only some stretches of its tables of numbers, spread evenly."""
    stretches = [text[at : at + _STRETCH] for at in range(0, len(text), _STRETCH)]
    dense = [at for at, stretch in enumerate(stretches) if _is_dense(stretch)]
    if len(dense) <= _DENSE_READ:
        return text
    left_out = set(dense) - {dense[i * len(dense) // _DENSE_READ] for i in range(_DENSE_READ)}
    for at in left_out:
        # A number cut at an edge would be taken for a shorter one.
        if at > 0:
            stretches[at - 1] = stretches[at - 1].rstrip(_DIGITS)
        if at + 1 < len(stretches):
            stretches[at + 1] = stretches[at + 1].lstrip(_DIGITS)
        stretches[at] = "\n"
    return "".join(stretches)


def _is_dense(stretch: str) -> bool:
    if stretch.isascii() and _SEPARATORS.isdisjoint(stretch):
        return True  # an encoded file
    data = stretch.encode("utf-8", "surrogatepass")
    return len(data) - len(data.translate(None, _SIGNS)) > _DENSE * _STRETCH


def _has_digit(text: str) -> bool:
    # Ten memchr calls; many times faster than one regular expression.
    return (
        "0" in text or "1" in text or "2" in text or "3" in text or "4" in text
        or "5" in text or "6" in text or "7" in text or "8" in text or "9" in text
    )  # fmt: skip


# ── e-mail

_EMAIL: Final = re.compile(r"@(?<=[\w%+\-]@)(?:[^\W_][\w-]{0,62}\.){1,8}([^\W\d_]{2,24})(?![\w-])")
_NO_MAIL_ENDINGS: Final = frozenset({"png", "jpg", "jpeg", "gif", "svg", "webp", "py", "js", "css"})
"""``icon@2x.png`` is a file."""
_BEFORE_BRACKET: Final = frozenset({"com", "net", "org", "edu", "gov", "info", "example"})


def _is_method(ending: str) -> bool:
    """``a@b.sum(0)`` multiplies matrices."""
    return ending not in _BEFORE_BRACKET and (len(ending) != 2 or ending == "to")


def _has_email(text: str) -> bool:
    for match in _EMAIL.finditer(text):
        at = match.start()
        ending = match[1].lower()
        if ending in _NO_MAIL_ENDINGS:
            continue
        if text[match.end() : match.end() + 1] == "(" and _is_method(ending):
            continue
        if text[max(0, at - 3) : at] != "git" or text[max(0, at - 4) : at - 3].isalnum():
            return True
    return False


# ── telephone

_INTERNATIONAL: Final = re.compile(
    r"\+(?<![A-Za-z0-9_+]\+)[1-9](?:[ .\-()/]{0,3}[0-9]){7,14}(?![0-9])"
)
_DIALLED_OUT: Final = re.compile(
    r"00(?<![A-Za-z0-9_.,:/\-]00)(?<![0-9] 00)[1-9](?:[ .\-()/]{0,2}[0-9]){8,13}(?![0-9])"
)
"""With the two zeros that most countries dial for another."""
_AMERICAN: Final = re.compile(
    r"-(?<=[0-9]{3}-)[0-9]{3}-[0-9]{4}(?![0-9-])"  # 415-555-2671, before the first hyphen
)
_DOTTED: Final = re.compile(r"\.(?<=[0-9]{3}\.)[0-9]{3}\.[0-9]{4}(?![0-9.])")
_BRACKETED: Final = re.compile(r"\([0-9]{2,5}\) ?[0-9]{3,5}[ .\-][0-9]{3,4}(?![0-9])")
_NATIONAL: Final = re.compile(
    r"0(?<![A-Za-z0-9_.,:/\-]0)(?<![0-9] 0)[1-9](?:"
    r"[0-9]{0,3}(?:[ /\-][0-9]{2,8}){1,4}|(?:\.[0-9]{2}){4}(?!\.[0-9])"
    r"|[0-9]{0,3}\)[ \-]?[0-9]{3,5}[ \-]?[0-9]{3,5})(?![0-9])"
)
_SSN_SHAPE: Final = re.compile(r"[0-9]{3}-[0-9]{2}-[0-9]{4}")
_DATE: Final = re.compile(r"[0-9]{1,2}([-/ ])[0-9]{1,2}\1(?:19|20)[0-9]{2}")
_ANNOUNCES: Final = re.compile(
    r"(?:\b(?:phone|mobile|cell|tel|telephone|call|ring|dial|fax|text|sms|whatsapp|zap|gsm|"
    r"my number|"
    r"téléphone|tél|appele[rz]|appelle|rappele[rz]|teléfono|telefono|tfno|telefon|telefoon|telefone|"
    r"telefonnummer|rufnummer|handy|handynummer|durchwahl|rückruf|móvil|celular|telemóvel|telemovel|"
    r"cellulare|chiamami|portable|mobil|mobilnummer|mobilnr|ringe?|llama(?:r|me)?|liga(?:r|me)?|"
    r"komórka|kom|numerem|numer telefonu|zadzwoń|zavolejte|telefonszám\w*|hívj\w*|puhelin|numeroon|"
    r"soita|soittakaa|puhelinnumero\w*|telefonnummer\w*|telefonum|zavolajte|nazovite|dzwoń(?:cie)?|"
    r"ringt|hubungi|số điện thoại|подзвони\w*|позвони\w*|звони\w*|"
    r"sunați(?:-mă)?|sunaţi|suna|bel|bellen|ara(?:y\u0131n)?|"
    r"cep tel\w*|điện thoại|sđt|"
    r"тел|телефон\w*|номеру?|моб|мобильный|звоните|перезвоните|дзвоніть|τηλ|τηλέφωνο|κινητό)s?"
    r"|电话|電話|手机|手機|携帯|联系方式|联系电话|전화|휴대폰|휴대전화|연락처|โทร|เบอร์"
    r"|هاتف|هاتفي|تلفن|شماره تلفن|جوال\w*|موبايل|اتصل|טלפון|נייד|फोन|फ़ोन|मोबाइल)"
    r"(?:号码|號碼|番号|번호|は|是)?"
    r"(?:[^\w\n]+(?:me|us|him|her|them|at|on|is|number|no|office|home|work|back|or|ist|es|est|è|é|o|a|"
    r"el|al|la|le|au|auf|unter|an|på|na|pod|mi|do|kom|mnie|mig|meg|mij|nr|num|numero|número|numer|"
    r"numeru|numerem|nummer|по|на|номер|номеру|мне|мені|op|til|mig|para|ke|w|di|pe|se|az|te|το|στο|"
    r"prosím|je|er|var|то|επικοινωνίας|שלי|है|नंबर))*"
    r"[^\w\n]*\(?$",
    re.IGNORECASE,
)
"""Words that say a telephone number follows."""

_AMBIGUOUS: Final = re.compile(
    r"(?:^|[^\w])(?P<word>cell|call|text|ring|portable|номер|номеру|ara|suna|bel|cep|kom|a|o)$",
    re.IGNORECASE,
)
"""These name other things too: of a short bare number they say nothing when they stand before it
alone ("the cell 1234567", "call 2799202 returned")."""
_SHORT: Final = 8
_SAYS_WHAT_IT_WAS: Final = re.compile(
    r" ?\((?:mobile|cell|phone|tel|home|work|office|fax|handy|mobil|móvil|portable|cellulare)\)",
    re.IGNORECASE,
)

_SUM_BEFORE: Final = re.compile(
    r"(?:simplify|compute|calculate|evaluate|work out|solve|subtract|reduce|expand|factori[sz]e|"
    r"calcul\w*|berechne\w*|rechne|vereinfache|calcola|semplifica|simplifi\w*|bereken|oblicz|"
    r"вычисли\w*|посчитай\w*|упрости\w*|计算|計算|求)\W{0,3}$",
    re.IGNORECASE,
)
_SUM_AFTER: Final = re.compile(
    r"\s{0,2}(?:[=*\u00d7\u00f7^]|等于|等於|equals\b|as one product|divided by\b)"
)
"""What makes numbers and hyphens a sum."""

_OTHER_NUMBER: Final = re.compile(
    r"(?:order|invoice|tracking|isbn|account|serial|ref|reference|ticket|case|sku|item|part|parcel|"
    r"number|no|nr|id|code|version|model|batch|lot|catalogue|artikel|art|teil|pièce|réf|pieza|pedido|"
    r"articolo|codice|numéro|número|numero|nummer|bestellung|rechnung|commande|facture|деталь|заказ)"
    r"\.?[ #:]*$",
    re.IGNORECASE,
)


def _is_sum(text: str, start: int, end: int) -> bool:
    return (
        _SUM_BEFORE.search(text[max(0, start - 24) : start]) is not None
        or _SUM_AFTER.match(text[end : end + 16]) is not None
    )


def _has_phone(text: str) -> bool:
    return (
        ("+" in text and _has_international(text))
        or ("00" in text and _has_dialled_out(text))
        or ("-" in text and _is_shaped(_AMERICAN, text, before=3))
        or _is_shaped(_DOTTED, text, before=3)
        or ("(" in text and _has_bracketed(text))
        or ("0" in text and _has_national(text))
    )


_MOST_CHECKED: Final = 10
"""Look-alikes in one text after which the next counts unchecked: so many are a list of numbers."""


def _has_international(text: str) -> bool:
    return any(
        place >= _MOST_CHECKED or is_phone(match[0])
        for place, match in enumerate(_INTERNATIONAL.finditer(text))
    )


def _has_dialled_out(text: str) -> bool:
    return any(
        place >= _MOST_CHECKED or is_phone(f"+{match[0][2:]}")
        for place, match in enumerate(_DIALLED_OUT.finditer(text))
        if not match[0].isdigit()
    )


def _has_bracketed(text: str) -> bool:
    return any(
        place >= _MOST_CHECKED or is_phone(match[0], _BRACKET_REGIONS)
        for place, match in enumerate(_BRACKETED.finditer(text))
        if not _is_sum(text, *match.span())
    )


_BRACKET_REGIONS: Final = ("US", *REGIONS)


def _is_shaped(shape: re.Pattern[str], text: str, *, before: int) -> bool:
    """Whether the shape stands alone with ``before`` digits in front of it, and unlabelled."""
    checked = 0
    for match in shape.finditer(text):
        start = number = match.start() - before
        if start > 0 and text[start - 1] in _GLUE:
            # A leading country code, "1-415-555-2671".
            if text[max(0, start - 2) : start] not in ("1-", "1."):
                continue
            start -= 2
        if _OTHER_NUMBER.search(text[max(0, start - 14) : start]):
            continue
        if _is_sum(text, start, match.end()):
            continue
        checked += 1
        if checked > _MOST_CHECKED or is_phone(text[number : match.end()], ("US",)):
            return True
    return False


_GLUE: Final = frozenset("0123456789-._/abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ")


def _has_national(text: str) -> bool:
    checked = 0
    for match in _NATIONAL.finditer(text):
        number, start = match[0], match.start()
        digits = sum(char.isdigit() for char in number)
        if (
            not 9 <= digits <= 12
            or _DATE.match(number)
            or _SSN_SHAPE.fullmatch(number)
            or _OTHER_NUMBER.search(text[max(0, start - 14) : start])
            or labelled_rules(text, start)
        ):
            continue
        checked += 1
        if checked > _MOST_CHECKED or is_phone(number, REGIONS):
            return True
    return False


def _is_announced(text: str, start: int, number: str) -> bool:
    if sum(char.isdigit() for char in number) > _LONGEST_PHONE:
        return False
    before = text[max(0, start - 32) : start]
    if _ISO_DATE.match(number):
        return False
    if _ANNOUNCES.search(before) is None:
        return (
            _SAYS_WHAT_IT_WAS.match(text[start + len(number) : start + len(number) + 16])
            is not None
        )
    return not (
        number.isdigit() and len(number) <= _SHORT and _AMBIGUOUS.search(before.rstrip(" "))
    )


_TELLING: Final = (
    (re.compile(r"8([ \-])[3-9][0-9]{2}\1[0-9]{3}[ \-][0-9]{2}[ \-][0-9]{2}"), "RU"),
    (re.compile(r"[6-9][0-9]{2}([ \-])[0-9]{2}\1[0-9]{2}\1[0-9]{2}"), "ES"),
    (re.compile(r"[1-9][0-9] 9[0-9]{4}[ \-][0-9]{4}"), "BR"),
)
"""How the digits are grouped tells by itself, though no zero leads them."""


def _is_telling(number: str) -> bool:
    return any(shape.fullmatch(number) and is_phone(number, (of,)) for shape, of in _TELLING)


_ISO_DATE: Final = re.compile(r"(?:19|20)[0-9]{2}[-. ][0-9]{2}[-. ][0-9]{2}")


# ── cards and accounts

# One pass for all that begin with a digit and have no rarer sign to look for.
_GROUPED: Final = re.compile(
    r"[0-9](?<![0-9].)(?:"
    r"(?P<lettered>(?<=[A-Z].)(?:"
    r"[0-9]{5}[HMX][A-Z]{5}[0-9A-Z][0-9]"  # Mexico
    r"|[0-9]{3}[A-Z]|[0-9]{6}-?[A-Z]"  # India; Spain, for foreigners
    r"|[0-9](?:[0-9]{2}){2}[A-D])(?![A-Za-z0-9]))"  # the United Kingdom
    r"|(?P<italian>(?<=[A-Za-z].)[0-9][A-Za-z][0-9]{2}[A-Za-z][0-9]{3}[A-Za-z](?![A-Za-z0-9]))"
    r"|(?P<grouped>(?<=[A-Z] .)[0-9][A-Z][0-9]{2} [A-Z][0-9]{3}[A-Z](?![A-Za-z0-9]))"  # as well
    r"|(?P<spaced>(?<=[A-Z] .)[0-9](?: ?[0-9]{2}){2} ?[A-D](?![A-Za-z0-9]))"
    r"|(?P<iban>(?<=[A-Za-z]{2}.)[0-9](?<![A-Za-z0-9][A-Za-z]{2}..)(?:[ -]?[A-Za-z0-9]){11,30})"
    r"|(?P<credit_card>(?<=[2-6])(?<![0-9][.\-/].)(?:"
    r"[0-9]{3}(?P<gap>[ .-]?)[0-9]{4}(?P=gap)[0-9]{4}(?P=gap)[0-9]{4}(?:(?P=gap)[0-9]{3})?"
    r"|(?<=3)[0-9]{3}(?P<diners>[ .-]?)[0-9]{6}(?P=diners)[0-9]{4}"
    r"|[47][0-9]{2}(?P<amex>[ .-]?)[0-9]{6}(?P=amex)[0-9]{5})(?![0-9]|[.-][0-9]))"
    r"|(?P<mixed>[0-9]{5}(?:[A-FU-Y][0-9]{3}[0-9A-Z]|[AB][0-9]{8})(?![A-Za-z0-9]))"
    r"|(?P<run>(?<![0-9.,\-/#$].)(?<![0-9]:.)(?:[ .\-()]?[0-9]){6,17}(?![0-9]|[ .,\-/:%][0-9])))"
)
_LONGEST_PHONE: Final = 12


def _grouped_numbers(text: str) -> set[str]:
    found: set[str] = set()
    at = 0
    while (match := _GROUPED.search(text, at)) is not None:
        at, start, kind = match.end(), match.start(), match.lastgroup or ""
        if kind == "iban":
            size = iban_size(text[start - 2 : start] + match[0])
            # What the pattern took beyond it is words, and another number may stand among them.
            at = start + (size - 2 if size else 1)
            if size:
                found.add("iban")
        elif kind == "credit_card":
            if "credit_card" not in found and _is_card(match[0]):
                found.add("credit_card")
        elif kind == "run" and (_is_telling(match[0]) or _is_announced(text, start, match[0])):
            found.add("phone")
        elif (national := _national_kind(text, match)) is not None:
            found.add(national)
    return found


def _national_kind(text: str, match: re.Match[str]) -> str | None:
    """Which kind a number is that looks like a state's, if it is one."""
    number, place = _whole(text, match)
    rules = labelled_rules(text, place)
    if not (rules or is_marked_shape(number)) or not is_national_number(number, rules):
        return None
    others = tuple(rule for rule in rules if rule != _SSN_RULE)
    american = _SSN_RULE in rules and not (others and is_national(number, others))
    return "us_ssn" if american else "national_id"


def _whole(text: str, match: re.Match[str]) -> tuple[str, int]:
    """The number with the letters that belong to it, and where it begins."""
    start, end = match.start(), match.end()
    least = max(0, start - 8)
    if match.lastgroup == "italian":
        return text[max(0, start - 6) : end].upper(), max(0, start - 6)
    if match.lastgroup == "grouped":
        return text[least:end].replace(" ", ""), least
    if match.lastgroup == "spaced":
        start -= 3
    while start > least and text[start - 1] in _CAPITALS:
        start -= 1
    if end < len(text) and text[end] in _CAPITALS:
        end += 2 if text[end + 1 : end + 2] in _CAPITALS and text[end + 1 : end + 2] else 1
    elif text[end : end + 1] == "-" and text[end + 1 : end + 2] in _CAPITALS:
        end += 2
    return text[max(0, start) : end], max(0, start)


_SSN_RULE: Final = "us.ssn"
_CAPITALS: Final = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZ")
_SLASHED: Final = re.compile(r"/(?<=[0-9]{6}/)(?<![0-9]{7}/)[0-9]{3,4}(?![0-9/])")


def _has_slashed(text: str) -> bool:
    """Numbers at birth of Czechia and Slovakia."""
    return any(
        is_national_number(text[match.start() - 6 : match.end()], ())
        for match in _SLASHED.finditer(text)
    )


_ISSUERS: Final = re.compile(
    r"4|5[1-5]|2(?:22[1-9]|2[3-9]|[3-6]|7[01]|720)|3[47]|6(?:011|5|4[4-9])|35(?:2[89]|[3-8])|"
    r"3(?:0[0-5]|[68])|62|220[0-4]|50(?:18|20|38)|5893|6304|6759|676[1-3]"
)


def _is_card(number: str) -> bool:
    digits = number.replace(" ", "").replace("-", "").replace(".", "")
    return _ISSUERS.match(digits) is not None and is_card(digits)


# ── the rest

_SSN: Final = re.compile(r"-(?<=[0-9]{3}-)[0-9]{2}-[0-9]{4}(?![0-9-])")


def _has_ssn(text: str) -> bool:
    if "-" not in text:
        return False
    for match in _SSN.finditer(text):
        at = match.start()
        area, rest = text[at - 3 : at], match[0]
        start = at - 3
        if start > 0 and text[start - 1] in _GLUE:
            continue
        if _is_sum(text, start, match.end()):
            continue
        before = text[max(0, start - 14) : start]
        if _OTHER_NUMBER.search(before) and not labelled_rules(text, start):
            continue
        unused = area in ("000", "666") or area[0] == "9" or rest[1:3] == "00"
        if not unused and rest[4:] != "0000":
            return True
    return False


_IP: Final = re.compile(r"\.(?<=[0-9]\.)[0-9]{1,3}\.[0-9]{1,3}\.[0-9]{1,3}(?![0-9]|\.[0-9])")
_IP_START: Final = re.compile(r"(?:^|[^0-9.])([0-9]{1,3})$")
_VERSION: Final = re.compile(
    r"(?:\b(?:v|ver|versi[oó]n\w*|versão|wersj\w*|version\w*|versie|verze|версии|версия|версию|"
    r"release|rev|revision|build|kernel|kernels|firmware|driver|patch|bios|sdk|oid|ec|"
    r"section|sections|sec|clause|chapter|paragraph|paragraphe|article|art|rule|appendix|table|figure|"
    r"abschnitt|kapitel|ziffer|absatz|artikel|punkt|alinéa|chapitre|sección|capítulo|apartado|"
    r"cláusula|sezione|capitolo|articolo|seção|rozdział|hoofdstuk|avsnitt|раздел\w*|пункт\w*|глава|"
    r"python|java|ubuntu|debian|windows|macos|ios|android|chrome|chromium|firefox|safari|edge|"
    r"openssl|nginx|postgres\w*|mysql|gcc|cuda|qt)\.?"
    r"|[A-Za-z]/|版本|バージョン|버전|章|节|節|§|==|>=|<=|~=|\^|-)\s*$",
    re.IGNORECASE,
)
_VERSION_GOES_ON: Final = re.compile(r"[-_+~][A-Za-z]|[A-Za-z]")
_SMALL: Final = 40
"""Four numbers below this are a section or a version; of addresses it is one in two thousand."""
_IP6: Final = re.compile(r"::|:(?:[0-9a-fA-F]{1,4}:){6}")
_HEX: Final = frozenset("0123456789abcdefABCDEF:")


def _has_ip(text: str) -> bool:
    for match in _IP.finditer(text):
        at = match.start()
        start = _IP_START.search(text[max(0, at - 4) : at])
        if start is None:
            continue
        address = start[1] + match[0]
        parts = [int(part) for part in address.split(".")]
        if max(parts) > 255 or max(parts) < _SMALL or _VERSION_GOES_ON.match(text, match.end()):
            continue
        begin = at - len(start[1])
        if not _VERSION.search(text[max(0, begin - 20) : begin]) and _is_somebodys(parts):
            return True
    return ":" in text and _has_ip6(text)


_LONGEST_IP6: Final = 39


def _is_somebodys(parts: list[int]) -> bool:
    """Whether an address is of the public network: private ones and examples are nobody's."""
    from ipaddress import IPv4Address

    return IPv4Address(bytes(parts)).is_global


def _has_ip6(text: str) -> bool:
    for match in _IP6.finditer(text):
        start, end = match.start(), match.end()
        while start > 0 and match.start() - start < _LONGEST_IP6 and text[start - 1] in _HEX:
            start -= 1
        while end < len(text) and end - match.end() < _LONGEST_IP6 and text[end] in _HEX:
            end += 1
        # Any digit beside it makes "12::34" of a clock or a namespace.
        before = text[max(0, start - 1) : start]
        if _is_ip6(text[start:end]) and not (before.isascii() and before.isalnum()):
            return True
    return False


def _is_ip6(address: str) -> bool:
    from ipaddress import AddressValueError, IPv6Address

    if not _ROUTED.match(address):
        return False
    try:
        return IPv6Address(
            address.rstrip(":") if address.endswith(":") and address[-2] != ":" else address
        ).is_global
    except AddressValueError:
        return False


_ROUTED: Final = re.compile(r"[23][0-9a-f]{3}:", re.IGNORECASE)
"""Global unicast (RFC 4291); what else there is, is private to a network."""

_PRIVATE_KEY: Final = "-----BEGIN "
_KEYS: Final = tuple(
    (start, re.compile(rf"{re.escape(start)}(?<![A-Za-z0-9]{re.escape(start)}){rest}"))
    for start, rest in (
        ("sk-", r"[A-Za-z0-9_\-]{20,200}"),
        ("AKIA", r"[0-9A-Z]{16}(?![0-9A-Za-z])"),
        ("ASIA", r"[0-9A-Z]{16}(?![0-9A-Za-z])"),
        ("AIza", r"[0-9A-Za-z_\-]{35}"),
        ("xox", r"[abprs]-[A-Za-z0-9\-]{10,200}"),
        ("glpat-", r"[A-Za-z0-9_\-]{20,64}"),
        ("pypi-", r"[A-Za-z0-9_\-]{40,300}"),
        ("SG.", r"[A-Za-z0-9_\-]{16,32}\.[A-Za-z0-9_\-]{16,64}"),
        ("xai-", r"[A-Za-z0-9]{40,100}"),
        ("nvapi-", r"[A-Za-z0-9_\-]{40,100}"),
        ("pplx-", r"[A-Za-z0-9]{40,64}"),
        ("ya29.", r"[A-Za-z0-9_\-]{40,300}"),
        ("eyJ", r"[A-Za-z0-9_\-]{10,2000}\.eyJ[A-Za-z0-9_\-]{10,}"),
    )
)
"""OpenAI and Anthropic, AWS, Google, Slack, GitLab, PyPI, SendGrid, xAI, NVIDIA, Perplexity, JSON
Web Tokens."""

_UNDERSCORE_KEY: Final = re.compile(
    r"_(?:(?<=gh[opsu]_)(?<![A-Za-z0-9]gh._)[A-Za-z0-9]{30}"
    r"|(?<=hf_)(?<![A-Za-z0-9]hf_)[A-Za-z0-9]{30}"
    r"|(?<=github_)(?<![A-Za-z0-9]github_)pat_[A-Za-z0-9_]{30}"
    r"|(?<=[sr]k_)(?<![A-Za-z0-9][sr]k_)live_[A-Za-z0-9]{16}"
    r"|(?<=npm_)(?<![A-Za-z0-9]npm_)[A-Za-z0-9]{30}"
    r"|(?<=gsk_)(?<![A-Za-z0-9]gsk_)[A-Za-z0-9]{40}"
    r"|(?<=r8_)(?<![A-Za-z0-9]r8_)[A-Za-z0-9]{30}"
    r"|(?<=shpat_)(?<![A-Za-z0-9]shpat_)[0-9a-f]{32}"
    r"|(?<=whsec_)(?<![A-Za-z0-9]whsec_)[A-Za-z0-9]{24})"
)
"""GitHub, Hugging Face, Stripe, npm, Groq, Replicate, Shopify."""


def _has_key(text: str) -> bool:
    for start, key in _KEYS:
        if start in text:
            for match in key.finditer(text):
                if any(char.isdigit() for char in match[0]):
                    return True
    return "_" in text and _UNDERSCORE_KEY.search(text) is not None


_DETECTORS: Final[tuple[tuple[str, Callable[[str], bool]], ...]] = (
    ("phone", _has_phone),
    ("us_ssn", _has_ssn),
    ("national_id", _has_slashed),
    ("ip_address", _has_ip),
    ("api_key", _has_key),
)
PII_KINDS: Final = (
    "email", "phone", "credit_card", "iban", "us_ssn", "national_id", "ip_address", "api_key"
)  # fmt: skip
"""What :func:`find_pii` can find."""
