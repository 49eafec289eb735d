"""Grammars from JSON schemas: what is written under them is valid, but for what is named.

Texts are written one allowed token after another, drawn at random as a model without any sense
would.
"""

from __future__ import annotations

import datetime
import decimal
import enum
import json
import re
import uuid
from collections.abc import Iterator
from typing import Annotated, Any, Literal

import jsonschema
import numpy as np
import pydantic
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from modelrouter.backends.llamacpp.engine.native import Model, log
from modelrouter.backends.llamacpp.grammar.constraint import Constraint, GrammarError
from modelrouter.backends.llamacpp.grammar.response_format import grammar_of
from modelrouter.exceptions import BadRequestError
from modelrouter.schemas import kept, problem
from tests.support.gguf_factory import make_tiny_gguf
from tests.support.random_writer import written


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with log.kept():
        yield Model(make_tiny_gguf(tmp_path_factory.mktemp("g") / "tiny.gguf"))


def schema_format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}


def written_under(model: Model, schema: Any, seeds: range = range(6)) -> list[Any]:
    """Values under what a grammar keeps of the schema."""
    grammar, _ = grammar_of(schema_format(schema), "m")
    return [json.loads(written(model, grammar, seed)) for seed in seeds]


def check(model: Model, schema: Any, seeds: range = range(6)) -> list[Any]:
    """What is written under the schema, all of it valid."""
    assert kept(schema).after == ()
    values = written_under(model, schema, seeds)
    for value in values:
        jsonschema.Draft202012Validator(
            schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER
        ).validate(value)
    return values


NAMES = ["a", "ab", "b", "abc", "ключ", 'q"', "x y", "a/b~"]
small = st.integers(0, 4)


def bounds(low: str, high: str, values: st.SearchStrategy[int]) -> st.SearchStrategy[Any]:
    pair = st.tuples(values, values).map(sorted)
    return pair.flatmap(
        lambda p: st.sampled_from([{}, {low: p[0]}, {high: p[1]}, {low: p[0], high: p[1]}])
    )


leaves = st.one_of(
    bounds("minLength", "maxLength", small).map(lambda b: {"type": "string", **b}),
    bounds("minimum", "maximum", st.integers(-2_000, 2_000)).map(
        lambda b: {"type": "integer", **b}
    ),
    bounds("minimum", "maximum", st.integers(-12, 12)).map(lambda b: {"type": "number", **b}),
    st.integers(-30, 30).map(
        lambda n: {"type": "number", "exclusiveMinimum": n, "exclusiveMaximum": n + 2}
    ),
    st.sampled_from(
        [
            {"type": "boolean"},
            {"type": "null"},
            {"type": ["string", "null"], "maxLength": 3},
            {},
            True,
            {"const": {"k": [1, "é"]}},
            {"enum": ["a", 1, None, 'q"\\']},
            {"type": "integer", "enum": [1, "x", 2.0]},
            {"type": "object"},
            {"title": "T", "description": "d", "minimum": 3, "type": "integer"},
            *({"type": "string", "format": f} for f in ("date", "time", "date-time", "uuid",
                                                         "ipv4", "email", "uri", "hostname")),
        ]
    ),
)  # fmt: skip


