"""OpenAI's response_format as a GBNF grammar."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

from modelrouter.exceptions import BadRequestError

__all__ = ["grammar_of"]

_LONGEST_SCHEMA: Final = 100_000
_MOST_REPEATS: Final = 1_000
"""Each is a bracket within a bracket; at some 20,000 llama.cpp's parser overflows its stack."""
_REPEATS: Final = ("minItems", "maxItems", "minLength", "maxLength")
_QUANTIFIER: Final = re.compile(r"\{(\d*),?(\d*)\}")
# Within a JSON string the converter lets a line end be itself, which JSON does not.
_ANY_CHARACTER: Final = r'char ::= [^"\\] |'
_NO_CONTROL_CHARACTER: Final = r'char ::= [^"\\\x7F\x00-\x1F] |'


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
            raise _refused("response_format has no json_schema.schema.", model)
    else:
        raise BadRequestError(
            f"response_format has the unknown type {kind!r}.",
            model=model,
            hint="Use text, json_object or json_schema.",
        )
    return _json_grammar() if schema is None else _schema_grammar(schema, model)


def _json_grammar() -> str:
    from llama_cpp.llama_grammar import JSON_GBNF

    return str(JSON_GBNF)


def _schema_grammar(schema: Any, model: str) -> str:
    from llama_cpp.llama_grammar import json_schema_to_gbnf

    try:
        text = json.dumps(schema)
    except (TypeError, ValueError, RecursionError) as exc:
        raise _refused(f"The JSON schema is no JSON: {exc}", model) from exc
    if len(text) > _LONGEST_SCHEMA:
        raise _refused(
            f"The JSON schema has {len(text):,} characters; {_LONGEST_SCHEMA:,} are "
            "the most a grammar is made of.",
            model,
        )
    for name, value in _entries(schema):
        _check_entry(name, value, model)
    try:
        grammar = json_schema_to_gbnf(json.dumps(_with_its_root(schema)))
    except Exception as exc:  # the converter lets KeyError, AssertionError, RecursionError ... out
        reason = f"{type(exc).__name__}: {exc}"
        raise _refused(
            f"The JSON schema cannot be turned into a grammar ({reason}).", model
        ) from exc
    return str(grammar).replace(_ANY_CHARACTER, _NO_CONTROL_CHARACTER)


def _with_its_root(schema: Any) -> Any:
    """The schema with what its own ``$ref`` refers to in place of it.

    Recursive pydantic models begin with one; the converter does not look beside it.
    """
    ref = schema.get("$ref") if isinstance(schema, Mapping) else None
    if not isinstance(ref, str) or not ref.startswith("#/"):
        return schema
    target: Any = schema
    for name in ref[2:].split("/"):
        target = target[name]
    return {**{k: v for k, v in schema.items() if k != "$ref"}, **target}


def _check_entry(name: str, value: Any, model: str) -> None:
    if name == "$ref" and isinstance(value, str) and not value.startswith("#"):
        # The converter would fetch it.
        raise _refused(f"The JSON schema refers to {value!r}; only #/... is followed.", model)
    repeats = [0]
    if name in _REPEATS and isinstance(value, int):
        repeats.append(value)
    elif name == "pattern" and isinstance(value, str):
        repeats += [int(n) for found in _QUANTIFIER.findall(value) for n in found if n]
    if max(repeats) > _MOST_REPEATS:  # see _MOST_REPEATS
        raise _refused(
            f"The JSON schema has {name} {value!r}; {_MOST_REPEATS} repetitions are the most.",
            model,
        )


def _entries(schema: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value at any depth."""
    pending = [schema]
    while pending:
        node = pending.pop()
        if isinstance(node, Mapping):
            yield from node.items()
            pending.extend(node.values())
        elif isinstance(node, list):
            pending.extend(node)


def _refused(message: str, model: str) -> BadRequestError:
    return BadRequestError(message, model=model)
