"""Many answers at once: the same as one by one, fairly, and none of them another's hindrance."""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import gguf
import numpy as np
import psutil
import pytest

from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.backends.llamacpp.admission import admit
from modelrouter.backends.llamacpp.engine.channel import Event, Failed, Finished, Text
from modelrouter.backends.llamacpp.engine.engine import Engine
from modelrouter.backends.llamacpp.engine.generation import Generation
from modelrouter.backends.llamacpp.engine.job import Job
from modelrouter.backends.llamacpp.engine.sampling import SamplingOptions
from modelrouter.backends.llamacpp.loading import load
from modelrouter.backends.llamacpp.worker import Worker
from modelrouter.catalog.builtin import bundled_path
from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import (
    BadRequestError,
    ConfigurationError,
    LocalModelError,
    LowConfidenceError,
    QueueFullError,
)
from tests.backends.llamacpp.conftest import ask
from tests.support.gguf_factory import make_chain_gguf, make_tiny_gguf, quantize

WORDS = "All human beings are born free and equal in dignity and rights. "
LONG = " ".join(map(str, range(3_000)))
"""Some 14,000 tokens: seconds of reading."""


@pytest.fixture(scope="module")
def quantized(models) -> ModelCard:
    """A random model in Q8_0, whose answers llama.cpp computes alike in every batch."""
    source = make_tiny_gguf(models.folder / "f32.gguf", context_length=2_048, ends=False, seed=3)
    path = quantize(source, models.folder / "q8.gguf")
    return ModelCard.local(path, context_window=2_048)


@pytest.fixture
def made(trials: Path) -> Iterator[Callable[..., LlamaCppBackend]]:
    """Makes backends with settings of the test's own."""
    backends: list[LlamaCppBackend] = []

    def make(**settings: object) -> LlamaCppBackend:
        backends.append(LlamaCppBackend(LlamaCppSettings(cache_dir=trials, **settings)))
        return backends[-1]

    yield make
    for backend in backends:
        backend.close()


def test_answers_are_the_same_to_the_bit_whatever_else_runs(made, quantized):
    """Log-probabilities and all, greedy and drawn, with and without a memory of earlier prompts."""
    chance = random.Random(1)
    requests = [
        ask(
            quantized,
            WORDS * chance.randrange(5) + f"Article {i % 7}.",
            max_tokens=chance.randrange(1, 50),
            temperature=i % 2,
            seed=i,
            logprobs=True,
        )
        for i in range(40)
    ]

    def outcome(backend, request):
        (choice,) = backend.complete(request).choices
        return choice.message.content, [each["logprob"] for each in choice.logprobs["content"]]

    alone = made(slots=1, exact=True)
    expected = []
    for request in requests:
        expected.append(outcome(alone, request))
        alone.unload()
    crowded = made(slots=8, exact=True)
    for _ in range(2):
        with ThreadPoolExecutor(40) as pool:
            assert list(pool.map(lambda r: outcome(crowded, r), requests)) == expected


def test_a_prompts_beginning_is_read_once_and_its_answer_stays_the_same(made, quantized):
    backend, fresh = made(slots=2, exact=True), made(slots=2, exact=True)
    start = WORDS * 6
    for end in ("They", "Everyone", "No one shall be"):
        request = ask(quantized, start + end, max_tokens=40, temperature=0.7, seed=7)
        fresh.unload()
        expected = fresh.complete(request)
        assert expected.usage.cached_tokens == 0
        for _ in range(2):
            reply = backend.complete(request)
            assert reply.text == expected.text
        assert reply.usage.cached_tokens >= len(start) // 64 * 64 - 64
        assert reply.usage.prompt_tokens == expected.usage.prompt_tokens
    figures = backend.figures(quantized)
    assert 0.5 < figures.hit_rate < 1.0
    assert figures.cache_bytes == 2 * 2_048 * 2 * 2 * 64 * 2


def test_the_bundled_models_answers_are_exact_without_asking_for_it(made):
    """Its keys and values are kept in eight bits, which come out the same however they are read."""
    card = ModelCard.local(str(bundled_path("modelrouter/tiny-editor")))
    texts = [f"Fix the grammar: She have {n} cats and {n} dog." for n in ("two", "three", "ten")]
    requests = [ask(card, text, max_tokens=40, logprobs=True) for text in texts * 3]

    def outcome(backend, request):
        (choice,) = backend.complete(request).choices
        return choice.message.content, [each["logprob"] for each in choice.logprobs["content"]]

    fresh, backend = made(), made()
    expected = []
    for request in requests:
        expected.append(outcome(fresh, request))
        fresh.unload()
    with ThreadPoolExecutor(9) as pool:
        assert list(pool.map(lambda r: outcome(backend, r), requests)) == expected
    assert backend.figures(card).hit_rate > 0.3


