"""A loopback provider that speaks OpenAI's chat protocol and misbehaves on request.

    with ScriptedServer() as server:
        server.script(status(429, retry_after=1), reply("hello"))
        ...                                  # two calls to server.base_url
        server.requests[0].body["model"]

Each call takes the next behaviour of the script; when it is used up, the last one stays. Streaming
calls (``"stream": true``) get the same behaviour as server-sent events. Any path is answered, so
that clients of other protocols meet the same faults; ``raw`` and ``events`` speak those protocols.
"""

from __future__ import annotations

import contextlib
import json
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from email.message import Message
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any

__all__ = [
    "Behaviour",
    "Exchange",
    "Recorded",
    "ScriptedServer",
    "blanks",
    "chunk",
    "cut",
    "drip",
    "echo_key",
    "endless",
    "events",
    "exactly",
    "raw",
    "redirect",
    "reply",
    "reset",
    "slow",
    "status",
]


@dataclass(frozen=True)
class Recorded:
    """One request as the server got it.

    ``headers`` are found in any case; ``connection`` tells one connection from another.
    """

    path: str
    headers: Message
    body: Mapping[str, Any]
    connection: int = 0


@dataclass
class Exchange:
    """What a behaviour has to work with."""

    handler: BaseHTTPRequestHandler
    body: Mapping[str, Any]

    @property
    def streaming(self) -> bool:
        return bool(self.body.get("stream"))

    def send(self, code: int, body: bytes, kind: str = "application/json", **headers: str) -> None:
        h = self.handler
        h.send_response(code)
        h.send_header("Content-Type", kind)
        h.send_header("Content-Length", str(len(body)))
        for name, value in headers.items():
            h.send_header(name.replace("_", "-"), value)
        h.end_headers()
        h.wfile.write(body)

    def open_stream(self, kind: str = "text/event-stream") -> None:
        h = self.handler
        h.send_response(200)
        h.send_header("Content-Type", kind)
        h.send_header("Transfer-Encoding", "chunked")
        h.end_headers()

    def event(self, data: str) -> None:
        self.piece(f"data: {data}\n\n")

    def piece(self, text: str) -> None:
        """Any part of a body that was opened as a stream."""
        payload = text.encode()
        self.handler.wfile.write(b"%x\r\n%s\r\n" % (len(payload), payload))
        self.handler.wfile.flush()

    def wait(self, seconds: float) -> None:
        """Do nothing for so long, unless the client goes away."""
        connection = self.handler.connection
        readable, _, _ = select.select([connection], [], [], seconds)
        if readable and not connection.recv(1, socket.MSG_PEEK):
            raise ConnectionResetError("the client went away")

    def close_stream(self) -> None:
        self.handler.wfile.write(b"0\r\n\r\n")
        self.handler.wfile.flush()

    def hang_up(self, *, reset: bool = False) -> None:
        """Close the connection, by RST if asked, without ending the body."""
        connection = self.handler.connection
        if reset:
            linger = struct.pack("ii", 1, 0)
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            connection.shutdown(socket.SHUT_RDWR)
        connection.close()
        self.handler.close_connection = True


Behaviour = Callable[[Exchange], None]


