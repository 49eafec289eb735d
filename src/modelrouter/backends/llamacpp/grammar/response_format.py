"""OpenAI's response_format and tool_choice as llguidance's grammars."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

from modelrouter.backends.llamacpp.tools import Form, ToolChoice
from modelrouter.exceptions import BadRequestError
from modelrouter.schemas import Unreadable, kept

__all__ = ["calls_grammar", "grammar_of"]

_LONGEST_SCHEMA: Final = 100_000
_WRITING: Final = {
    # As much as a model may like to write; without a bound a small one may never stop.
    "whitespace_pattern": r"( |\n[ \t]{0,20})?",
}
_OPEN: Final[dict[str, Any]] = {"type": "object"}


def grammar_of(response_format: Mapping[str, Any] | None, model: str) -> tuple[str, ...]:
    """The grammar that the answer has to follow; none for free text.

    After it one that says less, for a schema that is too much for llguidance: the answer is
    checked by the whole schema in any case.

    Raises:
        BadRequestError: an unknown format, or a schema that cannot be read.
    """
    if response_format is None:
        return ()
    kind = response_format.get("type")
    if kind == "text":
        return ()
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
    if schema is None:
        return (_lark(_json(_OPEN)),)
    return tuple(_lark(_json(s)) for s in _schemas(schema, model, "The JSON schema"))


def calls_grammar(choice: ToolChoice, form: Form, model: str) -> tuple[str, ...]:
    """The grammar of an answer that is one call of one of the functions that may be called.

    Args:
        choice: which these are; at least one.
        form: how the model writes calls.
        model: its name, for messages.

    Returns:
        As :func:`grammar_of`.

    Raises:
        BadRequestError: a function's parameters are a schema that cannot be read.
    """
    before, after = form.written("\0").split("\0")
    calls = [_calls(tool["function"], form, model) for tool in choice.callable]
    return tuple(
        _lark(f"{_text(before)} ({' | '.join(ways)}) {_text(after)}")
        for ways in zip(*calls, strict=True)
    )


def _calls(function: Mapping[str, Any], form: Form, model: str) -> tuple[str, str]:
    name = function["name"]
    parameters = function.get("parameters") or {"type": "object"}
    if isinstance(parameters, Mapping) and not parameters.get("properties"):
        # Without parameters there is nothing to write, unless any are welcome.
        parameters = {"additionalProperties": False, **parameters}
    whole, less = _schemas(parameters, model, f"The parameters of the function {name!r}")
    if form.between:
        begin, end = name + form.between, ""
    else:
        key = json.dumps(name, ensure_ascii=False)
        begin, end = f'{{"name": {key}, "{form.arguments}": ', "}"
    return tuple(f"{_text(begin)} {_json(s)} {_text(end)}" for s in (whole, less))  # type: ignore[return-value] # two


def _schemas(schema: Any, model: str, whose: str) -> tuple[Any, Any]:
    """What a grammar can keep of a schema from outside, and what any could.

    Raises:
        BadRequestError: it cannot be read.
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
        whole = kept(schema).schema
    except Unreadable as exc:
        raise BadRequestError(f"{whose} cannot be read: {exc}.", model=model) from exc
    kinds = {"type": whole["type"]} if isinstance(whole, dict) and "type" in whole else {}
    return whole, kinds


def _lark(body: str) -> str:
    return f"start: {body}"


def _json(schema: Any) -> str:
    written = {**(schema if isinstance(schema, dict) else {}), "x-guidance": _WRITING}
    # No line of a Lark grammar ends within it.
    return f"%json {json.dumps(written)}"


def _text(text: str) -> str:
    return json.dumps(text)
