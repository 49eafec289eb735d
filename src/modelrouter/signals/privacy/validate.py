"""Whether a number that looks like personal data is one: checksums and numbering plans.

The rules are those of python-stdnum (check digits of cards, IBANs and national numbers) and
phonenumbers (Google's libphonenumber); both are imported when a pattern has hit, never before.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import phonenumbers

__all__ = ["REGIONS", "is_card", "is_iban", "is_national", "is_phone"]

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


def is_iban(text: str) -> bool:
    """Whether an account number opens the text: check digits, and its country's structure.

    What follows may be words in capitals: only the country says where the number ends.
    """
    if text[:2] not in _IBAN_COUNTRIES:
        return False
    code = text.replace(" ", "")
    sizes = [size for size in _sizes_that_check(code) if size in _IBAN_SIZES]
    if not sizes:
        return False
    from stdnum.iban import is_valid

    # Without the countries' lists of banks, which know some of them only.
    return any(is_valid(code[:size], check_country=False) for size in sizes)


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
    return any(_rule(name)(compact) for name in rules)


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


@functools.cache
def _rule(name: str) -> Callable[[str], bool]:
    rule: Callable[[str], bool] = importlib.import_module(f"stdnum.{name}").is_valid
    return rule
