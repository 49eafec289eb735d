"""Vectors of texts from real llama.cpp, for an encoder and for a decoder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter.backends.llamacpp.engine.embedding import Embedder, Pooling, packed
from modelrouter.backends.llamacpp.engine.native import Model, log
from modelrouter.exceptions import BadRequestError, LocalModelError
from tests.support.gguf_factory import (
    CLS,
    SEP,
    make_tiny_embedding_gguf,
    make_tiny_gguf,
)

TEXTS = ["hello world", "a", "the quick brown fox jumps", "zzz 123", "hello worle"] * 9
POOLINGS: tuple[Pooling, ...] = ("mean", "cls", "last")


@pytest.fixture(autouse=True)
def _quiet() -> Iterator[None]:
    with log.kept():
        yield


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return Model(make_tiny_embedding_gguf(tmp_path_factory.mktemp("e") / "bert.gguf"))


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Model:
    path = tmp_path_factory.mktemp("d") / "llama.gguf"
    return Model(make_tiny_gguf(path, metadata={"llama.pooling_type": 3}))


def token_vectors(model: Model, tokens: list[int]) -> npt.NDArray[np.float32]:
    """Each token's own vector, from a context that pools nothing."""
    c = model.c
    params = c.llama_context_default_params()
    params.n_ctx = params.n_batch = params.n_ubatch = 64
    params.embeddings, params.pooling_type, params.flash_attn_type = True, 0, 0
    params.type_k = params.type_v = 0  # single precision: what half precision is measured by
    params.n_threads = params.n_threads_batch = 1
    context = c.llama_init_from_model(model.pointer, params)
    batch = c.llama_batch_init(len(tokens), 0, 1)
    batch.n_tokens = len(tokens)
    for i, token in enumerate(tokens):
        batch.token[i], batch.pos[i], batch.logits[i] = token, i, 1
        batch.n_seq_id[i], batch.seq_id[i][0] = 1, 0
    assert c.llama_decode(context, batch) == 0
    width = c.llama_model_n_embd(model.pointer)
    rows = [
        np.ctypeslib.as_array(c.llama_get_embeddings_ith(context, i), shape=(width,)).copy()
        for i in range(len(tokens))
    ]
    c.llama_batch_free(batch)
    c.llama_free(context)
    return np.stack(rows)


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
@pytest.mark.parametrize("pooling", POOLINGS)
def test_a_text_has_the_same_vector_alone_and_among_others(
    kind: str, pooling: Pooling, request: pytest.FixtureRequest
) -> None:
    model: Model = request.getfixturevalue(kind)
    embedder = Embedder(model, "m", 1, pooling=pooling)
    together = embedder.embed(TEXTS)
    alone = [embedder.embed([text]) for text in TEXTS]
    assert together.vectors.shape == (len(TEXTS), embedder.width)
    assert together.tokens == tuple(one.tokens[0] for one in alone)
    single = np.concatenate([one.vectors for one in alone])
    np.testing.assert_allclose(together.vectors, single, atol=2e-3)
    np.testing.assert_allclose((together.vectors * single).sum(axis=1), 1, atol=1e-5)
    if kind == "decoder" and pooling == "cls":
        return  # its first token sees no other, and is the same in some of the texts
    distances = np.linalg.norm(together.vectors[:5, None] - together.vectors[None, :5], axis=2)
    assert (distances + np.eye(5) > 0.01).all()  # different texts, different vectors


@pytest.mark.parametrize("kind", ["encoder", "decoder"])
def test_pooling_is_the_mean_the_first_or_the_last_of_the_tokens_vectors(
    kind: str, request: pytest.FixtureRequest
) -> None:
    model: Model = request.getfixturevalue(kind)
    text = "hello world"
    tokens = model.tokenize(text, special=False)
    if kind == "encoder":
        tokens = [CLS, *tokens, SEP]
    single = token_vectors(model, tokens)
    expected = {"mean": single.mean(axis=0), "cls": single[0], "last": single[-1]}
    for pooling in POOLINGS:
        embedder = Embedder(model, "m", 1, pooling=pooling)
        found = embedder.embed(["other words before", text, "and after"], normalise=False)
        np.testing.assert_allclose(found.vectors[1], expected[pooling], atol=4e-3)
        assert found.tokens[1] == len(tokens)


def test_vectors_have_length_one_unless_asked_as_they_are(encoder: Model) -> None:
    embedder = Embedder(encoder, "m", 1)
    unit, raw = embedder.embed(TEXTS), embedder.embed(TEXTS, normalise=False)
    lengths = np.linalg.norm(raw.vectors, axis=1, keepdims=True)
    np.testing.assert_allclose(np.linalg.norm(unit.vectors, axis=1), 1, atol=1e-6)
    assert abs(lengths - 1).max() > 0.1
    np.testing.assert_allclose(unit.vectors, raw.vectors / lengths, atol=1e-6)


