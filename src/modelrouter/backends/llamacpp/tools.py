"""Tool calls: how a model's template wants them written, and how they are read from its answer.

Every family has its own form. A form is known by the markers in the template; the answer is read
tolerantly, and what is not a call is plain text.
"""

from __future__ import annotations

import functools
import hashlib
import json
import re
import uuid
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from modelrouter.exceptions import BadRequestError
from modelrouter.response import FunctionCall, ToolCall

__all__ = [
    "Form",
    "ToolCallAssembler",
    "ToolChoice",
    "chosen_tools",
    "form_of",
    "handles_tools",
    "prepared",
    "read_calls",
]


@dataclass(frozen=True, slots=True)
class Form:
    """How a family of models writes a call.

    Attributes:
        name: of the family.
        opening: the marker before calls; a model may leave it out and begin with JSON.
        marked: whether the template asks for the marker.
        closing: the marker after them, empty where there is none.
        arguments: the key that the arguments stand under.
        listed: whether calls stand in a JSON array.
        between: the marker between a function's name and its bare arguments, where calls are
            written so; else empty.
        short_ids: whether the template wants ids of nine letters and digits.
    """

    name: str
    opening: str = ""
    closing: str = ""
    marked: bool = True
    arguments: str = "arguments"
    listed: bool = False
    between: str = ""
    short_ids: bool = False

    @property
    def markers(self) -> tuple[str, ...]:
        """Texts that may be control tokens and have to be seen in the answer all the same."""
        return tuple(mark for mark in (self.opening, self.closing, self.between) if mark)

    def new_id(self) -> str:
        """A fresh id for a call."""
        return uuid.uuid4().hex[:9] if self.short_ids else f"call_{uuid.uuid4().hex[:24]}"

    def written(self, call: str) -> str:
        """A call with the family's markers around it.

        ``call`` is the JSON object, or name, marker and arguments where they stand bare.
        """
        if not self.marked:
            return call
        inner = f"[{call}]" if self.listed else call
        line = "\n" if self is _HERMES else ""
        return f"{self.opening}{line}{inner}{line}{self.closing}"


_HERMES: Final = Form("hermes", "<tool_call>", "</tool_call>")
_MISTRAL: Final = Form("mistral", "[TOOL_CALLS]", listed=True, short_ids=True)
_MISTRAL_BARE: Final = Form("mistral", "[TOOL_CALLS]", between="[ARGS]", short_ids=True)
_LISTED: Final = Form("granite", "<|tool_call|>", "<|/tool_call|>", listed=True)
_LLAMA: Final = Form("llama-3", "<|python_tag|>", marked=False, arguments="parameters")
_PLAIN: Final = Form("json")


@functools.lru_cache(maxsize=64)
def handles_tools(source: str) -> bool:
    """Whether a chat template has a place for tools: whether it uses a variable of that name."""
    import jinja2

    try:
        tokens = list(jinja2.Environment().lex(source))
    except jinja2.TemplateError:
        return False
    return any(kind == "name" and text == "tools" for _, kind, text in tokens)


@functools.lru_cache(maxsize=64)
def form_of(source: str) -> Form:
    """The form in which a template shows calls to its model."""
    if _MISTRAL.opening in source:
        return _MISTRAL_BARE if _MISTRAL_BARE.between in source else _MISTRAL
    if _HERMES.opening in source:
        return _HERMES
    if _LISTED.opening in source:
        return _LISTED
    if _LLAMA.opening in source or re.search(r"""["']parameters["']\s*:""", source):
        return _LLAMA
    return _PLAIN


@dataclass(frozen=True, slots=True)
class ToolChoice:
    """Which tools a request offers, and whether one has to be called.

    Attributes:
        offered: the tools that the prompt tells of.
        names: of the functions that may be called.
        forced: whether the answer has to be a call.
    """

    offered: tuple[Mapping[str, Any], ...] = ()
    names: tuple[str, ...] = ()
    forced: bool = False

    @property
    def callable(self) -> tuple[Mapping[str, Any], ...]:
        """The tools that may be called."""
        return tuple(tool for tool in self.offered if tool["function"]["name"] in self.names)