def test_a_growing_conversation_is_read_on_from_where_it_was(made, models):
    backend = made()
    text = "w"
    for _ in range(4):
        request = ask(models.chain, text, max_tokens=2)
        reply = backend.complete(request)
        text += reply.text + "w"
        usage = backend.complete(ask(models.chain, text, max_tokens=2)).usage
        # All of it but what was said last, and the answer's last token, which was never read.
        assert usage.cached_tokens == usage.prompt_tokens - 2


def test_prompts_that_come_together_share_the_reading_of_their_beginning(made, quantized):
    backend = made()
    backend.complete(ask(quantized, "?", max_tokens=1))
    start = WORDS * 15
    with ThreadPoolExecutor(8) as pool:
        replies = list(
            pool.map(
                lambda i: backend.complete(ask(quantized, f"{start}{i}", max_tokens=3)), range(8)
            )
        )
    read = sum(r.usage.prompt_tokens - r.usage.cached_tokens for r in replies)
    assert read < 1.7 * replies[0].usage.prompt_tokens


def test_what_was_unused_for_longest_is_forgotten_first(made, quantized):
    backend = made(slots=3)
    starts = [f"{i}: {WORDS * 3}" for i in range(4)]
    for start in starts:
        backend.complete(ask(quantized, start, max_tokens=1))

    def cached(start: str) -> int:
        return backend.complete(ask(quantized, start, max_tokens=1)).usage.cached_tokens

    assert cached(starts[1]) > 0
    assert cached(starts[0]) <= 1  # the marker that every prompt begins with


class Listener:
    """A channel that keeps what it is told, and when."""

    def __init__(self) -> None:
        self.told: list[tuple[float, Event]] = []
        self.first, self.ended = threading.Event(), threading.Event()

    def send(self, event: Event) -> None:
        self.told.append((time.perf_counter(), event))
        self.first.set()
        if isinstance(event, (Finished, Failed)):
            self.ended.set()

    def close(self) -> None:
        """Nothing to end."""


def job_of(card: ModelCard, text: str, **options: object) -> Job:
    return Job(
        name=card.name,
        window=card.context_window,
        most_output=None,
        messages=[{"role": "user", "content": text}],
        options=SamplingOptions(**options),
        channel=Listener(),
    )


def submitted(worker: Worker, card: ModelCard, text: str, **options: object) -> Job:
    job = job_of(card, text, **options)
    worker.submit(job)
    return job


@pytest.fixture
def endless(models, trials) -> Iterator[Worker]:
    settings = LlamaCppSettings(cache_dir=trials, context_per_slot=16_384, slots=4)
    worker = Worker(models.endless.path, settings)
    yield worker
    worker.close()


def test_answers_wait_once_for_short_prompts_so_as_to_go_on_together(models, trials):
    settings = LlamaCppSettings(cache_dir=trials, slots=4)
    loaded = load(models.endless.path, settings, lambda: True)
    engine = Engine(loaded.context(256, 256, "m"))
    under_way: list[Generation] = []
    told: list[list[int]] = []
    for text in ("?", "abcdefgh", "ijklmnop", ""):
        if text:
            found = admit(
                job_of(models.endless, text, max_tokens=99), loaded, 256, 99, lambda: True
            )
            engine.begin(found[0])
            under_way += found
        engine.step()
        told.append([each.generated for each in under_way])
    assert told == [[1], [1, 1], [2, 2, 1], [3, 3, 2]]


def test_a_long_prompt_does_not_hold_up_running_answers(endless, models):
    stream = submitted(endless, models.endless, "?", max_tokens=15_000)
    assert stream.channel.first.wait(20)
    long = submitted(endless, models.endless, LONG, max_tokens=1)
    began = time.perf_counter()
    assert long.channel.ended.wait(60)
    took = time.perf_counter() - began
    stream.cancel()
    times = [at for at, _ in stream.channel.told if at > began]
    assert len(times) > 50
    assert max(np.diff(times)) < took / 10


