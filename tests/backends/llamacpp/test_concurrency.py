"""Many callers, one model: order, cancelling, time limits, closing, forking, the process's end."""

from __future__ import annotations

import asyncio
import gc
import subprocess
import sys
import textwrap
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from modelrouter import Catalog, Router
from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
from modelrouter.backends.llamacpp.engine.channel import Failed, Finished, Text
from modelrouter.backends.llamacpp.engine.job import Job
from modelrouter.backends.llamacpp.engine.sampling import SamplingOptions
from modelrouter.backends.llamacpp.worker import Worker
from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import BackendError, BackendTimeoutError, LocalModelError
from tests.backends.llamacpp.conftest import ask

PROMPT_THAT_TAKES_LONG = " ".join(map(str, range(3_000)))
"""Some 14,000 tokens: seconds of reading."""

PROMPTLY_S = 0.5
"""What a freed model may take to serve the next; the work that is broken off would take longer."""


def letters(n: int) -> list[tuple[str, str]]:
    """So many different questions to the chain model, with their answers."""
    return [(chr(97 + i % 25), "".join(chr(c) for c in range(98 + i % 25, 123))) for i in range(n)]


def test_forty_threads_at_once_each_get_their_own_answer(backend, models):
    """The first of them loads the model; half of them stream."""
    start = threading.Barrier(40)

    def call(i: int, question: str) -> str:
        start.wait()
        request = ask(models.chain, f"{i}{question}")
        if i % 2:
            return "".join(chunk.text for chunk in backend.stream(request))
        return backend.complete(request).text

    cases = letters(40)
    with ThreadPoolExecutor(40) as pool:
        got = list(pool.map(call, range(40), [question for question, _ in cases]))
    assert got == [answer for _, answer in cases]


async def test_forty_tasks_at_once_each_get_their_own_answer(backend, models):
    async def call(i: int, question: str) -> str:
        request = ask(models.chain, f"{i}{question}")
        if i % 2:
            return "".join([chunk.text async for chunk in backend.astream(request)])
        return (await backend.acomplete(request)).text

    cases = letters(40)
    got = await asyncio.gather(*(call(i, question) for i, (question, _) in enumerate(cases)))
    assert got == [answer for _, answer in cases]


def test_random_answers_under_load_are_those_given_one_by_one(backend, models):
    requests = [
        ask(models.tiny, f"Question {i}", max_tokens=30, temperature=i % 2, seed=i)
        for i in range(24)
    ]
    alone = [backend.complete(request).text for request in requests]
    with ThreadPoolExecutor(24) as pool:
        assert list(pool.map(lambda r: backend.complete(r).text, requests)) == alone
    assert len(set(alone)) > 12


def test_several_models_answer_at_the_same_time(backend, models):
    endless = backend.stream(ask(models.endless, "?", max_tokens=10_000))
    next(endless)
    assert backend.complete(ask(models.chain, "w")).text == "xyz"  # its own thread
    endless.close()


def test_two_backends_may_run_the_same_file(backend, shared_backend, models):
    stream = backend.stream(ask(models.chain, "a"))
    assert next(stream).text == "b"
    assert shared_backend.complete(ask(models.chain, "w")).text == "xyz"
    assert "".join(chunk.text for chunk in stream) == "cdefghijklmnopqrstuvwxyz"


class Recorder:
    """A channel that keeps what it is told."""

    def __init__(self) -> None:
        self.events: list[object] = []
        self.ended = threading.Event()

    def send(self, event: object) -> None:
        self.events.append(event)
        if isinstance(event, (Finished, Failed)):
            self.ended.set()

    def close(self) -> None:
        """Nothing to end."""


def job(card: ModelCard, text: str, order: list[str] | None = None, **options: int) -> Job:
    channel = Recorder()
    if order is not None:
        told = channel.send

        def send(event: object) -> None:
            if isinstance(event, Finished):
                order.append(text)
            told(event)

        channel.send = send
    return Job(
        name=card.name,
        window=card.context_window,
        most_output=None,
        messages=[{"role": "user", "content": text}],
        options=SamplingOptions(**options),
        response_format=None,
        channel=channel,
        deadline=None,
        in_pieces=True,
    )


def test_requests_are_served_in_the_order_they_came(models, trials):
    worker = Worker(models.chain.path, LlamaCppSettings(cache_dir=trials))
    order: list[str] = []
    jobs = [job(models.chain, f"{i:02}a", order) for i in range(20)]
    for each in jobs:
        worker.submit(each)
    for each in jobs:
        assert each.channel.ended.wait(20)
    assert order == [f"{i:02}a" for i in range(20)]
    worker.close()


