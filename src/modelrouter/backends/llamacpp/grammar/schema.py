"""A JSON schema as GBNF rules; what a grammar cannot say is refused, never left out.

What is written under these rules is valid under the schema (drafts 7 to 2020-12). The reverse does
not hold: properties come in the schema's order, those that it does not name are not written
beside those it names unless it says what they are, and numbers have at most 16 digits.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from modelrouter.backends.llamacpp.grammar.gbnf import (
    FORMATS,
    Rules,
    Unsupported,
    character_class,
    fractions,
    in_string,
    integers,
    literal,
    numbers,
    repeated,
)
from modelrouter.backends.llamacpp.grammar.merging import (
    ANNOTATIONS,
    TYPES,
    SchemaError,
    disjoint,
    merged,
    type_names,
    type_of,
    values_of,
)
from modelrouter.backends.llamacpp.grammar.pattern import string_matching

__all__ = ["SchemaError", "add_schema"]

Schema: TypeAlias = dict[str, Any]

_NEVER: Final = {
    "not": "a grammar says what is allowed, not what is excluded",
    "if": "a grammar has no conditions; anyOf may say the same",
    "$dynamicRef": "only $ref is followed",
    "$recursiveRef": "only $ref is followed",
}
_OF_TYPE: Final[dict[str, frozenset[str]]] = {
    "object": frozenset(
        """properties required additionalProperties patternProperties propertyNames minProperties
        maxProperties dependentRequired dependentSchemas dependencies
        unevaluatedProperties""".split()
    ),
    "array": frozenset(
        """items prefixItems additionalItems minItems maxItems uniqueItems contains minContains
        maxContains unevaluatedItems""".split()
    ),
    "string": frozenset("minLength maxLength pattern format".split()),
    "number": frozenset(
        "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf".split()
    ),
}  # fmt: skip
_LENGTHS: Final = {
    "date": (10, 10),
    "time": (9, 21),
    "date-time": (20, 32),
    "uuid": (36, 36),
    "ipv4": (7, 15),
    "hostname": (4, 104),
    "email": (6, 198),
    "uri": (11, 358),
}
"""The shortest and the longest that is written of each format."""

_OTHER_FORMATS: Final = frozenset(
    """duration idn-email idn-hostname ipv6 uri-reference iri iri-reference uri-template
    json-pointer relative-json-pointer regex""".split()
)
"""Formats of the specification that are not written; others have no meaning and are let be."""

_DEEPEST_REFERENCE: Final = 50


def add_schema(rules: Rules, schema: Any) -> str:
    """Add what is valid under the schema to the rules; returns the rule's name.

    Raises:
        SchemaError: it has a keyword that cannot be kept to, or is not valid.
        RecursionError: it is nested too deeply.
    """
    return _Compiler(rules, schema).node(schema, "#")


class _Compiler:
    """Translates one document, to whose root its references relate."""

    def __init__(self, rules: Rules, root: Any) -> None:
        self._rules, self._root = rules, root
        self._references: dict[str, str] = {}

    def node(self, schema: Any, path: str) -> str:
        """The name of a rule for a schema."""
        if schema is False:
            raise SchemaError("false", path, "nothing is valid under it")
        node = _stripped(schema, path)
        if set(node) == {"$ref"}:
            return self._reference(node["$ref"], path)
        node = self._flat(node, path)
        for union in ("anyOf", "oneOf"):
            if union in node:
                return self._rule(path, self._union(union, node, path))
        if "const" in node or "enum" in node:
            return self._rule(path, _enumerated(node, path))
        types = _types(node, path)
        if set(types) == set(TYPES) - {"integer"} and not _used(node):
            return self._rules.known("value")
        return self._rule(path, " | ".join(self._of_type(t, node, path) for t in types))

    def _rule(self, path: str, body: str) -> str:
        return self._rules.add(path.rsplit("/", 1)[-1], body)

    def _reference(self, ref: Any, path: str) -> str:
        """Each target once, by name, so that it may refer to itself."""
        target, at = self._target(ref, path)
        if at not in self._references:
            self._references[at] = name = self._rules.reserve(at.rsplit("/", 1)[-1])
            self._rules.define(name, self.node(target, at))
        return self._references[at]

    def _target(self, ref: Any, path: str) -> tuple[Any, str]:
        if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
            raise SchemaError("$ref", path, f"it refers to {ref!r}; only #/... is followed")
        target = self._root
        for step in ref.split("/")[1:]:
            key = unquote(step).replace("~1", "/").replace("~0", "~")
            try:
                target = target[int(key)] if isinstance(target, list) else target[key]
            except (KeyError, IndexError, ValueError, TypeError):
                raise SchemaError(
                    "$ref", path, f"it refers to {ref!r}, which is not there"
                ) from None
        return target, ref

    def _flat(self, node: Schema, path: str) -> Schema:
        """Without ``$ref`` and ``allOf`` at the top: what they say is merged in."""
        for _ in range(_DEEPEST_REFERENCE):
            parts: list[Any] = []
            if "$ref" in node:
                parts.append(self._target(node.pop("$ref"), path)[0])
            if "allOf" in node:
                parts += _list(node.pop("allOf"), "allOf", path)
            if not parts:
                return node
            for part in parts:
                if part is False:
                    raise SchemaError("false", path, "nothing is valid under it")
                piece = _stripped(part, path)
                if "$ref" in piece or "allOf" in piece:
                    piece = self._flat(piece, path)
                node = merged(node, piece, path)
        raise SchemaError("$ref", path, "it refers to itself without end")

    def _union(self, keyword: str, node: Schema, path: str) -> str:
        """Each alternative together with what stands beside them all."""
        alternatives = _list(node.pop(keyword), keyword, path)
        ways = []
        for i, alternative in enumerate(alternatives):
            if alternative is not False:
                here = f"{path}/{keyword}/{i}"
                piece = self._flat(_stripped(alternative, here), here)
                ways.append((here, merged(node, piece, here), alternative))
        if not ways:
            raise SchemaError(keyword, path, "it has no alternative")
        if keyword == "oneOf":
            self._tell_apart([way for _, way, _ in ways], path)
        # A reference is followed by name where nothing is added to it: it may lead back to here.
        return " | ".join(
            self.node(alternative if keyword == "anyOf" and not node else way, here)
            for here, way, alternative in ways
        )

    def _tell_apart(self, ways: list[Schema], path: str) -> None:
        """Make sure that what is written for one alternative is not valid for another."""
        plain = [
            {**way, "properties": {k: self._seen(v) for k, v in _properties(way, path).items()}}
            for way in ways
        ]
        names = set.intersection(*(set(way["properties"]) for way in plain))
        for name in sorted(names):
            values = [values_of(way["properties"][name]) for way in plain]
            known = [v for v in values if v is not None]
            apart = sum(map(len, known)) == len(frozenset().union(*known))
            if apart and len(known) == len(plain):
                for way in (*ways, *plain):  # the property that says which it is, is written
                    way["required"] = list(dict.fromkeys([*way.get("required", ()), name]))
                break
        for i, one in enumerate(plain):
            for other in plain[:i]:
                if not disjoint(one, other):
                    raise SchemaError(
                        "oneOf", path, "two of its alternatives may hold at once; use anyOf"
                    )

    def _seen(self, schema: Any) -> Any:
        """A property's schema, for a look at its values."""
        try:
            return self._flat(_stripped(schema, ""), "")
        except SchemaError:  # told where it is translated
            return {}

    def _of_type(self, kind: str, node: Schema, path: str) -> str:
        write: dict[str, Callable[[Schema, str], str]] = {
            "object": self._object,
            "array": self._array,
            "string": self._string,
            "number": self._number,
            "integer": self._number,
        }
        if kind not in write:
            return self._rules.known(kind)
        return write[kind]({**node, "type": kind}, path)

    def _object(self, node: Schema, path: str) -> str:
        properties = _properties(node, path)
        extra = node.get("additionalProperties", True)
        if extra is True and node.get("unevaluatedProperties") is False:
            extra = False
        required = _required(node, path)
        for name in required:
            if properties.get(name, extra) is False:
                raise SchemaError("required", path, f"{name!r} is required and not allowed")
            properties.setdefault(name, extra)
        _check_object(node, properties, required, path)
        known = {k: v for k, v in properties.items() if v is not False}
        closed = extra is False or (extra is True and known)
        if not known and extra is True:
            return self._rules.known("object")
        pairs = [
            (self._pair(literal(json.dumps(name, ensure_ascii=False)), value,
                        f"{path}/properties/{_pointer(name)}"), name in required)
            for name, value in known.items()
        ]  # fmt: skip
        more = None
        if not closed:
            more = self._pair(self._other_key([*properties]), extra, f"{path}/additionalProperties")
        self._rules.known("ws")
        return f'"{{" ws {self._members(pairs, more)} ws "}}"'

    def _pair(self, key: str, value: Any, path: str) -> str:
        self._rules.known("ws")
        return self._rules.add("pair", f'{key} ws ":" ws {self.node(value, path)}')

    def _members(self, pairs: list[tuple[str, bool]], more: str | None) -> str:
        """Pairs in their order, those that may be missing or not; then any number of ``more``.

        Built from the end: ``first`` is what may come where no pair stands before it, ``after``
        where one does.
        """
        first = f'({more} ("," ws {more})*)?' if more else ""
        after = f'("," ws {more})*' if more else ""
        for pair, needed in reversed(pairs):
            begun = f"{pair} {after}".strip()
            if needed:
                first, after = begun, f'"," ws {begun}'
            else:
                first = f"({begun} | {first})" if first else f"({begun})?"
                after = f'("," ws {pair})? {after}'.strip()
            first, after = self._rules.add("first", first), self._rules.add("after", after)
        return first

    def _other_key(self, names: list[str]) -> str:
        """A key that is none of these: a reader would take the later of two equal ones."""
        if not names:
            return self._rules.known("string")
        # Written without escapes, so that each has one spelling.
        return rf'"\"" {self._differing([n for n in names if _is_plain(n)])} "\""'

    def _differing(self, names: list[str]) -> str:
        beginnings = sorted({name[0] for name in names if name})
        plain = _plain_outside(beginnings)
        ways = [f"{plain} {_plain_outside([])}*"]
        for character in beginnings:
            rest = [name[1:] for name in names if name[:1] == character]
            ways.append(f"{in_string(character)} {self._differing(rest)}")
        body = f"({' | '.join(ways)})"
        return self._rules.add("key", body if "" in names else f"{body}?")

    def _array(self, node: Schema, path: str) -> str:
        prefix, rest = _items(node, path)
        least = _count(node, "minItems", path) or 0
        most = _count(node, "maxItems", path)
        _check_array(node, most, path)
        if rest is False and least > len(prefix):
            raise SchemaError("minItems", path, f"there are {len(prefix)} items at most")
        if most is not None and least > most:
            raise SchemaError("minItems", path, f"{least} is more than maxItems {most}")
        self._rules.known("ws")
        fixed = [
            self.node(item, f"{path}/prefixItems/{i}")
            for i, item in enumerate(prefix[: len(prefix) if most is None else most])
        ]
        left = None if most is None else most - len(fixed)
        tail = ""
        described = rest is not True or not fixed or least > len(fixed)
        if rest is not False and left != 0 and described:
            item = self.node(rest, f"{path}/items")
            tail = self._rest(item, least - len(fixed), left, begun=bool(fixed), path=path)
        body = ' "," ws '.join(fixed)
        return " ".join(part for part in ('"[" ws', body, tail, 'ws "]"') if part)

    def _rest(self, item: str, least: int, most: int | None, *, begun: bool, path: str) -> str:
        least = max(0, least)
        try:
            if begun:
                return repeated(f'"," ws {item}', least, most)
            more = repeated(f'"," ws {item}', max(0, least - 1), None if most is None else most - 1)
        except Unsupported as exc:
            keyword = "maxItems" if most is not None and most > least else "minItems"
            raise SchemaError(keyword, path, str(exc)) from exc
        return f"{item} {more}" if least else f"({item} {more})?"

    def _string(self, node: Schema, path: str) -> str:
        least = _count(node, "minLength", path) or 0
        most = _count(node, "maxLength", path)
        form = node.get("format")
        if form in _OTHER_FORMATS:
            known = ", ".join(FORMATS)
            raise SchemaError("format", path, f"{form!r} is not kept to; those that are: {known}")
        if "pattern" in node:
            for keyword in ("minLength", "maxLength"):
                if node.get(keyword):
                    raise SchemaError(keyword, path, "say it in the pattern that it stands beside")
            if form in FORMATS:
                raise SchemaError("format", path, "a pattern stands beside it")
            return self._supported("pattern", path, lambda: string_matching(
                str(node["pattern"]), self._rules))  # fmt: skip
        if form in FORMATS:
            shortest, longest = _LENGTHS[form]
            if least > shortest or (most is not None and most < longest):
                keyword = "minLength" if least > shortest else "maxLength"
                raise SchemaError(keyword, path, f"the format {form!r} stands beside it")
            return rf'"\"" {self._rules.known(form)} "\""'
        if not least and most is None:
            return self._rules.known("string")
        if most is not None and least > most:
            raise SchemaError("minLength", path, f"{least} is more than maxLength {most}")
        keyword = "minLength" if most is None else "maxLength"
        char = self._rules.known("char")
        body = self._supported(keyword, path, lambda: repeated(char, least, most))
        return rf'"\"" {body} "\""'

    def _number(self, node: Schema, path: str) -> str:
        whole = node["type"] == "integer"
        step = node.get("multipleOf")
        if step is not None and not (whole and step == 1):
            raise SchemaError("multipleOf", path, "a grammar does not calculate")
        least, above = _bound(node, "minimum", "exclusiveMinimum", path, max)
        most, below = _bound(node, "maximum", "exclusiveMaximum", path, min)
        if least is None and most is None:
            return self._rules.known(node["type"])
        keyword = "minimum" if least is not None else "maximum"
        if whole:
            low = None if least is None else math.floor(least) + 1 if above else math.ceil(least)
            high = None if most is None else math.ceil(most) - 1 if below else math.floor(most)
            return self._supported(keyword, path, lambda: integers(low, high))
        exact = tuple(None if b is None else Decimal(str(b)) for b in (least, most))
        if any(b is not None and b != b.to_integral_value() for b in exact):
            return self._supported(
                keyword, path, lambda: fractions(exact[0], exact[1], above, below)
            )
        low, high = (None if b is None else int(b) for b in (least, most))
        return self._supported(keyword, path, lambda: numbers(low, high, above, below))

    def _supported(self, keyword: str, path: str, write: Callable[[], str]) -> str:
        try:
            return write()
        except Unsupported as exc:
            raise SchemaError(keyword, path, str(exc)) from exc