def test_a_long_prompt_does_not_hold_up_a_short_one_behind_it(endless, models):
    long = submitted(endless, models.endless, LONG, max_tokens=1)
    short = submitted(endless, models.endless, "?", max_tokens=1)
    assert short.channel.ended.wait(60)
    assert not long.channel.first.is_set()
    assert long.channel.ended.wait(60)


def test_answers_move_together_when_others_have_left(endless, models):
    jobs = [
        submitted(endless, models.endless, str(i), max_tokens=400 if i == 3 else 10)
        for i in range(4)
    ]
    assert all(job.channel.ended.wait(30) for job in jobs)
    crowd = "".join(event.text for _, event in jobs[3].channel.told if isinstance(event, Text))
    again = submitted(endless, models.endless, "3", max_tokens=400)
    assert again.channel.ended.wait(30)
    alone = "".join(event.text for _, event in again.channel.told if isinstance(event, Text))
    assert crowd[:100] == alone[:100]


def test_a_full_queue_refuses_with_a_typed_error_and_forgets_those_who_left(models, trials):
    settings = LlamaCppSettings(cache_dir=trials, slots=1, max_queue=3)
    worker = Worker(models.endless.path, settings)
    running = submitted(worker, models.endless, "?", max_tokens=1_000)
    assert running.channel.first.wait(20)
    waiting = [submitted(worker, models.endless, "?", max_tokens=1) for _ in range(3)]
    with pytest.raises(QueueFullError, match=r"3 requests wait .*max_queue") as caught:
        submitted(worker, models.endless, "?")
    assert caught.value.waiting == 3
    waiting[1].cancel()
    deadline = time.perf_counter() + 5
    while worker.waiting == 3:
        assert time.perf_counter() < deadline
        time.sleep(0.01)
    late = submitted(worker, models.endless, "?", max_tokens=1)
    running.cancel()
    assert late.channel.ended.wait(10)
    worker.close()


def test_cancelling_frees_the_slot_at_the_next_step(models, trials):
    settings = LlamaCppSettings(cache_dir=trials, slots=1)
    worker = Worker(models.endless.path, settings)
    for _ in range(5):
        running = submitted(worker, models.endless, "?", max_tokens=1_500)
        assert running.channel.first.wait(20)
        running.cancel()
        told = len(running.channel.told)
        after = submitted(worker, models.endless, "?", max_tokens=1)
        assert after.channel.ended.wait(5)
        assert len(running.channel.told) <= told + 2
    worker.close()


def test_several_answers_to_one_prompt_fork_its_memory(made, quantized):
    backend = made(slots=8)
    request = ask(quantized, WORDS * 4, n=5, max_tokens=20, temperature=1.5, seed=11)
    reply = backend.complete(request)
    assert [choice.index for choice in reply.choices] == list(range(5))
    assert len({choice.message.content for choice in reply.choices}) == 5
    assert reply.usage.completion_tokens == 100
    assert reply.text == backend.complete(
        ask(quantized, WORDS * 4, max_tokens=20, temperature=1.5, seed=11)
    ).text  # fmt: skip
    figures = backend.figures(quantized)
    assert figures.reused_tokens >= 4 * reply.usage.prompt_tokens


def test_more_answers_than_slots_are_given_one_after_another(made, quantized):
    backend = made(slots=2)
    reply = backend.complete(ask(quantized, "?", n=7, max_tokens=5, temperature=1.0, seed=1))
    assert all(len(choice.message.content) > 0 for choice in reply.choices)
    assert len(reply.choices) == 7


def test_several_answers_in_a_stream_are_told_apart(made, quantized):
    backend = made()
    request = ask(quantized, "?", n=3, max_tokens=15, temperature=1.0, seed=2)
    whole = [choice.message.content for choice in backend.complete(request).choices]
    texts, ends = ["", "", ""], []
    chunks = list(backend.stream(request))
    for chunk in chunks:
        (choice,) = chunk.choices
        texts[choice.index] += choice.delta.content or ""
        ends += [choice.index] * (choice.finish_reason is not None)
    assert texts == whole
    assert sorted(ends) == [0, 1, 2]
    assert [chunk.usage is not None for chunk in chunks] == [False] * (len(chunks) - 1) + [True]


