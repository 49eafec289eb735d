"""However much a provider sends, little of it is read, and soon; what it says freezes nothing."""

from __future__ import annotations

import asyncio
import gzip
import json
import time
import zlib

import pytest

from modelrouter import (
    BackendError,
    BackendTimeoutError,
    BadRequestError,
    MalformedResponseError,
    ModelCard,
    RateLimitError,
    ServerError,
    StreamInterruptedError,
)
from modelrouter.backends.base import EmbeddingRequest, ImageRequest
from modelrouter.backends.hosted.errors import redacted, translate
from modelrouter.backends.hosted.library import litellm
from tests.backends.hosted.conftest import collect, links, outcome, text_of
from tests.backends.hosted.test_replies import answer
from tests.support.scripted_server import chunk, endless, events, exactly, reply, status

SSE = "text/event-stream"
PEM = "-----BEGIN PRIVATE KEY-----"
OWN_PROTOCOLS = ["anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash"]
PROVIDERS = ["openai/gpt-4o", *OWN_PROTOCOLS]
WELL = answer({"role": "assistant", "content": "hello"}).encode()
SOON_S = 15.0
"""Far more than any of this takes on a busy machine, far less than the minutes that it took."""


def bomb(mib: int) -> bytes:
    """So much, packed a thousand times smaller."""
    packer = zlib.compressobj(9, wbits=31)
    mib_of_blanks = b" " * 2**20
    return b"".join([*(packer.compress(mib_of_blanks) for _ in range(mib)), packer.flush()])


BOMB = bomb(300)


async def longest_pause(work) -> tuple[float, BackendError | None]:
    """For how long at a time the work keeps the event loop, and how it fails."""
    longest, over = 0.0, False

    async def beat() -> None:
        nonlocal longest
        last = time.perf_counter()
        while not over:
            await asyncio.sleep(0.002)
            now = time.perf_counter()
            longest, last = max(longest, now - last), now

    beating = asyncio.create_task(beat())
    await asyncio.sleep(0.01)
    failure = None
    try:
        await work
    except BackendError as error:
        failure = error
    await asyncio.sleep(0.01)
    over = True
    await beating
    return longest, failure


# -- errors ------------------------------------------------------------------------------------

HOSTILE = [
    ".", "*", "x", "eyJaaaaaaaaaaaa-", " ", "\t\n", "{", '{"a":', "<title", "<h1>", "Error: ",
    "ErrorError", "sk-", "Bearer ", "?key=", "no key", "exceeds the ", PEM, "litellm.", "\\", '"',
    "0123456789abcdef...", "sk-test...", "ending in ", "://a:",
]  # fmt: skip