def test_a_request_cancelled_while_it_waits_never_runs(models, trials):
    worker = Worker(models.endless.path, LlamaCppSettings(slots=1, cache_dir=trials))
    first, second, third = (job(models.endless, str(i), max_tokens=10_000) for i in range(3))
    third.options = SamplingOptions(max_tokens=2)
    for each in (first, second, third):
        worker.submit(each)
    while not first.channel.events:
        time.sleep(0.001)
    second.cancel()
    first.cancel()
    assert third.channel.ended.wait(5)
    assert second.channel.events == []
    assert not any(isinstance(event, (Finished, Failed)) for event in first.channel.events)
    assert isinstance(third.channel.events[-1], Finished)
    worker.close()


def test_leaving_a_stream_frees_the_model_for_the_next(backend, models):
    stream = backend.stream(ask(models.endless, "?", max_tokens=15_000))
    next(stream)
    stream.close()
    started = time.perf_counter()
    backend.complete(ask(models.endless, "?", max_tokens=1))
    assert time.perf_counter() - started < PROMPTLY_S


def test_dropping_a_stream_frees_the_model_for_the_next(backend, models):
    stream = backend.stream(ask(models.endless, "?", max_tokens=15_000))
    next(stream)
    del stream
    gc.collect()
    started = time.perf_counter()
    backend.complete(ask(models.endless, "?", max_tokens=1))
    assert time.perf_counter() - started < PROMPTLY_S


def test_a_stream_that_is_never_begun_asks_nothing(backend, models):
    backend.stream(ask(models.endless, "?", max_tokens=15_000))
    assert backend.tokenizer(models.endless) is None


async def test_cancelling_a_task_frees_the_model_for_the_next(backend, models):
    await backend.acomplete(ask(models.endless, "?", max_tokens=1))
    call = asyncio.create_task(backend.acomplete(ask(models.endless, "?", max_tokens=15_000)))
    await asyncio.sleep(0.1)
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call
    started = time.perf_counter()
    await backend.acomplete(ask(models.endless, "?", max_tokens=1))
    assert time.perf_counter() - started < PROMPTLY_S


async def test_cancelling_frees_a_model_that_is_still_reading_the_prompt(backend, models):
    await backend.acomplete(ask(models.endless, "?", max_tokens=1))
    long = backend.acomplete(ask(models.endless, PROMPT_THAT_TAKES_LONG, max_tokens=1))
    with pytest.raises(asyncio.TimeoutError):
        await asyncio.wait_for(long, 0.2)
    started = time.perf_counter()
    await backend.acomplete(ask(models.endless, "?", max_tokens=1))
    assert time.perf_counter() - started < PROMPTLY_S


async def test_leaving_an_awaited_stream_frees_the_model_for_the_next(backend, models):
    stream = backend.astream(ask(models.endless, "?", max_tokens=15_000))
    await anext(stream)
    await stream.aclose()
    started = time.perf_counter()
    await backend.acomplete(ask(models.endless, "?", max_tokens=1))
    assert time.perf_counter() - started < PROMPTLY_S


def test_running_out_of_time_is_a_timeout_and_frees_the_model(backend, models):
    backend.complete(ask(models.endless, "?", max_tokens=1))
    for prompt, stage in (("?", "answering"), (PROMPT_THAT_TAKES_LONG, "reading the prompt")):
        started = time.perf_counter()
        with pytest.raises(BackendTimeoutError, match=stage) as caught:
            backend.complete(ask(models.endless, prompt, max_tokens=15_000, timeout_s=0.2))
        assert caught.value.retryable
        assert 0.15 < time.perf_counter() - started < 0.2 + PROMPTLY_S
        started = time.perf_counter()
        backend.complete(ask(models.endless, "?", max_tokens=1))
        assert time.perf_counter() - started < PROMPTLY_S


async def test_awaiting_too_long_is_a_timeout_too(backend, models):
    await backend.acomplete(ask(models.endless, "?", max_tokens=1))
    with pytest.raises(BackendTimeoutError):
        await backend.acomplete(ask(models.endless, "?", max_tokens=15_000, timeout_s=0.2))
    stream = backend.astream(ask(models.endless, "?", max_tokens=15_000, timeout_s=0.2))
    got = []
    with pytest.raises(BackendTimeoutError):
        got += [chunk async for chunk in stream if not got.append(chunk)]
    assert got


