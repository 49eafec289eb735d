"""Task: what came in, as one frozen value, from a string or OpenAI-style messages."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal, TypeAlias, TypeVar, get_args

from modelrouter._common.plain import MOST_LEVELS, too_deep
from modelrouter.exceptions import InvalidTaskError
from modelrouter.images import is_picture, picture_url

__all__ = ["KINDS", "Kind", "Message", "Task", "TaskLike"]

Kind: TypeAlias = Literal[
    "completion",
    "grammar",
    "summarization",
    "translation",
    "classification",
    "extraction",
    "question_answering",
    "chat",
    "code",
    "math",
    "reasoning",
    "creative_writing",
    "image_understanding",
    "image_generation",
    "embedding",
]
KINDS: Final[tuple[Kind, ...]] = get_args(Kind)

_ROLES: Final = ("system", "developer", "user", "assistant", "tool", "function")
_SYSTEM_ROLES: Final = ("system", "developer")
_NOTHING: Final = (None,) * 7
_IMAGE_PARTS: Final = ("image_url", "input_image", "image")
_AUDIO_PARTS: Final = ("input_audio", "audio", "audio_url")
_LEFT_OUT: Final = "[A picture was shown here; it is left out.]"


@dataclass(frozen=True, slots=True)
class Message:
    """One turn. ``text`` joins its text parts; ``images`` are the URLs of its image parts.

    An image given as a path, bytes or PIL image is there, and in ``raw``, as a data URL.
    """

    role: str
    text: str
    images: tuple[str, ...] = ()
    raw: Mapping[str, Any] = field(default_factory=dict, repr=False, compare=False)

    def to_openai(self) -> dict[str, Any]:
        """The message as the OpenAI protocol writes it; a copy, safe to change."""
        return copy.deepcopy(dict(self.raw))

    def without_images(self) -> Message:
        """The message with a note in place of each image, for a model that does not see."""
        if not self.images:
            return self
        text = "\n".join(filter(None, (self.text, *([_LEFT_OUT] * len(self.images)))))
        return Message(self.role, text, (), {**self.raw, "content": text})


@dataclass(frozen=True, slots=True)
class Task:
    """One request to be routed.

    Attributes:
        messages: the conversation; somebody says something in it, and not last an empty user turn.
        tools: OpenAI tool definitions the model may call.
        tool_choice: OpenAI's ``tool_choice``.
        response_format: OpenAI's ``response_format`` as a mapping (a pydantic class given to
            :meth:`of` becomes its JSON schema).
        max_tokens: the caller's bound on the answer, if any.
        kind: the caller's word for what kind of task this is; ``None`` lets the router read it.
        metadata: the caller's own facts, readable by policy rules; never sent to a model.
        parameters: what else is sent with it, by OpenAI's names (``stop``, ``user``, ...), as far
            as it is known when the task is decided on; it is read for personal data.
    """

    messages: tuple[Message, ...]
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: Any = None
    response_format: Mapping[str, Any] | None = None
    max_tokens: int | None = None
    kind: Kind | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(
        cls,
        task: TaskLike,
        *,
        tools: Iterable[Mapping[str, Any]] | None = None,
        tool_choice: Any = None,
        response_format: Any = None,
        max_tokens: int | None = None,
        kind: Kind | None = None,
        metadata: Mapping[str, Any] | None = None,
        parameters: Mapping[str, Any] | None = None,
    ) -> Task:
        """Build a Task from a string, a list of OpenAI messages, or another Task.

        Keyword arguments that are given win over those of a Task passed in.

        Raises:
            InvalidTaskError: with the field and what is wrong with it.
        """
        fields = (tools, tool_choice, response_format, max_tokens, kind, metadata, parameters)
        if type(task) is str and fields == _NOTHING:
            return cls((_said(task),))  # the usual case has nothing to check but the text
        given: dict[str, Any] = {
            "tools": _tools(tools) if tools is not None else None,
            "tool_choice": _not_too_deep(tool_choice, "tool_choice"),
            "response_format": _response_format(response_format),
            "max_tokens": _max_tokens(max_tokens),
            "kind": _kind(kind),
            "metadata": _mapping(metadata, "metadata"),
            "parameters": _mapping(parameters, "parameters"),
        }
        given = {name: value for name, value in given.items() if value is not None}
        if isinstance(task, Task):
            return replace(task, **given) if given else task
        if isinstance(task, str):
            return cls(messages=(_said(task),), **given)
        return cls(messages=_messages(task), **given)

    @property
    def last_user(self) -> Message:
        """The last user turn: what is being asked now.

        In a conversation without one (a system prompt alone) the last turn that says something.
        """
        saying = [m for m in self.messages if m.text.strip() or m.images]
        of_user = [m for m in saying if m.role == "user"]
        asked = of_user or [m for m in saying if m.role in _SYSTEM_ROLES] or saying
        return (asked or self.messages)[-1]

    @property
    def text(self) -> str:
        """The last user turn's text."""
        return self.last_user.text

    @property
    def system_text(self) -> str:
        """The system and developer messages' text."""
        return "\n".join(m.text for m in self.messages if m.role in _SYSTEM_ROLES)

    @property
    def user_turns(self) -> int:
        """How many user turns the conversation has."""
        return sum(m.role == "user" for m in self.messages)

    @property
    def has_images(self) -> bool:
        """Whether any turn holds an image."""
        return any(m.images for m in self.messages)

    def without_images(self) -> Task:
        """The same task with a note in place of each image, for a model that does not see."""
        if not self.has_images:
            return self
        return replace(self, messages=tuple(m.without_images() for m in self.messages))

    def to_openai(self) -> list[dict[str, Any]]:
        """The messages as the OpenAI protocol writes them."""
        return [m.to_openai() for m in self.messages]