def test_fewer_dimensions_are_the_first_ones_brought_to_length_one(encoder: Model) -> None:
    embedder = Embedder(encoder, "m", 1)
    whole, short = embedder.embed(["abc"]), embedder.embed(["abc"], dimensions=8)
    first = whole.vectors[:, :8]
    np.testing.assert_allclose(short.vectors, first / np.linalg.norm(first), atol=1e-6)
    for wrong in (0, -1, embedder.width + 1, True):
        with pytest.raises(BadRequestError, match=r"dimensions=.* have 32"):
            embedder.embed(["abc"], dimensions=wrong)


def test_the_files_own_pooling_is_used_unless_another_is_asked_for(
    encoder: Model, decoder: Model, tmp_path: Path
) -> None:
    assert Embedder(encoder, "m", 1).pooling == "mean"
    assert Embedder(decoder, "m", 1).pooling == "last"
    assert Embedder(decoder, "m", 1, pooling="cls").pooling == "cls"
    silent = Model(make_tiny_embedding_gguf(tmp_path / "s.gguf", pooling=None))
    assert Embedder(silent, "m", 1).pooling == "mean"


def test_a_reranker_and_an_unknown_pooling_are_refused(encoder: Model, tmp_path: Path) -> None:
    ranker = Model(make_tiny_embedding_gguf(tmp_path / "r.gguf", pooling=4))
    with pytest.raises(LocalModelError, match="reranker"):
        Embedder(ranker, "m", 1)
    with pytest.raises(BadRequestError, match=r"pooling='rank'.*mean, cls, last"):
        Embedder(encoder, "m", 1, pooling="rank")  # type: ignore[arg-type] # the point of it


def test_a_text_beyond_the_window_is_refused_with_both_numbers_or_cut_when_asked(
    encoder: Model,
) -> None:
    embedder = Embedder(encoder, "m", 1)
    fits, long = "a" * 62, "a" * 63
    assert embedder.embed([fits]).tokens == (64,)
    with pytest.raises(BadRequestError, match=r"input\[1\] has 65 tokens, and m reads 64"):
        embedder.embed([fits, long])
    cut = embedder.embed(["b", long], truncate=True)
    assert cut.tokens == (3, 64)
    assert cut.truncated == (1,)
    np.testing.assert_allclose(cut.vectors[1], embedder.embed([fits]).vectors[0], atol=2e-3)


@pytest.mark.parametrize("text", ["", "   ", "\n"])
def test_an_empty_text_is_refused_with_its_place(encoder: Model, text: str) -> None:
    with pytest.raises(BadRequestError, match=r"input\[1\] is empty"):
        Embedder(encoder, "m", 1).embed(["a", text])


def test_input_that_is_no_text_is_refused(encoder: Model) -> None:
    embedder = Embedder(encoder, "m", 1)
    with pytest.raises(BadRequestError, match="holds no text"):
        embedder.embed([])
    with pytest.raises(BadRequestError, match=r"input\[0\] is of type int"):
        embedder.embed([1])  # type: ignore[list-item] # the point of it
    with pytest.raises(BadRequestError, match=r"input\[0\] holds half a surrogate"):
        embedder.embed(["\ud800"])
    assert embedder.embed(["fine"]).tokens == (6,)


def test_a_text_longer_than_a_batch_is_computed_whole(decoder: Model) -> None:
    small = Embedder(decoder, "m", 1, pooling="mean", n_batch=16)
    large = Embedder(decoder, "m", 1, pooling="mean", n_batch=512)
    texts = ["x", "hello world " * 30, "y" * 15]
    one, other = small.embed(texts), large.embed(texts)
    assert max(one.tokens) > 300
    np.testing.assert_allclose(one.vectors, other.vectors, atol=2e-3)


def test_what_check_raises_ends_the_work_and_the_next_call_is_served(encoder: Model) -> None:
    embedder = Embedder(encoder, "m", 1, n_batch=16)
    calls = 0

    def check() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        embedder.embed(TEXTS, check=check)
    assert calls == 3
    assert embedder.embed(["abc"]).vectors.shape == (1, 32)


@settings(deadline=None)
@given(
    lengths=st.lists(st.integers(1, 40), max_size=50),
    capacity=st.integers(1, 64),
    most=st.integers(1, 8),
)
def test_every_text_is_packed_once_and_no_batch_is_too_large(
    lengths: list[int], capacity: int, most: int
) -> None:
    batches = list(packed(lengths, capacity, most))
    assert sorted(i for batch in batches for i in batch) == list(range(len(lengths)))
    for batch in batches:
        assert len(batch) == 1 or sum(lengths[i] for i in batch) <= capacity
        assert 1 <= len(batch) <= most