@pytest.mark.parametrize("piece", HOSTILE)
def test_reading_an_error_takes_no_longer_for_a_longer_text(piece):
    card = ModelCard.hosted("openai/gpt-4o", api_key="sk-test-0123456789abcdef")

    def seconds(size: int) -> float:
        text = (piece * size)[:size]
        began = time.perf_counter()
        translate(RuntimeError(text), card)
        translate(json.JSONDecodeError("Expecting value", text, 0), card)
        redacted(text, card)
        return time.perf_counter() - began

    seconds(10)  # what is loaded and compiled on first use
    # What is read of both is equally long. A growth with the square would be ten thousand times.
    small, large = min(seconds(10_000) for _ in range(3)), seconds(1_000_000)
    assert large < 20 * small + 0.25, (small, large)


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize("piece", [".", PEM, "<title", '{"a":', " "])
async def test_an_error_keeps_the_event_loop_for_a_moment_only(
    server, backend, request_to, name, piece
):
    litellm()
    long = piece * (1_000_000 // len(piece))
    for behaviour in (
        status(400, message=long),
        status(503, message=long[:16_000]),
        exactly(long.encode(), code=429),
        events({"error": {"message": long[:8_000], "code": 503}}),
        events({"error": {"message": long, "code": 503}}),
        events(long.replace("\n", "")),
        exactly(long.encode(), kind="text/html"),
    ):
        server.script(behaviour)
        asked = request_to(name=name, timeout_s=2.0)
        pause, error = await longest_pause(backend.acomplete(asked))
        assert isinstance(error, BackendError)
        assert pause < SOON_S / 2, (pause, error)
        pause, error = await longest_pause(collect(backend.astream(asked)))
        assert isinstance(error, BackendError)
        assert pause < SOON_S / 2, (pause, error)


def test_of_a_long_error_the_beginning_is_told_without_keys(server, way, request_to):
    key = "sk-test-0123456789abcdef"
    server.script(status(400, message=f"Your key {key} is odd. " + "Really. " * 100_000))
    got = outcome(way, request_to(api_key=key))
    assert type(got) is BadRequestError
    assert "Your key [key] is odd. Really." in str(got)
    assert len(str(got)) < 1_000
    for link in links(got):
        assert key not in f"{link!s} {link!r} {vars(link)!r}"


def test_a_key_at_the_place_where_a_text_is_cut_is_not_half_told():
    key = "sk-live-9f8e7d6c5b4a39281706"
    card = ModelCard.hosted("openai/gpt-4o", api_key=key)
    for before in range(4_096 - len(key) - 2, 4_100):
        assert "9f8e" not in redacted("x " * (before // 2) + "." * (before % 2) + key * 3, card)


def test_an_error_too_long_to_be_looked_through_is_replaced_by_its_beginning():
    card = ModelCard.hosted("openai/gpt-4o", api_key="sk-test-0123456789abcdef")
    error = ValueError("x")
    error.body = {"padding": "." * 100_000, "key": "sk-test-0123456789abcdef"}
    got = translate(error, card)
    assert all("0123456789" not in f"{vars(link)!r}" for link in links(got))


def test_an_error_nested_too_deeply_is_told_as_it_is(server, way, request_to):
    server.script(exactly(b'{"error":' * 5_000, code=500))
    assert type(outcome(way, request_to())) is ServerError


def test_an_error_status_counts_whatever_its_body(server, way, request_to):
    server.script(exactly(BOMB, code=429, Content_Encoding="gzip", Retry_After="7"))
    got = outcome(way, request_to())
    assert type(got) is RateLimitError
    assert got.retry_after == 7.0


def test_an_endless_error_is_left_after_its_beginning(server, way, request_to):
    server.script(endless(b"no " * 1_000, kind="text/plain", code=503))
    began = time.perf_counter()
    got = outcome(way, request_to(timeout_s=20.0))
    assert type(got) is ServerError
    assert time.perf_counter() - began < SOON_S
    assert server.disconnected.wait(5)


# -- whole answers -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    "behaviour",
    [
        exactly(BOMB, Content_Encoding="gzip"),
        exactly(b'{"a": "' + b"x" * 40_000_000 + b'"}'),
        endless(b" " * 65_536, kind="application/json"),
    ],
    ids=["gzip bomb", "too long", "endless"],
)
def test_an_answer_that_is_too_long_is_malformed(server, whole_way, request_to, name, behaviour):
    server.script(behaviour)
    began = time.perf_counter()
    got = outcome(whole_way, request_to(name=name, timeout_s=20.0))
    assert type(got) is MalformedResponseError
    assert "it has more than 32 MiB" in str(got)
    assert time.perf_counter() - began < SOON_S


@pytest.mark.parametrize("kind", ["br", "zstd", "gzip, gzip", "gzip"])
def test_an_answer_packed_in_another_way_is_malformed(server, way, request_to, kind):
    server.script(exactly(b"no gzip", Content_Encoding=kind))
    got = outcome(way, request_to())
    assert type(got) is MalformedResponseError
    assert "packed" in str(got)


RAW = zlib.compressobj(wbits=-15)


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        ("gzip", gzip.compress(WELL)),
        ("GZIP", gzip.compress(WELL)),
        ("deflate", zlib.compress(WELL)),
        ("deflate", RAW.compress(WELL) + RAW.flush()),
        ("identity", WELL),
    ],
)
def test_a_packed_answer_is_read(server, whole_way, request_to, kind, body):
    server.script(exactly(body, Content_Encoding=kind))
    assert whole_way(request_to()).text == "hello"
    assert server.requests[0].headers["Accept-Encoding"] == "gzip, deflate"


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"id": "\xff"}'])
def test_an_answer_nested_too_deeply_or_no_utf8_is_malformed(server, whole_way, request_to, body):
    server.script(exactly(body))
    assert type(outcome(whole_way, request_to())) is MalformedResponseError


def test_vectors_and_pictures_are_bounded_by_what_was_asked_for(server, backend):
    card = ModelCard.hosted("openai/some-model", api_base=server.base_url, api_key="sk-12345678")
    server.script(exactly(b'{"a": "' + b"x" * 40_000_000 + b'"}'))
    vectors = EmbeddingRequest(card, ("a", "b"), timeout_s=20.0)
    pictures = ImageRequest(card, "a cat", {"n": 1}, timeout_s=20.0)
    for way, asked in [
        (backend.embed, vectors),
        (lambda r: asyncio.run(backend.aembed(r)), vectors),
        (backend.draw, pictures),
        (lambda r: asyncio.run(backend.adraw(r)), pictures),
    ]:
        got = outcome(way, asked)
        assert type(got) is MalformedResponseError
        assert "MiB" in str(got)