def chosen_tools(tools: Sequence[Mapping[str, Any]], tool_choice: Any, model: str) -> ToolChoice:
    """What ``tools`` and ``tool_choice`` ask for, as OpenAI means them.

    Raises:
        BadRequestError: what is not a tool, two of one name, or a choice that cannot be made.
    """
    names = [_name_of(tool, i, model) for i, tool in enumerate(tools)]
    twice = next((name for i, name in enumerate(names) if name in names[:i]), None)
    if twice is not None:
        raise BadRequestError(f"tools holds two functions named {twice!r}.", model=model)
    if tool_choice == "none" or not (tools or tool_choice not in (None, "auto")):
        return ToolChoice()
    if tool_choice in (None, "auto", "required"):
        forced = tool_choice == "required"
        if forced and not tools:
            raise BadRequestError("tool_choice is 'required', and tools is empty.", model=model)
        return ToolChoice(tuple(tools), tuple(names), forced)
    function = tool_choice.get("function") if isinstance(tool_choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if name is None:
        raise BadRequestError(
            f"tool_choice={tool_choice!r} is unknown.",
            model=model,
            hint="Use 'none', 'auto', 'required' or "
            "{'type': 'function', 'function': {'name': ...}}.",
        )
    if name not in names:
        raise BadRequestError(
            f"tool_choice names the function {name!r}, which is not among tools.",
            model=model,
            hint=f"They hold {', '.join(names) or 'none'}.",
        )
    return ToolChoice(tuple(tools), (name,), forced=True)


def _name_of(tool: Any, place: int, model: str) -> str:
    function = tool.get("function") if isinstance(tool, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str) or not name:
        raise BadRequestError(
            f"tools[{place}] must be a function with a name.",
            model=model,
            hint="Write {'type': 'function', 'function': {'name': ..., 'parameters': ...}}.",
        )
    return name


def prepared(messages: Sequence[Mapping[str, Any]], form: Form) -> list[dict[str, Any]]:
    """Messages as templates expect them: arguments as objects, ids as the family writes them."""
    return [_prepared(message, form) for message in messages]


def _prepared(message: Mapping[str, Any], form: Form) -> dict[str, Any]:
    changed = dict(message)
    if form.short_ids and isinstance(message.get("tool_call_id"), str):
        changed["tool_call_id"] = _short(message["tool_call_id"])
    calls = message.get("tool_calls")
    if not isinstance(calls, (list, tuple)):
        return changed
    changed["tool_calls"] = [
        _prepared_call(call, form) for call in calls if isinstance(call, Mapping)
    ]
    return changed


def _prepared_call(call: Mapping[str, Any], form: Form) -> dict[str, Any]:
    changed = dict(call)
    if form.short_ids and isinstance(call.get("id"), str):
        changed["id"] = _short(call["id"])
    function = call.get("function")
    if isinstance(function, Mapping):
        arguments = function.get("arguments")
        known = _object_of(arguments) if isinstance(arguments, str) else arguments
        changed["function"] = {**function, "arguments": arguments if known is None else known}
    return changed


def _short(identifier: str) -> str:
    """Nine letters and digits, the same for the same id."""
    if re.fullmatch("[a-zA-Z0-9]{9}", identifier):
        return identifier
    return hashlib.sha256(identifier.encode("utf-8", "replace")).hexdigest()[:9]


class ToolCallAssembler:
    """Parts an answer's text into what can be shown and the calls in it, as the text comes.

    From the first sign of a call on, nothing is given out before the end: if it is not a call after
    all, it is text.

    Args:
        form: how the model writes calls.
        names: the functions there are. JSON without a marker is a call only if it names one.
    """

    __slots__ = ("_begun", "_caught", "_form", "_held", "_names")

    def __init__(self, form: Form, names: Collection[str]) -> None:
        self._form, self._names = form, frozenset(names)
        self._held = ""
        self._begun = self._caught = False

    def add(self, text: str) -> str:
        """Take more text; returns what is certain to be content."""
        text = self._held + text
        if not self._caught:
            text, self._held = self._certain(text)
            self._begun = self._begun or bool(text)
            return text
        self._held = text
        return ""

    def finish(self) -> tuple[str, list[ToolCall]]:
        """The rest of the content and the calls, once no more text comes."""
        held, self._held = self._held, ""
        if not self._caught:
            return held, []
        rest, calls = read_calls(held, self._form, self._names)
        # What follows a call does not go on with the sentence before it.
        return ("\n" + rest if calls and rest and self._begun else rest), calls

    def _certain(self, text: str) -> tuple[str, str]:
        """What can be shown, and what is held back."""
        opening = self._form.opening
        at = text.find(opening) if opening else -1
        if at < 0 and not self._begun:
            may_be, self._caught = _begins_bare(text)
            if may_be:
                return "", text
        if at >= 0:
            self._caught = True
        end = at if at >= 0 else len(text) - _overlap(text, opening)
        # Space before a call belongs to the call.
        end = len(text[:end].rstrip())
        return text[:end], text[end:]


def read_calls(text: str, form: Form, names: Collection[str]) -> tuple[str, list[ToolCall]]:
    """The calls in an answer, and the text around them; never fails.

    Args:
        text: the whole answer, or its end.
        form: how the model writes calls.
        names: as for :class:`ToolCallAssembler`.
    """
    if form.opening and form.opening in text:
        content, calls = _marked(text, form)
    else:
        content, calls = _bare(text, names)
    if not calls:
        return text, []
    return content.strip(), [
        ToolCall(id=form.new_id(), function=FunctionCall(name=name, arguments=arguments))
        for name, arguments in calls
    ]


_DECODER: Final = json.JSONDecoder(strict=False)  # a small model writes line ends as they are
_SEPARATOR: Final = re.compile(r"[\s;,]*")
_NAMED: Final = re.compile(r"\s*([\w.-]{1,64})\s*(?:\[CALL_ID\]\w*)?(?:\[ARGS\])?\s*(?=\{)")
_FENCE: Final = re.compile(r"\s*```(?:json)?\s*")
_STARTS: Final = tuple(
    fence + bracket + first
    for fence in ("", "```json", "```")
    for bracket in ("", "[")
    for first in ('{"name"', '{"function"', '{"type":"function"', '{"parameters"', '{"arguments"')
)


def _begins_bare(text: str) -> tuple[bool, bool]:
    """Whether a text may be the beginning of a call without a marker, and whether it looks so."""
    compact = "".join(text[:200].split())
    sure = any(compact.startswith(start) for start in _STARTS)
    return sure or any(start.startswith(compact) for start in _STARTS), sure


def _marked(text: str, form: Form) -> tuple[str, list[tuple[str, str]]]:
    """Calls after each marker; what cannot be read as one stays in the content."""
    calls: list[tuple[str, str]] = []
    content: list[str] = []
    kept = at = 0
    while (start := text.find(form.opening, at)) >= 0:
        at = start + len(form.opening)
        found, end = _calls_at(text, at, form)
        if not found:
            continue
        calls += found
        content.append(text[kept:start])
        at = _SEPARATOR.match(text, end).end()  # type: ignore[union-attr] # it matches nothing too
        if form.closing and text.startswith(form.closing, at):
            at += len(form.closing)
        kept = at
    content.append(text[kept:])
    return "\n".join(filter(None, map(str.strip, content))), calls


def _bare(text: str, names: Collection[str]) -> tuple[str, list[tuple[str, str]]]:
    """Calls that the text begins with, if they are of known functions."""
    fence = _FENCE.match(text)
    calls, end = _calls_at(text, fence.end() if fence else 0, _PLAIN)
    if not calls or not all(name in names for name, _ in calls):
        return text, []
    if fence and (closing := _FENCE.match(text, end)):
        end = closing.end()
    return text[end:], calls


def _calls_at(text: str, at: int, form: Form) -> tuple[list[tuple[str, str]], int]:
    """The calls that stand here one after another, and where they end."""
    calls: list[tuple[str, str]] = []
    end = at
    while True:
        begin = _SEPARATOR.match(text, end).end()  # type: ignore[union-attr] # as above
        named = _NAMED.match(text, begin) if form.short_ids else None
        try:
            value, stop = _DECODER.raw_decode(text, named.end() if named else begin)
        except (ValueError, RecursionError):
            return calls, end
        if named is not None:
            value = {"name": named.group(1), "arguments": value}
        found = list(_calls_in(value))
        if not found or None in found:
            return calls, end
        calls += [call for call in found if call is not None]
        end = stop


def _calls_in(value: Any) -> Iterator[tuple[str, str] | None]:
    """Name and arguments of each call in a JSON value; ``None`` for what is not one."""
    if isinstance(value, list):
        for item in value:
            yield None if isinstance(item, list) else next(_calls_in(item))
        return
    if not isinstance(value, Mapping):
        yield None
        return
    inner = value.get("function")
    if isinstance(inner, Mapping):
        value = inner
    name = value.get("name", inner if isinstance(inner, str) else None)
    key = next((k for k in ("arguments", "parameters") if k in value), None)
    arguments = _arguments(value[key]) if key is not None else "{}"
    known = isinstance(name, str) and bool(name) and arguments is not None
    # A name alone may be anything, a person's for one.
    yield (str(name), str(arguments)) if known and (key or inner) else None


def _arguments(value: Any) -> str | None:
    if value is None:
        return "{}"
    if isinstance(value, str):
        return value if _object_of(value) is not None else None
    if not isinstance(value, Mapping):
        return None
    text = json.dumps(value, ensure_ascii=False)
    # Half a surrogate pair can be written in JSON, and in nothing else.
    return json.dumps(value) if re.search("[\ud800-\udfff]", text) else text


def _object_of(text: str) -> dict[str, Any] | None:
    try:
        value = json.loads(text, strict=False)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _overlap(text: str, mark: str) -> int:
    """Length of the longest end of ``text`` that is a beginning of ``mark``."""
    longest = min(len(text), len(mark) - 1)
    return next((n for n in range(longest, 0, -1) if text.endswith(mark[:n])), 0)
