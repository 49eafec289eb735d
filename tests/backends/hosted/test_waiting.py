"""Deadlines, leaving early, cancelling, event loops and threads: nobody waits, nothing leaks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextvars import ContextVar

import pytest

from modelrouter import BackendTimeoutError, StreamInterruptedError
from modelrouter.backends.hosted.waiting import TIMEOUTS, BoundedIterator, Deadline
from modelrouter.backends.hosted.workers import start, threads
from tests.backends.hosted.conftest import collect, outcome, text_of
from tests.support.scripted_server import blanks, chunk, drip, events, slow

# -- deadlines ---------------------------------------------------------------------------------


@pytest.mark.parametrize("behaviour", [slow(5), blanks(0.05)], ids=["silent", "blanks"])
def test_no_answer_in_time_is_a_timeout_whatever_the_server_does(
    server, way, request_to, behaviour
):
    server.script(behaviour)
    started = time.monotonic()
    got = outcome(way, request_to(timeout_s=0.3))
    assert type(got) is BackendTimeoutError
    assert "within 0.3 s" in str(got)
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    "behaviour",
    [drip(0.05), events(chunk({"role": "assistant", "content": "word"}), done=False, pause=5)],
    ids=["drips", "stalls"],
)
def test_a_stream_is_bounded_in_sum(server, stream_way, request_to, behaviour):
    server.script(behaviour)
    started = time.monotonic()
    got = outcome(stream_way, request_to(timeout_s=0.6))
    assert type(got) is StreamInterruptedError
    assert got.partial_text.startswith("word")
    assert "within 0.6 s" in str(got)
    assert time.monotonic() - started < 2


def test_blanks_before_an_answer_in_time_do_no_harm(server, way, request_to):
    server.script(blanks(0.01, count=5))
    assert text_of(way(request_to())) == "hello"


def test_without_a_timeout_there_is_no_limit(server, way, request_to):
    server.script(slow(0.3))
    assert text_of(way(request_to(timeout_s=None))) == "hello"


def test_a_whole_answer_is_kept_though_the_server_holds_the_stream_open(
    server, stream_way, request_to
):
    server.script(events(chunk({"content": "all"}), chunk({}, "stop"), done=False, pause=5))
    chunks = stream_way(request_to(timeout_s=0.5))
    assert text_of(chunks) == "all"
    assert chunks[-1].choices[0].finish_reason == "stop"


# -- leaving early -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["openai/gpt-4o", "deepseek/deepseek-chat"])
def test_leaving_a_stream_early_hangs_up(server, backend, request_to, name):
    server.script(drip(0.01))
    stream = backend.stream(request_to(name=name))
    next(stream)
    stream.close()
    assert server.disconnected.wait(5)


def test_leaving_a_stream_whose_server_is_silent_hangs_up_at_once(server, backend, request_to):
    server.script(events(chunk({"content": "one"}), done=False, pause=20))
    stream = backend.stream(request_to())
    next(stream)
    stream.close()
    assert server.disconnected.wait(5)


def test_a_stream_that_is_dropped_hangs_up(server, backend, request_to):
    server.script(drip(0.01))
    for _ in backend.stream(request_to()):
        break
    assert server.disconnected.wait(5)


@pytest.mark.parametrize("name", ["openai/gpt-4o", "deepseek/deepseek-chat"])
async def test_leaving_an_awaited_stream_early_hangs_up(server, backend, request_to, name):
    server.script(drip(0.01))
    stream = backend.astream(request_to(name=name))
    await anext(stream)
    await stream.aclose()
    assert await asyncio.to_thread(server.disconnected.wait, 5)


@pytest.mark.parametrize("behaviour", [slow(20), drip(0.005)])
@pytest.mark.parametrize("streaming", [True, False])
async def test_cancelling_an_awaited_call_hangs_up(
    server, backend, request_to, behaviour, streaming
):
    server.script(behaviour if streaming else slow(20))
    request = request_to()
    call = collect(backend.astream(request)) if streaming else backend.acomplete(request)
    reading = asyncio.create_task(call)
    while not server.requests:
        await asyncio.sleep(0.01)
    await asyncio.sleep(0.1)
    reading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await reading
    assert await asyncio.to_thread(server.disconnected.wait, 5)


async def test_a_cancellation_is_never_lost_among_quick_chunks(server, backend, request_to):
    """``asyncio.wait_for`` would lose some, on Python before 3.12."""
    server.script(drip(0.0005, words=100_000))
    for _ in range(10):
        reading = asyncio.create_task(collect(backend.astream(request_to())))
        await asyncio.sleep(0.05)
        reading.cancel()
        done, _ = await asyncio.wait([reading], timeout=5)
        assert done
        assert reading.cancelled()


# -- loops and threads -------------------------------------------------------------------------


def test_many_event_loops_one_after_another_leave_no_connection_open(server, backend, request_to):
    def opened() -> int:
        return len(os.listdir("/proc/self/fd"))

    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("counts open files as Linux shows them")
    asyncio.run(backend.acomplete(request_to()))
    before = opened()
    for _ in range(20):
        assert asyncio.run(backend.acomplete(request_to())).text == "hello"
        assert text_of(asyncio.run(collect(backend.astream(request_to())))) == "hello"
    assert opened() <= before + 5


def test_event_loops_in_several_threads_side_by_side(server, backend, request_to):
    async def ask() -> list[str]:
        answers = []
        for _ in range(5):
            answers.append((await backend.acomplete(request_to())).text)
            answers.append(text_of(await collect(backend.astream(request_to()))))
        return answers

    with ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(asyncio.run, ask()) for _ in range(4)]
        assert all(f.result(30) == ["hello"] * 10 for f in futures)


async def test_blocking_calls_work_inside_a_running_loop(server, backend, request_to):
    assert backend.complete(request_to()).text == "hello"
    assert text_of(list(backend.stream(request_to()))) == "hello"
    assert (await backend.acomplete(request_to())).text == "hello"


def test_many_threads_ask_at_once(server, backend, request_to):
    server.script(slow(0.05))
    with ThreadPoolExecutor(32) as pool:
        requests = [request_to(f"task {n}") for n in range(64)]
        answers = list(pool.map(backend.complete, requests))
    assert [a.text for a in answers] == ["hello"] * 64
    asked = {r.body["messages"][0]["content"] for r in server.requests}
    assert asked == {f"task {n}" for n in range(64)}


def test_threads_are_used_again_and_few_are_kept(server, backend, request_to):
    backend.complete(request_to())
    before = {t.ident for t in threads()}
    for _ in range(5):
        backend.complete(request_to())
    assert {t.ident for t in threads()} == before
    server.script(slow(0.2))
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(backend.complete, [request_to()] * 24))
    deadline = time.monotonic() + 5
    while len(threads()) > 16:
        assert time.monotonic() < deadline, "the crowd's threads stay behind"
        time.sleep(0.01)


@pytest.mark.parametrize("name", ["openai/gpt-4o", "anthropic/claude-sonnet-4-5", "groq/llama"])
@pytest.mark.parametrize("behaviour", [slow(20), blanks(0.05)], ids=["silent", "blanks"])
@pytest.mark.parametrize("streaming", [False, True])
def test_a_blocking_call_given_up_hangs_up(server, backend, request_to, name, behaviour, streaming):
    server.script(behaviour)
    request = request_to(name=name, timeout_s=0.3)
    with pytest.raises(BackendTimeoutError):
        list(backend.stream(request)) if streaming else backend.complete(request)
    assert server.disconnected.wait(2), "the provider goes on for nobody"


def test_hanging_up_on_one_call_leaves_the_others_alone(server, backend, request_to):
    def ask(patience: float) -> str:
        try:
            return backend.complete(request_to(timeout_s=patience)).text
        except BackendTimeoutError:
            return "given up"

    server.script(slow(0.5))
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(ask, [0.2, 20.0] * 6))
    assert answers == ["given up", "hello"] * 6


def test_connections_are_kept_though_the_time_left_differs(server, backend, request_to):
    """Dispatch gives each attempt what is left of the call's time."""
    for timeout_s in (20.0, 19.7, 18.123, 17.0):
        backend.complete(request_to(timeout_s=timeout_s))
    assert len({r.connection for r in server.requests}) == 1


