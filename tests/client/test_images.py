"""Drawing through the Router's faces, from a loopback provider of images/generations."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from openai.types import ImagesResponse as OpenAIImagesResponse

from modelrouter import (
    APIConnectionError,
    AsyncRouter,
    BadRequestError,
    Budget,
    BudgetExceededError,
    Catalog,
    ConfigurationError,
    InvalidTaskError,
    MalformedResponseError,
    ModelCard,
    Policy,
    RetryPolicy,
    Router,
    ServerError,
    UnsupportedModalityError,
)
from modelrouter.backends.hosted.library import litellm
from modelrouter.testing import EchoBackend, example_card
from tests.support.pictures import picture
from tests.support.scripted_server import Behaviour, ScriptedServer, slow, status

PNG = picture(size=(8, 8))
B64 = base64.b64encode(PNG).decode()
USAGE = {
    "input_tokens": 50,
    "output_tokens": 1000,
    "total_tokens": 1050,
    "input_tokens_details": {"image_tokens": 0, "text_tokens": 50},
}


@pytest.fixture(scope="module", autouse=True)
def _imported() -> None:
    litellm()  # seconds, which would count against nobody's deadline


def drawn(usage: dict[str, Any] | None = USAGE, **image: Any) -> Behaviour:
    """A picture for each one asked for, as images/generations answers."""

    def behave(x: Any) -> None:
        wrong = not x.handler.path.endswith("/images/generations") or "prompt" not in x.body
        if wrong:
            x.send(400, json.dumps({"error": {"message": f"not so: {x.handler.path}"}}).encode())
            return
        data = [image or {"b64_json": B64}] * (x.body.get("n") or 1)
        told = {"created": 7, "data": data, **({"usage": usage} if usage else {})}
        x.send(200, json.dumps(told).encode())

    return behave


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        running.script(drawn())
        yield running


@pytest.fixture
def card(server) -> Callable[..., ModelCard]:
    def make(name: str = "openai/gpt-image-2", **fields: Any) -> ModelCard:
        return ModelCard.hosted(name, api_base=server.base_url, api_key="sk-test-1234567", **fields)

    return make


def made(*cards: ModelCard, **options: Any) -> Router:
    options = {"retry": RetryPolicy(max_attempts=2, initial_s=0.01, jitter_s=0.0), **options}
    text = example_card("words")
    return Router(catalog=Catalog([text, *cards]), backends={"test": EchoBackend()}, **options)


def test_a_picture_is_drawn_priced_and_saved(server, card, tmp_path) -> None:
    traces: list[Any] = []
    with made(card(), hooks=[traces.append]) as router:
        reply = router.image_generation("a red fox", size="1024x1024", quality="medium", n=2)
    sent = server.requests[0]
    assert sent.path == "/v1/images/generations"
    assert sent.headers["Authorization"] == "Bearer sk-test-1234567"
    assert {k: sent.body[k] for k in ("model", "prompt", "n", "size", "quality")} == {
        "model": "gpt-image-2",
        "prompt": "a red fox",
        "n": 2,
        "size": "1024x1024",
        "quality": "medium",
    }
    assert len(reply.images) == 2
    saved = reply.images[0].save(tmp_path / "fox")
    assert saved == tmp_path / "fox.png"
    assert saved.read_bytes() == PNG
    assert (reply.model, reply.created) == ("openai/gpt-image-2", 7)
    price = card().price
    assert reply.cost_usd == pytest.approx(50 * price.input + 1000 * price.output)
    assert reply.cost_usd == pytest.approx(0.03025)
    assert reply.decision.signals.kind == "image_generation"
    assert traces[0].cost_usd == reply.cost_usd
    assert reply.trace.attempts[0].outcome == "answered"
    assert "red fox" not in repr(reply.model_dump()["decision"])


def test_a_reply_is_what_an_openai_client_reads(card) -> None:
    with made(card()) as router:
        reply = router.images.generate(prompt="a fox", model="openai/gpt-image-2")
    read = OpenAIImagesResponse.model_validate(
        reply.model_dump(include={"created", "data"}, exclude_none=True)
    )
    assert read.data[0].b64_json == B64


async def test_the_awaited_faces_give_the_same(card) -> None:
    with made(card()) as router:
        assert (await router.aimage_generation("a fox")).images[0].b64_json == B64
    async with AsyncRouter(catalog=Catalog([card()])) as arouter:
        assert (await arouter.image_generation("a fox")).images[0].b64_json == B64
        assert (await arouter.images.generate(prompt="a fox")).images[0].b64_json == B64


def test_a_picture_by_url_is_fetched_when_it_is_saved(card, server, tmp_path) -> None:
    there = server.base_url.removesuffix("/v1") + "/it.png"
    server.script(drawn(url=there))
    with made(card()) as router:
        reply = router.image_generation("a fox")
    assert reply.images[0].url == there
    with pytest.raises((APIConnectionError, MalformedResponseError)):  # nothing is served there
        reply.images[0].save(tmp_path / "fox.png", timeout_s=5)


def test_failures_are_retried_and_another_model_is_asked(card, server) -> None:
    server.script(status(503), status(503), drawn())
    cards = (
        card(strengths={"image_generation": 0.9}),
        card("openai/other", **IMAGES, price={"input": 0, "output": 0, "image": 0.04}),
    )
    with made(*cards, policy=Policy(rules=[])) as router:
        reply = router.image_generation("a fox", n=1)
    assert [a.outcome for a in reply.trace.attempts] == ["failed", "failed", "answered"]
    asked = [r.body["model"] for r in server.requests]
    assert len(set(asked)) == 2
    assert asked[0] == asked[1] != asked[2]


async def test_awaited_too_nothing_is_repeated_underneath(card, server) -> None:
    server.script(status(503))
    with made(card()) as router, pytest.raises(ServerError):
        await router.aimage_generation("a fox")
    assert len(server.requests) == 2


IMAGES: dict[str, Any] = {
    "modalities_out": {"image"},
    "scope": {"image_generation"},
    "strengths": {"image_generation": 0.5},
}


def test_a_model_billed_by_the_picture_costs_so(card, server) -> None:
    server.script(drawn(usage=None))
    billed = card("openai/other", **IMAGES, price={"input": 0, "output": 0, "image": 0.04})
    with made(billed) as router:
        decision = router.route("a fox", kind="image_generation")
        assert decision.chosen.cost_usd == pytest.approx(0.04)
        assert router.image_generation("a fox", n=3).cost_usd == pytest.approx(0.12)


def test_what_is_expected_of_tokens_is_a_picture_of_medium_quality(card) -> None:
    with made(card()) as router:
        chosen = router.route("draw a red fox").chosen
    assert chosen.model == "openai/gpt-image-2"
    assert chosen.cost_usd == pytest.approx(1056 * 3e-5, rel=0.05)
    assert chosen.latency_s > 10


def test_a_budget_is_asked_before_drawing(card, server, tmp_path) -> None:
    billed = card("openai/other", **IMAGES, price={"input": 0, "output": 0, "image": 0.04})
    limit = {"budgets": [Budget(usd=0.10)], "budget_store": tmp_path / "b.sqlite"}
    with made(billed, **limit) as router:
        router.image_generation("a fox", n=2)
        with pytest.raises(BudgetExceededError):
            router.image_generation("a fox", n=2)
    assert len(server.requests) == 1


def test_completion_of_a_wish_for_a_picture_names_the_call_that_draws(card, server) -> None:
    for cards in ((), (card(),)):
        with made(*cards) as router:
            with pytest.raises(InvalidTaskError, match="image_generation"):
                router.completion("draw me a picture of a fox")
            said = router.completion("draw me a picture of a fox", kind="chat")
            assert said.text == "draw me a picture of a fox"
    assert not server.requests


def test_without_a_model_that_draws_it_is_said(card) -> None:
    with made() as router, pytest.raises(UnsupportedModalityError, match="makes images"):
        router.image_generation("a fox")


@pytest.mark.parametrize("prompt", ["", "  ", None, 5, b"fox"])
def test_a_prompt_that_says_nothing_is_refused(card, prompt) -> None:
    with made(card()) as router, pytest.raises(InvalidTaskError, match="prompt"):
        router.image_generation(prompt)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"n": 0}, "n=0"),
        ({"n": 11}, "1 to 10"),
        ({"n": True}, "n=True"),
        ({"response_format": "png"}, "'b64_json'"),
        ({"sise": "1x1"}, "Did you mean 'size'"),
    ],
)
def test_an_option_that_is_not_offered_is_refused(card, server, options, words) -> None:
    with made(card()) as router, pytest.raises(ConfigurationError, match=words):
        router.image_generation("a fox", **options)
    assert not server.requests


@pytest.mark.parametrize("image", [{"revised_prompt": "no picture"}])
def test_an_answer_without_a_picture_is_malformed(card, server, image) -> None:
    server.script(drawn(**image))
    with made(card()) as router, pytest.raises(MalformedResponseError, match="no picture"):
        router.image_generation("a fox")


def test_what_is_no_picture_is_not_saved(card, server, tmp_path) -> None:
    server.script(drawn(b64_json=base64.b64encode(b"hello").decode()))
    with made(card()) as router:
        reply = router.image_generation("a fox")
    with pytest.raises(MalformedResponseError, match="not a picture"):
        reply.images[0].save(tmp_path / "fox.png")
    assert not list(tmp_path.iterdir())


def test_a_refusal_is_a_bad_request_and_a_deadline_is_kept(card, server) -> None:
    server.script(status(400, message="your prompt was rejected"))
    with made(card()) as router, pytest.raises(BadRequestError, match="rejected"):
        router.image_generation("a fox")
    server.script(slow(10))
    with made(card()) as router, pytest.raises(Exception, match=r"(?i)time|within"):
        router.image_generation("a fox", timeout=0.3)
