"""What a grammar can keep of a JSON schema, written so that llguidance takes it.

Whatever is left out, because no grammar can say it, is named: the answer is checked by it
afterwards. What is written under the schema that comes out is valid under the one that went in, but
for those keywords. It may be narrower: where a schema does not say whether an object has further
properties it has none, an object is meant where properties are named, whole numbers have 18
digits at most.

References are followed here, each target written once under ``$defs``, since it depends on the
place that refers to it whether its objects may be closed.
"""

from __future__ import annotations

import functools
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias

from modelrouter.schemas.base import NotKept, Unreadable
from modelrouter.schemas.checking import checked, is_checked
from modelrouter.schemas.patterns import portable
from modelrouter.schemas.values import (
    KNOWN_FORMATS,
    LARGEST,
    OTHER_FORMATS,
    WRITTEN_FORMATS,
    bounds,
    check_apart,
    is_counted,
    names_pattern,
    types_of,
    values_of,
    within_one,
)

__all__ = ["Kept", "kept"]

Schema: TypeAlias = "dict[str, Any] | bool"

_AS_IT_IS: Final = frozenset("required const enum multipleOf type".split())
_COUNTS: Final = frozenset("minItems maxItems minLength maxLength".split())
_BOUNDS: Final = frozenset("minimum maximum exclusiveMinimum exclusiveMaximum".split())
_KINDS: Final[dict[str, frozenset[str]]] = {
    "object": frozenset(
        """properties required additionalProperties patternProperties propertyNames minProperties
        maxProperties dependentRequired dependentSchemas dependencies
        unevaluatedProperties""".split()
    ),
    "array": frozenset(
        """items prefixItems additionalItems minItems maxItems uniqueItems contains
        unevaluatedItems""".split()
    ),
    "string": frozenset("minLength maxLength pattern format".split()),
    "number": frozenset(
        "minimum maximum exclusiveMinimum exclusiveMaximum multipleOf".split()
    ),
}  # fmt: skip
_LEFT_OUT: Final = (
    "not if contains uniqueItems dependentRequired dependentSchemas dependencies $dynamicRef "
    "$recursiveRef"
).split()
"""What no grammar says; checked afterwards where it says anything."""

_READ: Final = frozenset().union(
    *_KINDS.values(), _AS_IT_IS, _LEFT_OUT, "then else $ref allOf anyOf oneOf".split()
)
"""The keywords that say which values are valid; all others are about them."""

_NOTHING: Final = "nothing is valid under it"


@dataclass(frozen=True, slots=True)
class Kept:
    """What a grammar can keep of a schema.

    Attributes:
        schema: for llguidance.
        after: the keywords that it leaves out, each with its place: ``"uniqueItems at #/items"``.
    """

    schema: Schema
    after: tuple[str, ...] = ()


def kept(schema: Any) -> Kept:
    """What a grammar can keep of a schema, and what is to be checked afterwards.

    Raises:
        Unreadable: it is not a schema, refers to what is not there, or nothing is valid under it.
    """
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
    except (TypeError, ValueError, RecursionError) as exc:
        raise Unreadable("#", f"it is not JSON ({exc})") from exc
    return _kept(text)


@functools.lru_cache(maxsize=128)  # the same few are sent again and again
def _kept(text: str) -> Kept:
    schema = json.loads(text)
    checked(schema)
    try:
        return _Writer(schema).whole()
    except _Impossible as exc:
        raise Unreadable(exc.path, _NOTHING) from exc
    except RecursionError as exc:
        raise Unreadable("#", "it is nested too deeply") from exc
    except (ValueError, TypeError, AttributeError, KeyError, ArithmeticError) as exc:
        # What is referred to may stand where the check of the whole did not look, and the
        # libraries that read addresses and numbers raise what they like.
        raise Unreadable("#", f"it makes no sense ({exc})") from exc


class _Impossible(Exception):
    """Nothing is valid under a part of the schema."""

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self.path = path


@dataclass(slots=True)
class _Notes:
    """What was left out of one part of the schema.

    Attributes:
        keywords: each with its place.
        blind: whether a string's pattern is among them, without which nothing is known of it.
    """

    keywords: list[str] = field(default_factory=list)
    blind: bool = False

    def add(self, keyword: str, path: str) -> None:
        self.keywords.append(f"{keyword} at {path}")

    def join(self, other: _Notes) -> None:
        self.keywords += other.keywords
        self.blind = self.blind or other.blind


