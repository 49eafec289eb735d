"""Answers that will not do, and streams that break off: who is asked next, and what is shown."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Generator

import pytest

from modelrouter import (
    AllCandidatesFailedError,
    AnswerRejectedError,
    Catalog,
    ModelCard,
    Policy,
    RetryPolicy,
    Router,
    Rule,
    ServerError,
    StreamInterruptedError,
)
from modelrouter.backends.base import Request
from modelrouter.catalog import discover
from modelrouter.response import (
    Choice,
    Chunk,
    Completion,
    FunctionCall,
    ReplyMessage,
    ToolCall,
)
from modelrouter.scoring.confidence import Curves
from modelrouter.testing import FunctionBackend, example_card

ONCE = RetryPolicy(max_attempts=1)
SMALL = example_card("acme/small", general_strength=0.8, price={"input": 1e-6, "output": 1e-6})
LARGE = example_card("acme/large", general_strength=0.95, price={"input": 1e-3, "output": 1e-3})
SCHEMA = {
    "type": "json_schema",
    "json_schema": {
        "name": "age",
        "schema": {
            "type": "object",
            "properties": {"age": {"type": "integer"}},
            "required": ["age"],
        },
    },
}
GRAMMAR = "Fix the grammar: She go to school every days."


class Scripted(FunctionBackend):
    """Answers each model's text; breaks a stream off after so many words where told."""

    def __init__(self, answers: dict[str, str], broken: dict[str, int] | None = None) -> None:
        super().__init__(lambda request: answers[request.card.name.rpartition("/")[2]])
        self._broken = broken or {}

    def stream(self, request: Request) -> Generator[Chunk, None, None]:
        left = self._broken.get(request.card.name.rpartition("/")[2])
        for chunk in super().stream(request):
            if left is not None and left == 0:
                raise ServerError("the connection was reset", model=request.card.name)
            left = None if left is None else left - 1
            yield chunk

    @property
    def asked(self) -> list[str]:
        return [request.card.name for request in self.requests]


def router_over(backend: FunctionBackend, *cards: ModelCard, **options) -> Router:
    return Router(
        catalog=Catalog(cards or (SMALL, LARGE)),
        backends={"test": backend},
        **{"retry": ONCE, "policy": Policy.cheapest(), **options},
    )


def with_json(card: ModelCard) -> ModelCard:
    return card.model_copy(update={"capabilities": frozenset({"json_schema", "tools"})})


def test_an_answer_that_is_not_the_json_asked_for_goes_to_the_next_model_and_both_are_paid():
    backend = Scripted({"small": '{"age": "ten"}', "large": '{"age": 10}'})
    router = router_over(backend, with_json(SMALL), with_json(LARGE))
    reply = router.completion("How old?", response_format=SCHEMA)
    assert json.loads(reply.text) == {"age": 10}
    first, second = reply.trace.attempts
    assert (first.outcome, second.outcome) == ("rejected", "answered")
    assert "at age" in first.error
    assert reply.cost_usd == pytest.approx(first.cost_usd + second.cost_usd)
    assert first.cost_usd > 0


@pytest.mark.parametrize(
    ("schema", "kept", "broken", "named"),
    [
        ({"type": "array", "items": {"type": "integer"}, "uniqueItems": True}, [1, 2], [1, 1],
         "uniqueItems at #/properties/a"),
        ({"type": "string", "pattern": r"^\p{Lu}(?=.)"}, "Éa", "éa", "pattern at #/properties/a"),
        ({"type": "integer", "not": {"const": 0}}, 1, 0, "not at #/properties/a"),
        ({"type": "object", "dependentRequired": {"x": ["y"]}}, {"x": 1, "y": 2}, {"x": 1},
         "dependentRequired at #/properties/a"),
    ],
    ids=str,
)  # fmt: skip
def test_what_no_grammar_keeps_is_checked_afterwards_and_the_decision_says_so(
    schema, kept, broken, named
):
    whole = {"type": "object", "properties": {"a": schema}, "required": ["a"]}
    form = {"type": "json_schema", "json_schema": {"name": "x", "schema": whole}}
    answers = {"small": json.dumps({"a": broken}), "large": json.dumps({"a": kept})}
    router = router_over(Scripted(answers), with_json(SMALL), with_json(LARGE))
    reply = router.completion("Extract it.", response_format=form)
    assert json.loads(reply.text) == {"a": kept}
    assert [a.outcome for a in reply.trace.attempts] == ["rejected", "answered"]
    assert reply.decision.checked_after == (named,)
    assert reply.decision.model_dump()["checked_after"] == [named]
    assert f"checked after the answer: {named}" in reply.decision.explain()
    assert "checked after" not in router.route("Extract it.").explain()


