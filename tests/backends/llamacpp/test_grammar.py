"""Grammars from JSON schemas: what is written under them is valid, what they cannot say is refused.

Texts are written by llama.cpp's own grammar sampler, one allowed token after another, drawn at
random as a model without any sense would.
"""

from __future__ import annotations

import datetime
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

from modelrouter.backends.llamacpp.engine.native import Model, NativeError, NativeGrammar, log
from modelrouter.backends.llamacpp.grammar.gbnf import Rules, between, fractions, integers, numbers
from modelrouter.backends.llamacpp.grammar.response_format import grammar_of
from modelrouter.exceptions import BadRequestError
from tests.support.gguf_factory import make_tiny_gguf
from tests.support.random_writer import written


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Model]:
    with log.kept():
        yield Model(make_tiny_gguf(tmp_path_factory.mktemp("g") / "tiny.gguf"))


def schema_format(schema: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": schema}}


def check(model: Model, schema: Any, seeds: range = range(6)) -> list[Any]:
    """What is written under the schema, all of it valid."""
    grammar = grammar_of(schema_format(schema), "m")
    assert grammar is not None
    values = [json.loads(written(model, grammar, seed)) for seed in seeds]
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


REFUSED: list[tuple[str, Any, str]] = [
    ("not", {"not": {"type": "string"}}, "#"),
    ("if", {"if": {"required": ["a"]}, "then": {"required": ["b"]}}, "#"),
    ("uniqueItems", {"type": "array", "items": {}, "uniqueItems": True}, "#"),
    ("multipleOf", {"type": "integer", "multipleOf": 5}, "#"),
    ("multipleOf", {"type": "number", "multipleOf": 0.1}, "#"),
    ("contains", {"type": "array", "contains": {"const": 1}}, "#"),
    ("patternProperties", {"type": "object", "patternProperties": {"^a": {}}}, "#"),
    ("propertyNames", {"type": "object", "propertyNames": {"pattern": "^a"}}, "#"),
    ("dependentSchemas", {"type": "object", "dependentSchemas": {"a": {"required": ["b"]}}}, "#"),
    ("dependentRequired", {"type": "object", "dependentRequired": {"a": ["b"]}}, "#"),
    ("dependencies", {"type": "object", "dependencies": {"a": ["b"]}}, "#"),
    ("minProperties", {"type": "object", "minProperties": 1}, "#"),
    ("maxProperties", {"type": "object", "maxProperties": 1}, "#"),
    ("unevaluatedItems", {"type": "array", "unevaluatedItems": {"type": "string"}}, "#"),
    ("minimum", {"type": "number", "minimum": 0.123456789}, "#"),
    ("minimum", {"type": "number", "minimum": 0.5, "maximum": 0.25}, "#"),
    ("minimum", {"type": "integer", "minimum": 5, "maximum": 4}, "#"),
    ("minLength", {"type": "string", "minLength": 5, "maxLength": 4}, "#"),
    ("maxLength", {"type": "string", "maxLength": 5_000}, "#"),
    ("minItems", {"type": "array", "minItems": 5_000}, "#"),
    ("maxItems", {"type": "array", "items": {}, "maxItems": 5_000}, "#"),
    ("minItems", {"type": "array", "prefixItems": [{}], "items": False, "minItems": 2}, "#"),
    ("format", {"type": "string", "format": "ipv6"}, "#"),
    ("maxLength", {"type": "string", "format": "email", "maxLength": 9}, "#"),
    ("maxLength", {"type": "string", "pattern": "^a+$", "maxLength": 9}, "#"),
    ("pattern", {"type": "string", "pattern": "(?=a)b"}, "#"),
    ("pattern", {"type": "string", "pattern": r"(a)\1"}, "#"),
    ("pattern", {"type": "string", "pattern": r"\bword\b"}, "#"),
    ("pattern", {"type": "string", "pattern": "a{1,9999}"}, "#"),
    ("pattern", {"type": "string", "pattern": "("}, "#"),
    ("required", {"properties": {}, "required": ["a"], "additionalProperties": False}, "#"),
    ("oneOf", {"oneOf": [{"type": "number"}, {"type": "integer"}]}, "#"),
    ("type", {"type": "str"}, "#"),
    ("$ref", {"$ref": "other.json"}, "#"),
    ("$ref", {"$ref": "#/$defs/missing"}, "#"),
    ("type", {"allOf": [{"type": "string"}, {"type": "integer"}]}, "#"),
    ("const", {"const": 1, "allOf": [{"const": 2}]}, "#"),
    ("additionalProperties",
     {"allOf": [{"properties": {"a": {}}, "additionalProperties": False},
                {"properties": {"b": {}}}]}, "#"),
    ("false", False, "#"),
    ("enum", {"type": "string", "enum": [1, 2]}, "#"),
    ("minLength", {"enum": ["a", "abc"], "minLength": 2}, "#"),
    ("not", {"properties": {"a": {"items": {"not": {}}}}}, "#/properties/a/items"),
    ("format", {"anyOf": [{"type": "null"}, {"type": "string", "format": "regex"}]}, "#/anyOf/1"),
    ("multipleOf", {"$defs": {"N": {"type": "integer", "multipleOf": 2}},
                    "items": {"$ref": "#/$defs/N"}}, "#/$defs/N"),
    ("uniqueItems", {"properties": {"a/b": {"type": "array", "uniqueItems": True}}},
     "#/properties/a~1b"),
]  # fmt: skip


@pytest.mark.parametrize(("keyword", "schema", "path"), REFUSED, ids=lambda v: str(v)[:40])
def test_what_a_grammar_cannot_say_is_refused_with_keyword_and_place(
    keyword: str, schema: Any, path: str
) -> None:
    with pytest.raises(BadRequestError) as caught:
        grammar_of(schema_format(schema), "m")
    assert f"{keyword!r} at {path}: " in str(caught.value)


HARMLESS: list[Any] = [
    {"type": "array", "items": {"type": "null"}, "uniqueItems": False, "maxItems": 2},
    {"type": "array", "items": {"type": "null"}, "uniqueItems": True, "maxItems": 1},
    {"type": "integer", "multipleOf": 1, "minimum": 0, "maximum": 99},
    {"minProperties": 1, "properties": {"a": {"type": "null"}}, "required": ["a"]},
    {"type": "object", "maxProperties": 3, "properties": {"a": {"type": "null"}}},
    {"type": "object", "properties": {"a": {"type": "null"}}, "unevaluatedProperties": False},
    {"type": "string", "multipleOf": 3, "uniqueItems": True, "maxLength": 3},
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
    grammar = grammar_of({"type": "json_object"}, "m")
    assert grammar is not None
    assert isinstance(json.loads(written(model, grammar, 1)), dict)


def accepted(model: Model, grammar: str, text: str) -> bool:
    native = NativeGrammar(model, grammar)
    for token in model.tokenize(text, special=False):
        if not native.allowed(np.array([token], np.int32))[0]:
            return False
        native.accept(token)
    end = next(t for t in range(model.n_vocab) if model.ends(t))
    return bool(native.allowed(np.array([end], np.int32))[0])


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
    grammar = Rules().text(integers(low, high))
    for number in {value, low, high, low - 1, high + 1}:
        assert accepted(model, grammar, str(number)) is (low <= number <= high)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    bounds=st.tuples(st.integers(-30, 30), st.integers(-30, 30)).map(sorted),
    above=st.booleans(),
    below=st.booleans(),
    value=st.decimals(-32, 32, places=2),
)
def test_a_decimal_number_is_allowed_exactly_within_its_bounds(
    model: Model, bounds: list[int], above: bool, below: bool, value: Any
) -> None:
    low, high = bounds
    if low == high and (above or below):
        return
    grammar = Rules().text(numbers(low, high, above, below))
    for number in (value, low, high):
        text = str(number)
        if text.startswith("-0") and not float(text):
            continue  # -0 is not written everywhere where 0 is
        inside = (low < number if above else low <= number) and (
            number < high if below else number <= high
        )
        assert accepted(model, grammar, text) is inside, text


@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    bounds=st.tuples(st.decimals(-12, 120, places=2), st.decimals(-12, 120, places=2)).map(sorted),
    above=st.booleans(),
    below=st.booleans(),
    value=st.decimals(-13, 121, places=4),
)
def test_a_number_is_allowed_exactly_within_decimal_bounds(
    model: Model, bounds: list[Any], above: bool, below: bool, value: Any
) -> None:
    low, high = bounds
    if low == high and (above or below):
        return
    grammar = Rules().text(fractions(low, high, above, below))
    step = type(value)("0.0001")
    for number in (value, low, high, low - step, low + step, high - step, high + step):
        text = f"{number:.4f}"
        if text.startswith("-0") and not float(text):
            continue
        inside = (low < number if above else low <= number) and (
            number < high if below else number <= high
        )
        assert accepted(model, grammar, text) is inside, (text, grammar)


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


