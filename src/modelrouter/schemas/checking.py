"""Whether a value follows a JSON schema, by jsonschema, which is never let onto the network."""

from __future__ import annotations

import contextvars
import functools
import time
from collections.abc import Iterator, Mapping
from typing import Any, Final, Protocol

from modelrouter.schemas.base import Unreadable

__all__ = ["checked", "is_checked", "matches", "problem"]

_SECONDS: Final = 1.0
"""The most that a value's patterns may search for together: some take exponentially long."""

_LEAST_S: Final = 0.001
_until: Final[contextvars.ContextVar[float]] = contextvars.ContextVar("until")


class Checker(Protocol):
    """A validator class of jsonschema's."""

    def __call__(self, schema: Any, **more: Any) -> Any:
        """A validator for the schema."""
        ...


def problem(found: object, schema: Any) -> str:
    """Why a value does not follow a schema, as the end of a sentence.

    Empty if it does, or if the schema cannot be read.
    """
    import jsonschema
    from jsonschema_specifications import REGISTRY
    from referencing.exceptions import Unresolvable

    token = _until.set(time.perf_counter() + _SECONDS)
    try:
        checker = checked(schema)
        # With its own registry jsonschema would download what a schema refers to.
        formats = jsonschema.Draft202012Validator.FORMAT_CHECKER
        validator = checker(schema, registry=REGISTRY, format_checker=formats)
        error = jsonschema.exceptions.best_match(validator.iter_errors(found))
    except (Unreadable, Unresolvable, RecursionError, AttributeError, KeyError):
        return ""  # the provider has taken it; nothing can be held against it
    except (ArithmeticError, ValueError, TypeError) as exc:
        # Numbers beyond a double's range end jsonschema's arithmetic.
        return f"cannot be held against its schema: {exc}"
    finally:
        _until.reset(token)
    if error is None:
        return ""
    place = "/".join(map(str, error.absolute_path)) or "the top"
    return f"does not follow its schema at {place}: {error.message[:200]}"


def checked(schema: Any) -> Checker:
    """What checks values by this schema, in the draft that it names or was written in.

    Raises:
        Unreadable: it is a schema in no draft.
    """
    import jsonschema

    named = isinstance(schema, Mapping) and isinstance(schema.get("$schema"), str)
    newest = jsonschema.Draft202012Validator
    drafts = (newest, jsonschema.Draft7Validator, jsonschema.Draft4Validator)
    if named:
        try:
            drafts = (jsonschema.validators.validator_for(schema, default=newest),)  # type: ignore[assignment]
        except ValueError as exc:  # jsonschema takes it for an address, whatever it is
            raise Unreadable("#/$schema", f"it is not an address ({exc})") from exc
    first = None
    for draft in drafts:
        try:
            draft.check_schema(schema, format_checker=_of_schemas())
        except jsonschema.SchemaError as exc:
            first = first or exc
        except RecursionError as exc:
            raise Unreadable("#", "it is nested too deeply") from exc
        else:
            found: Checker = _extended(draft)
            return found
    assert first is not None
    place = "/".join(["#", *(str(step) for step in first.absolute_path)])
    raise Unreadable(place, first.message[:200]) from first


def is_checked(form: str) -> bool:
    """Whether anything here tells a text of that format from others."""
    import jsonschema

    return form in jsonschema.Draft202012Validator.FORMAT_CHECKER.checkers


def matches(pattern: str, text: str) -> bool:
    """Whether a schema's expression matches somewhere in a text, as far as time allows to tell."""
    import regex

    now = time.perf_counter()
    left = max(_until.get(now + _SECONDS) - now, _LEAST_S)
    try:
        return regex.search(pattern, text, timeout=left) is not None
    except TimeoutError:
        return False


@functools.lru_cache(maxsize=8)
def _extended(draft: Any) -> Any:
    """A draft's validator whose patterns may have what Python's own expressions lack."""
    import jsonschema

    extend: Any = jsonschema.validators.extend
    return extend(
        draft,
        {
            "pattern": _pattern,
            "patternProperties": _pattern_properties,
            "additionalProperties": _additional_properties,
            # No keyword any more since 2019, and written all the same.
            "dependencies": jsonschema.Draft7Validator.VALIDATORS["dependencies"],
        },
    )


def _pattern(_validator: Any, pattern: str, found: Any, _schema: Any) -> Iterator[Any]:
    import jsonschema

    if isinstance(found, str) and not matches(pattern, found):
        yield jsonschema.ValidationError(f"{found!r} does not match {pattern!r}")


def _pattern_properties(validator: Any, patterns: Any, found: Any, _schema: Any) -> Iterator[Any]:
    if isinstance(found, Mapping):
        for pattern, schema in patterns.items():
            for name, value in found.items():
                if matches(pattern, name):
                    yield from validator.descend(value, schema, path=name, schema_path=pattern)


def _additional_properties(validator: Any, allowed: Any, found: Any, schema: Any) -> Iterator[Any]:
    import jsonschema

    if not isinstance(found, Mapping):
        return
    named, patterns = schema.get("properties", {}), schema.get("patternProperties", {})
    for name, value in found.items():
        if name in named or any(matches(pattern, name) for pattern in patterns):
            continue
        if allowed is False:
            yield jsonschema.ValidationError(f"{name!r} is not allowed here")
        else:
            yield from validator.descend(value, allowed, path=name)


@functools.lru_cache(maxsize=1)
def _of_schemas() -> Any:
    """Formats within schemas: expressions by a reader that knows ``\\p{L}``."""
    import jsonschema
    import regex

    checker = jsonschema.FormatChecker(formats=())
    checker.checks("regex", raises=regex.error)(
        lambda value: not isinstance(value, str) or bool(regex.compile(value))
    )
    return checker
