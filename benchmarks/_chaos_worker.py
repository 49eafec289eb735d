"""The client side of the chaos benchmark, in a process of its own that may be killed at any moment.

    python benchmarks/_chaos_worker.py ours|peer PLAN.json

It does the tasks that have no line in the results file yet, 64 at once, and writes a line for each
when it has ended; the last line is its own memory and open files. A killed worker is
started again and goes on.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import os
import random
import sys
import time
import warnings
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

Ask = Callable[[dict[str, Any], float | None], Awaitable[dict[str, Any]]]

SUBJECTS = ("7 is prime", "cats purr", "the moon is round", "water is wet", "rivers bend")
KINDS = (
    "Prove that {subject}.",
    "Translate into French: I know that {subject}.",
    "Write a limerick about why {subject}.",
    "Summarize: Some say that {subject}, and others say that nobody can know it for sure.",
    "What would follow if {subject}?",
    "Write a Python function that checks whether {subject}.",
    "Fix the grammar: She know that {subject} and he agree.",
)
GRAMMAR = KINDS[-1]


def plan_of(seed: int, task: int) -> dict[str, Any]:
    """What a task is, by seed: its text, whether it streams, is private, and when it is left."""
    rng = random.Random(f"{seed} {task} plan")
    private = rng.random() < 0.1
    kind = GRAMMAR if private and rng.random() < 0.9 else rng.choice(KINDS)
    text = kind.format(subject=rng.choice(SUBJECTS))
    if private:
        text += f" SECRET-{task}"
    return {
        "task": task,
        "text": f"{text} [task {task}]",
        "private": private,
        "stream": rng.random() < 0.5,
        "leave_after": rng.uniform(0.0, 0.1) if rng.random() < 0.05 else None,
    }


def main() -> None:
    who, path = sys.argv[1], sys.argv[2]
    settings = json.loads(Path(path).read_text("utf-8"))
    warnings.simplefilter("ignore")  # litellm's, of calls that were left
    logging.getLogger("LiteLLM").setLevel(logging.ERROR)
    asyncio.run(work(settings, ours if who == "ours" else peer))


async def work(
    settings: dict[str, Any],
    make: Callable[[dict[str, Any]], tuple[Ask, Callable[[], Awaitable[None]]]],
) -> None:
    """Do what is left to do, so many at once."""
    ask, close = make(settings)
    results = Path(settings["results"])
    done = {json.loads(line)["task"] for line in _lines(results)}
    left = [task for task in settings["tasks"] if task not in done]
    warm_up = max(len(left) // 4, 2 * settings["at_once"])
    start: dict[str, float] = {}
    fresh = footprint()
    queue = enumerate(left)
    with results.open("a", buffering=1, encoding="utf-8") as file:

        async def run() -> None:
            for count, task in queue:
                if count == warm_up and not start:
                    start.update(footprint())
                plan = plan_of(settings["seed"], task)
                began = time.perf_counter()
                outcome = await ended(ask, plan)
                seconds = time.perf_counter() - began
                file.write(json.dumps({"task": task, **outcome, "seconds": seconds}) + "\n")

        began = time.perf_counter()
        await asyncio.gather(*(run() for _ in range(settings["at_once"])))
        took = time.perf_counter() - began
        await asyncio.sleep(0.5)
        end = footprint()
        await close()
        await asyncio.sleep(0.5)
        sizes = {"fresh": fresh, "warm": start or end, "end": end, "closed": footprint()}
        figures = {"tasks": len(left), "seconds": took, **sizes}
        Path(settings["figures"]).write_text(json.dumps(figures), encoding="utf-8")


async def ended(ask: Ask, plan: dict[str, Any]) -> dict[str, Any]:
    """What becomes of a task, the caller going away among it."""
    call = asyncio.ensure_future(ask(plan, None))
    try:
        if plan["leave_after"] is None:
            return await call
        return await asyncio.wait_for(call, plan["leave_after"])
    except asyncio.TimeoutError:
        return {"outcome": "cancelled"}


def footprint() -> dict[str, float]:
    """Resident memory in MB, open files and threads of this process."""
    import psutil

    gc.collect()
    process = psutil.Process()
    return {
        "mb": process.memory_info().rss / 1e6,
        "files": process.num_fds(),
        "threads": process.num_threads(),
    }


def ours(settings: dict[str, Any]) -> tuple[Ask, Callable[[], Awaitable[None]]]:
    """Tasks through this package's Router."""
    import litellm  # noqa: F401 (its import is nobody's latency here, nor is it the peer's)

    from modelrouter import (
        AsyncRouter,
        Budget,
        ModelCard,
        ModelRouterError,
        Policy,
        RetryPolicy,
        StreamInterruptedError,
        Timeout,
    )

    cards = [
        ModelCard.hosted(
            f"openai/{name}",
            api_base=url,
            api_key="sk-chaos-000000",
            price={"input": price[0] / 1e12, "output": price[1] / 1e12},
            context_window=8_192,
            general_strength=0.95 - 0.01 * place,
        )
        for place, (name, (url, price)) in enumerate(settings["deployments"].items())
    ]
    router = AsyncRouter(
        cards,
        ledger=settings["ledger"],
        retry=RetryPolicy(
            max_attempts=2, initial_s=0.05, max_s=0.2, jitter_s=0.1, max_retry_after_s=0.5
        ),
        timeout=Timeout(total=30, attempt=settings["attempt_s"]),
        budgets=[Budget(usd=settings["limit_usd"], per="total")] if settings["limit_usd"] else [],
        budget_store=settings["budget_store"],
        policy=Policy.balanced(on_interruption="continue"),
    )
    private = Policy.private()

    async def ask(plan: dict[str, Any], _: float | None) -> dict[str, Any]:
        options: dict[str, Any] = {"tags": {"task": str(plan["task"])}, "max_tokens": 60}
        if plan["private"]:
            options["policy"] = private
        trace: Any = None
        text = ""
        try:
            if not plan["stream"]:
                reply = await router.acompletion(plan["text"], **options)
                return _answer(reply.text, reply.model, reply.trace.id)
            stream = await router.acompletion(plan["text"], stream=True, **options)
            async with stream:
                async for chunk in stream:
                    text += chunk.text
            trace = stream.trace
            assert stream.completion is not None
            assert (stream.completion.text or "") == text
            return _answer(text, stream.model, trace.id)
        except StreamInterruptedError as error:
            found = {**_error(error), "model": error.model, "partial": error.partial_text}
            return {**found, "text": text, "outcome": "interrupted"}
        except ModelRouterError as error:
            return _error(error)

    def _error(error: Any) -> dict[str, Any]:
        trace = getattr(error, "trace", None)
        return {
            "outcome": "failed",
            "typed": True,
            "error": type(error).__name__,
            "id": trace.id if trace is not None else None,
        }

    return ask, router.aclose