def _stripped(schema: Any, path: str) -> Schema:
    """Without annotations."""
    if schema is True:
        return {}
    if not isinstance(schema, Mapping):
        raise SchemaError("schema", path, f"{str(schema)[:40]!r} is not a schema")
    for keyword, why in _NEVER.items():
        if keyword in schema:
            raise SchemaError(keyword, path, why)
    return {k: v for k, v in schema.items() if k not in ANNOTATIONS}


def _used(node: Schema) -> set[str]:
    return {k for k in node if any(k in keywords for keywords in _OF_TYPE.values())}


def _types(node: Schema, path: str) -> list[str]:
    if "type" not in node:
        # Valid is any other type as well, but this is the one that is meant.
        meant = [kind for kind, keywords in _OF_TYPE.items() if keywords & node.keys()]
        return meant or [kind for kind in TYPES if kind != "integer"]
    types = type_names(node["type"])
    for name in types:
        if name not in TYPES:
            raise SchemaError("type", path, f"{name!r} is not a type of JSON")
    if not types:
        raise SchemaError("type", path, "it names none")
    return types


def _enumerated(node: Schema, path: str) -> str:
    values = [node["const"]] if "const" in node else _list(node["enum"], "enum", path)
    if "const" in node and "enum" in node and node["const"] not in node["enum"]:
        raise SchemaError("const", path, "it is not in enum")
    if "type" in node:
        allowed = set(_types(node, path))
        allowed |= {"integer"} if "number" in allowed else set()
        values = [value for value in values if type_of(value) in allowed]
    if not values:
        raise SchemaError("enum" if "enum" in node else "const", path, "no value is of its type")
    for kind, keywords in _OF_TYPE.items():
        beside = sorted(keywords & node.keys())
        if beside and any(type_of(v).replace("integer", "number") == kind for v in values):
            raise SchemaError(beside[0], path, "const or enum stands beside it")
    return " | ".join(literal(json.dumps(value, ensure_ascii=False)) for value in values)