async def test_awaited_ones_too(server, backend, request_to):
    for timeout_s in (20.0, 19.7, 18.123, 17.0):
        await backend.acomplete(request_to(timeout_s=timeout_s))
    assert len({r.connection for r in server.requests}) == 1


# -- the parts ---------------------------------------------------------------------------------

colour: ContextVar[str] = ContextVar("colour", default="none")


def test_a_bounded_iterator_gives_items_and_errors_in_order_and_in_the_callers_context():
    def items():
        yield 1
        yield colour.get()
        raise KeyError("x")

    colour.set("red")
    with BoundedIterator(items(), Deadline(5)) as bounded:
        assert next(bounded) == 1
        assert next(bounded) == "red"
        with pytest.raises(KeyError):
            next(bounded)


def test_nothing_is_read_that_was_not_asked_for():
    read = []

    def items():
        for n in range(5):
            read.append(n)
            yield n

    with BoundedIterator(items(), Deadline(None)) as bounded:
        assert next(bounded) == 0
        time.sleep(0.05)
    assert read == [0]


def test_an_iterator_left_while_it_is_read_is_closed_when_its_reader_ends():
    go_on, closed = threading.Event(), threading.Event()

    def items():
        try:
            yield go_on.wait(5)
        finally:
            closed.set()

    with BoundedIterator(items(), Deadline(0.05)) as bounded, pytest.raises(TimeoutError):
        next(bounded)
    assert not closed.is_set()
    go_on.set()
    assert closed.wait(5)