def nested(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    properties = st.dictionaries(st.sampled_from(NAMES), inner, max_size=4)
    extra = st.one_of(st.none(), st.booleans(), inner)
    objects = st.builds(
        lambda p, cut, e, missing: {
            "type": "object",
            "properties": p,
            "required": list(p)[:cut] + (["other"] if missing and e is not False else []),
            **({} if e is None else {"additionalProperties": e}),
        },
        properties, small, extra, st.booleans(),
    )  # fmt: skip
    arrays = st.builds(
        lambda item, b: {"type": "array", "items": item, **b},
        inner, bounds("minItems", "maxItems", small),
    )  # fmt: skip
    tuples = st.builds(
        lambda first, rest, b: {"type": "array", "prefixItems": first, **rest, **b},
        st.lists(inner, min_size=1, max_size=3),
        st.one_of(st.just({}), inner.map(lambda i: {"items": i})),
        bounds("minItems", "maxItems", small),
    )  # fmt: skip
    return st.one_of(
        objects,
        arrays,
        tuples,
        st.lists(inner, min_size=1, max_size=3).map(lambda ways: {"anyOf": ways}),
        st.lists(inner, min_size=1, max_size=3).map(
            lambda ps: {"allOf": [{"properties": {NAMES[i]: p}} for i, p in enumerate(ps)],
                        "type": "object", "required": ["a"]}
        ),
        inner.map(lambda i: {"type": "object", "properties": {"r": {"$ref": "#/$defs/D"}, "s": i}}),
    )  # fmt: skip


schemas = st.builds(
    lambda schema, leaf: {**schema, "$defs": {"D": leaf}} if isinstance(schema, dict) else schema,
    st.recursive(leaves, nested, max_leaves=6),
    leaves,
)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=schemas, seed=st.integers(0, 1_000))
@example({"properties": {"a": {"type": "integer"}}, "additionalProperties": {"type": "string"}}, 3)
def test_what_is_written_under_a_schema_is_valid(model: Model, schema: Any, seed: int) -> None:
    check(model, schema, range(seed, seed + 2))


PATTERNS = [
    "^[a-z]+$", "^a.c$", "b", "^b", "b$", r"^\d{3}-\d{4}$", r"^[\w.]+@\w+$", '^[^"]{2}$', r"^\\+$",
    '^"x"$', "^(ab|cd)*$", "^a$|^b$", "(a|b)c", "^(?:x|y){2,3}$", "", "^$", "^é[à-ü]?$",
    r"^\S\s\S$", "^[^a-z]{1,2}$", r"^[\D]{2}$", "^a+?b*$", r"^\.\*\[\]$", "(^x|y$)",
]  # fmt: skip


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_pattern_is_matched(model: Model, pattern: str) -> None:
    values = check(model, {"type": "string", "pattern": pattern}, range(12))
    assert all(re.search(pattern, value) for value in values)


AFTER: list[tuple[str, Any, Any]] = [
    ("not at #", {"type": "string", "not": {"const": ""}}, "a"),
    ("if at #", {"if": {"required": ["a"]}, "then": {"required": ["b"]}}, {}),
    ("uniqueItems at #", {"items": {"type": "integer"}, "uniqueItems": True}, [1, 2]),
    ("contains at #", {"type": "array", "contains": {"const": 1}}, [1]),
    ("patternProperties at #", {"patternProperties": {"^a(?=b)": {}}}, {"ab": 1}),
    ("patternProperties at #", {"patternProperties": {"a": {}, "b": {}}}, {"ab": 1}),
    ("propertyNames at #", {"properties": {"a": {}}, "propertyNames": {"pattern": "^a"}}, {}),
    ("dependentSchemas at #", {"dependentSchemas": {"a": {"required": ["b"]}}}, {}),
    ("dependentRequired at #", {"dependentRequired": {"a": ["b"]}}, {}),
    ("dependencies at #", {"type": "object", "dependencies": {"a": ["b"]}}, {}),
    ("minProperties at #", {"minProperties": 1, "properties": {"a": {}, "b": {}}}, {"a": 1}),
    ("maxProperties at #", {"maxProperties": 1, "properties": {"a": {}, "b": {}}}, {"a": 1}),
    ("unevaluatedItems at #", {"contains": {}, "unevaluatedItems": False, "type": "array"}, [1]),
    ("multipleOf at #", {"type": "number", "multipleOf": 0.123456789}, 0),
    ("maximum at #", {"type": "number", "maximum": 1e30}, 1),
    ("format at #", {"type": "string", "format": "regex"}, "a"),
    ("pattern at #", {"type": "string", "pattern": "(?=a)b?a"}, "a"),
    ("pattern at #", {"type": "string", "pattern": r"(a)\1"}, "aa"),
    ("pattern at #", {"type": "string", "pattern": r"\bword\b"}, "a word"),
    ("oneOf at #", {"oneOf": [{"type": "number"}, {"type": "integer"}]}, 0.5),
    ("not at #/properties/a/items", {"properties": {"a": {"items": {"not": {"const": 1}}}}}, {}),
    ("uniqueItems at #/properties/a~1b",
     {"properties": {"a/b": {"type": "array", "uniqueItems": True}}}, {}),
]  # fmt: skip