def _properties(node: Schema, path: str) -> Schema:
    properties = node.get("properties", {})
    if not isinstance(properties, Mapping):
        raise SchemaError("properties", path, "must be an object")
    return dict(properties)


def _required(node: Schema, path: str) -> list[str]:
    names = node.get("required", [])
    if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
        raise SchemaError("required", path, "must be a list of names")
    return names


def _check_object(node: Schema, known: Schema, required: list[str], path: str) -> None:
    for keyword in ("patternProperties", "dependentRequired", "dependentSchemas", "dependencies"):
        if node.get(keyword):
            raise SchemaError(keyword, path, "a grammar does not look back at the keys it wrote")
    if node.get("propertyNames", True) not in (True, {}):
        raise SchemaError("propertyNames", path, "keys are not restricted; name them in properties")
    if node.get("unevaluatedProperties", True) not in (True, False, {}):
        raise SchemaError("unevaluatedProperties", path, "use additionalProperties")
    counted = (_count(node, "minProperties", path) or 0) > len(set(required))
    if counted:
        raise SchemaError("minProperties", path, "keys are not counted; name them in required")
    most = _count(node, "maxProperties", path)
    open_ = not known or isinstance(node.get("additionalProperties"), Mapping)
    if most is not None and (open_ or most < len(known)):
        raise SchemaError("maxProperties", path, "keys are not counted")


