"""Whether a number that looks like personal data is one: checksums and numbering plans.

The rules are those of python-stdnum (check digits of cards, IBANs and national numbers) and
phonenumbers (Google's libphonenumber); both are imported when a pattern has hit, never before.
"""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import phonenumbers

__all__ = ["REGIONS", "is_card", "is_iban", "is_national", "is_phone"]

REGIONS: Final = (
    "GB", "FR", "DE", "IT", "NL", "BE", "AT", "CH", "SE", "IE", "AU", "JP", "TR", "ZA", "BR",
)  # fmt: skip
"""Where a number without a country code is dialled with a zero before it."""

_IBAN_SIZES: Final = range(15, 35)


def is_card(digits: str) -> bool:
    """Whether the last digit is right (Luhn's formula, ISO/IEC 7812-1)."""
    return _rule("luhn")(digits)


def is_iban(text: str) -> bool:
    """Whether an account number opens the text: check digits, and its country's structure.

    What follows may be words in capitals: only the country says where the number ends.
    """
    from stdnum.iban import is_valid

    code = text.replace(" ", "")
    # Without the countries' lists of banks, which know some of them only.
    return any(
        is_valid(code[:size], check_country=False) for size in _IBAN_SIZES if size <= len(code)
    )


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