def reply(
    text: str = "hello",
    *,
    tool_calls: list[dict[str, Any]] | None = None,
    usage: dict[str, Any] | None = None,
    finish_reason: str = "stop",
    with_usage: bool = True,
    interval: float = 0.0,
) -> Behaviour:
    """A proper answer; in a stream one event a word, ``interval`` seconds apart."""

    def behave(x: Exchange) -> None:
        counted = usage or {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        reason = "tool_calls" if tool_calls else finish_reason
        if not x.streaming:
            message: dict[str, Any] = {"role": "assistant", "content": text or None}
            if tool_calls:
                message["tool_calls"] = tool_calls
            choice = {"index": 0, "message": message, "finish_reason": reason}
            body = {**_head(x, "chat.completion"), "choices": [choice]}
            x.send(200, json.dumps({**body, "usage": counted} if with_usage else body).encode())
            return
        x.open_stream()
        for delta in _deltas(text, tool_calls):
            x.event(_chunk(x, delta))
            x.wait(interval)
        x.event(_chunk(x, {}, reason))
        if with_usage and (x.body.get("stream_options") or {}).get("include_usage"):
            last = {**_head(x, "chat.completion.chunk"), "choices": [], "usage": counted}
            x.event(json.dumps(last))
        x.event("[DONE]")
        x.close_stream()

    return behave


def status(code: int, *, message: str = "no", retry_after: str | float | None = None) -> Behaviour:
    """An error as OpenAI reports it."""

    def behave(x: Exchange) -> None:
        headers = {} if retry_after is None else {"Retry_After": str(retry_after)}
        x.send(code, _error(code, message), **headers)

    return behave


def echo_key(code: int = 401) -> Behaviour:
    """Refuse the key and repeat it in the message, as some providers do."""

    def behave(x: Exchange) -> None:
        key = x.handler.headers.get("Authorization", "")
        x.send(code, _error(code, f"Incorrect API key provided: {key.removeprefix('Bearer ')}"))

    return behave


def slow(seconds: float, then: Behaviour | None = None) -> Behaviour:
    """Say nothing for a while, then behave."""

    def behave(x: Exchange) -> None:
        x.wait(seconds)
        (then or reply())(x)

    return behave


def drip(interval: float, words: int = 1_000) -> Behaviour:
    """A stream of words that goes on for long."""
    return reply(" ".join(f"word{i}" for i in range(words)), interval=interval)


def blanks(interval: float, count: int = 1_000) -> Behaviour:
    """Blanks before the answer, as some providers send while a request is queued.

    Line breaks in a JSON body, comments in a stream.
    """

    def behave(x: Exchange) -> None:
        x.open_stream("text/event-stream" if x.streaming else "application/json")
        for _ in range(count):
            x.piece(": queued\n\n" if x.streaming else "\n")
            x.wait(interval)
        if x.streaming:
            x.event(_chunk(x, {"role": "assistant", "content": "hello"}))
            x.event(_chunk(x, {}, "stop"))
            x.event("[DONE]")
        else:
            message = {"role": "assistant", "content": "hello"}
            choice = {"index": 0, "message": message, "finish_reason": "stop"}
            x.piece(json.dumps({**_head(x, "chat.completion"), "choices": [choice]}))
        x.close_stream()

    return behave


def events(
    *data: Mapping[str, Any] | str, done: bool = True, ends: bool = True, pause: float = 0.0
) -> Behaviour:
    """Exactly these events, dicts as JSON.

    ``done`` adds OpenAI's last event, ``ends`` ends the body properly rather than by hanging up,
    ``pause`` is waited before that.
    """

    def behave(x: Exchange) -> None:
        x.open_stream()
        for one in data:
            x.event(one if isinstance(one, str) else json.dumps(one))
        if done:
            x.event("[DONE]")
        x.wait(pause)
        if ends:
            x.close_stream()
        else:
            x.hang_up()

    return behave


def chunk(
    delta: Any, finish_reason: Any = None, *, index: int = 0, **fields: Any
) -> dict[str, Any]:
    """One of OpenAI's stream events, for ``events``."""
    choice = {"index": index, "delta": delta, "finish_reason": finish_reason}
    head = {"id": "chatcmpl-scripted", "object": "chat.completion.chunk", "created": 1_700_000_000}
    return {**head, "model": "scripted", "choices": [choice], **fields}


def cut(after: int = 2, *, text: str = "one two three four", reset: bool = False) -> Behaviour:
    """Close the connection after so many events, before the stream's end."""

    def behave(x: Exchange) -> None:
        if not x.streaming:
            x.handler.send_response(200)
            x.handler.send_header("Content-Type", "application/json")
            x.handler.send_header("Content-Length", "1000")
            x.handler.end_headers()
            x.handler.wfile.write(b'{"id": "chatcmpl-1", ')
            x.handler.wfile.flush()
        else:
            x.open_stream()
            for delta in _deltas(text, None)[:after]:
                x.event(_chunk(x, delta))
            time.sleep(0.1)  # long enough to be read: a reset may overtake what is under way
        x.hang_up(reset=reset)

    return behave


def redirect(code: int, to: str) -> Behaviour:
    """Point elsewhere: with the same path below another root (``http://host:port``)."""

    def behave(x: Exchange) -> None:
        x.send(code, b"", Location=f"{to}{x.handler.path}")

    return behave


def reset() -> Behaviour:
    """Reset the connection without an answer."""
    return lambda x: x.hang_up(reset=True)


def exactly(
    body: bytes, *, code: int = 200, kind: str = "application/json", **headers: str
) -> Behaviour:
    """These bytes, whatever was asked for."""
    return lambda x: x.send(code, body, kind, **headers)


def endless(piece: bytes, *, kind: str = "text/event-stream", code: int = 200) -> Behaviour:
    """The same bytes again and again, until the client goes away."""

    def behave(x: Exchange) -> None:
        x.handler.send_response(code)
        x.handler.send_header("Content-Type", kind)
        x.handler.send_header("Transfer-Encoding", "chunked")
        x.handler.end_headers()
        framed = b"%x\r\n%s\r\n" % (len(piece), piece)
        while True:
            x.handler.wfile.write(framed)

    return behave


def raw(body: str, *, code: int = 200, kind: str = "application/json") -> Behaviour:
    """Anything at all; in a stream, as one event and its end."""

    def behave(x: Exchange) -> None:
        if x.streaming and kind == "text/event-stream":
            x.open_stream()
            x.event(body)
            x.event("[DONE]")
            x.close_stream()
        else:
            x.send(code, body.encode(), kind)

    return behave


@dataclass
class ScriptedServer:
    """The server; a context manager. ``base_url`` ends in ``/v1``."""

    requests: list[Recorded] = field(default_factory=list)
    disconnects: int = 0
    host: str = "127.0.0.1"

    def __enter__(self) -> ScriptedServer:
        self._script: list[Behaviour] = [reply()]
        self._lock = threading.Lock()
        self.disconnected = threading.Event()
        self._connections: set[socket.socket] = set()
        self._http = _Server((self.host, 0), self._handler())
        self._http.daemon_threads = True
        threading.Thread(target=self._http.serve_forever, args=(0.005,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._http.shutdown()
        self._http.server_close()
        for connection in list(self._connections):  # kept alive by clients: gone is gone
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    @property
    def base_url(self) -> str:
        """Where the server listens, as an OpenAI base URL."""
        return f"http://{self.host}:{self._http.server_address[1]}/v1"

    def script(self, *behaviours: Behaviour) -> None:
        """What to do with the coming calls."""
        with self._lock:
            self._script = list(behaviours)

    def _next(self) -> Behaviour:
        with self._lock:
            return self._script.pop(0) if len(self._script) > 1 else self._script[0]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            wbufsize = 0
            disable_nagle_algorithm = True

            def do_GET(self) -> None:
                self.do_POST()  # what becomes of a POST after some redirects

            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length", 0))
                body = json.loads(self.rfile.read(length) or b"{}")
                port: int = self.client_address[1]
                server.requests.append(Recorded(self.path, self.headers, body, port))
                try:
                    server._next()(Exchange(self, body))
                except (BrokenPipeError, ConnectionResetError):
                    server.disconnects += 1
                    server.disconnected.set()
                    self.close_connection = True

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def handle(self) -> None:
                server._connections.add(self.connection)
                with contextlib.suppress(OSError, ValueError):  # hung up, by either side
                    super().handle()
                server._connections.discard(self.connection)

        return Handler


class _Server(ThreadingHTTPServer):
    request_queue_size = 128
    """Connections that wait to be taken: with five, a crowd's are reset."""


def _head(x: Exchange, kind: str) -> dict[str, Any]:
    return {
        "id": "chatcmpl-scripted",
        "object": kind,
        "created": 1_700_000_000,
        "model": x.body.get("model", "scripted"),
    }


def _chunk(x: Exchange, delta: dict[str, Any], finish_reason: str | None = None) -> str:
    choice = {"index": 0, "delta": delta, "finish_reason": finish_reason}
    return json.dumps({**_head(x, "chat.completion.chunk"), "choices": [choice]})


def _deltas(text: str, tool_calls: list[dict[str, Any]] | None) -> list[dict[str, Any]]:
    deltas: list[dict[str, Any]] = [{"role": "assistant", "content": ""}]
    words = text.split(" ") if text else []
    deltas += [{"content": w if i == 0 else f" {w}"} for i, w in enumerate(words)]
    for index, call in enumerate(tool_calls or ()):
        arguments = call["function"]["arguments"]
        half = len(arguments) // 2
        head = {**call["function"], "arguments": arguments[:half]}
        deltas.append({"tool_calls": [{**call, "index": index, "function": head}]})
        tail = {"index": index, "function": {"arguments": arguments[half:]}}
        deltas.append({"tool_calls": [tail]})
    return deltas


def _error(code: int, message: str) -> bytes:
    kind = {401: "invalid_api_key", 429: "rate_limit_exceeded"}.get(code, "error")
    return json.dumps({"error": {"message": message, "type": kind, "code": kind}}).encode()