TaskLike: TypeAlias = str | Sequence[Any] | Task
"""A string, a list of OpenAI messages (mappings or pydantic objects), or a Task."""


def _messages(raw: object) -> tuple[Message, ...]:
    if isinstance(raw, (bytes, bytearray, Mapping)) or not isinstance(raw, Sequence):
        raise InvalidTaskError(
            "task",
            f"expected a string, a list of messages or a Task, got {type(raw).__name__}.",
            hint='For example "Fix the grammar: ..." or [{"role": "user", "content": "..."}].',
        )
    if not raw:
        raise InvalidTaskError("messages", "the list is empty.", hint="Add a user message.")
    messages = tuple(_message(m, f"messages[{i}]") for i, m in enumerate(raw))
    last = messages[-1]
    if not any(m.text.strip() or m.images for m in messages) or (
        last.role == "user" and not (last.text.strip() or last.images)
    ):
        raise _empty(f"messages[{len(messages) - 1}].content")
    return messages


def _said(text: str) -> Message:
    """One user turn of text alone."""
    if not text or text.isspace():
        raise _empty("task")
    return Message("user", text, (), {"role": "user", "content": text})


def _empty(where: str) -> InvalidTaskError:
    return InvalidTaskError(where, "is empty.", hint="Say what is to be done.")


def _message(raw: object, where: str) -> Message:
    if not isinstance(raw, Mapping):
        dump = getattr(raw, "model_dump", None)
        if dump is None:
            raise InvalidTaskError(where, f"expected a mapping, got {type(raw).__name__}.")
        raw = dump(exclude_none=True)
        assert isinstance(raw, Mapping)
    _not_too_deep(raw, where)
    role = raw.get("role")
    if role not in _ROLES:
        raise InvalidTaskError(
            f"{where}.role", f"unknown role {role!r}.", hint=f"Use one of {', '.join(_ROLES)}."
        )
    content = raw.get("content")
    place = where if where == "task" else f"{where}.content"
    text, images = _content(content, place)
    written = dict(raw)
    if images:  # as the protocol writes them, whatever way they were given
        assert isinstance(content, Sequence)
        written["content"] = list(_written(content, images))
    return Message(role=role, text=text, images=images, raw=copy.deepcopy(written))


def _written(parts: Sequence[object], images: Iterable[str]) -> Iterator[object]:
    """The parts of a message, with each image by its URL."""
    urls = iter(images)
    for part in parts:
        if is_picture(part):
            yield {"type": "image_url", "image_url": {"url": next(urls)}}
        elif isinstance(part, Mapping) and part.get("type") in _IMAGE_PARTS:
            given = part.get("image_url")
            kept = dict(given) if isinstance(given, Mapping) else {}
            if isinstance(part.get("detail"), str):
                kept.setdefault("detail", part["detail"])
            yield {"type": "image_url", "image_url": {**kept, "url": next(urls)}}
        else:
            yield part