def peer(settings: dict[str, Any]) -> tuple[Ask, Callable[[], Awaitable[None]]]:
    """The same tasks through LiteLLM's Router, over the same deployments."""
    import litellm
    from litellm.router import Router

    litellm.suppress_debug_info = True
    limit: dict[str, Any] = {}
    if settings["limit_usd"]:
        budget = {"budget_limit": settings["limit_usd"], "time_period": "1d"}
        limit = {"provider_budget_config": {"openai": budget}}
    router = Router(
        model_list=[
            {
                "model_name": "any",
                "litellm_params": {
                    "model": f"openai/{name}",
                    "api_base": url,
                    "api_key": "sk-chaos-000000",
                    "input_cost_per_token": price[0] / 1e12,
                    "output_cost_per_token": price[1] / 1e12,
                },
            }
            for name, (url, price) in settings["deployments"].items()
        ],
        num_retries=5,  # as many attempts as ours makes: two of each deployment
        timeout=settings["attempt_s"],
        **limit,
    )

    async def ask(plan: dict[str, Any], _: float | None) -> dict[str, Any]:
        messages = [{"role": "user", "content": plan["text"]}]
        text = ""
        try:
            if not plan["stream"]:
                reply = await router.acompletion(model="any", messages=messages, max_tokens=60)
                return _answer(reply.choices[0].message.content or "", reply.model or "", None)
            stream = await router.acompletion(
                model="any",
                messages=messages,
                max_tokens=60,
                stream=True,
                stream_options={"include_usage": True},
            )
            model = ""
            async for chunk in stream:
                model = chunk.model or model
                text += (chunk.choices[0].delta.content or "") if chunk.choices else ""
            return _answer(text, model, None)
        except Exception as error:  # whatever the peer raises is its outcome
            return {"outcome": "failed", "error": type(error).__name__, "text": text}

    async def close() -> None:
        pass

    return ask, close


def _answer(text: str, model: str, name: str | None) -> dict[str, Any]:
    return {"outcome": "answered", "text": text, "model": model, "id": name}


def _lines(path: Path) -> list[str]:
    """Whole lines only: a killed worker may have left half of one."""
    if not path.exists():
        return []
    content = path.read_text("utf-8")
    whole = content[: content.rfind("\n") + 1]
    if whole != content:
        path.write_text(whole, encoding="utf-8")
    return whole.splitlines()


if __name__ == "__main__":
    main()
