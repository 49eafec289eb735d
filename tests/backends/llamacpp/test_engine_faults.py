"""Where a caller could be left waiting, or llama.cpp be brought to end the process."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelrouter._common.memory import container_free
from modelrouter.backends.base import EmbeddingRequest
from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.backends.llamacpp.engine.channel import Failed, SyncChannel
from modelrouter.backends.llamacpp.engine.job import Job
from modelrouter.backends.llamacpp.engine.sampling import SamplingOptions
from modelrouter.backends.llamacpp.worker import Worker
from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import BackendTimeoutError, BadRequestError, LocalModelError
from tests.backends.llamacpp.conftest import Models, ask
from tests.support.gguf_factory import make_tiny_gguf

SOON_S = 20.0


def test_unloading_lets_the_answers_of_a_request_end_for_which_there_is_no_slot_yet(
    models: Models, trials: Path
) -> None:
    settings = LlamaCppSettings(cache_dir=trials, slots=1)
    backend = LlamaCppBackend(settings)
    with ThreadPoolExecutor(2) as pool:
        chunks = backend.stream(ask(models.endless, "?", n=3, max_tokens=60))
        next(chunks)
        unloading = pool.submit(backend.unload)
        ended = pool.submit(lambda: [c.choices[0].finish_reason for c in chunks])
        assert ended.result(SOON_S).count("length") == 3
        unloading.result(SOON_S)
        assert not backend.figures(models.endless).loaded
        backend.close()


def test_a_request_handed_in_while_the_thread_ends_is_refused(models: Models, trials: Path) -> None:
    worker = Worker(Path(str(models.chain.path)), LlamaCppSettings(cache_dir=trials))
    worker.warm()
    while worker.model is None:
        time.sleep(0.01)
    channel = SyncChannel()
    with worker._lock:  # as a caller is for a moment, between its look and its putting
        worker.stop()
        worker.join(1.0)
        worker._inbox.put(Job("m", 64, None, [], SamplingOptions(), channel))
    event = channel.receive(SOON_S)
    assert isinstance(event, Failed)
    assert isinstance(event.error, LocalModelError)
    worker.close()


def test_where_no_thread_can_be_started_each_request_is_told_so_until_one_can(
    models: Models, trials: Path
) -> None:
    backend = LlamaCppBackend(LlamaCppSettings(cache_dir=trials))
    usual = threading.stack_size(1 << 47)
    try:
        for _ in range(2):
            with pytest.raises(LocalModelError, match="thread"):
                backend.complete(ask(models.chain, "w", timeout_s=SOON_S))
    finally:
        threading.stack_size(usual)
    assert backend.complete(ask(models.chain, "w")).text == "xyz"
    assert backend.figures(models.chain).answered == 1
    backend.close()


def test_an_idle_time_beyond_what_the_system_can_wait_is_no_end(
    models: Models, trials: Path
) -> None:
    backend = LlamaCppBackend(LlamaCppSettings(cache_dir=trials, unload_after_s=1e12))
    for _ in range(2):
        assert backend.complete(ask(models.chain, "w")).text == "xyz"
        time.sleep(0.1)
    backend.close()


def test_the_queue_is_told_while_the_model_is_being_loaded(models: Models, trials: Path) -> None:
    worker = Worker(Path(str(models.chain.path)), LlamaCppSettings(cache_dir=trials))
    with worker._lock:
        for _ in range(3):
            worker._inbox.put(Job("m", 64, None, [], SamplingOptions(), SyncChannel()))
    assert worker.figures().waiting == 3
    assert not worker.figures().loaded


def test_a_request_is_answered_in_the_midst_of_many_texts(
    backend: LlamaCppBackend, models: Models
) -> None:
    backend.complete(ask(models.chain, "w"))
    texts = EmbeddingRequest(models.chain, ("text " * 40,) * 5_000)
    with ThreadPoolExecutor(1) as pool:
        vectors = pool.submit(backend.embed, texts)
        time.sleep(0.3)
        assert backend.complete(ask(models.chain, "w")).text == "xyz"
        assert not vectors.done()
        backend.close()
        with pytest.raises(LocalModelError, match="closed"):
            vectors.result(SOON_S)


async def test_awaiting_vectors_too_long_is_a_timeout_even_while_the_model_is_loaded(
    backend: LlamaCppBackend, tmp_path: Path
) -> None:
    card = ModelCard.local(make_tiny_gguf(tmp_path / "new.gguf", seed=9))  # to be tried out first
    with pytest.raises(BackendTimeoutError):
        await backend.aembed(EmbeddingRequest(card, ("a text",), timeout_s=0.02))
    assert not backend.figures(card).loaded


@pytest.mark.parametrize("by", [1e300, -1e300, 101, -101])
def test_a_bias_beyond_openais_range_is_refused(
    shared_backend: LlamaCppBackend, models: Models, by: float
) -> None:
    with pytest.raises(BadRequestError, match="logit_bias"):
        shared_backend.complete(ask(models.tiny, "?", logit_bias={5: by}))


def test_a_stop_that_is_no_text_is_refused(shared_backend: LlamaCppBackend, models: Models) -> None:
    with pytest.raises(BadRequestError, match="stop=5"):
        shared_backend.complete(ask(models.tiny, "?", stop=5))


def test_files_that_a_container_could_drop_count_as_free(tmp_path: Path) -> None:
    (tmp_path / "memory.max").write_text("1000\n")
    (tmp_path / "memory.current").write_text("900\n")
    assert container_free(tmp_path) == 100
    (tmp_path / "memory.stat").write_text("anon 200\ninactive_file 600\nactive_file 50\n")
    assert container_free(tmp_path) == 700
    (tmp_path / "memory.max").write_text("max\n")
    assert container_free(tmp_path) is None