@pytest.mark.parametrize(("named", "schema", "valid"), AFTER, ids=lambda v: str(v)[:40])
def test_what_no_grammar_says_is_named_and_the_rest_is_kept(
    model: Model, named: str, schema: Any, valid: Any
) -> None:
    found = kept(schema)
    assert named in found.after
    grammar, _ = grammar_of(schema_format(schema), "m")
    assert accepted(model, grammar, json.dumps(valid))
    assert problem(valid, schema) == ""
    of_type = schema.get("type")
    for value in written_under(model, schema, range(3)):
        if of_type is not None:
            jsonschema.validate(value, {"type": of_type})


KEPT: list[tuple[Any, Any, Any]] = [
    ({"type": "string", "pattern": "^a+$", "maxLength": 3}, "aaa", "aaaa"),
    ({"type": "string", "pattern": "^a+$", "minLength": 2}, "aa", "a"),
    ({"type": "string", "pattern": "^a", "format": "email"}, "a@b.example", "b@b.example"),
    ({"type": "string", "pattern": "^2024", "format": "date"}, "2024-02-29", "2023-02-28"),
    ({"type": "string", "format": "date"}, "2023-02-28", "2023-02-29"),
    ({"type": "string", "maxLength": 5_000}, "a" * 1_200, 1),
    ({"type": "string", "pattern": r"^\p{L}+$"}, "é", "1"),
    ({"type": "string", "pattern": r"^(?<y>\d{2})-(?P<m>\d)$"}, "12-3", "1-23"),
    ({"type": "string", "pattern": "^[^[]$"}, "a", "["),
    ({"type": "string", "pattern": "^(a$|b)"}, "bc", "ab"),
    ({"type": "string", "format": "ipv6"}, "::1", "1"),
    ({"type": "integer", "multipleOf": 5}, 25, 26),
    ({"type": "number", "multipleOf": 0.01}, 1.25, 1.255),
    ({"type": "number", "minimum": 0.123456789}, 0.2, 0.1),
    ({"type": "array", "items": {"type": "null"}, "maxItems": 5_000}, [None] * 30, [1]),
    ({"type": "object", "patternProperties": {"^a": {"type": "null"}}}, {"ab": None}, {"ab": 1}),
    ({"type": "object", "patternProperties": {"^a": {"type": "null"}, "^b": {"type": "boolean"}},
      "additionalProperties": False}, {"a": None, "b": True}, {"c": 1}),
    ({"propertyNames": {"type": "string"}, "additionalProperties": {"type": "null"}},
     {"x": None}, {"x": 1}),
    ({"propertyNames": {"enum": ["a", "b"]}, "additionalProperties": {"type": "null"}},
     {"a": None}, {"c": None}),
    ({"propertyNames": {"pattern": "^a"}}, {"ab": 1}, {"b": 1}),
    ({"propertyNames": {"maxLength": 2}}, {"ab": 1}, {"abc": 1}),
    ({"propertyNames": False}, {}, {"a": 1}),
    ({"type": "object", "minProperties": 1}, {"a": 1}, {}),
    ({"type": "object", "maxProperties": 1}, {"a": 1}, {"a": 1, "b": 2}),
    ({"const": {"a": [1, {"b": None}]}}, {"a": [1, {"b": None}]}, {"a": [1]}),
    ({"enum": ["a", "abc"], "minLength": 2}, "abc", "a"),
    ({"allOf": [{"properties": {"a": {"type": "null"}}}, {"properties": {"b": {"type": "null"}}}],
      "type": "object"}, {"a": None, "b": None}, {"c": 1}),
    ({"$defs": {"P": {"properties": {"a": {"type": "null"}}, "required": ["a"]}},
      "allOf": [{"$ref": "#/$defs/P"}], "properties": {"b": {"type": "null"}}},
     {"b": None, "a": None}, {"b": None}),
    ({"$defs": {"x": {"$anchor": "here", "type": "null"}}, "$ref": "#here"}, None, 1),
    ({"$id": "https://x.example/s", "$defs": {"x": {"$id": "part", "type": "null"}},
      "$ref": "part"}, None, 1),
    ({"prefixItems": [{"type": "null"}], "items": {"type": "boolean"}}, [None, True], [None, 1]),
    ({"items": [{"type": "null"}], "additionalItems": False}, [None], [None, 1]),
    ({"type": "integer", "minimum": 3, "exclusiveMinimum": True}, 4, 3),
    ({"items": {"enum": [1, 2]}, "maxItems": 9}, [1, 2], [3]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "valid", "invalid"), KEPT, ids=lambda v: str(v)[:40])
