"""The Router's faces, over backends that answer with a function and over the real ones."""

from __future__ import annotations

import asyncio
import logging

import instructor
import pytest
from openai.types.chat import ChatCompletion, ChatCompletionChunk
from pydantic import BaseModel

from modelrouter import (
    AllCandidatesFailedError,
    AsyncRouter,
    BadRequestError,
    Catalog,
    ConfigurationError,
    ContextWindowExceededError,
    InvalidTaskError,
    ModelCard,
    NoEligibleModelError,
    Policy,
    RetryPolicy,
    Router,
    Rule,
    ServerError,
    StreamInterruptedError,
    UnknownModelError,
    UnsupportedModalityError,
)
from modelrouter.catalog import Speed
from modelrouter.testing import EchoBackend, FunctionBackend, example_card

ONCE = RetryPolicy(max_attempts=1)


def answering(answer, *cards: ModelCard, **options) -> Router:
    return Router(
        catalog=Catalog(cards or [example_card()]),
        backends={"test": FunctionBackend(answer)},
        **{"retry": ONCE, **options},
    )


@pytest.fixture
def router() -> Router:
    return Router(catalog=Catalog([example_card()]), backends={"test": EchoBackend()})


class Failing:
    """Fails as often as told before it answers; says which model was asked."""

    def __init__(self, **failures: Exception | None) -> None:
        self.failures = failures
        self.asked: list[str] = []

    def __call__(self, request) -> str:
        name = request.card.name
        self.asked.append(name)
        error = self.failures.get(name.rpartition("/")[2])
        if error is not None:
            raise error
        return f"answered by {name}"


def test_a_reply_has_openais_fields_and_ours(router):
    reply = router.completion("hello there")
    ChatCompletion.model_validate(reply.model_dump(mode="json"))
    assert reply.text == reply.choices[0].message.content == "hello there"
    assert reply.model == "test/model"
    assert reply.decision.model == "test/model"
    assert reply.cost_usd == pytest.approx(2 * 1e-6 + 2 * 2e-6)
    assert [a.outcome for a in reply.trace.attempts] == ["answered"]


def test_a_stream_gives_chunks_and_ends_with_usage_cost_and_decision(router):
    with router.completion("one two three", stream=True) as stream:
        chunks = list(stream)
    for chunk in chunks:
        ChatCompletionChunk.model_validate(chunk.model_dump(mode="json"))
    assert "".join(c.text for c in chunks) == "one two three"
    last = chunks[-1]
    assert last.choices[0].finish_reason == "stop"
    assert last.usage.total_tokens == 6
    assert last.cost_usd == pytest.approx(3 * 1e-6 + 3 * 2e-6)
    assert last.decision is stream.decision
    assert stream.completion.text == "one two three"
    ChatCompletion.model_validate(stream.completion.model_dump(mode="json"))


def test_the_openai_face_says_the_same(router):
    messages = [{"role": "user", "content": "hello"}]
    reply = router.chat.completions.create(model="auto", messages=messages)
    assert reply.choices[0].message.content == "hello"
    pieces = router.chat.completions.create(model="auto", messages=messages, stream=True)
    assert "".join(p.choices[0].delta.content or "" for p in pieces) == "hello"


async def test_the_awaited_faces_say_the_same(router):
    messages = [{"role": "user", "content": "hello"}]
    assert (await router.acompletion("hello")).text == "hello"
    client = AsyncRouter(catalog=router.catalog, backends={"test": EchoBackend()})
    async with client:
        assert (await client.completion("hello")).text == "hello"
        reply = await client.chat.completions.create(model="auto", messages=messages)
        assert reply.text == "hello"
        stream = await client.chat.completions.create(messages=messages, stream=True)
        async with stream:
            assert "".join([c.text async for c in stream]) == "hello"
        assert stream.completion.usage.total_tokens == 2


async def test_the_blocking_face_works_inside_a_running_loop(router):
    assert router.completion("hello").text == "hello"
    assert "".join(c.text for c in router.completion("a b", stream=True)) == "a b"


def test_instructor_works_on_top():
    class Person(BaseModel):
        name: str
        age: int

    router = answering(
        lambda request: '{"name": "Ana", "age": 31}',
        example_card(capabilities={"tools", "json_schema"}),
    )
    client = instructor.from_litellm(router.completion, mode=instructor.Mode.JSON)
    person = client.chat.completions.create(
        model="auto",
        messages=[{"role": "user", "content": "Extract: Ana is 31."}],
        response_model=Person,
    )
    assert (person.name, person.age) == ("Ana", 31)