def test_logprobs_are_the_models(made, models):
    import llama_cpp

    backend = made(exact=True)
    request = ask(models.tiny, "Say.", max_tokens=12, logprobs=True, top_logprobs=3)
    reply = backend.complete(request)
    content = reply.choices[0].logprobs["content"]
    assert len(content) == reply.usage.completion_tokens
    reference = llama_cpp.Llama(str(models.tiny.path), n_ctx=512, logits_all=True, verbose=False)
    prompt = reference.tokenize(b"<|user|>Say.<|assistant|>", add_bos=False, special=True)
    for count, _ in enumerate(reference.generate(prompt, temp=0.0)):
        if count == len(content):
            break
    for place, entry in enumerate(content):
        scores = reference.scores[len(prompt) - 1 + place].astype(np.float64)
        logprobs = scores - np.log(np.exp(scores - scores.max()).sum()) - scores.max()
        assert entry["logprob"] == pytest.approx(logprobs.max(), abs=0.05)
        assert entry["top_logprobs"][0]["token"] == entry["token"]
        best = sorted(logprobs, reverse=True)[:3]
        assert [e["logprob"] for e in entry["top_logprobs"]] == pytest.approx(best, abs=0.05)
    reference.close()
    streamed = [
        each
        for chunk in backend.stream(request)
        for each in (chunk.choices[0].logprobs or {"content": []})["content"]
    ]
    assert streamed == content


def test_confidence_is_worked_out_from_the_tokens_logprobs(made, models):
    reply = made().complete(
        ask(models.tiny, "Say.", max_tokens=12, logprobs=True, logit_bias={1: -100})
    )
    logprobs = [entry["logprob"] for entry in reply.choices[0].logprobs["content"]]
    confidence = reply.confidence
    assert confidence.tokens == 12
    assert confidence.mean_logprob == pytest.approx(np.mean(logprobs))
    assert confidence.min_logprob == pytest.approx(min(logprobs))
    assert confidence.probability == pytest.approx(math.exp(np.mean(logprobs)))
    assert 0 < confidence.mean_entropy < math.log(300)


def test_a_model_that_knows_what_comes_next_is_confident_and_a_random_one_is_not(made, models):
    backend = made()
    sure = backend.complete(ask(models.chain, "w"))
    unsure = backend.complete(ask(models.endless, "w", max_tokens=30))
    assert sure.confidence.probability > 0.9 > unsure.confidence.probability
    (*_, last) = backend.stream(ask(models.chain, "w"))
    assert last.choices[0].confidence == sure.confidence


def test_an_answer_below_the_confidence_floor_is_given_up(made, models):
    backend = made()
    assert backend.complete(ask(models.chain, "w", confidence_floor=0.9)).text == "xyz"
    request = ask(models.endless, "?", max_tokens=15_000, temperature=2.0, confidence_floor=0.8)
    with pytest.raises(LowConfidenceError, match=r"floor of 0\.80") as caught:
        backend.complete(request)
    assert caught.value.confidence < 0.8
    assert caught.value.partial_text
    assert caught.value.model == models.endless.name
    with pytest.raises(LowConfidenceError):
        list(backend.stream(request))
    assert backend.figures(models.endless).answered == 0


def test_the_answers_of_one_request_that_wait_for_a_slot_count_as_waiting(models, trials):
    worker = Worker(models.endless.path, LlamaCppSettings(cache_dir=trials, slots=2))
    running = submitted(worker, models.endless, "?", n=5, max_tokens=1_000)
    assert running.channel.first.wait(20)
    assert (worker.figures().running, worker.waiting) == (2, 3)
    running.cancel()
    worker.close()


def test_a_free_slot_is_no_place_in_the_queue(models, trials):
    settings = LlamaCppSettings(cache_dir=trials, slots=3, max_queue=1)
    worker = Worker(models.endless.path, settings)
    first = submitted(worker, models.endless, "?", max_tokens=4_000)
    assert first.channel.first.wait(20)
    burst = [submitted(worker, models.endless, "?", max_tokens=2) for _ in range(2)]
    assert all(job.channel.ended.wait(20) for job in burst)
    first.cancel()
    worker.close()


def test_scores_that_are_no_numbers_end_only_the_answer_that_met_them(made, tmp_path):
    path = make_chain_gguf(tmp_path / "nan.gguf", {ord("a"): ord("b"), ord("b"): None})
    reader = gguf.GGUFReader(str(path), "r+")
    (tensor,) = (t for t in reader.tensors if t.name == "token_embd.weight")
    tensor.data[5 + ord("Z")] = np.nan
    del reader, tensor
    backend, card = made(), ModelCard.local(path)

    def call(text: str) -> object:
        try:
            return backend.complete(ask(card, text, max_tokens=20)).text
        except LocalModelError as error:
            return "nan" in str(error)

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, ["a", "Z"] * 8)) == ["b", True] * 8