def test_what_is_kept_allows_the_valid_and_not_the_invalid(
    model: Model, schema: Any, valid: Any, invalid: Any
) -> None:
    assert kept(schema).after == ()
    grammar, _ = grammar_of(schema_format(schema), "m")
    assert accepted(model, grammar, json.dumps(valid, ensure_ascii=False))
    assert not accepted(model, grammar, json.dumps(invalid, ensure_ascii=False))
    assert problem(valid, schema) == ""


UNREADABLE: list[tuple[Any, str]] = [
    ({"type": "str"}, "'str' is not valid"),
    ({"type": "string", "pattern": "("}, "is not a 'regex'"),
    ({"$ref": "other.json"}, "other.json"),
    ({"$ref": "#/$defs/missing"}, "missing"),
    ({"items": {"$ref": "#/$defs/x"}, "$defs": {"x": 5}}, "#/$defs/x"),
    ({"items": {"$ref": "#/x"}, "x": {"type": "str"}}, "'str' is not valid"),
    ({"$ref": "#"}, "nothing is valid"),
    ({"allOf": [{"$ref": "#"}], "type": "object"}, "nothing is valid"),
    (False, "nothing is valid"),
    ({"not": {}}, "nothing is valid"),
    ({"anyOf": [False, {"not": True}]}, "nothing is valid"),
]


@pytest.mark.parametrize(("schema", "words"), UNREADABLE, ids=lambda v: str(v)[:40])
def test_what_cannot_be_read_is_refused_with_the_reason(schema: Any, words: str) -> None:
    with pytest.raises(BadRequestError, match="schema cannot be read: #") as caught:
        grammar_of(schema_format(schema), "m")
    assert words in str(caught.value)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"type": "string", "minLength": 5, "maxLength": 4},
        {"type": "array", "prefixItems": [{}], "items": False, "minItems": 2},
        {"properties": {}, "required": ["a"], "additionalProperties": False},
        {"allOf": [{"type": "string"}, {"type": "integer"}]},
        {"const": 1, "allOf": [{"const": 2}]},
        {"type": "string", "enum": [1, 2]},
    ],
    ids=str,
)
def test_a_schema_under_which_nothing_is_valid_is_no_grammar(model: Model, schema: Any) -> None:
    for grammar in grammar_of(schema_format(schema), "m")[:1]:
        with pytest.raises(GrammarError, match="nsatisfiable"):
            Constraint(model, grammar)


def test_an_alternative_of_which_nothing_can_be_kept_is_left_out(model: Model) -> None:
    """As pydantic writes a Decimal."""
    pattern = r"^(?!^[-+.]*$)[+-]?0*\d*\.?\d*$"
    price = {"anyOf": [{"type": "number"}, {"type": "string", "pattern": pattern}]}
    before = {"anyOf": [*price["anyOf"], {"type": "null"}], "default": None}
    schema = {
        "type": "object",
        "properties": {"price": price, "before": before, "after": {"$ref": "#/$defs/Price"}},
        "required": ["price", "before", "after"],
        "$defs": {"Price": price},
    }
    for value in check(model, schema, range(12)):
        assert isinstance(value["price"], (int, float))
        assert isinstance(value["after"], (int, float))
        assert value["before"] is None or isinstance(value["before"], (int, float))


