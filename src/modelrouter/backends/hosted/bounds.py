"""Bounds how much is read of what a provider sends: a body's size, a line's, an event's.

Nobody else does: the HTTP clients read a body to its end, unpack a few kilobytes to gigabytes, and
the readers of streams gather a line, or an event of many lines, for as long as it goes on. Where a
bound is passed the connection is closed, and the call ends with an error that dispatch may follow
with another model.

litellm makes its HTTP clients in many places, another for each kind of provider. They all send by
one method of one of two libraries, so it is there that bodies are bounded, and only of what is
sent within :func:`bounded`: other HTTP requests of the process are as they were.
"""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import sys
import zlib
from collections.abc import AsyncGenerator, Callable, Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, Final

__all__ = [
    "REPLY",
    "STREAM",
    "BoundExceeded",
    "Limits",
    "bounded",
    "embeddings",
    "install",
    "pictures",
]

_MIB: Final = 1024 * 1024
_OF_AN_ERROR: Final = 16_384
"""Bytes that are read of an answer with an error status; the rest is left. Libraries look through
the text of an error with patterns of their own, and some take their time."""
_SHORT: Final = 16_384
"""A line of so many bytes may be anything, and an event may have four times as much in such lines.
A longer one must be a JSON object and tell no error: what it says would become an error's text."""
_PIECE: Final = 65_536  # bytes that are unpacked at a time
_LINES_AT_ONCE: Final = 64
"""After so many lines others on the event loop, a deadline among them, have a turn."""
_OF_A_TEXT: Final = 1_000  # characters of an error that litellm looks through for keys
_UNPACKED: Final = {"gzip": 31, "x-gzip": 31, "deflate": 47}
"""Compressions that are asked for, with zlib's number for each."""
_MARK: Final = "_bounded_by_modelrouter"
_WITHOUT_HEADER: Final = -15  # as some servers send deflate


class BoundExceeded(Exception):
    """A provider sent more than is read of an answer."""


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is read of one answer, in bytes as they are after unpacking.

    Attributes:
        body: of all of it.
        line: of one line of a stream, and of one event; ``None`` for what is not a stream.
        event_lines: lines of one event. Readers join an event's lines one by one.
    """

    body: int
    line: int | None = None
    event_lines: int = 2_000


REPLY: Final = Limits(body=32 * _MIB)
STREAM: Final = Limits(body=128 * _MIB, line=8 * _MIB)


def embeddings(inputs: int) -> Limits:
    """Of so many vectors: each may have 20,000 numbers, written out."""
    return Limits(body=_MIB + inputs * _MIB // 2)


def pictures(count: int) -> Limits:
    """Of so many pictures in base64."""
    return Limits(body=_MIB + max(count, 1) * 32 * _MIB)


_limits: ContextVar[Limits | None] = ContextVar("modelrouter_limits", default=None)


@contextmanager
def bounded(limits: Limits) -> Iterator[None]:
    """What is asked inside, on this thread or task, is answered within the limits.

    Raises:
        BoundExceeded: from the HTTP client, so that libraries wrap it in errors of theirs.
    """
    token = _limits.set(limits)
    try:
        yield
    finally:
        _limits.reset(token)


def install() -> None:
    """Have both HTTP libraries, and litellm's reading of errors, keep to :func:`bounded`; once."""
    for name in ("httpx", "httpx2"):
        try:
            module = importlib.import_module(name)
        except ImportError:  # an older openai client has only the first
            continue
        if not hasattr(module.Client.send, _MARK):
            body = type("_SyncBody", (_SyncBody, module.SyncByteStream), {})
            abody = type("_AsyncBody", (_AsyncBody, module.AsyncByteStream), {})
            module.Client.send = _sending(module.Client.send, body)
            module.AsyncClient.send = _asending(module.AsyncClient.send, abody)
    redaction: Any = sys.modules.get("litellm.litellm_core_utils.secret_redaction")
    redact = getattr(redaction, "python_redact_string", None)
    if redact is not None and not hasattr(redact, _MARK):
        redaction.python_redact_string = _of_the_beginning(redact)