def test_a_failure_falls_back_to_the_next_candidate():
    backend = Failing(first=ServerError("500"))
    cards = [example_card("test/first", general_strength=0.99), example_card("test/second")]
    reply = answering(backend, *cards, policy="best").completion("hello")
    assert reply.text == "answered by test/second"
    assert [(a.model, a.outcome) for a in reply.trace.attempts] == [
        ("test/first", "failed"),
        ("test/second", "answered"),
    ]
    assert reply.decision.model == "test/first"


def test_a_stream_that_fails_before_its_first_text_falls_back_unseen():
    backend = Failing(first=ServerError("500"))
    cards = [example_card("test/first", general_strength=0.99), example_card("test/second")]
    router = answering(backend, *cards, policy="best")
    with router.completion("hello", stream=True) as stream:
        assert "".join(c.text for c in stream) == "answered by test/second"
    assert [a.outcome for a in stream.trace.attempts] == ["failed", "answered"]


def test_a_passing_error_is_retried():
    outcomes = iter([ServerError("500"), ServerError("500"), None])

    def flaky(request):
        error = next(outcomes)
        if error is not None:
            raise error
        return "at last"

    quick = RetryPolicy(max_attempts=3, initial_s=0, max_s=0, jitter_s=0)
    reply = answering(flaky, retry=quick).completion("hello")
    assert reply.text == "at last"
    assert len(reply.trace.attempts) == 3


def test_when_all_fail_the_error_holds_every_attempt():
    backend = Failing(first=ServerError("500"), second=BadRequestError("400"))
    cards = [example_card("test/first"), example_card("test/second")]
    with pytest.raises(AllCandidatesFailedError) as caught:
        answering(backend, *cards).completion("hello")
    assert {a.model for a in caught.value.trace.attempts} == {"test/first", "test/second"}


def test_a_stream_cut_after_text_was_shown_keeps_the_text():
    class Cut(FunctionBackend):
        def stream(self, request):
            chunks = super().stream(request)
            yield next(chunks)
            yield next(chunks)
            raise ServerError("gone")

    router = Router(
        catalog=Catalog([example_card()]), backends={"test": Cut(lambda r: "one two three")}
    )
    with router.completion("x", stream=True) as stream:
        with pytest.raises(StreamInterruptedError, match="gone") as caught:
            list(stream)
        assert caught.value.partial_text == "one two "
    assert [a.outcome for a in caught.value.trace.attempts] == ["interrupted"]


def test_leaving_a_stream_early_closes_the_backends_stream():
    closed = []

    class Endless(FunctionBackend):
        def stream(self, request):
            try:
                yield from super().stream(request)
            finally:
                closed.append(request.card.name)

    router = Router(
        catalog=Catalog([example_card()]), backends={"test": Endless(lambda r: "a b c d")}
    )
    with router.completion("x", stream=True) as stream:
        next(stream)
    assert closed == ["test/model"]
    assert stream.trace.attempts[-1].outcome == "cancelled"


async def test_cancelling_an_awaited_call_stops_the_backend():
    started, stopped = asyncio.Event(), asyncio.Event()

    class Slow(FunctionBackend):
        async def acomplete(self, request):
            started.set()
            try:
                await asyncio.sleep(60)
            finally:
                stopped.set()

    router = Router(catalog=Catalog([example_card()]), backends={"test": Slow(lambda r: "")})
    call = asyncio.create_task(router.acompletion("x"))
    await started.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    assert stopped.is_set()


def test_only_what_the_caller_set_reaches_the_model():
    backend = FunctionBackend(lambda request: "ok")
    router = Router(catalog=Catalog([example_card()]), backends={"test": backend})
    router.completion("x", temperature=0.2, max_completion_tokens=9, user="ana", metadata={"a": 1})
    assert backend.requests[0].settings.as_parameters() == {
        "temperature": 0.2,
        "max_tokens": 9,
        "user": "ana",
    }


def test_a_named_model_is_the_only_one_considered():
    backend = Failing()
    cards = [example_card("test/first"), example_card("test/second")]
    reply = answering(backend, *cards).completion("hello", model="second")
    assert (reply.model, backend.asked) == ("test/second", ["test/second"])


