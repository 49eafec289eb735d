"""Whether a number that looks like personal data is one: checksums and numbering plans.

The rules are those of python-stdnum (check digits of cards, IBANs and national numbers) and
phonenumbers (Google's libphonenumber); both are imported when a pattern has hit, never before.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import phonenumbers

__all__ = ["REGIONS", "iban_size", "is_card", "is_national", "is_phone"]

REGIONS: Final = (
    "GB", "FR", "DE", "IT", "NL", "BE", "AT", "CH", "SE", "IE", "AU", "JP", "TR", "ZA", "BR",
)  # fmt: skip
"""Where a number without a country code is dialled with a zero before it."""

_IBAN_SIZES: Final = range(15, 35)
_IBAN_COUNTRIES: Final = frozenset(
    "AD AE AL AT AZ BA BE BG BH BI BR BY CH CR CY CZ DE DJ DK DO EE EG ES FI FK FO FR GB GE GI GL "
    "GR GT HN HR HU IE IL IQ IS IT JO KW KZ LB LC LI LT LU LV LY MC MD ME MK MN MR MT MU NI NL NO "
    "OM PK PL PS PT QA RO RS RU SA SC SD SE SI SK SM SN SO ST SV TL TN TR UA VA VG XK YE".split()
)
"""SWIFT's register; asked first, since words in capitals are many."""


def is_card(digits: str) -> bool:
    """Whether the last digit is right (Luhn's formula, ISO/IEC 7812-1)."""
    return _rule("luhn")(digits)


def iban_size(text: str) -> int:
    """How many characters an account number takes that opens the text; 0 if none does.

    Check digits and its country's structure must hold. What follows may be words: only the country
    says where the number ends.
    """
    if text[:2].upper() not in _IBAN_COUNTRIES:
        return 0
    code = text.replace(" ", "").replace("-", "").upper()
    sizes = [size for size in _sizes_that_check(code) if size in _IBAN_SIZES]
    if not sizes:
        return 0
    from stdnum.iban import is_valid

    # Without the countries' lists of banks, which know some of them only.
    found = next((size for size in sizes if is_valid(code[:size], check_country=False)), 0)
    written = (place for place, char in enumerate(text, 1) if char not in " -")
    return next(islice(written, found - 1, None)) if found else 0


def _sizes_that_check(code: str) -> Iterator[int]:
    """Lengths at which the check digits hold (ISO 7064, 97-10): one pass for all of them."""
    try:
        head = int("".join(str(int(char, 36)) for char in code[:4]))
    except ValueError:
        return
    rest = 0
    for size, char in enumerate(code[4 : _IBAN_SIZES.stop], 5):
        value = int(char, 36)
        rest = (rest * (100 if value > 9 else 10) + value) % 97
        if (rest * 1_000_000 + head) % 97 == 1:
            yield size


def is_national(number: str, rules: Iterable[str]) -> bool:
    """Whether one of the countries' rules (``"nl.bsn"``) takes it for a number of a person."""
    compact = number.replace(" ", "")
    bare = compact.replace(".", "")
    return any(
        _OWN[name](bare) if name in _OWN else _rule(name)(compact) or _rule(name)(bare)
        for name in rules
    )


def is_phone(number: str, regions: Iterable[str] = ()) -> bool:
    """Whether it is a telephone number of one of the regions; without any, an international one.

    A plus sign says much by itself: there only the country and the length must be right.
    """
    import phonenumbers

    if not regions:
        parsed = _parsed(number, None)
        return parsed is not None and phonenumbers.is_possible_number(parsed)
    return any(
        (parsed := _parsed(number, region)) is not None and phonenumbers.is_valid_number(parsed)
        for region in regions
    )


def _parsed(number: str, region: str | None) -> phonenumbers.PhoneNumber | None:
    import phonenumbers

    try:
        return phonenumbers.parse(number, region)
    except phonenumbers.NumberParseException:
        return None


def _is_snils(number: str) -> bool:
    """Of Russia's pension fund: nine digits by their places, modulo 101."""
    digits = number.replace("-", "")
    if len(digits) != 11 or not digits.isdigit():
        return False
    total = sum(int(digit) * place for digit, place in zip(digits, range(9, 0, -1), strict=False))
    return total % 101 % 100 == int(digits[9:])


def _is_nric(number: str) -> bool:
    """Of Singapore: a letter, seven digits, a letter that follows from them."""
    if len(number) != 9 or not number[1:8].isdigit():
        return False
    first, last = number[0].upper(), number[8].upper()
    weights = (2, 7, 6, 5, 4, 3, 2)
    total = sum(int(digit) * by for digit, by in zip(number[1:8], weights, strict=True))
    total += {"T": 4, "G": 4, "M": 3}.get(first, 0)
    letters = {"S": "JZIHGFEDCBA", "T": "JZIHGFEDCBA", "F": "XWUTRQPNMLK", "G": "XWUTRQPNMLK"}
    return first in letters and letters[first][total % 11] == last


def _is_hkid(number: str) -> bool:
    """Of Hong Kong: one or two letters, six digits, a check digit in brackets."""
    code = number.replace("(", "").replace(")", "").upper()
    head, digits, check = code[:-7], code[-7:-1], code[-1:]
    if not 1 <= len(head) <= 2 or not head.isalpha() or not digits.isdigit():
        return False
    values = [36] * (2 - len(head)) + [ord(letter) - 55 for letter in head]
    values += [int(digit) for digit in digits]
    if not (check.isdigit() or check == "A"):
        return False
    total = sum(value * by for value, by in zip(values, range(9, 1, -1), strict=True))
    return (total + (10 if check == "A" else int(check))) % 11 == 0


_OWN: Final[dict[str, Callable[[str], bool]]] = {
    "ru.snils": _is_snils,
    "sg.nric": _is_nric,
    "hk.hkid": _is_hkid,
}
"""What python-stdnum does not know."""


@functools.cache
def _rule(name: str) -> Callable[[str], bool]:
    rule: Callable[[str], bool] = importlib.import_module(f"stdnum.{name}").is_valid
    return rule
