"""What a schema's single keywords allow: bounds, formats, names of keys, values, types."""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from modelrouter.schemas.base import NotKept
from modelrouter.schemas.patterns import portable

__all__ = [
    "KNOWN_FORMATS",
    "LARGEST",
    "OTHER_FORMATS",
    "WRITTEN_FORMATS",
    "bounds",
    "check_apart",
    "is_counted",
    "names_pattern",
    "places",
    "types_of",
    "values_of",
    "within_one",
]

_DAY: Final = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    r"|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_LEAP_DAY: Final = (
    r"(?:[1-9][0-9](?:0[48]|[2468][048]|[13579][26])|(?:[2468][048]|[13579][26])00)-02-29"
)
_DATE: Final = f"(?:[1-9][0-9]{{3}}-{_DAY}|{_LEAP_DAY})"
_CLOCK: Final = r"(?:[01][0-9]|2[0-3]):[0-5][0-9]"
_TIME: Final = rf"{_CLOCK}:[0-5][0-9](?:\.[0-9]{{1,6}})?(?:Z|[+-]{_CLOCK})"
WRITTEN_FORMATS: Final = {"date": _DATE, "time": _TIME, "date-time": f"{_DATE}T{_TIME}"}
"""Those of which llguidance would write some that are none, as 30 February."""

KNOWN_FORMATS: Final[dict[str, int]] = {
    "duration": 60,
    "email": 254,
    "hostname": 253,
    "ipv4": 15,
    "ipv6": 45,
    "uuid": 36,
    "uri": 2_000,
}
"""Those that llguidance writes, and the most characters that one needs."""

OTHER_FORMATS: Final = frozenset(
    """idn-email idn-hostname uri-reference iri iri-reference uri-template json-pointer
    relative-json-pointer regex""".split()
)
"""Formats of the specification that no grammar here writes; others mean nothing, and are let be."""

_BEGINNING: Final = re.compile(r"\^([A-Za-z0-9_ -]+)(?![A-Za-z0-9_ *?{-])")
_MOST_PLACES: Final = 6
_LARGEST_STEP: Final = 10_000
LARGEST: Final = 10**18


def bounds(node: Mapping[str, Any], out: dict[str, Any]) -> None:
    """Write a schema's bounds as the newest draft has them, and those that whole numbers need."""
    for plain, exclusive in (("minimum", "exclusiveMinimum"), ("maximum", "exclusiveMaximum")):
        bound, excluded = node.get(plain), node.get(exclusive)
        if isinstance(excluded, bool):  # draft 4
            bound, excluded = (None, bound) if excluded else (bound, None)
        out.update({k: v for k, v in ((plain, bound), (exclusive, excluded)) if v is not None})
    types = _listed(node.get("type"))
    if "integer" not in types or "number" in types or "multipleOf" in node:
        return
    # Digits without end are not a number to anyone; a weak model may write them.
    low = [out[k] for k in ("minimum", "exclusiveMinimum") if k in out]
    high = [out[k] for k in ("maximum", "exclusiveMaximum") if k in out]
    if not low:
        out["minimum"] = min([-LARGEST, *(10 * b for b in high)])
    if not high:
        out["maximum"] = max([LARGEST, *(10 * b for b in low)])


def within_one(out: dict[str, Any]) -> None:
    """Excluded bounds that are less than one apart, written as bounds a little further in.

    llguidance takes an excluded whole number for an included one there.
    """
    low, high = (
        next((out[k] for k in ks if k in out), None)
        for ks in (("exclusiveMinimum", "minimum"), ("exclusiveMaximum", "maximum"))
    )
    if low is None or high is None or not 0 < high - low < 1:
        return
    step = Decimal(10) ** -(max(places(low), places(high)) + 2)
    for plain, exclusive, sign in (
        ("minimum", "exclusiveMinimum", 1), ("maximum", "exclusiveMaximum", -1),
    ):  # fmt: skip
        if exclusive in out:
            out[plain] = float(Decimal(str(out.pop(exclusive))) + sign * step)


def is_counted(step: float) -> bool:
    """Whether llguidance counts in steps of this number: few digits, and none lost on the way."""
    exact = Decimal(str(step)).scaleb(places(step))
    found = step
    for _ in range(_MOST_PLACES):  # as it does itself
        if found % 1 == 0:
            break
        found *= 10
    # Its time grows with the number, but for powers of ten.
    return found == exact and (
        exact <= _LARGEST_STEP or (exact.normalize().as_tuple().digits == (1,) and exact < LARGEST)
    )


def places(number: float) -> int:
    """How many decimal places a number has."""
    exponent = Decimal(str(number)).normalize().as_tuple().exponent
    return max(0, -int(exponent))


def check_apart(patterns: list[str]) -> None:
    """Whether no key matches two of the expressions, as far as their beginnings tell.

    Raises:
        NotKept: one may.
    """
    begun = []
    for pattern in patterns if len(patterns) > 1 else ():
        found = _BEGINNING.match(pattern)
        if found is None or "|" in pattern:
            raise NotKept("a key may match two of them")
        begun.append(found[1])
    begun.sort()
    if any(later.startswith(one) for one, later in itertools.pairwise(begun)):
        raise NotKept("a key may match two of them")


def names_pattern(says: Mapping[str, Any]) -> str | None:
    """An expression for the keys that ``propertyNames`` allows, if one says the same."""
    if set(says) == {"pattern"}:
        try:
            return portable(says["pattern"])
        except NotKept:
            return None
    if says.keys() <= {"minLength", "maxLength"}:
        most = says.get("maxLength", "")
        return f"^[\\s\\S]{{{int(says.get('minLength', 0))},{most and int(most)}}}$"
    return None


def types_of(node: Mapping[str, Any]) -> frozenset[str] | None:
    """The types that a schema names, a whole number for a number; ``None`` where it names none."""
    if "type" not in node:
        return None
    return frozenset("number" if t == "integer" else t for t in _listed(node["type"]))


def values_of(node: Mapping[str, Any]) -> frozenset[str] | None:
    """The values that ``const`` or ``enum`` allows, as JSON; ``None`` where it names none."""
    if "const" in node:
        return frozenset([_canonical(node["const"])])
    if isinstance(node.get("enum"), list):
        return frozenset(map(_canonical, node["enum"]))
    if node.get("type") in ("boolean", "null"):
        return frozenset(["true", "false"] if node["type"] == "boolean" else ["null"])
    return None


def _canonical(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 and 1 are the same to JSON Schema
    return json.dumps(value, sort_keys=True)


def _listed(types: Any) -> list[Any]:
    return types if isinstance(types, list) else [types]