def test_the_same_task_gives_the_same_decision(router):
    assert router.route("What is 2 + 2?") == router.route("What is 2 + 2?")


def test_route_calls_no_model():
    backend = FunctionBackend(lambda request: "never")
    router = Router(catalog=Catalog([example_card()]), backends={"test": backend})
    router.route("hello")
    assert backend.requests == []


def test_the_callers_kind_wins(router):
    assert router.route("hello", kind="math").signals.kind == "math"


def test_a_long_history_needs_a_window_but_does_not_make_hi_complex(router):
    history = [
        {"role": "system", "content": "You are an expert in quantum field theory. " * 20},
        {"role": "user", "content": "Prove the spectral theorem. " * 30},
        {"role": "assistant", "content": "It follows from ... " * 200},
        {"role": "user", "content": "hi"},
    ]
    signals = router.route(history).signals
    assert signals.kind == "chat"
    assert signals.complexity < 0.2
    assert signals.context_tokens > 700


def test_hooks_receive_the_trace_and_cannot_break_a_call(caplog):
    traces = []

    def broken(trace):
        raise RuntimeError("boom")

    router = answering(lambda r: "ok", hooks=[broken, traces.append])
    with caplog.at_level(logging.ERROR, "modelrouter"):
        assert router.completion("hello").text == "ok"
    assert "hook" in caplog.text
    assert traces[0].decision.model == "test/model"


def test_hooks_hear_of_failures_too():
    traces = []
    router = answering(Failing(model=BadRequestError("400")), hooks=[traces.append])
    with pytest.raises(BadRequestError):
        router.completion("hello")
    assert [a.outcome for a in traces[0].attempts] == ["failed"]


@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        (lambda r: r.completion(), InvalidTaskError, "missing"),
        (lambda r: r.completion("a", messages=[]), InvalidTaskError, "twice"),
        (lambda r: r.completion("a", model="modle"), UnknownModelError, "test/model"),
        (lambda r: r.completion("a", temprature=1), ConfigurationError, "temperature"),
        (lambda r: r.completion("a", temperature=9), ConfigurationError, "0.0 to 2.0"),
        (lambda r: r.completion("a", timeout=-1), ConfigurationError, "timeout"),
        (lambda r: r.completion("a", policy="cheepest"), ConfigurationError, "balanced"),
        (
            lambda r: r.route("a", policy=Policy(rules=[Rule.when(kind="chat").use("modle")])),
            UnknownModelError,
            "test/model",
        ),
        (lambda r: r.route("word " * 20_000), ContextWindowExceededError, "context tokens"),
        (
            lambda r: r.route(
                [
                    {
                        "role": "user",
                        "content": [{"type": "image_url", "image_url": "https://x.org/a.png"}],
                    }
                ]
            ),
            UnsupportedModalityError,
            "images",
        ),
        (lambda r: Router(["nothing"]), ConfigurationError, "nothing"),
        (lambda r: Router(policy=3), ConfigurationError, "policy"),
    ],
)
def test_bad_input_is_refused_before_anything_is_asked(router, make, error, says):
    with pytest.raises(error, match=says):
        make(router)


def test_a_closed_router_says_so(router):
    router.close()
    router.close()
    fresh = Router(catalog=Catalog([example_card(backend="llamacpp")]))
    fresh.close()
    with pytest.raises((ConfigurationError, NoEligibleModelError)):
        fresh.completion("hello")


def test_an_empty_catalog_says_what_to_do():
    with pytest.raises(NoEligibleModelError, match="OPENAI_API_KEY"):
        Router(catalog=Catalog()).route("hello")


class Measured(EchoBackend):
    """A backend whose queue is long."""

    def speed(self, card: ModelCard) -> Speed:
        return Speed(first_token_s=42.0)


def test_a_local_model_is_judged_by_its_measured_speed():
    text = "Fix the grammar: she go home."
    with Router(backends={"llamacpp": EchoBackend()}) as idle:
        stated = next(c for c in idle.consider(text).candidates if c.card.path)
    with Router(backends={"llamacpp": Measured()}) as busy:
        measured = next(c for c in busy.consider(text).candidates if c.model == stated.model)
    assert stated.latency_s < 42.0 < measured.latency_s
