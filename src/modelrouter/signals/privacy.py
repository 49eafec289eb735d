"""Personal data in a text: which kinds, not where. The whole text is read; nothing is sampled."""

from __future__ import annotations

import re
from typing import Final

__all__ = ["find_pii"]

_EMAIL: Final = re.compile(r"[A-Za-z0-9_%+-][A-Za-z0-9._%+-]{0,63}@[A-Za-z0-9-]{1,63}\.[A-Za-z]{2}")
_KEY: Final = re.compile(
    r"\bsk-[A-Za-z0-9_-]{16}|\bAKIA[0-9A-Z]{16}\b|\bgh[pousr]_[A-Za-z0-9]{30}|\bxox[abprs]-[\w-]{10}"
    r"|\bAIza[\w-]{30}|-----BEGIN [A-Z ]{0,20}PRIVATE KEY"
)
_KEY_SIGNS: Final = ("sk-", "AKIA", "gh", "xox", "AIza", "PRIVATE KEY")
# A run of digits and their separators, not inside a longer word or number.
_NUMBER: Final = re.compile(r"(?<![\w.,/-])\+?\(?\d(?:[ ().-]{0,2}\d){6,18}(?![\w/-]|[.,]\d)")
_SSN: Final = re.compile(r"^(?!000|666|9\d\d)\d{3}-(?!00)\d{2}-(?!0000)\d{4}$")
_IBAN: Final = re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b")
_IP: Final = re.compile(r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.]*\d)")
_DATE: Final = re.compile(
    r"^(?:\d{4}[-./ ]\d{1,2}[-./ ]\d{1,2}|\d{1,2}[-./ ]\d{1,2}[-./ ]\d{2,4})$"
)
_VERSION_WORD: Final = re.compile(r"(?:version|v|release)\s*$", re.IGNORECASE)
_PHONE_WORD: Final = re.compile(
    r"(?:phone|tel|call|fax|mobile|cell|whatsapp|number is|reach (?:me|him|her|us)|ring|dial|"
    r"telefon|téléphone|teléfono|handy)\W{0,12}(?:\w+\W{1,3}){0,3}$",
    re.IGNORECASE,
)
_DIGIT: Final = re.compile(r"\d")
_SEPARATED: Final = re.compile(r"\d[ ().-]{1,2}\d")


def find_pii(text: str) -> tuple[str, ...]:
    """Kinds of personal data in the text, sorted: email, phone, credit_card, iban, us_ssn,
    ip_address, api_key.

    Card numbers must pass Luhn's check and IBANs theirs (ISO 13616, mod 97); a bare run of digits
    is a phone number only with a leading ``+``, a phone number's grouping, or a word that says so.
    """
    found: set[str] = set()
    if "@" in text and _EMAIL.search(text):
        found.add("email")
    if any(sign in text for sign in _KEY_SIGNS) and _KEY.search(text):
        found.add("api_key")
    if _DIGIT.search(text):
        found.update(_numbers(text))
    return tuple(sorted(found))


def _numbers(text: str) -> set[str]:
    found: set[str] = set()
    for match in _NUMBER.finditer(text):
        kind = _number_kind(match.group(), text[max(0, match.start() - 40) : match.start()])
        if kind:
            found.add(kind)
    for match in _IBAN.finditer(text):
        if _iban_holds(match.group()):
            found.add("iban")
            break
    for match in _IP.finditer(text):
        if all(int(part) <= 255 for part in match.group().split(".")):
            before = text[max(0, match.start() - 12) : match.start()]
            if not _VERSION_WORD.search(before):
                found.add("ip_address")
                break
    return found


def _number_kind(number: str, before: str) -> str | None:
    digits = re.sub(r"\D", "", number)
    if 13 <= len(digits) <= 19 and digits[0] in "3456" and _luhn_holds(digits):
        return "credit_card"
    if _SSN.match(number):
        return "us_ssn"
    if _DATE.match(number) or not 7 <= len(digits) <= 15:
        return None
    if number.startswith("+"):
        return "phone"
    if _PHONE_WORD.search(before):
        return "phone"
    groups = [len(g) for g in re.findall(r"\d+", number)]
    grouped = len(groups) >= 3 and max(groups) <= 4 and len(digits) >= 9 and "." not in number
    return "phone" if grouped and number[0] in "(0123456789" and _like_phone(number) else None


def _like_phone(number: str) -> bool:
    return number.startswith(("(", "0")) or bool(
        re.fullmatch(r"1?[ -]?\(?[2-9]\d{2}\)?[ -]\d{3}[ -]\d{4}", number)
    )


def _luhn_holds(digits: str) -> bool:
    total = 0
    for place, digit in enumerate(reversed(digits)):
        value = int(digit) * (2 if place % 2 else 1)
        total += value - 9 if value > 9 else value
    return total % 10 == 0


def _iban_holds(iban: str) -> bool:
    plain = iban.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    turned = plain[4:] + plain[:4]
    return int("".join(str(int(c, 36)) for c in turned)) % 97 == 1