def test_an_alternative_that_can_be_kept_in_part_stays(model: Model) -> None:
    schema = {"anyOf": [{"type": "null"}, {"type": "array", "uniqueItems": True, "items": {}}]}
    assert kept(schema).after == ("uniqueItems at #/anyOf/1",)
    grammar, _ = grammar_of(schema_format(schema), "m")
    assert accepted(model, grammar, "[1]")
    alone = {"anyOf": [{"type": "null"}, {"type": "string", "pattern": "(?=a)."}]}
    assert kept(alone).after == ("pattern at #/anyOf/1",)  # else only null could be said


def test_items_that_differ_are_no_more_than_there_are_values(model: Model) -> None:
    schema = {"type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True}
    assert all(len(value) <= 2 for value in written_under(model, schema, range(20)))


HARMLESS: list[Any] = [
    {"type": "array", "items": {"type": "null"}, "uniqueItems": False, "maxItems": 2},
    {"type": "array", "items": {"type": "null"}, "uniqueItems": True, "maxItems": 1},
    {"type": "integer", "multipleOf": 1, "minimum": 0, "maximum": 99},
    {"minProperties": 1, "properties": {"a": {"type": "null"}}, "required": ["a"]},
    {"type": "object", "maxProperties": 3, "properties": {"a": {"type": "null"}}},
    {"type": "object", "properties": {"a": {"type": "null"}}, "unevaluatedProperties": False},
    {"type": "string", "multipleOf": 3, "minItems": 2, "maxLength": 3},
    {"type": "integer", "format": "int32", "maximum": 3, "minimum": -3},
    {"type": "string", "format": "password", "maxLength": 3},
    {"type": "string", "format": "uri", "minLength": 1, "maxLength": 2083},
    {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": "https://x.example/a",
     "title": "t", "description": "d", "default": 1, "examples": [2], "deprecated": True,
     "$comment": "c", "type": "boolean", "x-unknown": 5},
    {"anyOf": [{"type": "null"}, {"type": "boolean"}], "description": "beside a union"},
    {"$defs": {"B": {"type": "boolean"}}, "properties": {"b": {"$ref": "#/$defs/B",
     "description": "beside a reference"}}, "required": ["b"]},
]  # fmt: skip


@pytest.mark.parametrize("schema", HARMLESS, ids=lambda v: str(v)[:40])
def test_what_changes_nothing_is_no_reason_to_refuse(model: Model, schema: Any) -> None:
    check(model, schema)


def test_alternatives_of_one_of_are_told_apart_by_a_property(model: Model) -> None:
    def animal(kind: str, **more: Any) -> dict[str, Any]:
        properties = {"kind": {"const": kind, "default": kind}, "age": {"type": "integer"}, **more}
        return {"type": "object", "properties": properties}

    schema = {
        "$defs": {"Cat": animal("cat"), "Dog": animal("dog", bark={"type": "boolean"})},
        "oneOf": [{"$ref": "#/$defs/Cat"}, {"$ref": "#/$defs/Dog"}],
        "discriminator": {"propertyName": "kind"},
    }
    kinds = {value["kind"] for value in check(model, schema, range(20))}
    assert kinds == {"cat", "dog"}
    check(model, {"oneOf": [{"type": "boolean"}, {"type": "array", "maxItems": 1}]})


def test_what_stands_beside_a_union_or_a_reference_holds_too(model: Model) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "b": {"type": "boolean"}},
        "anyOf": [{"required": ["a"]}, {"required": ["b"]}],
    }
    assert all(check(model, schema, range(12)))  # none is empty
    base = {"type": "object", "properties": {"a": {"type": "boolean"}}, "required": ["a"]}
    schema = {"$defs": {"B": base}, "$ref": "#/$defs/B", "properties": {"c": {"type": "null"}}}
    assert all("a" in value for value in check(model, schema))
    both = {"allOf": [base, {"properties": {"a": {"const": True}}, "required": ["a"]}]}
    assert check(model, both) == [{"a": True}] * 6