def test_an_iterator_left_unread_or_at_its_end_is_closed_at_once():
    closed = []

    def items(name):
        try:
            yield name
        finally:
            closed.append(name)

    with BoundedIterator(items("unread"), Deadline(5)):
        pass  # never begun: there is nothing to close
    with BoundedIterator(items("left"), Deadline(5)) as bounded:
        next(bounded)
    with BoundedIterator(items("ended"), Deadline(5)) as bounded:
        assert list(bounded) == ["ended"]
    assert closed == ["left", "ended"]


def test_a_job_that_ended_as_it_was_given_up_is_finished_all_the_same():
    finished = []
    job = start(lambda: 5, lambda: finished.append(True))
    assert job.wait(5)
    job.give_up()
    assert finished
    assert job.result() == 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs os.fork")
@pytest.mark.filterwarnings("ignore:.*use of fork:DeprecationWarning")
def test_a_forked_process_has_threads_of_its_own():
    assert start(lambda: 1, lambda: None).wait(5)
    child = os.fork()
    if child == 0:
        ended = start(lambda: 1, lambda: None).wait(5)
        os._exit(0 if ended else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


async def test_a_deadline_bounds_what_is_awaited():
    with pytest.raises(TIMEOUTS):
        async with Deadline(0.01).bound():
            await asyncio.sleep(5)
    async with Deadline(None).bound():
        await asyncio.sleep(0)
    async with Deadline(5).bound():
        await asyncio.sleep(0)


async def test_a_deadline_does_not_take_a_cancellation_from_outside_for_its_own():
    async def wait() -> None:
        async with Deadline(5).bound():
            await asyncio.sleep(5)

    task = asyncio.create_task(wait())
    await asyncio.sleep(0.01)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    with contextlib.suppress(asyncio.CancelledError):
        await task
    assert task.cancelled()
