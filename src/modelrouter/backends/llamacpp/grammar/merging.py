"""JSON schemas that hold at once as one schema, and whether two can hold of the same value."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any, Final, TypeAlias

__all__ = ["ANNOTATIONS", "TYPES", "SchemaError", "disjoint", "merged", "type_names", "values_of"]

Node: TypeAlias = Mapping[str, Any]

TYPES: Final = ("object", "array", "string", "number", "integer", "boolean", "null")

ANNOTATIONS: Final = frozenset(
    """$schema $id $anchor $comment $defs $vocabulary definitions title description default examples
    example deprecated readOnly writeOnly contentEncoding contentMediaType contentSchema
    discriminator nullable externalDocs xml strict id""".split()
)
"""Keywords that say nothing about which values are valid, or are read by reference only."""

_LARGER: Final = frozenset("minimum exclusiveMinimum minLength minItems minProperties".split())
_SMALLER: Final = frozenset("maximum exclusiveMaximum maxLength maxItems maxProperties".split())


class SchemaError(Exception):
    """A keyword whose meaning no grammar here can keep to.

    Attributes:
        keyword: its name.
        path: of the schema that holds it, as ``#/properties/a``.
        reason: why not.
    """

    def __init__(self, keyword: str, path: str, reason: str) -> None:
        super().__init__(f"{keyword!r} at {path}: {reason}")
        self.keyword, self.path, self.reason = keyword, path, reason


def merged(one: Node, other: Node, path: str) -> dict[str, Any]:
    """A schema that is valid for what both are valid for.

    Raises:
        SchemaError: nothing is valid for both, or it cannot be said in one schema.
    """
    _check_closed(one, other, path)
    result = dict(one)
    for keyword, value in other.items():
        result[keyword] = (
            _both(keyword, one[keyword], value, path)
            if keyword in one and one[keyword] != value
            else value
        )
    return result


def _both(keyword: str, one: Any, other: Any, path: str) -> Any:
    if keyword == "type":
        common = [t for t in type_names(one) if t in _with_integer(type_names(other))]
        common += [t for t in type_names(other) if t in _with_integer(type_names(one))]
        if common:
            return list(dict.fromkeys(common))
    elif keyword == "properties" and isinstance(one, Mapping) and isinstance(other, Mapping):
        shared = {k: {"allOf": [one[k], other[k]]} for k in one if k in other}
        return {**one, **other, **shared}
    elif keyword == "required" and isinstance(one, list) and isinstance(other, list):
        return list(dict.fromkeys([*one, *other]))
    elif keyword == "items" and not isinstance(one, list) and not isinstance(other, list):
        return {"allOf": [one, other]}
    elif keyword == "enum" and isinstance(one, list) and isinstance(other, list):
        common = [v for v in one if v in other]
        if common:
            return common
    elif keyword in _LARGER | _SMALLER and _is_number(one) and _is_number(other):
        return max(one, other) if keyword in _LARGER else min(one, other)
    raise SchemaError(keyword, path, "two different ones have to hold at once")


def _check_closed(one: Node, other: Node, path: str) -> None:
    """``additionalProperties`` and ``items`` look at what stands beside them only."""
    for keyword, beside in (("additionalProperties", "properties"), ("items", "prefixItems")):
        for closed, open_ in ((one, other), (other, one)):
            if closed.get(keyword, True) is True or beside not in open_:
                continue
            if closed.get(beside) != open_[beside]:
                raise SchemaError(
                    keyword, path, f"{beside} have to hold with it that are not beside it"
                )


def disjoint(one: Node, other: Node) -> bool:
    """Whether it is certain that no value is valid for both; references are taken for anything."""
    types = _allowed_types(one) & _allowed_types(other)
    if not types:
        return True
    values, others = values_of(one), values_of(other)
    if values is not None and others is not None:
        return not values & others
    return types == {"object"} and (_told_apart(one, other) or _told_apart(other, one))


def _told_apart(one: Node, other: Node) -> bool:
    """Whether a property that the one requires is excluded by the other."""
    properties, others = one.get("properties", {}), other.get("properties", {})
    for name in one.get("required", ()):
        if name not in others:
            if other.get("additionalProperties") is False:
                return True
            continue
        value, excluded = values_of(properties.get(name)), values_of(others[name])
        if value is not None and excluded is not None and not value & excluded:
            return True
    return False


def values_of(node: Any) -> frozenset[str] | None:
    """The values that ``const`` or ``enum`` allows, as JSON; ``None`` where it names none."""
    if not isinstance(node, Mapping):
        return None
    if "const" in node:
        return frozenset([_canonical(node["const"])])
    if isinstance(node.get("enum"), list):
        return frozenset(map(_canonical, node["enum"]))
    return None


def type_names(value: Any) -> list[str]:
    """``type`` as a list, whether it was one or not."""
    return [str(v) for v in value] if isinstance(value, list) else [str(value)]


def type_of(value: Any) -> str:
    """The JSON type of a value; a whole number is an integer."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "boolean"
    if isinstance(value, (int, float)):
        return "integer" if float(value).is_integer() else "number"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Mapping) else "array"


def _allowed_types(node: Node) -> set[str]:
    given = _with_integer(type_names(node["type"])) if "type" in node else set(TYPES)
    if "const" in node or isinstance(node.get("enum"), list):
        values = [node["const"]] if "const" in node else node["enum"]
        given &= {type_of(value) for value in values}
    for union in ("anyOf", "oneOf"):
        if isinstance(node.get(union), list) and all(isinstance(n, Mapping) for n in node[union]):
            given &= set().union(*(_allowed_types(n) for n in node[union]))
    return given


def _with_integer(types: Iterable[str]) -> set[str]:
    """A number may be whole."""
    types = set(types)
    return types | {"integer"} if "number" in types else types


def _canonical(value: Any) -> str:
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 1.0 and 1 are the same to JSON Schema
    return json.dumps(value, sort_keys=True)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