def test_a_request_that_cannot_be_kept_to_leaves_the_others_alone(made, models):
    backend = made()
    schema = {"type": "json_object", "schema": {"type": "string", "minLength": 1}}
    bad = [{"tools": ({"type": "function"},)}, {"logit_bias": {"999999": 1}}]

    def call(i: int) -> object:
        options = bad[i % 4] if i % 4 < 2 else {}
        if i % 4 == 2:
            options = {"response_format": schema, "max_tokens": 3}
        try:
            return backend.complete(ask(models.chain, "w", **options)).text
        except BadRequestError as error:
            return type(error)

    with ThreadPoolExecutor(12) as pool:
        got = list(pool.map(call, range(24)))
    assert got[0::4] == got[1::4] == [BadRequestError] * 6
    assert got[3::4] == ["xyz"] * 6


def test_slots_grow_when_a_request_needs_more_and_others_are_not_disturbed(made, models):
    backend = made(slots=4)
    stream = backend.stream(ask(models.endless, "?", max_tokens=300))
    next(stream)
    assert backend.figures(models.endless).context_per_slot == 2_048
    long = backend.complete(ask(models.endless, LONG[:12_000], max_tokens=2))
    assert len(list(stream)) > 100
    assert backend.figures(models.endless).context_per_slot > long.usage.prompt_tokens


def test_a_bound_on_the_slot_refuses_longer_prompts_with_both_numbers(made, models):
    backend = made(context_per_slot=256)
    with pytest.raises(BadRequestError, match=r"1,202 tokens.*window of 256"):
        backend.complete(ask(models.endless, "x" * 1_200))
    assert (
        backend.complete(ask(models.endless, "x" * 200, max_tokens=999)).usage.total_tokens == 256
    )


def test_there_are_as_many_slots_as_the_memory_bound_allows(made, models):
    token = 2 * 2 * 64 * 2  # layers, keys and values, width, bytes
    backend = made(cache_bytes=3 * 2_048 * token)
    backend.complete(ask(models.endless, "?", max_tokens=1))
    assert backend.figures(models.endless).slots == 3
    backend = made(cache_bytes=1)
    backend.complete(ask(models.endless, "?", max_tokens=1))
    assert backend.figures(models.endless).slots == 1


def test_a_text_that_no_memory_is_left_for_is_refused_before_it_is_asked_for(trusting, tmp_path):
    """Linux would hand the memory out, and end the process when it is written to."""
    long = 40_000_000_000 // (2 * 2 * 64 * 2)
    path = make_tiny_gguf(tmp_path / "long.gguf", context_length=long)
    card = ModelCard.local(path, context_window=long)
    with pytest.raises(LocalModelError, match=r"40\.\d+ GB.*are free.*context_per_slot") as caught:
        trusting.complete(ask(card, "?", max_tokens=long - 100))
    assert caught.value.model == card.name
    assert trusting.complete(ask(card, "?", max_tokens=1)).usage.completion_tokens == 1


def test_unloading_frees_the_model_and_the_next_call_loads_it_again(made, models):
    backend = made()
    assert backend.complete(ask(models.chain, "w")).text == "xyz"
    assert backend.figures(models.chain).loaded
    backend.unload(models.chain)
    assert not backend.figures(models.chain).loaded
    assert backend.tokenizer(models.chain) is None
    assert backend.complete(ask(models.chain, "w")).text == "xyz"
    backend.unload()
    backend.unload(models.tiny)  # never loaded


def test_unloading_lets_what_runs_end(made, models):
    backend = made()
    stream = backend.stream(ask(models.endless, "?", max_tokens=200))
    next(stream)
    unloading = threading.Thread(target=backend.unload)
    unloading.start()
    after = backend.complete(ask(models.endless, "?", max_tokens=1))
    assert sum(bool(chunk.text) for chunk in stream) > 100
    unloading.join(10)
    assert after.usage.completion_tokens == 1


