"""Vectors by hosted models, through litellm's real clients, from providers on loopback."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from modelrouter import (
    BadRequestError,
    Catalog,
    MalformedResponseError,
    ModelCard,
    NoEligibleModelError,
    Policy,
    RateLimitError,
    RetryPolicy,
    Router,
)
from tests.backends.hosted.conftest import KEY
from tests.support.pictures import picture
from tests.support.scripted_server import Behaviour, raw, status

Makes = Callable[..., Router]


def openai_vectors(*vectors: list[float], used: int = 9) -> Behaviour:
    """Answers as OpenAI's embeddings endpoint, the last first: an index says the place."""
    data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
    usage = {"prompt_tokens": used, "total_tokens": used}
    told = {"object": "list", "model": "served", "data": data[::-1], "usage": usage}

    def behave(x: Any) -> None:
        ok = x.handler.path.endswith("/v1/embeddings") and x.body.get("input")
        x.send(200 if ok else 400, json.dumps(told if ok else {"error": {"message": "?"}}).encode())

    return behave


@pytest.fixture
def router(server, backend) -> Makes:
    def make(name: str = "openai/text-embedding-3-small", base: str = "", **fields: Any) -> Router:
        address = base or server.base_url
        card = ModelCard.hosted(name, api_base=address, api_key=KEY, **fields)
        return Router(
            catalog=Catalog([card]),
            backends={"litellm": backend},
            breakers=False,
            retry=RetryPolicy(max_attempts=2, initial_s=0.01, jitter_s=0.0),
        )

    return make


def test_texts_become_vectors_in_their_order_with_a_price(router, server) -> None:
    server.script(openai_vectors([1.0, 2.0], [3.0, 4.0], used=12))
    reply = router().embedding(["hello", "world"], dimensions=2)
    assert reply.vectors == [[1.0, 2.0], [3.0, 4.0]]
    body = server.requests[0].body
    assert body["input"] == ["hello", "world"]
    assert (body["model"], body["dimensions"]) == ("text-embedding-3-small", 2)
    assert body.get("encoding_format") == "float"
    assert reply.usage.prompt_tokens == 12
    assert reply.cost_usd == pytest.approx(12 * 2e-8)
    assert (reply.model, reply.provider_model) == ("openai/text-embedding-3-small", "served")


async def test_awaited_too(router, server) -> None:
    server.script(openai_vectors([1.0, 2.0]))
    assert (await router().aembedding("hello")).vectors == [[1.0, 2.0]]


def test_failures_are_retried_and_typed(router, server) -> None:
    server.script(status(429), openai_vectors([1.0]))
    assert router().embedding("hello").vectors == [[1.0]]
    before = len(server.requests)
    server.script(status(429))
    with pytest.raises(RateLimitError):
        router().embedding("hello")
    assert len(server.requests) - before == 2  # the policy's attempts, and none underneath
    server.script(status(400, message="too long"))
    with pytest.raises(BadRequestError, match="too long"):
        router().embedding("hello")


@pytest.mark.parametrize(
    "answer",
    [
        openai_vectors([1.0]),
        openai_vectors([1.0], [1.0, 2.0]),
        openai_vectors([], []),
        raw('{"object": "list", "data": null, "model": "m"}'),
    ],
)
def test_an_answer_of_another_shape_is_malformed(router, server, answer) -> None:
    server.script(answer)
    with pytest.raises(MalformedResponseError):
        router().embedding(["hello", "world"])


def test_a_long_text_is_cut_when_asked(router, server) -> None:
    server.script(openai_vectors([1.0]))
    router(context_window=100).embedding("word " * 1_000, truncate=True)
    (sent,) = server.requests[0].body["input"]
    assert 100 < len(sent) < 500


def test_a_private_policy_embeds_nothing_elsewhere(router, server) -> None:
    with pytest.raises(NoEligibleModelError, match="local models only"):
        router().embedding("hello", policy=Policy.private())
    assert not server.requests


def test_personal_data_anywhere_in_a_text_is_seen_before_it_goes_out(router) -> None:
    with router() as made:
        text = "nothing in particular, " * 40 + "write to ann.smith@example.org"
        decision = made.route(text, kind="embedding")
        assert decision.signals.contains_pii


def cohere_vectors(x: Any) -> None:
    """Cohere's embed: texts or pictures in one call, with what kind they are."""
    texts, images = x.body.get("texts"), x.body.get("images")
    if bool(texts) == bool(images) or (images and x.body.get("input_type") != "image"):
        x.send(400, json.dumps({"message": "texts or images"}).encode())
        return
    vectors = [[3.0, 4.0]] * len(texts) if texts else [[0.0, 2.0]] * len(images)
    units = {"input_tokens": 5} if texts else {"images": len(images)}
    told = {"id": "1", "embeddings": {"float": vectors}, "meta": {"billed_units": units}}
    x.send(200, json.dumps(told).encode())


def jina_vectors(x: Any) -> None:
    """Jina's embeddings: each input a text or a picture."""
    given = x.body["input"]
    vectors = [[0.0, 2.0] if isinstance(i, dict) and "image" in i else [3.0, 4.0] for i in given]
    data = [{"object": "embedding", "index": i, "embedding": v} for i, v in enumerate(vectors)]
    usage = {"prompt_tokens": 5, "total_tokens": 5}
    told = {"model": "clip", "object": "list", "data": data, "usage": usage}
    x.send(200, json.dumps(told).encode())


@pytest.mark.parametrize(
    ("name", "path", "behaviour"),
    [
        ("cohere/embed-v4.0", "/v2/embed", cohere_vectors),
        ("jina_ai/jina-clip-v2", "/v1", jina_vectors),
    ],
)
def test_texts_and_pictures_in_one_space_by_a_hosted_model(
    router, server, name, path, behaviour
) -> None:
    server.script(behaviour)
    base = server.base_url.removesuffix("/v1") + path
    fields = {"modalities_in": {"text", "image"}, "modalities_out": {"embedding"}}
    reply = router(name, base, **fields).embedding(["a fox", picture(), "a dog"])
    expected = [[0.6, 0.8], [0.0, 1.0], [0.6, 0.8]]
    assert all(v == pytest.approx(e) for v, e in zip(reply.vectors, expected, strict=True))
    assert [item.index for item in reply.data] == [0, 1, 2]


def test_a_model_of_texts_alone_is_not_asked_about_pictures(router, server) -> None:
    with pytest.raises(NoEligibleModelError, match="does not see"):
        router().embedding(["a fox", picture()])
    assert not server.requests
