"""Hosted providers on loopback that misbehave by seed, and count what they charge.

What a call meets follows from the seed, the deployment, the task and how often the task has come,
not from time or order: two clients that ask alike meet alike. Only refusals go by the clock: a
refused connection names no task.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import Any

__all__ = ["DEPLOYMENTS", "Bill", "Deployment", "Provider", "answer_of", "cost_pico"]

MARK = re.compile(rb"\[task (\d+)\]")
PRIVATE = b"SECRET-"
WORDS = (
    "amber birch cedar delta ember fjord grove heath inlet jade kelp lilac moss north opal".split()
)

LIES: tuple[dict[str, Any], ...] = (
    {"prompt_tokens": -1_000_000, "total_tokens": -1_000_000},
    {"completion_tokens": -1_000_000},
    {"prompt_tokens": 10**12, "completion_tokens": 10**12, "total_tokens": 2 * 10**12},
    {"completion_tokens": 10**400},
    {"prompt_tokens_details": {"cached_tokens": 1_000_000}},
    {"prompt_tokens_details": {"cached_tokens": -1_000_000}},
)
"""What a provider says of its tokens that cannot be; the first two would credit a budget."""

STALL_S = 20.0
"""Longer than any client waits."""


@dataclass(frozen=True)
class Deployment:
    """One model of a provider: how often it fails, in which ways, and its prices in 1e-12 USD."""

    name: str
    rate: float
    faults: tuple[str, ...]
    input_pico: int
    output_pico: int
    refusals_s: float = 0.0
    """Refuses all connections for a moment about this often; 0 for never."""


DEPLOYMENTS = (
    Deployment(
        "chaos-a",
        0.30,
        (
            "reset",
            "stall",
            "cut",
            "429 retry-after",
            "429",
            "500",
            "503",
            "malformed JSON",
            "empty choices",
            "wrong content type",
            "slow drip",
            "lying usage",
        ),
        1_000_000,
        4_000_000,
        refusals_s=2.0,
    ),
    Deployment("chaos-b", 0.20, ("503", "429", "stall", "cut", "slow drip"), 2_000_000, 8_000_000),
    Deployment("chaos-c", 0.10, ("500", "reset", "malformed JSON", "307"), 3_000_000, 12_000_000),
)


@dataclass
class Bill:
    """One call as the provider saw it."""

    run: str
    deployment: str
    task: int
    fault: str
    pico: int = 0
    whole: bool = False
    """Whether it was answered in full."""
    reported: bool = False
    """Whether the client was told the tokens, as they are."""

    @property
    def is_untold(self) -> bool:
        """Whether no client can know what it cost; an HTTP error costs nothing."""
        return not self.reported and not self.fault[:1].isdigit()


def answer_of(seed: int, task: int) -> str:
    """The answer to a task; no two words alike, which may be taken for a loop."""
    rng = random.Random(f"{seed} {task} answer")
    return " ".join(f"{rng.choice(WORDS)}{at}" for at in range(rng.randint(5, 30)))


def cost_pico(deployment: Deployment, prompt_tokens: int, output_tokens: int) -> int:
    """What so many tokens cost, in 1e-12 USD."""
    return prompt_tokens * deployment.input_pico + output_tokens * deployment.output_pico


def worst_pico(deployment: Deployment) -> int:
    """What a call costs at most, in 1e-12 USD."""
    return cost_pico(deployment, 200, 60)


@dataclass
class Provider:
    """The deployments, each on a port of its own, and their books."""

    seed: int
    deployments: tuple[Deployment, ...] = DEPLOYMENTS
    bills: list[Bill] = field(default_factory=list)
    private_bytes: int = 0
    strayed: Counter[str] = field(default_factory=Counter)
    """Requests that followed a redirect to another host, by run."""
    ports: dict[str, int] = field(default_factory=dict)
    _seen: Counter[tuple[str, str, int]] = field(default_factory=Counter)
    _servers: dict[str, asyncio.Server] = field(default_factory=dict)
    _tasks: set[asyncio.Task[Any]] = field(default_factory=set)
    most_pico: defaultdict[str, int] = field(default_factory=lambda: defaultdict(int))
    """What was charged so far, by run: it never falls, so that its end is its highest."""

    async def start(self) -> None:
        """Listen."""
        for deployment in self.deployments:
            await self._listen(deployment, 0)
        self._elsewhere = await asyncio.start_server(self._stray, "127.0.0.2", 0)
        for deployment in self.deployments:
            if deployment.refusals_s:
                self._tasks.add(asyncio.create_task(self._refuse(deployment)))

    async def stop(self) -> None:
        """Hang up."""
        for task in self._tasks:
            task.cancel()
        for server in (*self._servers.values(), self._elsewhere):
            server.close()

    @property
    def elsewhere(self) -> str:
        """Another host, to which nobody was told to go."""
        host, port = self._elsewhere.sockets[0].getsockname()
        return f"http://{host}:{port}"

    async def _stray(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            head = await reader.readuntil(b"\r\n\r\n")
            self.strayed[head.split(b" ", 2)[1].split(b"/")[1].decode()] += 1
        writer.close()

    def url(self, deployment: str, run: str) -> str:
        """Where a run reaches a deployment, as an OpenAI base URL."""
        return f"http://127.0.0.1:{self.ports[deployment]}/{run}/v1"

    async def _listen(self, deployment: Deployment, port: int) -> None:
        async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            gone = (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, OSError)
            with contextlib.suppress(*gone):
                while await self._exchange(deployment, reader, writer):
                    pass
            writer.close()

        server = await asyncio.start_server(handle, "127.0.0.1", port, reuse_address=True)
        self._servers[deployment.name] = server
        self.ports[deployment.name] = server.sockets[0].getsockname()[1]

    async def _refuse(self, deployment: Deployment) -> None:
        rng = random.Random(f"{self.seed} {deployment.name} refusals")
        while True:
            await asyncio.sleep(rng.uniform(0.5, 1.5) * deployment.refusals_s)
            self._servers[deployment.name].close()
            await asyncio.sleep(rng.uniform(0.05, 0.2))
            await self._listen(deployment, self.ports[deployment.name])

    def fault_of(self, deployment: Deployment, run: str, task: int) -> str:
        """What the next call of a run for a task meets; empty for nothing."""
        nth = self._seen[run, deployment.name, task]
        self._seen[run, deployment.name, task] += 1
        rng = random.Random(f"{self.seed} {deployment.name} {task} {nth}")
        return rng.choice(deployment.faults) if rng.random() < deployment.rate else ""

    async def _exchange(
        self, deployment: Deployment, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> bool:
        """Answer one request; whether the connection goes on."""
        head = await reader.readuntil(b"\r\n\r\n")
        length = int(re.search(rb"content-length: *(\d+)", head, re.I)[1])  # type: ignore[index]
        body = await reader.readexactly(length)
        self.private_bytes += len(body) if PRIVATE in body else 0
        run = head.split(b" ", 2)[1].split(b"/")[1].decode()
        task = int(MARK.findall(body)[-1])
        bill = Bill(run, deployment.name, task, self.fault_of(deployment, run, task))
        self.bills.append(bill)
        asked = json.loads(body)
        return await _Exchange(self, deployment, bill, asked, writer).answer()


class _Exchange:
    """One request and what becomes of it."""

    def __init__(
        self,
        provider: Provider,
        deployment: Deployment,
        bill: Bill,
        asked: dict[str, Any],
        writer: asyncio.StreamWriter,
    ) -> None:
        self.provider, self.deployment, self.bill = provider, deployment, bill
        self.asked, self.writer = asked, writer
        self.words = self._to_say()
        text = " ".join(str(message["content"]) for message in asked["messages"])
        self.prompt_tokens = len(text.split())

    def _to_say(self) -> list[str]:
        """The answer's words, each but the first with the space before it; of an answer that was
        begun already, what is left."""
        first, *others = answer_of(self.provider.seed, self.bill.task).split(" ")
        words = [first, *(f" {word}" for word in others)]
        begun = [m["content"] for m in self.asked["messages"] if m["role"] == "assistant"]
        said = 0
        while begun and said < len(words) and begun[-1].startswith("".join(words[: said + 1])):
            said += 1
        return words[said:]

    async def answer(self) -> bool:
        fault = self.bill.fault
        if fault == "reset":
            self.writer.transport.abort()
            return False
        if fault == "stall":
            await asyncio.sleep(STALL_S)
            return False
        if fault == "307":
            to = f"{self.provider.elsewhere}/{self.bill.run}/v1/chat/completions"
            return await self._send(307, "", extra=f"Location: {to}\r\n")
        if fault.startswith(("4", "5")):
            extra = "Retry-After: 1\r\n" if fault.endswith("retry-after") else ""
            error = {"error": {"message": "no", "type": "error", "code": "error"}}
            return await self._send(int(fault[:3]), json.dumps(error), extra=extra)
        if fault == "malformed JSON":
            return await self._send(200, '{"id": "chatcmpl-1", "choices": [{"index"')
        if fault == "empty choices":
            return await self._send(200, json.dumps(self._body([])))
        if fault == "wrong content type":
            return await self._send(200, "<html><body>ok</body></html>", kind="text/html")
        return await (self._stream() if self.asked.get("stream") else self._whole())

    async def _whole(self) -> bool:
        if self.bill.fault == "slow drip":
            await asyncio.sleep(0.3)
        message = {"role": "assistant", "content": "".join(self.words)}
        choice = {"index": 0, "message": message, "finish_reason": "stop"}
        text = json.dumps({**self._body([choice]), "usage": self._usage()})
        self._charge(len(self.words))
        if self.bill.fault == "cut":
            self.writer.write(_head(200, len(text), "application/json") + text[:40].encode())
            await self.writer.drain()
            return False
        await self._send(200, text)
        self._answered()
        return True

    async def _stream(self) -> bool:
        write = self.writer.write
        write(
            b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        cut = len(self.words) // 2 if self.bill.fault == "cut" else None
        pause = 0.02 if self.bill.fault == "slow drip" else 0.0
        for at, word in enumerate(self.words):
            if at == cut:
                await asyncio.sleep(0.05)  # what was sent is read before the connection goes
                return False
            self._charge(at + 1)
            self._event(self._delta({"role": "assistant", "content": word}))
            await self.writer.drain()
            await asyncio.sleep(pause)
        self._event(self._delta({}, "stop"))
        self._event({**self._body([], "chat.completion.chunk"), "usage": self._usage()})
        self._event("[DONE]")
        write(b"0\r\n\r\n")
        await self.writer.drain()
        self._answered()
        return True

    def _answered(self) -> None:
        self.bill.whole = True
        self.bill.reported = self.bill.fault != "lying usage"

    def _charge(self, output_tokens: int) -> None:
        pico = cost_pico(self.deployment, self.prompt_tokens, output_tokens)
        self.provider.most_pico[self.bill.run] += pico - self.bill.pico
        self.bill.pico = pico

    def _usage(self) -> dict[str, Any]:
        count = len(self.words)
        lie = LIES[self.bill.task % len(LIES)] if self.bill.fault == "lying usage" else {}
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": count,
            "total_tokens": self.prompt_tokens + count,
            **lie,
        }

    def _body(self, choices: list[Any], kind: str = "chat.completion") -> dict[str, Any]:
        name = f"chatcmpl-{self.bill.run}-{self.bill.task}"
        head = {"id": name, "object": kind, "created": 1_700_000_000, "model": self.deployment.name}
        return {**head, "choices": choices}

    def _delta(self, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        choice = {"index": 0, "delta": delta, "finish_reason": reason}
        return self._body([choice], "chat.completion.chunk")

    def _event(self, data: Any) -> None:
        text = data if isinstance(data, str) else json.dumps(data)
        payload = f"data: {text}\n\n".encode()
        self.writer.write(b"%x\r\n%s\r\n" % (len(payload), payload))

    async def _send(
        self, code: int, text: str, *, kind: str = "application/json", extra: str = ""
    ) -> bool:
        body = text.encode()
        self.writer.write(_head(code, len(body), kind, extra) + body)
        await self.writer.drain()
        return True


def _head(code: int, length: int, kind: str, extra: str = "") -> bytes:
    return (
        f"HTTP/1.1 {code} X\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n{extra}\r\n"
    ).encode()