def _content(content: object, where: str) -> tuple[str, tuple[str, ...]]:
    text = ""
    images: tuple[str, ...] = ()
    if isinstance(content, str):
        text = content
    elif isinstance(content, Sequence) and not isinstance(content, (bytes, bytearray)):
        text, images = _parts(content, where)
    elif content is not None:
        raise InvalidTaskError(
            where,
            f"expected text or a list of parts, got {type(content).__name__}.",
            hint="Pass a str; decode bytes first.",
        )
    return text, images


def _parts(parts: Sequence[object], where: str) -> tuple[str, tuple[str, ...]]:
    texts: list[str] = []
    images: list[str] = []
    for i, part in enumerate(parts):
        place = f"{where}[{i}]"
        if isinstance(part, str):
            texts.append(part)
            continue
        if is_picture(part):
            images.append(picture_url(part, place))
            continue
        if not isinstance(part, Mapping):
            raise InvalidTaskError(place, f"expected a mapping, got {type(part).__name__}.")
        kind = part.get("type")
        if kind in ("text", "input_text"):
            texts.append(_string(part.get("text"), f"{place}.text"))
        elif kind in _IMAGE_PARTS:
            name = "image" if kind == "image" else "image_url"
            images.append(_image_url(part.get(name), f"{place}.{name}"))
        elif kind == "refusal":
            texts.append(_string(part.get("refusal"), f"{place}.refusal"))
        elif kind in _AUDIO_PARTS:
            raise InvalidTaskError(
                f"{place}.type",
                f"the part {kind!r} is sound, which no model here hears.",
                hint="Transcribe it first and give the text.",
            )
        else:
            raise InvalidTaskError(
                f"{place}.type",
                f"unsupported part {kind!r}.",
                hint="Text and image_url parts are understood.",
            )
    return "\n".join(texts), tuple(images)


def _string(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise InvalidTaskError(where, f"expected text, got {type(value).__name__}.")
    return value


def _image_url(value: object, where: str) -> str:
    url = value.get("url") if isinstance(value, Mapping) else value
    if url is None or (isinstance(url, str) and not url.strip()):
        raise InvalidTaskError(
            where, "has no url.", hint='Use {"url": "https://..."} or a data: URL.'
        )
    return picture_url(url, where)


def _tools(tools: Iterable[Mapping[str, Any]]) -> tuple[Mapping[str, Any], ...]:
    if isinstance(tools, (str, bytes, Mapping)) or not isinstance(tools, Iterable):
        raise InvalidTaskError(
            "tools",
            f"expected a list of tool definitions, got {type(tools).__name__}.",
            hint='As [{"type": "function", "function": {"name": ..., "parameters": ...}}].',
        )
    checked = tuple(tools)
    for i, tool in enumerate(checked):
        if not isinstance(tool, Mapping) or "type" not in tool:
            raise InvalidTaskError(
                f"tools[{i}]",
                "must be a tool definition.",
                hint='Use {"type": "function", "function": {"name": ..., "parameters": ...}}.',
            )
        _not_too_deep(tool, f"tools[{i}]")
    return copy.deepcopy(checked)


def _response_format(value: object) -> Mapping[str, Any] | None:
    _not_too_deep(value, "response_format")
    if value is None or isinstance(value, Mapping):
        return copy.deepcopy(dict(value)) if value is not None else None
    schema = getattr(value, "model_json_schema", None)
    if isinstance(value, type) and schema is not None:
        return {
            "type": "json_schema",
            "json_schema": {"name": value.__name__, "schema": schema(), "strict": True},
        }
    raise InvalidTaskError(
        "response_format",
        f"expected a mapping or a pydantic class, got {type(value).__name__}.",
    )


def _max_tokens(value: object) -> int | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise InvalidTaskError("max_tokens", f"{value!r} is not a positive whole number.")
    return value


def _kind(value: object) -> Kind | None:
    if value is None or value in KINDS:
        return value
    raise InvalidTaskError("kind", f"unknown kind {value!r}.", hint=f"One of {', '.join(KINDS)}.")


def _mapping(value: object, where: str) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise InvalidTaskError(where, f"expected a mapping, got {type(value).__name__}.")
    return dict(_not_too_deep(value, where))


_V = TypeVar("_V")


def _not_too_deep(value: _V, where: str) -> _V:
    if too_deep(value):
        raise InvalidTaskError(where, f"is nested more than {MOST_LEVELS} levels deep.")
    return value
