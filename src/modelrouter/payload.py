"""Payload: what a request for a conversation carries, written and read in one place.

:func:`payload` writes it, for the signals of a task as for the backends, so that a field which is
sent is one that was read; :func:`texts` is every text in it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from modelrouter.task import Message, Task

__all__ = ["carried", "payload", "texts"]

_PICTURE: Final = re.compile(r"data:image/[^,]{0,200};base64,", re.IGNORECASE)
_SHORTEST_NUMBER: Final = 10**6
"""Whole numbers of fewer digits are nobody's."""
_PLAIN: Final = frozenset({"role", "content"})


def payload(
    messages: Sequence[Mapping[str, Any]],
    *,
    tools: Iterable[Mapping[str, Any]] = (),
    tool_choice: Any = None,
    response_format: Mapping[str, Any] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The body of a request as OpenAI's protocol has it, but for the model's name.

    Args:
        messages, tools, tool_choice, response_format: as OpenAI writes them.
        parameters: whatever else is sent, by name; they replace none of the above.
    """
    made = dict(parameters or ())
    made["messages"] = [dict(message) for message in messages]  # litellm edits them
    if tools := tuple(tools):
        made["tools"] = [dict(tool) for tool in tools]
    if tool_choice is not None:
        made["tool_choice"] = tool_choice
    if response_format is not None:
        made["response_format"] = dict(response_format)
    return made


def carried(task: Task) -> str:
    """Every text that a request for the task would carry, one below the other.

    Of pictures, what stands around their data.
    """
    if not (task.tools or task.tool_choice or task.response_format or task.parameters):
        # The usual task is a conversation of plain turns, which are their own payload.
        told = [_told(message) for message in task.messages]
        if None not in told:
            return "\n".join(told)  # type: ignore[arg-type]  # none of them is None
    body = payload(
        [message.raw or {"content": message.text} for message in task.messages],
        tools=task.tools,
        tool_choice=task.tool_choice,
        response_format=task.response_format,
        parameters=task.parameters,
    )
    # Schemas hold no parts of a text, and are long: they are read as they are sent, as JSON.
    schemas = []
    for name in _SCHEMAS:
        if (written := _json(body.get(name))) is not None:
            schemas.append(written)
            del body[name]
    return "\n ".join([*schemas, *texts(body)])


_SCHEMAS: Final = ("tools", "response_format")


def _json(value: Any) -> str | None:
    """A schema in JSON, its texts in their own letters; ``None`` where it cannot be written."""
    if value is None:
        return None
    try:
        return json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # no JSON, or it holds itself
        return None


def _told(message: Message) -> str | None:
    """The text of a turn that holds nothing else."""
    raw = message.raw
    content = raw.get("content")
    return content if type(content) is str and raw.keys() == _PLAIN else None


def texts(value: Any) -> Iterator[str]:
    """Every text in plain data: the leaves, the names, and long numbers.

    Parts of one text that stand beside each other come once more, joined as a model reads them.
    """
    seen: set[int] = set()
    waiting = [value]
    while waiting:
        found = waiting.pop()
        if isinstance(found, str):
            picture = _PICTURE.match(found)
            yield found if picture is None else found[: picture.end()]
        elif isinstance(found, (bool, float)) or found is None:
            continue
        elif isinstance(found, int):
            if abs(found) >= _SHORTEST_NUMBER:
                yield str(found)
        elif id(found) not in seen:  # what holds itself would never end
            seen.add(id(found))
            waiting += reversed(_inside(found))


def _inside(found: Any) -> list[Any]:
    """What a value holds, its parts of text once more in one."""
    if isinstance(found, Mapping):
        held = [each for pair in found.items() for each in pair]
        lists = ((name, each) for name, each in found.items() if isinstance(each, (list, tuple)))
        return [*held, *(_joined(each, of_texts=name == "content") for name, each in lists)]
    if isinstance(found, (list, tuple, set, frozenset)):
        return list(found)
    dump = getattr(found, "model_dump", None)
    return [dump() if callable(dump) and not isinstance(found, type) else str(found)]


def _joined(items: Sequence[Any], *, of_texts: bool) -> str | None:
    """The text that parts of a content make together; elsewhere texts are an enumeration."""
    parts = [_part(item) for item in items]
    told = [part for part in parts if part is not None]
    if len(told) < 2 or not (of_texts or any(isinstance(item, Mapping) for item in items)):
        return None
    return "".join(told)


def _part(item: Any) -> str | None:
    text = item.get("text") if isinstance(item, Mapping) else item
    return text if isinstance(text, str) else None