@dataclass(slots=True)
class _Said:
    """What a node says of objects, with all that holds together with it.

    Attributes:
        names: of properties.
        open: whether it says itself what further properties there are.
        typed: whether it says of what types its values are.
        kinds: the types that its keywords are about.
        branches: whether a part of it holds for some values only.
    """

    names: dict[str, None] = field(default_factory=dict)
    open: bool = False
    typed: bool = False
    kinds: dict[str, None] = field(default_factory=dict)
    branches: bool = False


class _Writer:
    """Writes one document's schema anew."""

    def __init__(self, root: Any) -> None:
        from jsonschema_specifications import REGISTRY
        from referencing.jsonschema import DRAFT202012, specification_with

        named = root.get("$schema") if isinstance(root, Mapping) else None
        self._draft = DRAFT202012
        if isinstance(named, str):
            self._draft = specification_with(named, default=DRAFT202012)
        resource = self._draft.create_resource(root)
        at = resource.id() or ""
        registry = REGISTRY.with_resource(at, resource)
        self._root, self._resolver = root, registry.resolver(at)
        self._requiring: dict[tuple[int, str], Any] = {}
        self._defs: dict[str, Schema] = {}
        self._names: dict[tuple[int, bool], str] = {}
        self._notes: dict[str, _Notes] = {}
        self._met: list[int] = []
        self._held: list[Any] = []  # so that an id stays one object's

    def whole(self) -> Kept:
        notes = _Notes()
        schema = self.node(self._root, self._resolver, "#", notes)
        if schema is False:
            raise _Impossible("#")
        if self._defs:
            schema = {**(schema if isinstance(schema, dict) else {}), "$defs": self._defs}
        return Kept(schema, tuple(dict.fromkeys(notes.keywords)))

    def node(
        self, schema: Any, resolver: Any, path: str, notes: _Notes, *, alone: bool = True
    ) -> Schema:
        """One schema.

        Args:
            schema: as it was written.
            resolver: knows what it may refer to.
            path: its place, for messages.
            notes: take what is left out.
            alone: whether no other schema holds for the same value.
        """
        if isinstance(schema, bool):
            return schema
        resolver = self._within(schema, resolver)
        node = {k: v for k, v in schema.items() if k in _READ}
        if not node:
            return True
        inner = alone and _passes_on(node)
        out: dict[str, Any] = {k: v for k, v in node.items() if k in _AS_IT_IS}
        out.update({k: int(v) for k, v in node.items() if k in _COUNTS})
        bounds(node, out)
        for keyword in [k for k in _BOUNDS & out.keys() if abs(out[k]) > LARGEST]:
            del out[keyword]  # beyond what llguidance counts to
            notes.add(keyword, path)
        within_one(out)
        if not is_counted(node.get("multipleOf", 1)):
            del out["multipleOf"]
            notes.add("multipleOf", path)
        for keyword in _LEFT_OUT:
            if keyword in node and _says_something(keyword, node):
                if keyword == "not" and node["not"] in (True, {}):
                    raise _Impossible(path)
                notes.add(keyword, path)
        self._string(node, out, path, notes)
        self._array(node, out, resolver, path, notes)
        said = self._said(schema, resolver)
        closed = alone and not inner and bool(said.names) and not said.open
        self._object(node, out, resolver, path, notes, said, closed)
        self._combined(node, out, resolver, path, notes, alone=inner)
        if alone and not inner:
            _close(node, out, said)
        return out

    # References.

    def _within(self, schema: Mapping[str, Any], resolver: Any) -> Any:
        if "$id" in schema and schema is not self._root:
            return resolver.in_subresource(self._draft.create_resource(schema))
        return resolver

    def _target(self, ref: Any, resolver: Any, path: str) -> tuple[Any, Any]:
        from referencing.exceptions import Unresolvable

        try:
            found = resolver.lookup(ref)
        except (Unresolvable, ValueError, TypeError, AttributeError) as exc:
            raise Unreadable(path, f"it refers to {ref!r}, which is not there") from exc
        if not isinstance(found.contents, (bool, Mapping)):
            raise Unreadable(path, f"it refers to {ref!r}, which is not a schema")
        return found.contents, found.resolver

    def _reference(self, ref: Any, resolver: Any, path: str, notes: _Notes, alone: bool) -> Schema:
        """A reference to a target that is written once for each way in which it is used."""
        target, at = self._target(ref, resolver, path)
        if isinstance(target, bool):
            return target
        return self._defined(target, at, path, notes, alone)

    def _defined(self, target: Any, resolver: Any, path: str, notes: _Notes, alone: bool) -> Schema:
        key = (id(target), alone)
        if id(target) in self._met:  # from itself to itself, without a value between
            raise _Impossible(path)
        if key not in self._names:
            self._held.append(target)
            checked(target)  # it may stand where the check of the whole did not look
            self._names[key] = name = f"d{len(self._names)}"
            self._notes[name] = own = _Notes()
            self._met.append(id(target))
            try:
                self._defs[name] = self.node(target, resolver, path, own, alone=alone)
            except _Impossible:
                del self._names[key]
                raise
            finally:
                self._met.remove(id(target))
        name = self._names[key]
        notes.join(self._notes[name])
        return {"$ref": f"#/$defs/{name}"}

    def _below(self, schema: Any, resolver: Any, path: str, notes: _Notes) -> Schema:
        """The schema of a value within the value."""
        met, self._met = self._met, []
        try:
            return self.node(schema, resolver, path, notes)
        finally:
            self._met = met

    # Schemas that hold together.

    def _combined(
        self,
        node: Mapping[str, Any],
        out: dict[str, Any],
        resolver: Any,
        path: str,
        notes: _Notes,
        *,
        alone: bool,
    ) -> None:
        together = [
            self.node(part, resolver, f"{path}/allOf/{i}", notes, alone=alone)
            for i, part in enumerate(node.get("allOf", ()))
        ]
        if "$ref" in node:
            found = self._reference(node["$ref"], resolver, path, notes, alone)
            if out or len(node) > 1 or isinstance(found, bool):
                together.append(found)
            else:
                out.update(found)
        for keyword in ("anyOf", "oneOf"):
            if keyword in node:
                ways = self._ways(keyword, node, resolver, path, notes, alone=alone)
                if "anyOf" in out:
                    together.append({"anyOf": ways})
                else:
                    out["anyOf"] = ways
        if False in together:
            raise _Impossible(path)
        together = [part for part in together if part is not True]
        if together:
            out["allOf"] = [*out.get("allOf", ()), *together]

    def _ways(
        self,
        keyword: str,
        node: Mapping[str, Any],
        resolver: Any,
        path: str,
        notes: _Notes,
        *,
        alone: bool,
    ) -> list[Schema]:
        """The alternatives that can be kept."""
        given = [(part, resolver) for part in node[keyword]]
        written_apart = False
        if keyword == "oneOf":
            apart, which = self._told_apart(given)
            if not apart:
                notes.add("oneOf", path)
            if which is not None:
                given = [self._needing(way, which) for way in given]
                written_apart = True
        found: list[tuple[Schema, _Notes]] = []
        for i, (part, at) in enumerate(given):
            own, here = _Notes(), f"{path}/{keyword}/{i}"
            try:
                if written_apart:
                    way = self._defined(part, at, here, own, alone)
                else:
                    way = self.node(part, at, here, own, alone=alone)
            except _Impossible:
                continue
            if way is not False:
                found.append((way, own))
        # A string of which nothing is known is left out where there is something else to say.
        sure = any(
            not own.keywords and way != {"type": "null"} and not isinstance(way, bool)
            for way, own in found
        )
        if sure:
            found = [each for each in found if not each[1].blind]
        if not found:
            raise _Impossible(path)
        for _, own in found:
            notes.join(own)
        return [way for way, _ in found]

    def _told_apart(self, ways: list[tuple[Any, Any]]) -> tuple[bool, str | None]:
        """Whether no value is valid for two alternatives of ``oneOf``, and by which property."""
        looked = [self._looked_at(*way) for way in ways]
        kinds = [types_of(node) for node, _ in looked]
        if all(
            a is not None and b is not None and not a & b
            for i, a in enumerate(kinds)
            for b in kinds[:i]
        ):
            return True, None
        if any(not isinstance(node.get("properties"), Mapping) for node, _ in looked):
            return False, None
        for name in sorted(set.intersection(*(set(node["properties"]) for node, _ in looked))):
            values = [
                values_of(self._looked_at(node["properties"][name], at)[0]) for node, at in looked
            ]
            known = [v for v in values if v]
            if len(known) == len(ways) and sum(map(len, known)) == len(frozenset().union(*known)):
                return True, name
        return False, None

    def _needing(self, way: tuple[Any, Any], name: str) -> tuple[Any, Any]:
        """The alternative with a property that has to be written: it says which one it is."""
        target, at = self._looked_at(*way)
        key = (id(target), name)
        if key not in self._requiring:
            self._held.append(target)
            self._requiring[key] = {
                **target,
                "required": list(dict.fromkeys([*target.get("required", ()), name])),
            }
        return self._requiring[key], at

    def _looked_at(self, schema: Any, resolver: Any) -> tuple[Mapping[str, Any], Any]:
        """A schema, or what it refers to, for a look at what it says first."""
        for _ in range(8):
            if not isinstance(schema, Mapping):
                return {}, resolver
            if "$ref" not in schema:
                return schema, resolver
            schema, resolver = self._target(schema["$ref"], resolver, "#")
        return {}, resolver

    # Types.

    def _string(
        self, node: Mapping[str, Any], out: dict[str, Any], path: str, notes: _Notes
    ) -> None:
        if "pattern" in node:
            try:
                out["pattern"] = portable(node["pattern"])
            except NotKept:
                notes.add("pattern", path)
                notes.blind = node.get("format") not in {*WRITTEN_FORMATS, *KNOWN_FORMATS}
        form = node.get("format")
        if form in WRITTEN_FORMATS:
            own = {"pattern": f"^{WRITTEN_FORMATS[form]}$"}
            if "pattern" in out:
                out["allOf"] = [own]
            else:
                out.update(own)
        elif form in KNOWN_FORMATS:
            out["format"] = form
            out.setdefault("maxLength", max(KNOWN_FORMATS[form], out.get("minLength", 0)))
        elif form in OTHER_FORMATS and is_checked(form):
            notes.add("format", path)

    def _array(
        self, node: Mapping[str, Any], out: dict[str, Any], resolver: Any, path: str, notes: _Notes
    ) -> None:
        items, first = node.get("items"), node.get("prefixItems")
        if isinstance(items, list):  # before draft 2020-12
            first, items = items, node.get("additionalItems")
        if first:
            out["prefixItems"] = [
                self._part(item, resolver, f"{path}/prefixItems/{i}", notes)
                for i, item in enumerate(first)
            ]
        if items is not None:
            out["items"] = self._part(items, resolver, f"{path}/items", notes)
        if "unevaluatedItems" in node:
            alone = not {"$ref", "allOf", "anyOf", "oneOf", "if", "contains"} & node.keys()
            if items is None and alone:
                out["items"] = self._part(node["unevaluatedItems"], resolver, path, notes)
            elif node["unevaluatedItems"] not in (True, {}) and items is None:
                notes.add("unevaluatedItems", path)
        if node.get("uniqueItems") is True and isinstance(items, Mapping) and not first:
            values = values_of(self._looked_at(items, resolver)[0])
            if values:  # so many there are, and no more
                out["maxItems"] = min(len(values), out.get("maxItems", len(values)))

    def _part(self, schema: Any, resolver: Any, path: str, notes: _Notes) -> Schema:
        """What may be impossible without the whole being so."""
        own = _Notes()
        try:
            written = self._below(schema, resolver, path, own)
        except _Impossible:
            return False
        notes.join(own)
        return written

    def _object(
        self,
        node: Mapping[str, Any],
        out: dict[str, Any],
        resolver: Any,
        path: str,
        notes: _Notes,
        said: _Said,
        closed: bool,
    ) -> None:
        if "properties" in node:
            out["properties"] = {
                name: self._part(value, resolver, f"{path}/properties/{_pointer(name)}", notes)
                for name, value in node["properties"].items()
            }
        if "additionalProperties" in node:
            out["additionalProperties"] = self._part(
                node["additionalProperties"], resolver, f"{path}/additionalProperties", notes
            )
        if node.get("patternProperties"):
            try:
                check_apart([*node["patternProperties"]])
                out["patternProperties"] = {
                    portable(pattern): self._part(
                        value, resolver, f"{path}/patternProperties/{_pointer(pattern)}", notes
                    )
                    for pattern, value in node["patternProperties"].items()
                }
            except NotKept:
                notes.add("patternProperties", path)
                if not out.get("properties"):
                    out.pop("additionalProperties", None)
        if node.get("propertyNames", True) not in (True, {}):
            self._property_names(node, out, resolver, path, notes)
        self._property_counts(node, out, said, closed, path, notes)
        rest = node.get("unevaluatedProperties", True)
        if rest not in (True, {}) and (rest is not False or said.branches or not closed):
            notes.add("unevaluatedProperties", path)

    def _property_names(
        self, node: Mapping[str, Any], out: dict[str, Any], resolver: Any, path: str, notes: _Notes
    ) -> None:
        """``propertyNames``, where keys can be listed or matched in place of it."""
        if node["propertyNames"] is False:
            out["properties"], out["additionalProperties"] = {}, False
            return
        names, _ = self._looked_at(node["propertyNames"], resolver)
        says = {k: v for k, v in names.items() if k in _READ}
        if says.get("type", "string") != "string":
            notes.add("propertyNames", path)
            return
        says.pop("type", None)
        if not says:
            return
        free = not {"properties", "patternProperties", "$ref", "allOf"} & node.keys()
        value = out.get("additionalProperties", True)
        values = values_of(says) if says.keys() <= {"enum", "const"} else None
        if free and values:
            keys = [key for key in map(json.loads, sorted(values)) if isinstance(key, str)]
            out["properties"] = dict.fromkeys(keys, value)
            out["additionalProperties"] = False
            return
        pattern = names_pattern(says)
        if free and pattern is not None:
            out["patternProperties"] = {pattern: value}
            out["additionalProperties"] = False
            return
        notes.add("propertyNames", path)

    def _property_counts(
        self,
        node: Mapping[str, Any],
        out: dict[str, Any],
        said: _Said,
        closed: bool,
        path: str,
        notes: _Notes,
    ) -> None:
        """``minProperties`` and ``maxProperties``: counted only where no key may be left out."""
        required = set(node.get("required", ()))
        optional = {*node.get("properties", ()), *out.get("properties", ())} - required
        least, most = node.get("minProperties", 0), node.get("maxProperties", math.inf)
        if least <= len(required):
            least = 0
        if closed and len(said.names) <= most:
            most = math.inf
        for keyword, count, free in (
            ("minProperties", least, 0), ("maxProperties", most, math.inf),
        ):  # fmt: skip
            if count == free:
                continue
            if optional or closed or "patternProperties" in out:
                notes.add(keyword, path)
            else:
                out[keyword] = int(count)

    def _said(self, schema: Any, resolver: Any) -> _Said:
        said = _Said()
        self._gather(schema, resolver, said, set())
        return said

    def _gather(self, schema: Any, resolver: Any, said: _Said, seen: set[int]) -> None:
        if not isinstance(schema, Mapping) or id(schema) in seen:
            return
        seen.add(id(schema))
        for kind, keywords in _KINDS.items():
            if keywords & schema.keys():
                said.kinds[kind] = None
        said.typed = said.typed or bool({"type", "const", "enum"} & schema.keys())
        said.names.update(dict.fromkeys(schema.get("properties", ())))
        said.names.update(dict.fromkeys(schema.get("required", ())))
        depending = {**schema.get("dependencies", {}), **schema.get("dependentRequired", {})}
        for name, others in depending.items():
            said.names[name] = None
            if isinstance(others, list):
                said.names.update(dict.fromkeys(others))
        opening = {"additionalProperties", "patternProperties", "propertyNames", "$dynamicRef"}
        said.open = said.open or bool(opening & schema.keys())
        said.open = said.open or schema.get("unevaluatedProperties", False) is not False
        if "$ref" in schema:
            target, at = self._target(schema["$ref"], resolver, "#")
            self._gather(target, at, said, seen)
        for part in schema.get("allOf", ()):
            self._gather(part, resolver, said, seen)
        branches = [*schema.get("anyOf", ()), *schema.get("oneOf", ())]
        branches += [schema[k] for k in ("if", "then", "else") if k in schema]
        branches += [v for v in depending.values() if not isinstance(v, list)]
        branches += schema.get("dependentSchemas", {}).values()
        said.branches = said.branches or bool(branches)
        for part in branches:
            self._gather(part, resolver, said, seen)