def _of_the_beginning(redact: Callable[[str], str]) -> Callable[[str], str]:
    """litellm's search for keys in an error's text, kept to the text's beginning.

    It takes 68 s for 16,000 characters of a certain kind, on the event loop. Nobody sees more than
    the beginning, which is looked through once more here.
    """

    @functools.wraps(redact)
    def bounded_redact(value: str) -> str:
        return redact(value if _limits.get() is None else value[:_OF_A_TEXT])

    setattr(bounded_redact, _MARK, True)
    return bounded_redact


def _sending(send: Callable[..., Any], body: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(send)
    def bounded_send(client: Any, request: Any, *, stream: bool = False, **given: Any) -> Any:
        limits = _limits.get()
        if limits is None:
            return send(client, request, stream=stream, **given)
        request.headers["Accept-Encoding"] = "gzip, deflate"
        response = send(client, request, stream=True, **given)
        try:
            response.stream = body(response, limits)
            if not stream:
                response.read()
        except BaseException:
            response.close()
            raise
        return response

    setattr(bounded_send, _MARK, True)
    return bounded_send


def _asending(send: Callable[..., Any], body: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(send)
    async def bounded_send(client: Any, request: Any, *, stream: bool = False, **given: Any) -> Any:
        limits = _limits.get()
        if limits is None:
            return await send(client, request, stream=stream, **given)
        request.headers["Accept-Encoding"] = "gzip, deflate"
        response = await send(client, request, stream=True, **given)
        try:
            response.stream = body(response, limits)
            if not stream:
                await response.aread()
        except BaseException:
            await response.aclose()
            raise
        return response

    setattr(bounded_send, _MARK, True)
    return bounded_send


class _SyncBody:
    """A response's body within its limits, unpacked."""

    def __init__(self, response: Any, limits: Limits) -> None:
        self._source = response.stream
        self._reading = _Reading(response, limits)

    def __iter__(self) -> Generator[bytes, None, None]:
        reading = self._reading
        for raw in self._source:
            yield from reading.read(raw)
            if reading.is_over:
                return
        yield from reading.rest()

    def close(self) -> None:
        self._source.close()


class _AsyncBody:
    """The awaited twin of :class:`_SyncBody`."""

    def __init__(self, response: Any, limits: Limits) -> None:
        self._source = response.stream
        self._reading = _Reading(response, limits)

    async def __aiter__(self) -> AsyncGenerator[bytes, None]:
        reading = self._reading
        async for raw in self._source:
            for nth, piece in enumerate(reading.read(raw)):
                if nth:
                    await asyncio.sleep(0)
                yield piece
            if reading.is_over:
                return
        for piece in reading.rest():
            yield piece

    async def aclose(self) -> None:
        await self._source.aclose()


class _Reading:
    """From the bytes that come to those that are handed on; no I/O."""

    def __init__(self, response: Any, limits: Limits) -> None:
        self._is_error = response.status_code >= 400
        self._limits = limits
        self._unpacks = _unpacking(response.headers)
        self._decoder = zlib.decompressobj(self._unpacks) if self._unpacks else None
        self._packed = self._unpacked = 0
        kind = response.headers.get("content-type", "").lower()
        cut_in_lines = limits.line is not None and not self._is_error and "eventstream" not in kind
        self._lines = _Lines(limits, events="event-stream" in kind) if cut_in_lines else None
        self.is_over = False
        """Whether no more is wanted: of an error, its beginning."""

    def read(self, raw: bytes) -> Iterator[bytes]:
        self._packed += len(raw)
        if self._packed > self._limits.body and not self._is_error:
            raise _too_long("it", self._limits.body)
        for piece in self._plain(raw):
            self._unpacked += len(piece)
            if self._is_error and self._unpacked > _OF_AN_ERROR:
                self.is_over = True
                yield piece[: _OF_AN_ERROR - self._unpacked]
                return
            if self._unpacked > self._limits.body:
                raise _too_long("it", self._limits.body)
            if self._lines is None:
                yield piece
            else:
                yield from self._lines.read(piece)

    def rest(self) -> Iterator[bytes]:
        """What was held back, at the end."""
        if self._lines is not None and (held := self._lines.rest()):
            yield held

    def _plain(self, raw: bytes) -> Iterator[bytes]:
        if self._decoder is None:
            yield raw
            return
        while raw and not self._decoder.eof:
            try:
                piece = self._decoder.decompress(raw, _PIECE)
            except zlib.error as exc:
                if self._unpacked or self._unpacks != _UNPACKED["deflate"]:
                    raise BoundExceeded("it cannot be unpacked") from exc
                self._unpacks = _WITHOUT_HEADER
                self._decoder = zlib.decompressobj(_WITHOUT_HEADER)
                continue
            if piece:
                yield piece
            raw = self._decoder.unconsumed_tail


class _Lines:
    """Hands on whole lines, a few at a time, so that nobody gathers what never ends."""

    def __init__(self, limits: Limits, *, events: bool) -> None:
        assert limits.line is not None
        self._most, self._most_lines, self._events = limits.line, limits.event_lines, events
        self._held = bytearray()
        self._before = b""
        self._event_bytes = self._event_lines = 0
        self._event_has_long_line, self._event_short = False, 0

    def read(self, piece: bytes) -> Iterator[bytes]:
        held = self._held
        start = max(0, len(held) - 1)
        held += piece
        # A carriage return at the end may be the first half of a line break.
        cut = max(held.rfind(b"\n", start), held.rfind(b"\r", start, len(held) - 1)) + 1
        if not cut:
            self._check(len(held))
            return
        lines = bytes(held[:cut]).splitlines(keepends=True)
        del held[:cut]
        for at in range(0, len(lines), _LINES_AT_ONCE):
            group = lines[at : at + _LINES_AT_ONCE]
            for line in group:
                self._count(line)
            yield b"".join(group)

    def rest(self) -> bytes:
        self._count(bytes(self._held))
        return bytes(self._held)

    def _count(self, line: bytes) -> None:
        self._check(len(line))
        # As the strictest reader has it, an event ends where the same line break comes twice.
        if line in (b"\n", b"\r", b"\r\n") and self._before.endswith(line):
            self._event_bytes = self._event_lines = 0
            self._event_has_long_line, self._event_short = False, 0
        elif self._events:
            self._event_bytes += len(line)
            self._event_lines += 1
            if self._event_bytes > self._most:
                raise _too_long("an event of the stream", self._most)
            if self._event_lines > self._most_lines:
                raise BoundExceeded(f"an event has more than {self._most_lines:,} lines")
        if len(line) <= _SHORT:
            self._event_short += len(line)
            if self._events and self._event_short > 4 * _SHORT:
                raise BoundExceeded("an event of the stream has too many lines")
        else:
            if self._event_has_long_line or not _is_an_object(line):
                raise BoundExceeded("a long line of the stream is not an event of its own")
            self._event_has_long_line = self._events
        self._before = line[-2:]

    def _check(self, length: int) -> None:
        if length > self._most:
            raise _too_long("a line of the stream", self._most)


def _is_an_object(line: bytes) -> bool:
    """Whether a line holds a JSON object that is not an error, alone or as the data of an event."""
    try:
        told = json.loads(line.removeprefix(b"data:"))
    except (ValueError, RecursionError):
        return False
    return isinstance(told, dict) and not told.get("error")


def _unpacking(headers: Any) -> int:
    """How the body is unpacked; 0 for not. It is done here: the HTTP client knows no bound."""
    kind = headers.get("content-encoding", "").strip().lower()
    if kind in ("", "identity"):
        return 0
    if kind not in _UNPACKED:
        raise BoundExceeded(f"it is packed in a way that was not asked for ({kind[:20]})")
    del headers["content-encoding"]
    return _UNPACKED[kind]


def _too_long(what: str, most: int) -> BoundExceeded:
    return BoundExceeded(f"{what} has more than {most // _MIB:,} MiB")
