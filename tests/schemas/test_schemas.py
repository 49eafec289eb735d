"""What can be kept of a schema, whatever is written there, and the check of values by it."""

from __future__ import annotations

import contextlib
import re
import time
from pathlib import Path
from typing import Any

import pytest
import regex
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from modelrouter.schemas import Unreadable, kept, problem
from modelrouter.schemas.base import NotKept
from modelrouter.schemas.patterns import portable

VERDICTS = Path(__file__).parents[2] / "benchmarks" / "schema_grammars.tsv"

KEYWORDS = """type enum const allOf anyOf oneOf not if then else properties patternProperties
additionalProperties propertyNames required minProperties maxProperties dependentRequired
dependentSchemas dependencies unevaluatedProperties items prefixItems additionalItems minItems
maxItems uniqueItems contains minContains maxContains unevaluatedItems minLength maxLength pattern
format minimum maximum exclusiveMinimum exclusiveMaximum multipleOf $ref $defs $id $anchor
$dynamicRef $schema nullable""".split()
plain = st.sampled_from(
    [None, True, False, 0, 1, -3, 2.5, 1e300, 10**400, "", "string", "integer", "date", "^a", "(",
     "#", "#/$defs/a", "#a", "https://json-schema.org/draft/2020-12/schema", "x.json", [], {},
     ["string", "null"], ["a"], "http://["]
)  # fmt: skip
anything = st.recursive(
    plain,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from([*KEYWORDS, "a", "b"]), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(max_examples=600, deadline=None, suppress_health_check=list(HealthCheck))
@given(schema=anything, value=plain)
@example({"minimum": 0.5, "maximum": 10**400}, 1)
@example({"items": {"$ref": "#/$defs/a"}, "$defs": {"a": {"$id": "http://["}}}, [])
@example({"properties": {"a": 5}, "type": "object", "$schema": "x.json"}, {})
def test_whatever_is_written_is_read_or_refused(schema: Any, value: Any) -> None:
    with contextlib.suppress(Unreadable):
        assert isinstance(kept(schema).schema, (bool, dict))
    assert isinstance(problem(value, schema), str)


@pytest.mark.parametrize(
    ("pattern", "text", "other"),
    [
        (r"(?<year>\d{4})-(?P<month>\d\d)", "2024-01", "24-1"),
        (r"^\/a\-b\_c$", "/a-b_c", "abc"),
        (r"^[^[\]]$", "a", "["),
        (r"^[+--]$", ",", "."),
        (r"^[a&&b]$", "&", "c"),
        (r"^a{,2}$", "a{,2}", "aa"),
        (r"^}]$", "}]", "]"),
        (r"^\u00e9\x41$", "éA", "eA"),
        (r"^\uD83D\uDC32$", "\U0001f432", "x"),
        (r"^[\b]\cA\0$", "\b\x01\0", "b"),
        (r"\Aab\Z", "ab", "abc"),
    ],
)
def test_a_pattern_keeps_its_meaning_in_the_other_notation(
    pattern: str, text: str, other: str
) -> None:
    found = portable(pattern)
    assert regex.search(found, text)
    assert not regex.search(found, other)


@pytest.mark.parametrize(
    ("pattern", "why"),
    [
        ("(?=a)", "ahead"),
        ("(?!a)", "ahead"),
        ("(?<=a)b", "behind"),
        ("(?<!a)b", "behind"),
        (r"\ba", "border|boundary"),
        (r"(a)\1", "back"),
        (r"(?<n>a)\k<n>", "back"),
        ("(?>a)", "atomic"),
        ("a*+", "possessive"),
        ("a^b", "anchor"),
        ("(a|b$)c", "anchor"),
        ("a{99999}", "repetitions"),
        (r"\e", "escape"),
        (r"\uD83D", "not a character"),
        ("[a", "no end"),
        ("a" * 30_000, "longer"),
    ],
)
def test_what_a_pattern_has_that_cannot_be_kept_is_said(pattern: str, why: str) -> None:
    with pytest.raises(NotKept, match=why):
        portable(pattern)


def test_a_pattern_that_searches_without_end_is_given_up() -> None:
    began = time.perf_counter()
    assert "does not match" in problem("a" * 60 + "!", {"pattern": r"^(a|a)*\1?$"})
    many = {"items": {"pattern": r"^(a|a)*\1?$"}}
    assert "does not match" in problem(["a" * 60 + "!"] * 50, many)
    assert time.perf_counter() - began < 10


def test_values_are_held_to_patterns_that_python_does_not_read() -> None:
    schema = {
        "patternProperties": {r"^\p{Lu}": {"type": "integer"}},
        "additionalProperties": {"type": "string", "pattern": r"^(?<a>\p{L})$"},
    }
    assert problem({"É": 1, "é": "x"}, schema) == ""
    assert "at É" in problem({"É": "x"}, schema)
    assert "at é" in problem({"é": "1"}, schema)


def test_older_drafts_are_read_as_they_were_meant() -> None:
    four = {"items": [{"type": "null"}], "additionalItems": False}
    assert problem([None], four) == ""
    assert problem([None, 1], four)
    bound = {"$schema": "http://json-schema.org/draft-04/schema#",
             "minimum": 1, "exclusiveMinimum": True}  # fmt: skip
    assert problem(1, bound)
    assert kept({"type": "number", **bound}).schema == {"type": "number", "exclusiveMinimum": 1}


def test_on_the_test_suite_nothing_that_is_not_valid_goes_unnoticed() -> None:
    lines = [line for line in VERDICTS.read_text("utf-8").splitlines() if line[0] != "#"]
    names, *rows = (re.split("\t", line) for line in lines)
    cases = [dict(zip(names, row, strict=True)) for row in rows]
    assert len(cases) > 1_200
    assert not [case["case"] for case in cases if case["valid"] == "-" and case["ours"] == "w"]
    refused = {case["case"].rpartition("/")[0] for case in cases if case["ours"] == "-"}
    assert len(refused) == 28


def test_a_draft_whose_name_is_no_address_is_refused():
    with pytest.raises(Unreadable, match="not an address"):
        kept({"$schema": "http://["})