def test_digits_between_two_numbers_have_no_leading_zero() -> None:
    matcher = re.compile("|".join(_as_expression(between(8, 123))))
    assert [n for n in range(1_000) if matcher.fullmatch(str(n))] == list(range(8, 124))
    assert not matcher.fullmatch("08")


def _as_expression(gbnf: str) -> list[str]:
    return [re.sub(r'[" ]', "", way) for way in gbnf.split(" | ")] if "(" not in gbnf else [
        re.sub(r'[" ]', "", gbnf)
    ]  # fmt: skip


def test_a_schema_that_is_a_part_of_itself_is_refused() -> None:
    with pytest.raises(BadRequestError, match="nested too deeply"):
        grammar_of(schema_format({"allOf": [{"$ref": "#"}], "type": "object"}), "m")


def test_a_grammar_that_llama_cpp_refuses_is_an_error_of_its_own(model: Model) -> None:
    grammar = grammar_of(schema_format({"$ref": "#"}), "m")
    assert grammar is not None
    with pytest.raises(NativeError):
        NativeGrammar(model, grammar)


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
    site: pydantic.HttpUrl
    code: str = pydantic.Field(pattern=r"^[A-Z]{2}\d{2,4}$")
    pair: tuple[int, Literal["x", "y"]]
    by_name: dict[str, int]
    anything: Any
    nested: list[Everything] = pydantic.Field(default_factory=list, max_length=1)


def test_a_pydantic_model_reads_what_is_written_under_its_schema(model: Model) -> None:
    schema = Everything.model_json_schema()
    grammar = grammar_of(schema_format(schema), "m")
    assert grammar is not None
    for seed in range(25):
        text = written(model, grammar, seed)
        Everything.model_validate_json(text)
        jsonschema.validate(json.loads(text), schema)


def test_a_pydantic_field_that_cannot_be_kept_to_is_named() -> None:
    class Tags(pydantic.BaseModel):
        tags: set[str]

    with pytest.raises(BadRequestError, match="'uniqueItems' at #/properties/tags"):
        grammar_of(schema_format(Tags.model_json_schema()), "m")