def _items(node: Schema, path: str) -> tuple[list[Any], Any]:
    """The schemas of the first items, and of those after them."""
    items = node.get("items", True)
    if isinstance(items, list):  # before draft 2020-12
        return items, node.get("additionalItems", True)
    if items is True and node.get("unevaluatedItems") is False:
        items = False
    return _list(node.get("prefixItems", []), "prefixItems", path), items


def _check_array(node: Schema, most: int | None, path: str) -> None:
    for keyword in ("contains", "minContains", "maxContains"):
        if keyword in node:
            raise SchemaError(keyword, path, "a grammar does not look back at the items it wrote")
    if node.get("uniqueItems") and (most is None or most > 1):
        raise SchemaError("uniqueItems", path, "a grammar does not look back at the items it wrote")
    if node.get("unevaluatedItems", True) not in (True, False, {}):
        raise SchemaError("unevaluatedItems", path, "use items")


def _count(node: Schema, keyword: str, path: str) -> int | None:
    value = node.get(keyword)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, (int, float)) or value < 0:
        raise SchemaError(keyword, path, f"{value!r} is not a count")
    return int(value)


def _bound(
    node: Schema, plain: str, exclusive: str, path: str, tighter: Callable[..., Any]
) -> tuple[Any, bool]:
    """The bound that counts, and whether it is itself excluded."""
    with_, without = node.get(plain), node.get(exclusive)
    if isinstance(without, bool):  # draft 4
        return with_, without and with_ is not None
    for keyword, value in ((plain, with_), (exclusive, without)):
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (number and math.isfinite(value)):
            raise SchemaError(keyword, path, f"{value!r} is not a number")
    if with_ is None or without is None:
        return (with_, False) if without is None else (without, True)
    return tighter(with_, without), tighter(with_, without) == without


def _list(value: Any, keyword: str, path: str) -> list[Any]:
    if not isinstance(value, list) or not (value or keyword == "prefixItems"):
        raise SchemaError(keyword, path, "must be a list that is not empty")
    return value


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")


def _is_plain(text: str) -> bool:
    return json.dumps(text, ensure_ascii=False)[1:-1] == text and "\x7f" not in text


def _plain_outside(characters: list[str]) -> str:
    excluded = [(0, 0x1F), (0x7F, 0x7F), (0x22, 0x22), (0x5C, 0x5C)]
    return character_class([*excluded, *((ord(c), ord(c)) for c in characters)], outside=True)
