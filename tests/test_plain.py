"""Plain data from outside that is nested without end, or too large: always a typed error."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter import Policy, Router, Task, Timeout
from modelrouter._common.plain import MOST_LEVELS, parsed, shown, too_deep
from modelrouter.config import GenerationSettings
from modelrouter.exceptions import (
    ConfigurationError,
    InvalidTaskError,
    ModelRouterError,
)
from modelrouter.testing import FunctionBackend, example_card
from tests.support.scripted_server import ScriptedServer


def nested(levels: int, kind: type = dict) -> Any:
    value: Any = 1
    for _ in range(levels):
        value = {"a": value} if kind is dict else kind([value])
    return value


def itself() -> Any:
    value: dict[str, Any] = {}
    value["a"] = [value]
    return value


DEEP = {
    "objects": nested(5_000),
    "lists": nested(5_000, list),
    "tuples": nested(5_000, tuple),
    "itself": itself(),
}


def test_what_is_as_deep_as_may_be_is_not_too_deep() -> None:
    for kind in (dict, list, tuple):
        assert not too_deep(nested(MOST_LEVELS, kind))
        assert too_deep(nested(MOST_LEVELS + 1, kind))
    assert not any(map(too_deep, (1, "a", None, [], {}, [[]] * 1_000)))
    assert too_deep(itself())


def test_what_stands_in_a_value_many_times_is_looked_at_once() -> None:
    value: Any = 1
    for _ in range(MOST_LEVELS):
        value = [value, value]
    assert not too_deep(value)
    assert too_deep([value])


@given(st.recursive(st.none() | st.integers() | st.text(), lambda v: st.lists(v) | st.tuples(v)))
def test_what_is_shown_of_a_small_value_is_what_python_writes(value: Any) -> None:
    if len(repr(value)) < 100 and not too_deep(value, 5):
        assert shown(value) == repr(value)


@pytest.mark.parametrize(
    "value", [*DEEP.values(), 10**5_000, "x" * 10**6], ids=lambda v: str(type(v))
)
def test_what_is_shown_of_a_large_value_is_short(value: Any) -> None:
    assert len(shown(value)) < 1_000


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "9" * 5_000, "[", ""])
def test_a_text_that_python_cannot_read_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"nested|digits|line 1"):
        parsed(text)


JSON_TEXTS = [
    "[" * 100_000,
    '{"a":' * 100_000,
    '{"rules":' + "[" * 900 + "]" * 900 + "}",
    '{"rules":[{"when":' + '{"a":' * 900 + "1" + "}" * 900 + "}]}",
    '{"name":' + '{"a":' * 900 + "1" + "}" * 900 + "}",
    "9" * 5_000,
    '{"min_quality":' + "9" * 5_000 + "}",
    '{"min_quality":1e999}',
    "null",
    "\0",
]
TOML_TEXTS = [
    "a=" + "[" * 100_000,
    "a=" + "[" * 900 + "]" * 900,
    "a=" + "{a=" * 900 + "1" + "}" * 900,
    "[" + "a." * 5_000 + "a]\nx=1",
    "a." * 5_000 + "a=1",
    "name." * 5_000 + "a=1",
    "x=" + "9" * 5_000,
    "min_quality=nan",
    "x=1979-13-01",
]


@pytest.mark.parametrize("text", JSON_TEXTS, ids=lambda text: text[:20])
def test_a_policys_json_is_read_or_refused_in_words(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Policy.from_json(text)


@pytest.mark.parametrize("text", TOML_TEXTS, ids=lambda text: text[:20])
def test_a_policys_toml_is_read_or_refused_in_words(text: str) -> None:
    with pytest.raises(ConfigurationError):
        Policy.from_toml(text)


CONFIGURED: dict[str, Callable[[Any], Any]] = {
    "a policy's rules": lambda deep: Policy(rules=deep),
    "a policy's name": lambda deep: Policy(name=deep),
    "a policy": Policy.of,
    "a timeout": Timeout.of,
    "a temperature": lambda deep: GenerationSettings(temperature=deep),
}


@pytest.mark.parametrize("deep", DEEP)
@pytest.mark.parametrize("what", CONFIGURED)
def test_a_setting_that_is_nested_without_end_is_refused_in_words(what: str, deep: str) -> None:
    with pytest.raises(ConfigurationError):
        CONFIGURED[what](DEEP[deep])


def function(parameters: Any) -> list[Any]:
    return [{"type": "function", "function": {"name": "f", "parameters": parameters}}]


def schema(value: Any) -> dict[str, Any]:
    return {"type": "json_schema", "json_schema": {"name": "x", "schema": value}}


TASKS: dict[str, Callable[[Any], dict[str, Any]]] = {
    "metadata": lambda deep: {"metadata": {"x": deep}},
    "tools": lambda deep: {"tools": function(deep)},
    "tool_choice": lambda deep: {"tool_choice": deep},
    "response_format": lambda deep: {"response_format": schema(deep)},
    "a message": lambda deep: {"messages": [{"role": "user", "content": "hi", "x": deep}]},
    "a past call": lambda deep: {
        "messages": [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": None, "tool_calls": [{"function": deep}]},
            {"role": "tool", "tool_call_id": "a", "content": "x"},
        ]
    },
}
OPTIONS = ["logit_bias", "stop", "user", "tags", "timeout", "policy", "temperature", "conversation"]


@pytest.mark.parametrize("deep", DEEP)
@pytest.mark.parametrize("what", [*TASKS, *OPTIONS])
def test_a_call_that_is_nested_without_end_is_refused_in_words(
    tmp_path: Path, what: str, deep: str
) -> None:
    made = TASKS.get(what, lambda value: {what: value})(DEEP[deep])
    given = {"messages": [{"role": "user", "content": "hi"}], **made}
    card = example_card(capabilities=["tools", "json_schema"])
    backends = {card.backend: FunctionBackend(lambda request: "hello")}
    with (
        Router(
            [card], backends=backends, ledger=tmp_path / "l.db", cache=tmp_path / "c.db"
        ) as router,
        pytest.raises(ModelRouterError, match=r"levels deep|unsupported part|expected"),
    ):
        router.completion(model=card.name, **given)
    messages = given.pop("messages")
    if what in TASKS:
        with pytest.raises(InvalidTaskError):
            Task.of(messages, **given)


ANSWERS = ["[" * 100_000, '{"a":' * 100_000, "[" * 300 + "]" * 300, "9" * 5_000, "1e999"]


@pytest.mark.parametrize("answer", ANSWERS, ids=lambda text: text[:5])
@pytest.mark.parametrize("form", ["json_schema", "json_object"])
def test_an_answer_that_is_nested_without_end_is_judged_not_raised(answer: str, form: str) -> None:
    card = example_card(capabilities=["json_schema"])
    backends = {card.backend: FunctionBackend(lambda request: answer)}
    wanted = {**schema({"type": "object"}), "type": form}
    with Router([card], backends=backends) as router:
        reply = router.completion("hi", model=card.name, response_format=wanted)
        assert reply.trace.attempts[-1].outcome == "rejected"
        chunks = router.completion("hi", model=card.name, response_format=wanted, stream=True)
        assert "".join(c.choices[0].delta.content or "" for c in chunks) == answer


SCHEMAS: list[Any] = [
    {"$ref": "#"},
    {"$ref": "#/nowhere"},
    {"type": "nothing"},
    {"type": "string", "pattern": "((("},
    {"$schema": "http://nowhere.invalid/"},
    {"minimum": "x"},
    {"multipleOf": 0},
    {"required": 5},
    {"$dynamicRef": "#x"},
    {"items": nested(MOST_LEVELS - 10)},
]


@pytest.mark.parametrize("given_schema", SCHEMAS, ids=lambda value: json.dumps(value)[:30])
@pytest.mark.filterwarnings("ignore:The metaschema")
def test_a_schema_that_nothing_can_be_checked_by_loses_no_answer(given_schema: Any) -> None:
    card = example_card(capabilities=["json_schema"])
    backends = {card.backend: FunctionBackend(lambda request: '"ab"')}
    with Router([card], backends=backends) as router:
        reply = router.completion("hi", model=card.name, response_format=schema(given_schema))
        assert reply.choices[0].message.content == '"ab"'


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_what_a_schema_refers_to_is_not_fetched(provider: ScriptedServer) -> None:
    card = example_card(capabilities=["json_schema"])
    backends = {card.backend: FunctionBackend(lambda request: '"ab"')}
    with Router([card], backends=backends) as router:
        router.completion(
            "hi",
            model=card.name,
            response_format=schema({"$ref": f"{provider.base_url}/schema.json"}),
        )
    assert provider.requests == []
