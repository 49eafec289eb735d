"""Numbers that states give to persons: which shapes tell by themselves, which need a word before.

A number whose shape and check digits together are rare among other numbers (a Brazilian CPF with
its dots, an Italian codice fiscale) is one wherever it stands. Nine to thirteen bare digits are
not: one in ten passes some country's check. They count where a word before them says what they
are ("BSN", "NHS number"), and the check of that country holds.
"""

from __future__ import annotations

import re
from typing import Final

from modelrouter.signals.privacy.validate import is_national

__all__ = ["LABELS", "is_marked_shape", "is_national_number", "labelled_rules"]

_SHAPES: Final = tuple(
    (re.compile(shape), rules)
    for shape, rules in (
        (r"[0-9]{3}\.[0-9]{3}\.[0-9]{3}-[0-9]{2}", ("br.cpf",)),
        (r"756\.[0-9]{4}\.[0-9]{4}\.[0-9]{2}", ("ch.ssn",)),
        (r"[0-9]{2}\.[0-9]{2}\.[0-9]{2}-[0-9]{3}[. ][0-9]{2}", ("be.nn",)),
        (r"(?:[0-9]{2})?[0-9]{6}[-+][0-9]{4}", ("se.personnummer",)),
        (r"[0-9]{6}[-+A-FU-Y][0-9]{3}[0-9A-Z]", ("fi.hetu",)),
        (r"[0-9]{6}-[0-9]{7}", ("kr.rrn",)),
        (r"[0-9]{17}[0-9X]", ("cn.ric",)),
        (r"[0-9]{8}-?[A-Z]", ("es.dni",)),
        (r"[XYZ]-?[0-9]{7}-?[A-Z]", ("es.nie",)),
        (r"[0-9]{1,2}\.[0-9]{3}\.[0-9]{3}-[0-9K]", ("cl.rut",)),
        (r"[0-9]{6}-[0-9]{2}-[0-9]{4}", ("my.nric",)),
        (r"[0-9]-[0-9]{4}-[0-9]{5}-[0-9]{2}-[0-9]", ("th.pin",)),
        (r"2[037]-[0-9]{8}-[0-9]", ("ar.cuit",)),
        (r"[12] ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{3} ?[0-9]{3} ?[0-9]{2}", ("fr.nir",)),
        (r"[12][0-9]{4}2[AB][0-9]{8}", ("fr.nir",)),
        (r"[0-9]{6} ?[0-9]{5}", ("no.fodselsnummer",)),
        (r"[0-9]{6}/[0-9]{3,4}", ("cz.rc",)),
        (r"[A-Z]{6}[0-9]{2}[A-Z][0-9]{2}[A-Z][0-9]{3}[A-Z]", ("it.codicefiscale",)),
        (r"[A-Z]{4}[0-9]{6}[HMX][A-Z]{5}[0-9A-Z][0-9]", ("mx.curp",)),
        (r"[A-Z]{3}P[A-Z][0-9]{4}[A-Z]", ("in_.pan",)),
    )
)

_BRITISH: Final = re.compile(
    r"(?!BG|GB|KN|NK|NT|TN|ZZ)[A-CEGHJ-PQR-TW-Z][A-CEGHJ-NPQR-TW-Z]"
    r" ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]"
)
"""A National Insurance number; it has no check digit. (HMRC's manual NIM39110; QQ is its own
example's prefix.)"""

_ANY_SHAPE: Final = re.compile(
    "|".join(shape.pattern for shape in (*(shape for shape, _ in _SHAPES), _BRITISH))
)

