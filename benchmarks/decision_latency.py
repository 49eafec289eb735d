"""Time to read a prompt's signals and to decide, beside LiteLLM's complexity router.

    python benchmarks/decision_latency.py [--repeats 30]

One process; the contenders take turns repeat by repeat, and the thread's own CPU time is taken
(all of them are arithmetic), so that whatever else the machine does falls on all alike. Printed
are the median time of one call and how many of ours fit into one of the peer's. Texts: a request
for a product description (250 characters), English prose with dates and figures (5 KB, 500 KB).
The peer's call is ``ComplexityRouter.classify`` with its defaults (rules, no model); ours are
``signals.read`` (kind, complexity, tokens, needs, language, personal data) and
``Router.consider`` (signals, scores for every known card, policy, ordered candidates).
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from litellm import Router as LiteLLMRouter
from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

from modelrouter.signals import read
from modelrouter.task import Task

SHORT = (
    "Please write a short product description for our new bamboo toothbrush. It should mention "
    "that the handle is compostable, that the bristles are soft, and that we plant a tree for "
    "every order. Keep the tone friendly and avoid any claims that are exaggerated."
)
PROSE = (
    "Summarize the following report.\n\nThe harbour handled 13.4 million containers in 2024, "
    "slightly less than the year before. The authority blames weak demand and the low water of "
    "late summer. Investments continue all the same: a new terminal should open on 3 May 2027, "
    "and the third stage of the expansion has been approved. Unions warn that automation will "
    "cost about 900 jobs. The mayor called the plan a bet on the future that the city can afford. "
)
Contender = tuple[str, Callable[[str], object]]


def seconds_per_call(call: Callable[[str], object], text: str, *, at_least: float) -> float:
    """One sample: enough calls in a row to be measurable, their mean."""
    calls = 0
    start = time.thread_time()
    while (spent := time.thread_time() - start) < at_least or not calls:
        call(text)
        calls += 1
    return spent / calls


def contenders() -> list[Contender]:
    """The peer first, then ours."""
    peer = ComplexityRouter(
        "auto",
        LiteLLMRouter(
            model_list=[{"model_name": "small", "litellm_params": {"model": "openai/gpt-4o-mini"}}]
        ),
        default_model="small",
    )
    found: list[Contender] = [
        (f"litellm {version('litellm')} classify", peer.classify),
        ("modelrouter signals.read", lambda text: read(Task.of(text))),
    ]
    try:
        from modelrouter import Router

        router = Router()
        router.consider("hi")
    except Exception as error:  # a benchmark of what there is: say why a line is missing
        print(f"Router is left out: {type(error).__name__}: {error}")
    else:
        found.append(("modelrouter Router.consider", router.consider))
    return found


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=30)
    repeats = arguments.parse_args().repeats
    texts = {
        "250 characters": SHORT,
        "5 KB": (PROSE * 20)[:5_000],
        "500 KB": (PROSE * 1_500)[:500_000],
    }
    rivals = contenders()
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"load average {', '.join(f'{x:.1f}' for x in os.getloadavg())}; median of {repeats}")
    for name, text in texts.items():
        rounds = repeats if len(text) < 100_000 else max(3, repeats // 5)
        samples: dict[str, list[float]] = {rival: [] for rival, _ in rivals}
        for _ in range(rounds):
            for rival, call in rivals:
                samples[rival].append(seconds_per_call(call, text, at_least=0.003))
        peer = median(samples[rivals[0][0]])
        print(f"\n{name} ({len(text):,} characters)")
        for rival, _ in rivals:
            took = median(samples[rival])
            print(f"  {rival:<32} {took * 1e6:>12,.1f} µs   {peer / took:>8.1f}x")


if __name__ == "__main__":
    main()