def test_work_that_was_broken_off_leaves_no_trace_in_later_answers(models, trials):
    backend = LlamaCppBackend(LlamaCppSettings(exact=True, cache_dir=trials))
    long = PROMPT_THAT_TAKES_LONG
    requests = [
        ask(models.endless, text, max_tokens=40, temperature=0.7, seed=5)
        for text in ("Tell me.", long[:800], long[:2_500] + "!")
    ]
    before = [backend.complete(request).text for request in requests]
    for text in (long, "Tell me.", long[:2_500]):
        with pytest.raises(BackendTimeoutError):
            backend.complete(ask(models.endless, text, max_tokens=10_000, timeout_s=0.1))
        stream = backend.stream(ask(models.endless, "?", max_tokens=5_000))
        next(stream)
        stream.close()
        assert [backend.complete(request).text for request in requests] == before
    backend.close()


def test_time_spent_waiting_in_line_counts(models, trials):
    backend = LlamaCppBackend(LlamaCppSettings(slots=1, cache_dir=trials))
    busy = backend.stream(ask(models.endless, "?", max_tokens=15_000))
    next(busy)
    with pytest.raises(BackendTimeoutError, match="waiting for its turn"):
        backend.complete(ask(models.endless, "?", timeout_s=0.1))
    busy.close()
    backend.close()


def test_a_stream_that_nobody_reads_ends_with_its_time(backend, models):
    unread = backend.stream(ask(models.endless, "?", max_tokens=15_000, timeout_s=0.2))
    next(unread)
    backend.complete(ask(models.endless, "?", max_tokens=1, timeout_s=5.0))
    with pytest.raises(BackendTimeoutError):
        list(unread)


def test_an_answer_that_was_whole_in_time_may_be_read_later(backend, models):
    backend.complete(ask(models.chain, "w"))
    stream = backend.stream(ask(models.chain, "a", timeout_s=0.3))
    next(stream)
    time.sleep(0.4)
    assert "".join(chunk.text for chunk in stream) == "cdefghijklmnopqrstuvwxyz"


async def test_the_event_loop_goes_on_meanwhile(backend, models):
    ticks = 0

    async def tick() -> None:
        nonlocal ticks
        while True:
            await asyncio.sleep(0.005)
            ticks += 1

    ticking = asyncio.create_task(tick())
    started = time.perf_counter()
    await backend.acomplete(ask(models.endless, "?", max_tokens=600))
    took = time.perf_counter() - started
    ticking.cancel()
    assert ticks > took / 0.005 / 5


async def test_blocking_calls_work_where_a_loop_is_running_as_in_a_notebook(backend, models):
    assert backend.complete(ask(models.chain, "w")).text == "xyz"
    assert "".join(chunk.text for chunk in backend.stream(ask(models.chain, "w"))) == "xyz"


def test_a_backend_serves_one_event_loop_after_another(backend, models):
    for _ in range(3):
        assert asyncio.run(backend.acomplete(ask(models.chain, "w"))).text == "xyz"


def test_a_loop_that_ends_in_the_middle_frees_the_model(backend, models):
    async def begin_and_leave() -> None:
        asyncio.get_running_loop().create_task(
            backend.acomplete(ask(models.endless, "?", max_tokens=15_000))
        )
        await asyncio.sleep(0.05)

    asyncio.run(begin_and_leave())
    started = time.perf_counter()
    backend.complete(ask(models.endless, "?", max_tokens=1))
    assert time.perf_counter() - started < PROMPTLY_S


def test_warming_loads_in_the_background(backend, models):
    started = time.perf_counter()
    backend.warm(models.tiny)
    assert time.perf_counter() - started < 0.1
    while backend.tokenizer(models.tiny) is None:
        assert time.perf_counter() - started < 20
        time.sleep(0.01)
    backend.warm(models.tiny.model_copy(update={"path": None}))
    backend.warm(models.tiny.model_copy(update={"path": Path("/no/such.gguf")}))


def test_an_idle_model_is_unloaded_and_loaded_again(models, trials):
    backend = LlamaCppBackend(LlamaCppSettings(unload_after_s=0.1, cache_dir=trials))
    for _ in range(2):
        assert backend.complete(ask(models.chain, "w")).text == "xyz"
        assert backend.tokenizer(models.chain) is not None
        deadline = time.perf_counter() + 10
        while backend.tokenizer(models.chain) is not None:
            assert time.perf_counter() < deadline
            time.sleep(0.01)
    backend.close()