def test_a_schema_of_json_object_is_kept_to_as_well():
    form = {"type": "json_object", "schema": {"type": "array", "uniqueItems": True}}
    router = router_over(
        Scripted({"small": "[1, 1]", "large": "[1]"}), with_json(SMALL), with_json(LARGE)
    )
    assert router.completion("List it.", response_format=form).text == "[1]"
    deep = router_over(
        Scripted({"small": "[" * 100_000, "large": "[1]"}), with_json(SMALL), with_json(LARGE)
    )
    assert deep.completion("List it.", response_format=form).text == "[1]"


def test_a_call_whose_arguments_break_their_schema_goes_to_the_next_model():
    parameters = {
        "type": "object",
        "properties": {"ids": {"type": "array", "items": {}, "uniqueItems": True}},
        "required": ["ids"],
    }
    tool = {"type": "function", "function": {"name": "f", "parameters": parameters}}

    class Calling(FunctionBackend):
        def complete(self, request: Request) -> Completion:
            reply = super().complete(request)
            arguments = '{"ids": [1, 1]}' if request.card.name == "acme/small" else '{"ids": [1]}'
            calls = [ToolCall(id="c", function=FunctionCall(name="f", arguments=arguments))]
            message = ReplyMessage(content=None, tool_calls=calls)
            return reply.model_copy(update={"choices": [Choice(message=message)]})

    router = router_over(Calling(lambda request: ""), with_json(SMALL), with_json(LARGE))
    reply = router.completion("Do it.", tools=[tool], tool_choice="required")
    assert reply.choices[0].message.tool_calls[0].function.arguments == '{"ids": [1]}'
    assert "the call of 'f' does not follow its schema at ids" in reply.trace.attempts[0].error
    assert reply.decision.checked_after == ("uniqueItems at #/properties/ids",)


def test_where_nobody_keeps_to_the_form_the_answer_is_not_lost():
    router = router_over(Scripted({"small": "ten"}), with_json(SMALL))
    reply = router.completion("How old?", response_format=SCHEMA)
    assert reply.text == "ten"
    (attempt,) = reply.trace.attempts
    assert attempt.outcome == "rejected"
    assert "not JSON" in attempt.error


@pytest.mark.parametrize("stream", [False, True])
def test_an_answer_kept_for_want_of_a_better_one_has_its_own_attempt_last(stream, tmp_path):
    def answer(request: Request) -> str:
        if request.card.name == "acme/large":
            raise ServerError("503", model="acme/large")
        return "ten"

    cards = (with_json(SMALL), with_json(LARGE))
    router = router_over(FunctionBackend(answer), *cards, ledger=tmp_path / "l")
    got = router.completion("How old?", response_format=SCHEMA, stream=stream)
    if stream:
        assert "".join(chunk.text for chunk in got) == "ten"
    failed, own = got.trace.attempts
    assert (failed.model, failed.outcome) == ("acme/large", "failed")
    assert (own.model, own.outcome) == ("acme/small", "rejected")
    assert failed.cost_usd == 0.0 < own.cost_usd
    row = router.ledger.get(got.trace.id)
    router.close()
    assert row.model == "acme/small"


def test_the_users_own_check_decides_and_says_why():
    backend = Scripted({"small": "short", "large": "a longer answer"})
    policy = Policy.cheapest(accept=lambda reply: len(reply.text) > 6 or "too short")
    reply = router_over(backend, policy=policy).completion("Tell me.")
    assert reply.model == "acme/large"
    assert [a.error for a in reply.trace.attempts] == ["too short", ""]


def test_an_answer_that_the_users_check_refuses_is_never_returned_but_never_lost():
    policy = Policy.cheapest(accept=lambda reply: False)
    router = router_over(Scripted({"small": "a", "large": "b"}), policy=policy)
    with pytest.raises(AnswerRejectedError, match="none of 2 answers") as caught:
        router.completion("Tell me.")
    assert caught.value.reply.text == "b"
    assert [a.outcome for a in caught.value.trace.attempts] == ["rejected", "rejected"]


def test_a_check_that_raises_takes_no_answer_and_loses_none():
    policy = Policy.cheapest(accept=lambda reply: reply.nothing)
    router = router_over(Scripted({"small": "a", "large": "b"}), policy=policy)
    with pytest.raises(AnswerRejectedError, match="accept raised AttributeError") as caught:
        router.completion("Tell me.")
    assert caught.value.reply.text == "b"