def test_the_figures_tell_how_fast_the_model_is_here(made, models):
    backend = made(slots=2)
    assert backend.figures(models.endless).speed() is None
    backend.complete(ask(models.endless, "x" * 300, max_tokens=100))
    figures = backend.figures(models.endless)
    assert figures.answered == 1
    assert figures.prefill_tokens_per_s > figures.stream_tokens_per_s > 10
    assert 0 < figures.first_token_s < 30
    assert figures.weights_bytes > 100_000
    idle = figures.speed()
    streams = [backend.stream(ask(models.endless, "?", max_tokens=15_000)) for _ in range(2)]
    for stream in streams:
        next(stream)
    busy = backend.figures(models.endless)
    assert busy.running == 2
    assert busy.speed().first_token_s > idle.first_token_s == 0
    for stream in streams:
        stream.close()


@pytest.mark.parametrize("setting", ["slots", "max_queue", "cache_bytes", "context_per_slot"])
def test_bounds_that_make_no_sense_are_refused(setting):
    with pytest.raises(ConfigurationError, match=setting):
        LlamaCppSettings(**{setting: 0})


def test_settings_name_what_llama_cpp_cannot_do():
    with pytest.raises(ConfigurationError, match=r"slots=257.*256"):
        LlamaCppSettings(slots=257)
    with pytest.raises(ConfigurationError, match="n_batch=100 must be a multiple of 64"):
        LlamaCppSettings(n_batch=100)


def test_a_crowd_of_mixed_requests_with_cancellations_all_end(made, quantized):
    backend = made(slots=8)
    expected = {
        i: backend.complete(ask(quantized, f"Task {i}", max_tokens=5 + i)).text for i in range(20)
    }

    async def one(i: int, chance: random.Random) -> str:
        request = ask(quantized, f"Task {i % 20}", max_tokens=5 + i % 20)
        call = asyncio.create_task(backend.acomplete(request))
        if i % 3 == 0:
            await asyncio.sleep(chance.random() * 0.05)
            call.cancel()
        try:
            text = (await call).text
        except asyncio.CancelledError:
            return "cancelled"
        assert text == expected[i % 20]
        return "answered"

    async def crowd() -> list[str]:
        chance = random.Random(2)
        return await asyncio.gather(*(one(i, chance) for i in range(200)))

    outcomes = asyncio.run(crowd())
    assert len(outcomes) == 200
    assert outcomes.count("answered") >= 133
    deadline = time.perf_counter() + 5
    while (figures := backend.figures(quantized)).running or figures.waiting:
        assert time.perf_counter() < deadline
        time.sleep(0.01)


def test_memory_does_not_grow_with_the_number_of_requests(made, models):
    backend, process = made(), psutil.Process()

    def some(count: int) -> None:
        with ThreadPoolExecutor(16) as pool:
            list(pool.map(lambda i: backend.complete(ask(models.chain, f"{i}w")), range(count)))

    some(400)
    before = process.memory_info().rss
    some(1_200)
    assert process.memory_info().rss - before < 8_000_000


def test_vectors_are_made_while_answers_are_under_way(made, models, tmp_path):
    from modelrouter.backends.base import EmbeddingRequest

    backend = made()
    stream = backend.stream(ask(models.endless, "?", max_tokens=15_000))
    next(stream)
    texts = tuple(f"{WORDS}{i}" for i in range(20))
    reply = backend.embed(EmbeddingRequest(models.endless, texts))
    assert [item.index for item in reply.data] == list(range(20))
    assert all(math.isclose(np.linalg.norm(v), 1.0, rel_tol=1e-4) for v in reply.vectors)
    assert reply.usage.prompt_tokens > 20 * len(WORDS) // 2
    assert next(stream)
    stream.close()
    again = asyncio.run(backend.aembed(EmbeddingRequest(models.endless, texts[3:4])))
    assert np.allclose(again.vectors[0], reply.vectors[3], atol=1e-3)


def test_vectors_that_cannot_be_made_are_a_typed_error(made, models):
    from modelrouter.backends.base import EmbeddingRequest
    from modelrouter.exceptions import BackendTimeoutError

    backend = made()
    with pytest.raises(BadRequestError, match="empty"):
        backend.embed(EmbeddingRequest(models.endless, ("",)))
    with pytest.raises(BackendTimeoutError):
        backend.embed(EmbeddingRequest(models.endless, (LONG[:9_000],) * 60, timeout_s=0.2))
    with closing(made()) as closed:
        closed.close()
        with pytest.raises(LocalModelError, match="closed"):
            closed.embed(EmbeddingRequest(models.endless, ("a",)))