def test_closing_ends_what_runs_and_what_waits_with_a_typed_error(backend, models):
    errors: list[BackendError] = []

    def call(prompt: str) -> None:
        try:
            backend.complete(ask(models.endless, prompt, max_tokens=15_000))
        except BackendError as error:
            errors.append(error)

    prompts = ["?", PROMPT_THAT_TAKES_LONG, "?", "?"]
    threads = [threading.Thread(target=call, args=(prompt,)) for prompt in prompts]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    started = time.perf_counter()
    backend.close()
    assert time.perf_counter() - started < 2
    for thread in threads:
        thread.join(5)
    assert [type(error) for error in errors] == [LocalModelError] * 4
    assert all("closed" in str(error) for error in errors)


async def test_closing_while_tasks_wait_ends_them_with_a_typed_error(backend, models):
    calls = [
        asyncio.create_task(backend.acomplete(ask(models.endless, "?", max_tokens=15_000)))
        for _ in range(3)
    ]
    await asyncio.sleep(0.2)
    await backend.aclose()
    for got in await asyncio.gather(*calls, return_exceptions=True):
        assert isinstance(got, LocalModelError)


def test_closing_a_stream_after_its_backend_is_no_error(backend, models):
    stream = backend.stream(ask(models.endless, "?", max_tokens=15_000))
    next(stream)
    backend.close()
    with pytest.raises(LocalModelError, match="closed"):
        list(stream)
    stream.close()


def test_a_closed_backend_refuses_and_may_be_closed_again(backend, models):
    backend.complete(ask(models.chain, "w"))
    backend.close()
    backend.close()
    for use in (backend.complete, lambda r: next(backend.stream(r))):
        with pytest.raises(LocalModelError, match="closed"):
            use(ask(models.chain, "w"))
    with pytest.raises(LocalModelError, match="closed"):
        asyncio.run(backend.acomplete(ask(models.chain, "w")))
    assert backend.tokenizer(models.chain) is None
    backend.warm(models.chain)
    asyncio.run(backend.aclose())


def test_closing_from_many_threads_at_once_is_one_closing(backend, models):
    backend.complete(ask(models.chain, "w"))
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: backend.close(), range(8)))


def test_a_backend_that_is_dropped_without_closing_ends_its_threads(models, trials):
    others = set(threading.enumerate())
    backend = LlamaCppBackend(LlamaCppSettings(cache_dir=trials))
    backend.complete(ask(models.characters, "?"))
    (own,) = set(threading.enumerate()) - others
    del backend
    gc.collect()
    own.join(5)
    assert not own.is_alive()


def test_closing_frees_the_models_memory_even_when_an_error_is_kept(models, trials):
    import weakref

    backend = LlamaCppBackend(LlamaCppSettings(cache_dir=trials))
    backend.complete(ask(models.tiny, "?", max_tokens=2))
    kept = []
    for text in ("x" * 5_000, "a \ud83d"):
        with pytest.raises(BackendError) as caught:
            backend.complete(ask(models.tiny, text))
        kept.append(caught.value)
    worker = next(iter(backend._workers.values()))
    model = weakref.ref(worker.model)
    assert model() is not None
    backend.close()
    gc.collect()
    assert model() is None
    assert len(kept) == 2


def in_a_child(program: str, *arguments: object, timeout: float = 60) -> str:
    """Run a program in a Python of its own; fails unless it ends well. Gives what it printed."""
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-c", textwrap.dedent(program)]
        + [str(argument) for argument in arguments],
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    assert done.returncode == 0, f"ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    assert done.stderr == ""
    return done.stdout


BEGIN = """
    import os, sys, threading, time
    from pathlib import Path
    from modelrouter.backends.base import Request
    from modelrouter.backends.llamacpp import LlamaCppBackend, LlamaCppSettings
    from modelrouter.catalog.card import ModelCard
    from modelrouter.config import GenerationSettings
    from modelrouter.exceptions import BackendError, LocalModelError

    path, trials = Path(sys.argv[1]), Path(sys.argv[2])
    backend = LlamaCppBackend(LlamaCppSettings(cache_dir=trials))
    card = ModelCard.local(path, context_window=16_384)

    def request(text, max_tokens=15_000):
        messages = [{"role": "user", "content": text}]
        return Request(card, messages, GenerationSettings(max_tokens=max_tokens))
"""