def test_a_call_of_a_tool_that_was_not_offered_goes_to_the_next_model():
    class Calling(FunctionBackend):
        def complete(self, request: Request) -> Completion:
            reply = super().complete(request)
            name, arguments = reply.text.split(" ", 1)
            call = ToolCall(id="1", function=FunctionCall(name=name, arguments=arguments))
            message = ReplyMessage(tool_calls=[call])
            return reply.model_copy(update={"choices": [Choice(message=message)]})

    answers = {"small": 'sing {"song": "la"}', "middle": "add {1, 2}", "large": 'add {"a": 1}'}
    backend = Calling(lambda request: answers[request.card.name.rpartition("/")[2]])
    middle = example_card(
        "acme/middle", general_strength=0.9, price={"input": 1e-5, "output": 1e-5}
    )
    cards = [with_json(card) for card in (SMALL, middle, LARGE)]
    tool = {"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}
    reply = router_over(backend, *cards).completion("Add.", tools=[tool])
    assert reply.model == "acme/large"
    said = [a.error for a in reply.trace.attempts]
    assert "'sing', which was not offered" in said[0]
    assert "not JSON" in said[1]


def test_a_stream_shows_nothing_of_an_answer_that_the_users_check_refuses():
    backend = Scripted({"small": "one two three", "large": "a whole other answer"})
    policy = Policy.cheapest(accept=lambda reply: "other" in reply.text)
    with router_over(backend, policy=policy).completion("Tell me.", stream=True) as stream:
        text = "".join(chunk.text for chunk in stream)
    assert text == "a whole other answer"
    assert [a.outcome for a in stream.trace.attempts] == ["rejected", "answered"]
    assert stream.completion.cost_usd == pytest.approx(
        sum(a.cost_usd for a in stream.trace.attempts)
    )


@pytest.fixture(scope="module")
def editor() -> ModelCard:
    return discover({}).catalog.get("modelrouter/tiny-editor")


@pytest.mark.parametrize("stream", [False, True])
def test_a_local_answer_that_its_model_is_not_sure_of_is_asked_of_a_better_one(editor, stream):
    backend = Scripted({"large": "She goes to school every day."})
    policy = Policy.balanced(min_confidence={"grammar": 0.9999})
    with router_over(backend, editor, LARGE, policy=policy) as router:
        got = router.completion(GRAMMAR, stream=stream)
        if stream:
            assert "".join(chunk.text for chunk in got) == "She goes to school every day."
        assert got.model == "acme/large"
        first, second = got.trace.attempts
        assert first.model == editor.name
        assert first.outcome in ("rejected", "failed")
        assert second.outcome == "answered"


@pytest.mark.parametrize("stream", [False, True])
def test_an_unsure_answer_is_returned_when_the_better_model_is_out(editor, stream):
    def out(request: Request) -> str:
        raise ServerError("503", model=request.card.name)

    policy = Policy.balanced(min_confidence=0.9999)
    with router_over(FunctionBackend(out), editor, LARGE, policy=policy) as router:
        got = router.completion(GRAMMAR, stream=stream)
        if stream:
            assert "".join(chunk.text for chunk in got)
        assert got.model == editor.name
        first, *_, last = got.trace.attempts
        assert "not sure" in first.error or first.outcome == "rejected"
        assert last.outcome == ("answered" if stream else "rejected")


def test_a_sure_local_answer_stays(editor):
    backend = Scripted({"large": "no"})
    policy = Policy.balanced(min_confidence=0.9)
    curves = Curves(
        {"grammar": ((0.0, 0.95), (1.0, 1.0))}
    )  # its numbers are worth more than they say
    with router_over(backend, editor, LARGE, policy=policy, confidence=curves) as router:
        assert router.completion(GRAMMAR).model == editor.name
    assert backend.asked == []


def test_a_model_that_promises_less_than_an_unsure_one_is_not_asked(editor):
    weak = example_card("acme/weak", general_strength=0.05)
    policy = Policy.balanced(min_confidence=0.9999)
    backend = Scripted({"weak": "no"})
    with router_over(backend, editor, weak, policy=policy) as router:
        reply = router.completion(GRAMMAR)
    assert reply.model == editor.name
    assert backend.asked == []


# Streams that break off

TALE = "Once upon a time there was a fox who lived in a wood and was fond of grapes."


def test_without_a_policy_for_it_a_stream_that_breaks_off_raises_with_what_was_shown():
    backend = Scripted({"small": TALE, "large": TALE}, {"small": 5})
    stream = router_over(backend).completion("Tell me a tale.", stream=True)
    shown = []
    with pytest.raises(StreamInterruptedError) as caught:
        shown.extend(chunk.text for chunk in stream)
    assert caught.value.partial_text == "Once upon a time there "
    assert backend.asked == ["acme/small"]


@pytest.mark.parametrize(
    "rest",
    [
        "was a fox who lived in a wood and was fond of grapes.",  # goes on
        "a time there was a fox who lived in a wood and was fond of grapes.",  # repeats the end
        TALE,  # begins anew
    ],
)
def test_a_stream_goes_on_with_the_next_model_and_no_text_comes_twice(rest):
    backend = Scripted({"small": TALE, "large": rest}, {"small": 5})
    policy = Policy.cheapest(on_interruption="continue")
    router = router_over(backend, policy=policy)
    chunks = list(stream := router.completion("Tell me a tale.", stream=True))
    assert "".join(chunk.text for chunk in chunks) == TALE
    assert stream.completion.text == TALE
    assert {chunk.continued_by for chunk in chunks} == {None, "acme/large"}
    assert [a.outcome for a in stream.trace.attempts] == ["interrupted", "answered"]
    said = backend.requests[1].messages
    assert said[-2] == {"role": "assistant", "content": "Once upon a time there "}


async def test_an_awaited_stream_goes_on_too():
    backend = Scripted({"small": TALE, "large": TALE}, {"small": 5})
    router = router_over(backend, policy=Policy.cheapest(on_interruption="continue"))
    stream = await router.acompletion("Tell me a tale.", stream=True)
    assert "".join([chunk.text async for chunk in stream]) == TALE


def test_a_stream_goes_on_only_with_models_that_the_task_may_have():
    policy = Policy.cheapest(
        on_interruption="continue",
        rules=[Rule.when(lambda task: "secret" in task.text).only("acme/small")],
    )
    backend = Scripted({"small": TALE, "large": TALE}, {"small": 5})
    stream = router_over(backend, policy=policy).completion("A secret tale.", stream=True)
    with pytest.raises(StreamInterruptedError):
        list(stream)
    assert backend.asked == ["acme/small"]


def test_a_stream_that_breaks_off_twice_raises_with_all_that_was_shown():
    backend = Scripted({"small": TALE, "large": TALE}, {"small": 5, "large": 9})
    router = router_over(backend, policy=Policy.cheapest(on_interruption="continue"))
    stream = router.completion("Tell me a tale.", stream=True)
    shown = []
    with pytest.raises(StreamInterruptedError) as caught:
        shown.extend(chunk.text for chunk in stream)
    assert TALE.startswith(caught.value.partial_text)


# Conversations


def test_a_conversation_keeps_its_model_and_moves_only_upwards():
    backend = Scripted({"small": "yes", "large": "yes"})
    policy = Policy.balanced()
    router = router_over(backend, policy=policy)
    first = router.completion("Hi!", conversation="c").model
    assert first == "acme/small"
    assert router.completion("Hi!", policy="best", conversation="c").model == "acme/large"
    assert router.completion("Hi!", conversation="c").model == "acme/large"
    assert router.completion("Hi!").model == "acme/small"
    assert "conversation" in router.completion("Hi!", conversation="c").decision.explain()


def test_a_stand_in_for_a_failed_model_does_not_become_the_conversations():
    down = {"large": False}

    def answer(request: Request) -> str:
        if request.card is LARGE and down["large"]:
            raise ServerError("503", model=LARGE.name)
        return "yes"

    router = router_over(FunctionBackend(answer), policy="best", breakers=False)
    assert router.completion("Hi!", conversation="c").model == "acme/large"
    down["large"] = True
    assert router.completion("Hi!", conversation="c").model == "acme/small"
    down["large"] = False
    assert router.completion("Hi!", conversation="c").model == "acme/large"


def test_a_conversation_keeps_its_model_over_a_restart_where_a_ledger_is_kept(tmp_path):
    backend, ledger = Scripted({"small": "yes", "large": "yes"}), tmp_path / "tasks.ledger"
    with router_over(backend, ledger=ledger, policy="best") as router:
        assert router.completion("Hi!", conversation="c").model == "acme/large"
    with router_over(backend, ledger=ledger) as router:
        assert router.completion("Hi!", conversation="c").model == "acme/large"
        assert router.completion("Hi!", conversation="another").model == "acme/small"


# What is left of a call that was left


async def test_a_cancelled_call_is_reported_with_the_attempt_it_left():
    class Slow(FunctionBackend):
        async def acomplete(self, request: Request):
            await asyncio.sleep(30)

    traces = []
    router = router_over(Slow(lambda request: ""), hooks=[traces.append])
    call = asyncio.ensure_future(router.acompletion("Hi!"))
    await asyncio.sleep(0.05)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    (trace,) = traces
    assert [a.outcome for a in trace.attempts] == ["cancelled"]
    assert trace.attempts[0].cost_usd is None


def test_the_deadline_is_spent_across_all_models():
    def slow(request: Request) -> str:
        time.sleep(0.2)
        raise ServerError("500", model=request.card.name)

    cards = [example_card(f"acme/{i}", general_strength=0.9 - i / 100) for i in range(9)]
    began = time.perf_counter()
    with pytest.raises(AllCandidatesFailedError):
        router_over(FunctionBackend(slow), *cards).completion("Hi!", timeout=0.5)
    assert time.perf_counter() - began < 1.0
