"""What a hosted call costs through Router, beside litellm called directly and litellm's Router.

    python benchmarks/hosted_overhead.py [--calls 300]

All four ask the same provider on loopback, in one process, taking turns call by call, so that
whatever else the machine does falls on all alike. The provider answers at once, so that what is
left is the client's own time. ``aiohttp`` stands for the bare HTTP exchange. Blocking calls are
measured after that, with a pause after each, in which litellm's own logging thread ends its work;
their provider is a process of its own.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable
from statistics import median, quantiles

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

import aiohttp
import litellm
from litellm.router import Router as LiteLLMRouter

from modelrouter import Catalog, ModelCard, Router
from modelrouter.backends.base import Request
from modelrouter.backends.hosted import LiteLLMBackend

ANSWER = json.dumps(
    {
        "id": "chatcmpl-1",
        "object": "chat.completion",
        "created": 1_700_000_000,
        "model": "gpt-4o",
        "choices": [
            {
                "index": 0,
                "message": {"role": "assistant", "content": "Suppose it were rational."},
                "finish_reason": "stop",
            }
        ],
        "usage": {"prompt_tokens": 12, "completion_tokens": 5, "total_tokens": 17},
    }
).encode()
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(
    ANSWER
)
TASK = "Prove that the square root of 2 is irrational, and say which step uses parity."
MESSAGES = [{"role": "user", "content": TASK}]


async def provider(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer every request on a connection at once."""
    try:
        while True:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next(
                int(line.split(b":")[1])
                for line in head.split(b"\r\n")
                if line.lower().startswith(b"content-length")
            )
            await reader.readexactly(length)
            writer.write(HEAD + ANSWER)
            await writer.drain()
    except (asyncio.IncompleteReadError, asyncio.CancelledError, ConnectionError):
        writer.close()


async def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=300)
    parser.add_argument("--serve", action="store_true", help="be the provider; tell the port")
    given = parser.parse_args()
    if given.serve:
        await serve()
    else:
        await awaited(given.calls)
        await asyncio.to_thread(blocking, given.calls)


async def serve() -> None:
    server = await asyncio.start_server(provider, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def blocking(calls: int) -> None:
    command = [sys.executable, __file__, "--serve"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            compare_blocking(calls, f"http://127.0.0.1:{server.stdout.readline().strip()}/v1")
        finally:
            server.kill()


def compare_blocking(calls: int, base: str) -> None:
    to = {"api_base": base, "api_key": "sk-benchmark-000000"}
    card = ModelCard.hosted("openai/gpt-4o", **to)
    backend = LiteLLMBackend()
    router = Router(catalog=Catalog([card]))
    ways: dict[str, Callable[[], object]] = {
        "litellm.completion": lambda: litellm.completion(
            model="openai/gpt-4o", messages=MESSAGES, num_retries=0, max_retries=0, timeout=60, **to
        ),
        "modelrouter backend": lambda: backend.complete(Request(card, MESSAGES, timeout_s=60)),
        "modelrouter Router": lambda: router.completion(messages=MESSAGES),
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(calls + 20):
        for name, call in ways.items():
            started = time.perf_counter()
            call()
            if turn >= 20:
                seconds[name].append(time.perf_counter() - started)
            time.sleep(0.003)
    print("blocking:")
    table(seconds, "litellm.completion")


async def awaited(calls: int) -> None:
    server = await asyncio.start_server(provider, "127.0.0.1", 0)
    base = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1"
    to = {"api_base": base, "api_key": "sk-benchmark-000000"}
    litellm.suppress_debug_info = True

    router = Router(catalog=Catalog([ModelCard.hosted("openai/gpt-4o", **to)]))
    peer_router = LiteLLMRouter(
        model_list=[{"model_name": "gpt-4o", "litellm_params": {"model": "openai/gpt-4o", **to}}],
        num_retries=0,
    )
    session = aiohttp.ClientSession()

    async def bare() -> None:
        body = {"model": "gpt-4o", "messages": MESSAGES}
        async with session.post(f"{base}/chat/completions", json=body) as response:
            await response.json()

    async def direct() -> None:
        await litellm.acompletion(
            model="openai/gpt-4o", messages=MESSAGES, num_retries=0, max_retries=0, timeout=60, **to
        )

    async def through_ours() -> None:
        await router.acompletion(messages=MESSAGES)

    async def through_litellms() -> None:
        await peer_router.acompletion(model="gpt-4o", messages=MESSAGES)

    ways: dict[str, Callable[[], Awaitable[None]]] = {
        "bare HTTP (aiohttp)": bare,
        "litellm.acompletion": direct,
        "modelrouter Router": through_ours,
        "litellm Router": through_litellms,
    }
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    for turn in range(calls + 20):
        for name, call in ways.items():
            started = time.perf_counter()
            await call()
            if turn >= 20:  # the first calls open connections and fill caches
                seconds[name].append(time.perf_counter() - started)
    report(seconds)
    await session.close()
    server.close()


def report(seconds: dict[str, list[float]]) -> None:
    print(f"{platform.machine()}, Python {platform.python_version()}, {os.cpu_count()} cores")
    direct = table(seconds, "litellm.acompletion")
    ours = median(seconds["modelrouter Router"]) - direct
    theirs = median(seconds["litellm Router"]) - direct
    print(f"overhead: litellm Router {theirs * 1e3:.2f} ms, ours {ours * 1e3:.2f} ms, ", end="")
    print(f"ratio {theirs / ours:.1f}" if ours > 0 else "ours not measurable")


def table(seconds: dict[str, list[float]], baseline: str) -> float:
    """Print the ways beside the baseline, whose median is returned."""
    direct = median(seconds[baseline])
    print(f"{'':24} {'median':>9} {'p95':>9} {'over direct':>12}")
    for name, times in seconds.items():
        p95 = quantiles(times, n=20)[-1]
        over = median(times) - direct
        print(f"{name:24} {median(times) * 1e3:6.2f} ms {p95 * 1e3:6.2f} ms {over * 1e3:+9.2f} ms")
    return direct


if __name__ == "__main__":
    asyncio.run(main())