def _close(node: Mapping[str, Any], out: dict[str, Any], said: _Said) -> None:
    """Say of what type a value is and that nothing else is in it, where nobody says."""
    if not said.typed and said.kinds:
        kinds = list(said.kinds)
        out["type"] = kinds[0] if len(kinds) == 1 else kinds
    counted = node.get("minProperties", 0) > len(said.names)
    if said.names and not said.open and not counted:
        own = out.setdefault("properties", {})
        for name in said.names:
            own.setdefault(name, True)
        out["additionalProperties"] = False


def _passes_on(node: Mapping[str, Any]) -> bool:
    """Whether a schema only hands its value on to others, of which one holds at a time."""
    rest = node.keys() - {"type"}
    return rest in ({"anyOf"}, {"oneOf"}, {"$ref"}) or (
        rest == {"allOf"} and len(node["allOf"]) == 1
    )


def _says_something(keyword: str, node: Mapping[str, Any]) -> bool:
    """Whether a keyword rules anything out where it stands."""
    value = node[keyword]
    if keyword == "if":
        return bool({"then", "else"} & node.keys())
    if keyword == "uniqueItems":
        return bool(value) and not node.get("maxItems", 2) <= 1
    if keyword == "contains":
        return node.get("minContains", 1) > 0 or "maxContains" in node
    if keyword.startswith("depend"):
        return bool(value)
    return True


def _pointer(name: str) -> str:
    return name.replace("~", "~0").replace("/", "~1")
