"""A stream may be closed from anywhere, whoever reads it: the reader ends, the model is free."""

from __future__ import annotations

import asyncio
import threading
import time

import pytest

from modelrouter import AsyncRouter, Budget, Catalog, ModelCard, Policy, Router
from modelrouter.catalog import Price
from modelrouter.guards import MemoryStore
from modelrouter.testing import FunctionBackend, example_card
from tests.support.scripted_server import ScriptedServer, chunk, drip, events, reply, slow

SOON_S = 5.0


class Dripping(FunctionBackend):
    """A backend of the user's own that knows nothing of being stopped."""

    def __init__(self) -> None:
        super().__init__(lambda request: "word " * 200)
        self.closed = threading.Event()

    def stream(self, request):
        try:
            for piece in super().stream(request):
                time.sleep(0.05)
                yield piece
        finally:
            self.closed.set()

    async def astream(self, request):
        try:
            for piece in super().stream(request):
                await asyncio.sleep(0.05)
                yield piece
        finally:
            self.closed.set()


@pytest.fixture
def server():
    with ScriptedServer() as running:
        yield running


def hosted(server: ScriptedServer, name: str = "openai/gpt-4o") -> ModelCard:
    price = Price(input=1e-6, output=1e-6)
    return ModelCard.hosted(name, api_base=server.base_url, api_key="sk-12345678", price=price)


def router_of(kind, cards, **fields):
    return kind(
        catalog=Catalog(cards), budgets=Budget(usd=5.0), budget_store=MemoryStore(), **fields
    )


def read_and_close(stream, after_s: float) -> tuple[list[str], float]:
    """What a thread reads of the stream until another closes it, and how soon it then ends."""
    texts: list[str] = []
    errors: list[BaseException] = []

    def read() -> None:
        try:
            texts.extend(piece.text for piece in stream)
        except BaseException as error:
            errors.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    time.sleep(after_s)
    assert reader.is_alive()
    began = time.perf_counter()
    stream.close()
    reader.join(SOON_S * 2)
    took = time.perf_counter() - began
    assert not reader.is_alive()
    assert errors == []
    return texts, took


def check_settled(router, trace) -> None:
    (standing,) = router.budgets()
    assert standing.reserved_usd == 0.0
    assert standing.spent_usd > 0.0  # the worst case: it may have been charged for
    assert trace.attempts[-1].outcome == "cancelled"


STREAMS = {
    "words": drip(0.05),
    "silence after a word": events(
        chunk({"role": "assistant", "content": "one"}), done=False, ends=False, pause=30.0
    ),
}


@pytest.mark.parametrize("hedge", [False, 20.0])
@pytest.mark.parametrize("script", STREAMS)
def test_a_hosted_stream_closed_by_another_thread_ends_for_its_reader(server, script, hedge):
    server.script(STREAMS[script])
    policy = Policy.balanced(hedge=hedge)
    with router_of(Router, [hosted(server)], policy=policy) as router:
        stream = router.completion("Tell me a story.", max_tokens=60, stream=True)
        _, took = read_and_close(stream, 0.3)
        assert took < SOON_S
        assert server.disconnected.wait(SOON_S)  # the provider hears of it
        assert list(stream) == []
        check_settled(router, stream.trace)


def test_a_stream_of_a_backend_that_cannot_be_stopped_ends_with_its_next_piece():
    backend = Dripping()
    card = example_card("acme/own")
    with router_of(Router, [card], backends={"test": backend}) as router:
        stream = router.completion("Tell me a story.", max_tokens=60, stream=True)
        texts, took = read_and_close(stream, 0.3)
        assert texts
        assert took < SOON_S
        assert backend.closed.wait(SOON_S)
        check_settled(router, stream.trace)


def test_two_readers_of_a_stream_share_its_pieces():
    card = example_card("acme/own")
    backend = FunctionBackend(lambda request: "word " * 500)
    with router_of(Router, [card], backends={"test": backend}) as router:
        stream = router.completion("Tell me a story.", max_tokens=600, stream=True)
        found: list[str] = []
        errors: list[BaseException] = []

        def read() -> None:
            try:
                found.extend(piece.text for piece in stream)
            except BaseException as error:
                errors.append(error)

        readers = [threading.Thread(target=read) for _ in range(4)]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join(SOON_S)
        assert errors == []
        assert "".join(found).split() == ["word"] * 500


def test_many_threads_may_close_a_stream_at_once(server):
    server.script(drip(0.01))
    with router_of(Router, [hosted(server)]) as router:
        stream = router.completion("Tell me a story.", max_tokens=60, stream=True)
        errors: list[BaseException] = []

        def close() -> None:
            try:
                stream.close()
            except BaseException as error:
                errors.append(error)

        closers = [threading.Thread(target=close) for _ in range(8)]
        reader = threading.Thread(target=lambda: list(stream))
        for thread in (reader, *closers):
            thread.start()
        for thread in (reader, *closers):
            thread.join(SOON_S)
            assert not thread.is_alive()
        assert errors == []
        check_settled(router, stream.trace)


def test_a_stream_closed_while_another_model_is_asked_to_go_on_asks_for_nothing_more(server):
    broken = events(chunk({"role": "assistant", "content": "one"}), done=False, ends=False)
    server.script(broken, slow(1.0, reply("two three")))
    cards = [hosted(server, "openai/gpt-4o"), hosted(server, "openai/gpt-4o-mini")]
    policy = Policy.best(on_interruption="continue")
    with router_of(Router, cards, policy=policy) as router:
        stream = router.completion("Tell me a story.", max_tokens=60, stream=True)
        texts, took = read_and_close(stream, 0.6)
        assert "".join(texts) == "one"
        assert took < SOON_S
        (standing,) = router.budgets()
        assert standing.reserved_usd == 0.0


@pytest.mark.parametrize("own", [False, True])
async def test_an_awaited_stream_closed_by_another_task_ends_for_its_reader(server, own):
    server.script(STREAMS["silence after a word"])
    cards = [example_card("acme/own")] if own else [hosted(server)]
    backend = Dripping()
    async with router_of(AsyncRouter, cards, backends={"test": backend}) as router:
        stream = await router.completion("Tell me a story.", max_tokens=60, stream=True)

        async def read() -> list[str]:
            return [piece.text async for piece in stream]

        reader = asyncio.create_task(read())
        await asyncio.sleep(0.3)
        assert not reader.done()
        await stream.aclose()
        assert await asyncio.wait_for(reader, SOON_S)
        assert backend.closed.is_set() or server.disconnected.wait(SOON_S)
        assert [piece async for piece in stream] == []
        check_settled(router, stream.trace)


async def test_a_reader_that_is_cancelled_is_cancelled_and_not_ended(server):
    server.script(STREAMS["silence after a word"])
    async with router_of(AsyncRouter, [hosted(server)]) as router:
        stream = await router.completion("Tell me a story.", max_tokens=60, stream=True)

        async def read() -> list[str]:
            return [piece.text async for piece in stream]

        reader = asyncio.create_task(read())
        await asyncio.sleep(0.2)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await stream.aclose()
        check_settled(router, stream.trace)
