"""What of a conversation is sent to a model: nothing empty, nobody twice in a row because of it."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter import Catalog, InvalidTaskError, Router, Task
from modelrouter.testing import EchoBackend, example_card
from modelrouter.turns import alternating, asked_by_a_user, said


def turn(role: str, content: Any, **more: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **more}


CALLS = [{"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]
IMAGE = {"type": "image_url", "image_url": {"url": "https://example.com/cat.png"}}
EMPTY = ["", "  \n", None, [], [{"type": "text", "text": " "}]]


@pytest.mark.parametrize("content", EMPTY, ids=str)
@pytest.mark.parametrize("role", ["assistant", "user", "system"])
def test_a_turn_that_says_nothing_is_accepted_and_not_sent(role: str, content: Any) -> None:
    messages = [turn("user", "a"), turn("assistant", "b"), turn(role, content), turn("user", "c")]
    assert Task.of(messages).text == "c"
    assert said(messages) == [messages[0], messages[1], messages[3]]


def test_what_stood_beside_an_empty_turn_is_joined() -> None:
    messages = [turn("user", "a"), turn("assistant", None, reasoning_content="hm"),
                turn("user", [{"type": "text", "text": "b"}, IMAGE])]  # fmt: skip
    assert said(messages) == [
        turn("user", [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, IMAGE])
    ]
    assert said([turn("user", "a"), turn("assistant", ""), turn("user", "b")]) == [
        turn("user", "a\n\nb")
    ]


def test_turns_that_were_beside_each_other_before_stay_apart() -> None:
    messages = [turn("user", "a"), turn("user", "b"), turn("assistant", ""), turn("system", "c")]
    assert said(messages) == [messages[0], messages[1], messages[3]]


def test_calls_and_results_are_sent_even_without_text() -> None:
    messages = [turn("user", "a"), turn("assistant", "", tool_calls=CALLS),
                turn("tool", None, tool_call_id="1"), turn("user", "b")]  # fmt: skip
    sent = said(messages)
    assert [m["role"] for m in sent] == ["user", "assistant", "tool", "user"]
    assert (sent[1]["content"], sent[2]["content"]) == (None, "")


def test_names_keep_two_speakers_apart() -> None:
    messages = [turn("user", "a", name="ann"), turn("assistant", ""), turn("user", "b", name="bo")]
    assert said(messages) == [messages[0], messages[2]]


contents = st.sampled_from(["", " ", "Q", None, [], [{"type": "text", "text": "Z"}], [IMAGE]])
conversations = st.lists(
    st.builds(turn, st.sampled_from(["user", "assistant", "system", "tool"]), contents), min_size=1
)


@given(conversations)
def test_nothing_that_was_said_is_lost(messages: list[dict[str, Any]]) -> None:
    def words(turns: list[dict[str, Any]]) -> str:
        return "".join(c for m in turns for c in str(m["content"]) if c in "QZ")

    sent = said(messages)
    assert words(sent) == words(messages)
    assert said(sent) == sent


def test_a_reply_without_text_is_taken_back() -> None:
    with Router(catalog=Catalog([example_card()]), backends={"test": EchoBackend()}) as router:
        reply = router.completion("hi there")
        message = reply.choices[0].message.model_copy(update={"content": None})
        again = router.completion(messages=[turn("user", "a"), message, turn("user", "b")])
    assert again.text == "a\n\nb"


@pytest.mark.parametrize("role", ["system", "developer"])
def test_a_conversation_without_a_user_is_asked_all_the_same(role: str) -> None:
    messages = [turn(role, "Say hello to the guests.")]
    task = Task.of(messages)
    assert (task.text, task.user_turns) == ("Say hello to the guests.", 0)
    with Router(catalog=Catalog([example_card()]), backends={"test": EchoBackend()}) as router:
        assert router.route(messages=messages).model == "test/model"
        assert router.completion(messages=messages).text == "Say hello to the guests."


@pytest.mark.parametrize(
    "messages",
    [
        [turn("user", "")],
        [turn("user", "a"), turn("assistant", "b"), turn("user", " ")],
        [turn("system", ""), turn("assistant", None)],
    ],
    ids=str,
)
def test_where_nothing_is_asked_the_task_is_refused(messages: list[dict[str, Any]]) -> None:
    with pytest.raises(InvalidTaskError, match="is empty") as caught:
        Task.of(messages)
    assert caught.value.field == f"messages[{len(messages) - 1}].content"


def test_a_reader_of_turns_gets_them_in_turn() -> None:
    messages = [turn("system", "S"), turn("user", "a"), turn("user", "b"), turn("system", "T"),
                turn("assistant", "c"), turn("user", "d")]  # fmt: skip
    rest = [turn("user", "a\n\nb"), turn("assistant", "c"), turn("user", "d")]
    assert alternating(messages) == [turn("system", "S\n\nT"), *rest]
    rest[0] = turn("user", "S\n\nT\n\na\n\nb")
    assert alternating(messages, system=False) == rest
    assert alternating([turn("system", "S")], system=False) == [turn("user", "S")]
    two = [turn("system", "S"), turn("developer", "T")]
    assert asked_by_a_user(two) == [turn("system", "S"), turn("user", "T")]