def test_other_requests_of_the_process_are_not_bounded(server, backend, request_to):
    import httpx

    backend.complete(request_to())
    server.script(exactly(BOMB, Content_Encoding="gzip"))
    with httpx.Client() as client:
        assert len(client.post(server.base_url, json={}).content) == 300 * 2**20


# -- streams -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", PROVIDERS)
@pytest.mark.parametrize(
    "behaviour",
    [
        events(json.dumps(chunk({"role": "assistant", "content": "a b " * 13_000_000}))),
        endless(b"x" * 65_536),
        endless(b"data: 1\n" * 1_000),
        exactly(BOMB, kind=SSE, Content_Encoding="gzip"),
        events("[" * 100_000),
        events({"error": {"message": "no " * 50_000}}),
    ],
    ids=["50 MB event", "line", "lines of an event", "gzip bomb", "nested", "long error"],
)
def test_a_line_or_an_event_that_is_too_long_ends_the_stream(
    server, stream_way, request_to, name, behaviour
):
    server.script(behaviour)
    began = time.perf_counter()
    got = outcome(stream_way, request_to(name=name, timeout_s=20.0))
    assert type(got) is MalformedResponseError, f"{got!r}"
    assert time.perf_counter() - began < SOON_S
    if behaviour.__qualname__.startswith("endless"):
        assert server.disconnected.wait(5)


def test_after_text_such_a_line_is_an_interruption(server, stream_way, request_to):
    start = json.dumps(chunk({"role": "assistant", "content": "one two"}))
    server.script(exactly(f"data: {start}\n\ndata: ".encode() + b"x" * 9_000_000, kind=SSE))
    got = outcome(stream_way, request_to())
    assert type(got) is StreamInterruptedError
    assert got.partial_text == "one two"


def test_an_endless_stream_ends_at_the_deadline(server, backend, request_to):
    server.script(endless(f"data: {json.dumps(chunk({'content': 'a'}))}\n\n".encode()))

    async def read() -> tuple[float, BackendError | None]:
        return await longest_pause(collect(backend.astream(request_to(timeout_s=1.0))))

    began = time.perf_counter()
    pause, error = asyncio.run(read())
    assert type(error) is StreamInterruptedError
    assert type(error.__cause__) is BackendTimeoutError
    assert pause < SOON_S / 2
    assert time.perf_counter() - began < SOON_S


@pytest.mark.parametrize("ending", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("size", [1, 2, 7, 100_000])
def test_a_stream_reads_alike_in_whatever_pieces_it_comes(
    server, stream_way, request_to, ending, size
):
    told = [": queued", "", *(
        line for word in ("one", " two", " " + "long" * 10_000)
        for line in (f"data: {json.dumps(chunk({'content': word}))}", "")
    ), f"data: {json.dumps(chunk({}, 'stop'))}", "", "data: [DONE]", ""]  # fmt: skip
    body = "".join(f"{line}{ending}" for line in told)
    if size == 1:
        body = body.replace("long" * 10_000, "long")

    def behave(x):
        x.open_stream()
        for at in range(0, len(body), size):
            x.piece(body[at : at + size])
        x.close_stream()

    server.script(behave)
    assert text_of(stream_way(request_to())).startswith("one two long")


def test_a_long_event_is_shown_whole(server, stream_way, request_to):
    long = "a b " * 500_000
    server.script(reply(long.replace(" ", "_")))
    assert text_of(stream_way(request_to())) == long.replace(" ", "_")


@pytest.mark.parametrize("name", PROVIDERS)
def test_a_stream_that_is_no_utf8_is_the_providers_fault(server, stream_way, request_to, name):
    event = json.dumps(chunk({"content": "?"})).encode().replace(b"?", b"\xff\xfe")
    server.script(exactly(b"data: " + event + b"\n\ndata: [DONE]\n\n", kind=SSE))
    got = outcome(stream_way, request_to(name=name))
    assert type(got) in (MalformedResponseError, ServerError)
    assert got.retryable


def test_utf8_that_breaks_after_text_is_an_interruption(server, stream_way, request_to):
    start = json.dumps(chunk({"role": "assistant", "content": "one two"})).encode()
    server.script(exactly(b"data: " + start + b"\n\ndata: \xff\n\n", kind=SSE))
    got = outcome(stream_way, request_to())
    assert type(got) is StreamInterruptedError
    assert got.partial_text == "one two"