def test_definitions_of_the_same_last_name_are_told_apart(model: Model) -> None:
    schema = {
        "$defs": {
            "x": {"item": {"type": "boolean"}},
            "y": {"item": {"type": "null"}},
            "string": {"type": "integer", "minimum": 0, "maximum": 9},
        },
        "type": "object",
        "properties": {
            "a": {"$ref": "#/$defs/x/item"},
            "b": {"$ref": "#/$defs/y/item"},
            "c": {"$ref": "#/$defs/string"},
            "string": {"type": "string", "maxLength": 2},
        },
        "required": ["a", "b", "c", "string"],
    }
    check(model, schema)


def test_a_schema_may_refer_to_itself(model: Model) -> None:
    tree = {
        "type": "object",
        "properties": {
            "n": {"type": "boolean"},
            "kids": {"type": "array", "items": {"$ref": "#"}, "maxItems": 2},
        },
        "required": ["n", "kids"],
        "additionalProperties": False,
    }
    check(model, tree)
    check(model, {"anyOf": [{"type": "null"}, {"type": "array", "items": {"$ref": "#"}}]})


def test_a_key_of_its_own_choice_never_repeats_a_named_one(model: Model) -> None:
    schema = {
        "type": "object",
        "properties": {"a": {"type": "boolean"}, "ab": {"type": "boolean"}},
        "additionalProperties": {"type": "null"},
    }
    values = check(model, schema, range(60))
    assert any(set(value) - {"a", "ab"} for value in values)


def test_an_empty_schema_and_json_object_write_json(model: Model) -> None:
    check(model, {})
    check(model, True)
    (grammar,) = grammar_of({"type": "json_object"}, "m")
    assert isinstance(json.loads(written(model, grammar, 1)), dict)
    assert not accepted(model, grammar, "[]")


def accepted(model: Model, grammar: str, text: str) -> bool:
    constraint = Constraint(model, grammar)
    every = np.arange(model.n_vocab, dtype=np.int32)
    for token in model.tokenize(text, special=False):
        if not constraint.allowed(np.array([token], np.int32))[0]:
            return False
        constraint.accept(token)
    ends = [t for t in range(model.n_vocab) if model.ends(t)]
    alone = bool(constraint.allowed(np.array(ends[:1], np.int32))[0])
    assert alone is bool(constraint.allowed(every)[ends[0]])
    return alone


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    bounds=st.tuples(st.integers(-12_000, 12_000), st.integers(-12_000, 12_000)).map(sorted),
    value=st.integers(-13_000, 13_000),
)
@example([0, 0], 0)
@example([-1, -1], -1)
@example([99, 101], 100)
def test_a_whole_number_is_allowed_exactly_within_its_bounds(
    model: Model, bounds: list[int], value: int
) -> None:
    low, high = bounds
    schema = {"type": "integer", "minimum": low, "maximum": high}
    grammar, _ = grammar_of(schema_format(schema), "m")
    for number in {value, low, high, low - 1, high + 1}:
        assert accepted(model, grammar, str(number)) is (low <= number <= high)


decimals = st.decimals(-12, 120, places=2).map(float)


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    bounds=st.tuples(decimals | st.integers(-3, 3), decimals | st.integers(-3, 3)).map(sorted),
    above=st.booleans(),
    below=st.booleans(),
    value=st.decimals(-13, 121, places=4),
)
@example([0, 0.05], True, False, decimal.Decimal("0.0200"))
def test_no_number_is_allowed_beyond_its_bounds(
    model: Model, bounds: list[float], above: bool, below: bool, value: decimal.Decimal
) -> None:
    low, high = bounds
    if low == high and (above or below):
        return
    schema = {"type": "number", "exclusiveMinimum" if above else "minimum": low,
              "exclusiveMaximum" if below else "maximum": high}  # fmt: skip
    grammar, _ = grammar_of(schema_format(schema), "m")
    step = decimal.Decimal("0.0001")
    exact = [decimal.Decimal(str(b)) for b in bounds]
    for number in (value, *exact, *(b + step for b in exact), *(b - step for b in exact)):
        inside = (exact[0] < number if above else exact[0] <= number) and (
            number < exact[1] if below else number <= exact[1]
        )
        assert inside or not accepted(model, grammar, f"{number:f}")


