"""OpenAI's response_format and tool_choice as GBNF grammars."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from modelrouter.backends.llamacpp.grammar.gbnf import Rules, literal
from modelrouter.backends.llamacpp.grammar.schema import SchemaError, add_schema
from modelrouter.backends.llamacpp.tools import Form, ToolChoice
from modelrouter.exceptions import BadRequestError

__all__ = ["calls_grammar", "grammar_of"]

_LONGEST_SCHEMA: Final = 100_000


def grammar_of(response_format: Mapping[str, Any] | None, model: str) -> str | None:
    """The grammar that the answer has to follow; ``None`` for free text.

    Raises:
        BadRequestError: an unknown format, or a schema that cannot be turned into a grammar.
    """
    if response_format is None:
        return None
    kind = response_format.get("type")
    if kind == "text":
        return None
    if kind == "json_object":
        # llama-cpp-python's server takes a schema here too.
        schema = response_format.get("schema")
    elif kind == "json_schema":
        schema = (response_format.get("json_schema") or {}).get("schema")
        if schema is None:
            raise BadRequestError("response_format has no json_schema.schema.", model=model)
    else:
        raise BadRequestError(
            f"response_format has the unknown type {kind!r}.",
            model=model,
            hint="Use text, json_object or json_schema.",
        )
    return _json_grammar() if schema is None else _schema_grammar(schema, model)


def calls_grammar(choice: ToolChoice, form: Form, model: str) -> str:
    """The grammar of an answer that is one call of one of the functions that may be called.

    Args:
        choice: which these are; at least one.
        form: how the model writes calls.
        model: its name, for messages.

    Raises:
        BadRequestError: a function's parameters are a schema that cannot be kept to.
    """
    rules = Rules()
    ways = [rules.add("call", _call(rules, tool["function"], form, model))
            for tool in choice.callable]  # fmt: skip
    before, after = form.written("\0").split("\0")
    return rules.text(f"{literal(before)} ({' | '.join(ways)}) {literal(after)}")


def _call(rules: Rules, function: Mapping[str, Any], form: Form, model: str) -> str:
    name = function["name"]
    parameters = function.get("parameters") or {"type": "object"}
    if isinstance(parameters, Mapping) and not parameters.get("properties"):
        # Without parameters there is nothing to write, unless any are welcome.
        parameters = {"additionalProperties": False, **parameters}
    whose = f"The parameters of the function {name!r}"
    arguments = _add_json(rules, parameters, model, whose)
    if form.between:
        return f"{literal(name + form.between)} {arguments}"
    key = json.dumps(name, ensure_ascii=False)
    beginning = f'{{"name": {key}, "{form.arguments}": '
    return f"{literal(beginning)} {arguments} {literal('}')}"


def _json_grammar() -> str:
    rules = Rules()
    return rules.text(rules.known("object"))


def _schema_grammar(schema: Any, model: str) -> str:
    rules = Rules()
    return rules.text(_add_json(rules, schema, model, "The JSON schema"))


def _add_json(rules: Rules, schema: Any, model: str, whose: str) -> str:
    """Add a schema from outside to the rules; returns its rule's name.

    Raises:
        BadRequestError: a keyword that cannot be kept to, named with its place.
    """
    try:
        text = json.dumps(schema, ensure_ascii=False, allow_nan=False)
        text.encode()
    except (TypeError, ValueError, RecursionError) as exc:
        raise BadRequestError(f"{whose} is not JSON: {exc}", model=model) from exc
    if len(text) > _LONGEST_SCHEMA:
        raise BadRequestError(
            f"{whose} has {len(text):,} characters; {_LONGEST_SCHEMA:,} are "
            "the most a grammar is made of.",
            model=model,
        )
    try:
        return add_schema(rules, json.loads(text))
    except SchemaError as exc:
        raise BadRequestError(
            f"{whose} cannot be kept to: {exc}.",
            model=model,
            hint="Leave the keyword out and check the answer by it, or use a hosted model.",
        ) from exc
    except RecursionError as exc:
        raise BadRequestError(f"{whose} is nested too deeply.", model=model) from exc
