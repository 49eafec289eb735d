"""Task: what is accepted, and what is refused with its place."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletionMessage
from pydantic import BaseModel

from modelrouter import InvalidTaskError, Task

IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}


def user(content: object) -> dict[str, object]:
    return {"role": "user", "content": content}


def test_a_string_is_one_user_turn():
    task = Task.of("hello")
    assert task.text == "hello"
    assert task.to_openai() == [{"role": "user", "content": "hello"}]


def test_messages_come_out_as_they_went_in():
    messages = [
        {"role": "system", "content": "Be kind."},
        {"role": "user", "content": [{"type": "text", "text": "What is this?"}, IMAGE]},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
            ],
        },
        {"role": "tool", "tool_call_id": "1", "content": "42"},
        {"role": "user", "content": "and now?"},
    ]
    task = Task.of(messages)
    assert task.to_openai() == messages
    assert (task.text, task.system_text, task.user_turns) == ("and now?", "Be kind.", 2)
    assert task.has_images


def test_a_task_is_not_changed_by_what_happens_to_its_source():
    messages = [user([{"type": "text", "text": "one"}])]
    task = Task.of(messages)
    messages[0]["content"][0]["text"] = "two"  # type: ignore[index]  # a list, as above
    task.to_openai()[0]["content"][0]["text"] = "three"
    assert task.to_openai() == [user([{"type": "text", "text": "one"}])]


def test_a_task_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Task.of("x").max_tokens = 3  # type: ignore[misc]  # the point of the test


def test_the_openai_clients_own_message_objects_are_accepted():
    answer = ChatCompletionMessage(role="assistant", content="hi")
    task = Task.of([user("hello"), answer, user("bye")])
    assert task.to_openai()[1] == {"role": "assistant", "content": "hi"}


def test_a_pydantic_class_becomes_its_json_schema():
    class Order(BaseModel):
        name: str

    task = Task.of("x", response_format=Order)
    assert task.response_format is not None
    assert task.response_format["json_schema"]["schema"] == Order.model_json_schema()


def test_keywords_win_over_the_task_given():
    task = Task.of(Task.of("x", max_tokens=3, kind="chat"), max_tokens=5)
    assert (task.max_tokens, task.kind) == (5, "chat")


@pytest.mark.parametrize(
    ("task", "place", "says"),
    [
        ("", "task", "empty"),
        ("  \n", "task", "empty"),
        (b"bytes", "task", "bytes"),
        (42, "task", "int"),
        (None, "task", "NoneType"),
        ({"role": "user", "content": "x"}, "task", "dict"),
        ([], "messages", "empty"),
        (["hello"], "messages[0]", "mapping"),
        ([user("x"), {"role": "robot", "content": "x"}], "messages[1].role", "robot"),
        ([user(None)], "messages[0].content", "empty"),
        ([user(3)], "messages[0].content", "int"),
        ([user([])], "messages[0].content", "empty"),
        ([user([{"type": "text", "text": 3}])], "messages[0].content[0].text", "int"),
        ([user([{"type": "input_audio"}])], "messages[0].content[0].type", "input_audio"),
        ([user([{"type": "image_url"}])], "messages[0].content[0].image_url", "no url"),
        (
            [user([{"type": "image_url", "image_url": {"url": "cat.png"}}])],
            "messages[0].content[0].image_url",
            "cat.png",
        ),
        (
            [user("x"), {"role": "assistant", "content": "y"}, user("")],
            "messages[2].content",
            "empty",
        ),
    ],
)
def test_a_malformed_task_is_refused_with_its_place(task, place, says):
    with pytest.raises(InvalidTaskError, match=says) as caught:
        Task.of(task)
    assert caught.value.field == place


@pytest.mark.parametrize(
    ("fields", "place"),
    [
        ({"tools": [{"name": "f"}]}, "tools[0]"),
        ({"tools": 5}, "tools"),
        ({"tools": {"type": "function"}}, "tools"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"max_tokens": True}, "max_tokens"),
        ({"kind": "grammer"}, "kind"),
        ({"response_format": "json"}, "response_format"),
        ({"metadata": [1]}, "metadata"),
    ],
)
def test_a_malformed_field_is_refused(fields, place):
    with pytest.raises(InvalidTaskError) as caught:
        Task.of("x", **fields)
    assert caught.value.field == place


json_like = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner),
    max_leaves=8,
)
messages_like = st.lists(
    st.fixed_dictionaries(
        {"role": st.sampled_from(["user", "assistant", "system", "tool"]) | json_like},
        optional={"content": json_like, "tool_calls": json_like},
    ),
    max_size=4,
)


@given(json_like | messages_like)
def test_whatever_comes_in_becomes_a_task_or_a_clear_error(anything):
    try:
        place, asked = "", Task.of(anything).last_user
    except InvalidTaskError as error:
        place, asked = error.field, None
    assert place or (asked is not None and (asked.text.strip() or asked.images))