def test_a_whole_number_has_an_end(model: Model) -> None:
    grammar, _ = grammar_of(schema_format({"type": "integer"}), "m")
    assert accepted(model, grammar, str(10**17))
    assert not accepted(model, grammar, "1" * 40)


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "number", "minimum": 0.5},
        {"type": "number", "exclusiveMaximum": -0.25},
        {"type": "number", "minimum": 0.1, "maximum": 0.9},
        {"type": "number", "exclusiveMinimum": 0, "maximum": 0.05},
        {"type": "number", "minimum": 1e-05, "maximum": 1},
        {"type": "integer", "minimum": 0.5, "maximum": 3.5},
    ],
)
def test_decimal_bounds_hold(model: Model, schema: Any) -> None:
    check(model, schema, range(25))


def test_a_schema_that_is_too_much_for_a_grammar_leaves_its_type(model: Model) -> None:
    deep: Any = {"type": "null"}
    for _ in range(80):
        deep = {"type": "object", "properties": {"a": deep}, "required": ["a"]}
    whole, less = grammar_of(schema_format(deep), "m")
    with pytest.raises(GrammarError, match="recursion limit"):
        Constraint(model, whole)
    assert accepted(model, less, "{}")
    assert not accepted(model, less, "[]")


def test_recursive_alternatives_are_told_apart(model: Model) -> None:
    class Number(pydantic.BaseModel):
        kind: Literal["number"] = "number"
        value: int

    class Sum(pydantic.BaseModel):
        kind: Literal["sum"] = "sum"
        left: Annotated[Number | Sum, pydantic.Field(discriminator="kind")]

    Sum.model_rebuild(_types_namespace=locals())
    for value in check(model, Sum.model_json_schema(), range(12)):
        Sum.model_validate(value)


class Colour(enum.Enum):
    RED = "red"
    BLUE = 2


class Cat(pydantic.BaseModel):
    kind: Literal["cat"] = "cat"
    lives: int = pydantic.Field(ge=0, le=9)


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    tags: Annotated[
        list[Annotated[str, pydantic.Field(max_length=4)]], pydantic.Field(max_length=2)
    ]


class Everything(pydantic.BaseModel):
    """What people write in their models."""

    model_config = pydantic.ConfigDict(extra="forbid")

    name: str = pydantic.Field(min_length=1, max_length=5, description="a name")
    nick: str | None = None
    colour: Colour
    pet: Cat | Dog = pydantic.Field(discriminator="kind")
    either: Cat | Dog | bool
    share: float = pydantic.Field(ge=0, le=1)
    positive: float = pydantic.Field(gt=0)
    even: Annotated[int, pydantic.Field(gt=-3, lt=1_000)]
    at: datetime.datetime
    on: datetime.date
    clock: datetime.time
    key: uuid.UUID
    site: pydantic.AnyUrl
    code: str = pydantic.Field(pattern=r"^[A-Z]{2}\d{2,4}$")
    pair: tuple[int, Literal["x", "y"]]
    by_name: dict[str, int]
    anything: Any
    nested: list[Everything] = pydantic.Field(default_factory=list, max_length=1)


def test_a_pydantic_model_reads_what_is_written_under_its_schema(model: Model) -> None:
    schema = Everything.model_json_schema()
    grammar, _ = grammar_of(schema_format(schema), "m")
    assert kept(schema).after == ()
    for seed in range(25):
        text = written(model, grammar, seed)
        Everything.model_validate_json(text)
        jsonschema.validate(json.loads(text), schema)


def test_a_set_is_written_and_checked_afterwards(model: Model) -> None:
    class Tags(pydantic.BaseModel):
        tags: set[int]

    schema = Tags.model_json_schema()
    assert kept(schema).after == ("uniqueItems at #/properties/tags",)
    assert problem({"tags": [1, 1]}, schema)
    assert problem({"tags": [1, 2]}, schema) == ""


def test_a_schema_never_sends_for_what_it_refers_to(provider: Any) -> None:
    """jsonschema by itself would download it."""
    address = f"{provider.base_url}/schema.json"
    assert problem({}, {"$ref": address}) == ""
    with pytest.raises(BadRequestError, match="which is not there"):
        grammar_of(schema_format({"$ref": address}), "m")
    assert not provider.requests