LABELS: Final[dict[str, tuple[str, ...]]] = {
    label: tuple(rules.split())
    for labels, rules in (
        ("ssn|social security|social security number|my social", "us.ssn"),
        ("nhs|nhs number|nhs no", "gb.nhs"),
        ("sin|social insurance|my social insurance", "ca.sin"),
        ("tfn|tax file", "au.tfn"),
        ("pps|ppsn|pps number", "ie.pps"),
        ("aadhaar|aadhar|uidai", "in_.aadhaar"),
        ("south african id|sa id|rsa id", "za.idnr"),
        ("steuer-id|steuerid|steueridentifikationsnummer|idnr|steuerliche", "de.idnr"),
        ("sozialversicherungsnummer|svnr|sv-nummer", "at.vnr"),
        ("ahv|ahv-nummer|avs", "ch.ssn"),
        ("cpf", "br.cpf"),
        ("nif|contribuinte", "pt.nif es.nif es.dni es.nie"),
        ("cartão de cidadão|cartao de cidadao", "pt.cc"),
        ("dni|nie", "es.dni es.nie ar.dni"),
        ("curp", "mx.curp"),
        ("rut|run", "cl.rut"),
        ("cuil|cuit", "ar.cuit"),
        ("cédula|cedula", "ec.ci do.cedula"),
        ("codice fiscale|cf|c.f.", "it.codicefiscale"),
        ("sécurité sociale|securite sociale|sécu|secu|nir|insee", "fr.nir"),
        ("numéro national|registre national|rijksregisternummer|niss|insz", "be.nn"),
        ("bsn|burgerservicenummer|sofinummer", "nl.bsn"),
        ("pesel", "pl.pesel"),
        ("personnummer", "se.personnummer no.fodselsnummer"),
        ("fødselsnummer|fodselsnummer|fnr", "no.fodselsnummer"),
        ("cpr|cpr-nummer|cpr-nr", "dk.cpr"),
        ("henkilötunnus|henkilotunnus|hetu", "fi.hetu"),
        ("kennitala|kennitalan|kennitölu|kt.", "is_.kennitala"),
        ("rodné číslo|rodne cislo|rodné|rč|r. č.|r.č.", "cz.rc"),
        ("cnp|cod numeric personal", "ro.cnp"),
        ("егн|egn", "bg.egn"),
        ("oib", "hr.oib"),
        ("emšo|emso|jmbg", "si.emso"),
        ("isikukood", "ee.ik"),
        ("asmens kodas|asmens", "lt.asmens"),
        ("αμκα|amka", "gr.amka"),
        ("tc kimlik|t.c. kimlik|kimlik", "tr.tckimlik"),
        ("ת.ז|ת.ז.|תעודת זהות|תעודת הזהות|מספר זהות", "il.idnr"),
        ("주민등록번호", "kr.rrn"),
        ("身份证", "cn.ric"),
        ("マイナンバー|個人番号", "jp.in_"),
        ("nric", "my.nric sg.nric"),
        ("mykad|kad pengenalan", "my.nric"),
        ("fin number|singapore id", "sg.nric"),
        ("hkid|身份證|身分證", "hk.hkid cn.ric"),
        ("เลขประจำตัว|บัตรประชาชน", "th.pin"),
        ("снилс|snils", "ru.snils"),
        ("инн", "ru.inn"),
        ("आधार", "in_.aadhaar"),
        ("nik|ktp", "id.nik"),
    )
    for label in labels.split("|")
}
"""What a number is called before it, and the rules of python-stdnum that it must keep."""

_LABEL: Final = re.compile(
    "|".join(
        # Scripts without spaces between words have no word boundaries either.
        rf"(?<!\w){re.escape(label)}(?!\w)" if label[0] < "\u0590" else re.escape(label)
        for label in sorted(LABELS, key=len, reverse=True)
    )
)
_WORD: Final = re.compile(r"[a-z]+")
_FIRST_WORDS: Final = frozenset(
    word[0] for label in LABELS if (word := _WORD.findall(label)) and label.isascii()
)
_REACH: Final = 40
_DIGIT: Final = re.compile(r"[0-9]")


def labelled_rules(text: str, start: int) -> tuple[str, ...]:
    """The rules that the words before this place name; empty where none says what follows."""
    before = text[max(0, start - _REACH) : start].lower()
    if before.isascii() and _FIRST_WORDS.isdisjoint(_WORD.findall(before)):
        return ()
    digits = [found.end() for found in _DIGIT.finditer(before)]
    if digits:
        before = before[digits[-1] :]  # the words belong to that number
    return tuple(rule for label in _LABEL.findall(before) for rule in LABELS[label])


def is_marked_shape(number: str) -> bool:
    """Whether its shape is one that tells by itself, if its check digits hold."""
    return _ANY_SHAPE.fullmatch(number) is not None


def is_national_number(number: str, rules: tuple[str, ...]) -> bool:
    """Whether it keeps a rule that the words before it name, or those of its shape.

    ``rules`` are what :func:`labelled_rules` found.
    """
    return (
        (bool(rules) and is_national(number, rules))
        or _BRITISH.fullmatch(number) is not None
        or any(is_national(number, own) for shape, own in _SHAPES if shape.fullmatch(number))
    )