@pytest.mark.parametrize("prompt", ["?", "1 " * 6_000], ids=["generating", "reading"])
def test_the_process_ends_cleanly_while_requests_are_in_flight(models, trials, prompt):
    started = time.perf_counter()
    out = in_a_child(
        BEGIN
        + """
    backend.complete(request("?", 1))
    def call():
        try:
            backend.complete(request(sys.argv[3]))
        except LocalModelError as error:
            assert "closed" in str(error)
    for _ in range(3):
        threading.Thread(target=call, daemon=True).start()
    stream = backend.stream(request("?"))
    time.sleep(0.2)
    print("over")
    """,
        models.endless.path,
        trials,
        prompt,
    )
    assert out == "over\n"
    assert time.perf_counter() - started < 20


def test_nothing_is_written_to_standard_output_or_error(models, trials):
    """Nor is anything that others write meanwhile lost."""
    out = in_a_child(
        BEGIN
        + """
    backend.warm(card)
    while backend.tokenizer(card) is None:
        print("tick", flush=True)
        os.write(1, b"tock\\n")
        time.sleep(0.001)
    print(backend.complete(request("w")).text)
    """,
        models.chain.path,
        trials,
    )
    lines = out.splitlines()
    assert lines[-1] == "xyz"
    assert lines[:-1] == ["tick", "tock"] * (len(lines) // 2)


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_forked_child_loads_its_model_anew_and_the_parents_goes_on(models, trials):
    out = in_a_child(
        BEGIN
        + """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: fork beside threads
    stream = backend.stream(request("a"))
    print(next(stream).text, flush=True)
    held = backend._lock
    held.acquire()  # as if another thread were just inside
    child = os.fork()
    if child == 0:
        try:
            print(backend.complete(request("w")).text, flush=True)
            try:
                next(stream)
            except LocalModelError as error:
                print("forked" in str(error), flush=True)
            stream.close()
            backend.close()
            sys.exit(0)
        except BaseException as error:
            if not isinstance(error, SystemExit):
                print(repr(error), flush=True)
                os._exit(1)
            raise
    held.release()
    _, status = os.waitpid(child, 0)
    print(status, "".join(chunk.text for chunk in stream), flush=True)
    print(backend.complete(request("x")).text)
    """,
        models.chain.path,
        trials,
    )
    assert out.split() == ["b", "xyz", "True", "0", "cdefghijklmnopqrstuvwxyz", "yz"]


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no fork")
def test_a_child_forked_while_the_model_computes_is_not_stuck(models, trials):
    out = in_a_child(
        BEGIN
        + """
    import warnings
    warnings.simplefilter("ignore", DeprecationWarning)  # Python 3.12 on: fork beside threads
    busy = backend.stream(request("?"))
    next(busy)
    for _ in range(5):
        child = os.fork()
        if child == 0:
            print(backend.complete(request("?", 3)).usage.completion_tokens, flush=True)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        print(status, flush=True)
    busy.close()
    """,
        models.endless.path,
        trials,
    )
    assert out.split() == ["3", "0"] * 5


def test_events_are_told_in_order(models, trials):
    worker = Worker(models.chain.path, LlamaCppSettings(cache_dir=trials))
    each = job(models.chain, "w")
    worker.submit(each)
    assert each.channel.ended.wait(20)
    assert each.channel.events[:-1] == [Text("x"), Text("y"), Text("z")]
    worker.close()


def test_a_stream_closed_by_another_thread_ends_for_its_reader_and_frees_the_model(models, trials):
    backend = LlamaCppBackend(LlamaCppSettings(slots=1, cache_dir=trials))
    with Router(catalog=Catalog([models.endless]), backends={"llamacpp": backend}) as router:
        for _ in range(5):
            stream = router.completion("a", stream=True, model=models.endless.name)
            errors: list[BaseException] = []

            def read(stream=stream, errors=errors) -> None:
                try:
                    list(stream)
                except BaseException as error:
                    errors.append(error)

            reader = threading.Thread(target=read)
            reader.start()
            time.sleep(0.05)
            assert reader.is_alive()
            stream.close()
            reader.join(5)
            assert not reader.is_alive()
            assert errors == []
            assert stream.trace.attempts[-1].outcome == "cancelled"
            began = time.perf_counter()
            assert router.completion("a", model=models.endless.name, max_tokens=2).text
            assert time.perf_counter() - began < 10 * PROMPTLY_S
