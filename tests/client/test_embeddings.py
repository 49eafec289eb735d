"""Embeddings through the Router's faces, from a real local model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from openai.types import CreateEmbeddingResponse

from modelrouter import (
    AsyncRouter,
    BadRequestError,
    Catalog,
    ConfigurationError,
    InvalidTaskError,
    ModelCard,
    NoEligibleModelError,
    Router,
)
from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.testing import EchoBackend, example_card
from tests.support.gguf_factory import make_tiny_embedding_gguf

TEXTS = ["hello world", "a", "the quick brown fox"]


@pytest.fixture(scope="module")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_tiny_embedding_gguf(tmp_path_factory.mktemp("models") / "tiny-bert.gguf")


@pytest.fixture(scope="module")
def backend() -> Iterator[LlamaCppBackend]:
    backend = LlamaCppBackend(LlamaCppSettings(trial=False))
    yield backend
    backend.close()


@pytest.fixture
def parts(bert: Path, backend: LlamaCppBackend) -> dict[str, object]:
    return {
        "catalog": Catalog([example_card(), ModelCard.local(bert)]),
        "backends": {"test": EchoBackend(), "llamacpp": backend},
    }


def test_texts_become_vectors_of_length_one_in_their_order(parts) -> None:
    seen = []
    with Router(**parts, hooks=[seen.append]) as router:
        reply = router.embedding(TEXTS)
        alone = [router.embedding(text, model="tiny-bert").vectors[0] for text in TEXTS]
    assert reply.model == "tiny-bert"
    assert [item.index for item in reply.data] == [0, 1, 2]
    np.testing.assert_allclose(reply.vectors, alone, atol=2e-3)
    np.testing.assert_allclose(np.linalg.norm(reply.vectors, axis=1), 1, atol=1e-5)
    assert reply.usage.prompt_tokens == reply.usage.total_tokens == 12 + 3 + 18
    assert reply.cost_usd == 0.0
    assert reply.decision.model == "tiny-bert"
    assert len(seen) == 4  # every call is reported to the hooks


def test_a_reply_is_what_an_openai_client_reads(parts) -> None:
    with Router(**parts) as router:
        reply = router.embeddings.create(input="abc", model="auto", dimensions=4, user="me")
    read = CreateEmbeddingResponse.model_validate(reply.model_dump())
    assert len(read.data[0].embedding) == 4


async def test_the_awaited_faces_give_the_same(parts) -> None:
    with Router(**parts) as router:
        plain = router.embedding(TEXTS).vectors
        assert (await router.aembedding(TEXTS)).vectors == plain
    async with AsyncRouter(**parts) as arouter:
        assert (await arouter.embedding(TEXTS)).vectors == plain
        assert (await arouter.embeddings.create(input=TEXTS)).vectors == plain


def test_a_text_beyond_the_window_is_refused_with_both_numbers_or_cut_when_asked(parts) -> None:
    with Router(**parts) as router:
        with pytest.raises(BadRequestError, match=r"input\[1\] has 102 tokens, .* reads 64"):
            router.embedding(["a", "b" * 100])
        assert router.embedding(["a", "b" * 100], truncate=True).usage.total_tokens == 3 + 64


@pytest.mark.parametrize("texts", [[], "", "  ", ["a", ""], ["a", 5], [[1, 2]]])
def test_input_that_is_no_text_is_refused_before_anything_is_asked(parts, texts) -> None:
    with Router(**parts) as router, pytest.raises(InvalidTaskError, match="input"):
        router.embedding(texts)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"encoding_format": "base64"}, "encoding_format='base64'"),
        ({"dimension": 3}, "Did you mean 'dimensions'"),
        ({"temperature": 3}, "The options are"),
    ],
)
def test_an_option_that_is_not_offered_is_refused(parts, options, words) -> None:
    with Router(**parts) as router, pytest.raises(ConfigurationError, match=words):
        router.embedding("a", **options)


def test_without_an_embedding_model_it_is_said_that_none_is_eligible(parts) -> None:
    catalog = Catalog([example_card()])
    with Router(**{**parts, "catalog": catalog}) as router, pytest.raises(NoEligibleModelError):
        router.embedding("a")


def test_a_backend_that_makes_no_vectors_says_so(parts) -> None:
    card = example_card(
        name="test/embedder", modalities_out={"embedding"}, scope={"embedding"}, location="local"
    )
    with (
        Router(**{**parts, "catalog": Catalog([card])}) as router,
        pytest.raises(BadRequestError, match="makes no vectors"),
    ):
        router.embedding("a")
