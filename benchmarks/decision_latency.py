"""Time to decide, whole and by stage, beside LiteLLM's complexity router.

    python benchmarks/decision_latency.py [--repeats 30]

One process; the contenders take turns repeat by repeat, and the thread's own CPU time is taken
(all of them are arithmetic), so that whatever else the machine does falls on all alike. Printed
are the median and the least time of one call and, by the medians, how many of ours fit into one
of the peer's. Texts: a request for a product description (257 characters), a question of law (271),
English prose with dates and figures (5 KB, 500 KB), digits and base64 (500 KB).

The peer's call is ``ComplexityRouter.classify`` with its defaults (rules, no model). Ours is
``Router.route`` with the default scorer over the built-in catalog; then its stages: the task made
of the string, kind, language, tokens, personal data, the scorer's reading, all signals, and the
decision (assess and decide). Every hosted model is made available by a
key of no worth, so that there is something to choose among; no model is called.
"""

from __future__ import annotations

import argparse
import base64
import os
import platform
import random
import time
from collections.abc import Callable
from importlib.metadata import version
from statistics import median

os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")

from litellm import Router as LiteLLMRouter
from litellm.router_strategy.complexity_router.complexity_router import ComplexityRouter

from modelrouter import Router
from modelrouter.catalog import discover
from modelrouter.catalog.builtin import key_variables
from modelrouter.policies import Policy
from modelrouter.scoring import CandidateSet, assess
from modelrouter.signals import detect_kind, detect_language, find_pii, read
from modelrouter.signals.context import count
from modelrouter.task import Task

SHORT = (
    "Please write a short product description for our new bamboo toothbrush. It should mention "
    "that the handle is compostable, that the bristles are soft, and that we plant a tree for "
    "every order. Keep the tone friendly and avoid any claims that are exaggerated."
)
QUESTION = (
    "A company's board of directors approved a merger in March. Three months later, a shareholder "
    "who had voted against the plan asked the court to review the price. Which of the two "
    "standards would the court most likely apply, and what would the plaintiff have to show first?"
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


def peer() -> Contender:
    """LiteLLM's router by complexity."""
    router = ComplexityRouter(
        "auto",
        LiteLLMRouter(
            model_list=[{"model_name": "small", "litellm_params": {"model": "openai/gpt-4o-mini"}}]
        ),
        default_model="small",
    )
    return f"litellm {version('litellm')} classify", router.classify


def ours(router: Router, text: str) -> list[Contender]:
    """The whole route, then its stages on what the stages before them made of the text."""
    task = Task.of(text)
    scorer, candidate_set = router.scorer, CandidateSet(router.catalog, router.unavailable)
    signals = read(task, difficulty=scorer.read)
    kind, language = signals.kind, signals.language
    policy = Policy.of(None)
    return [
        (f"modelrouter route ({type(scorer).__name__})", router.route),
        ("  the task", Task.of),
        ("  kind", lambda _: detect_kind(task)),
        ("  language", detect_language),
        ("  tokens", lambda _: count(task, kind, language=language)),
        ("  personal data", find_pii),
        ("  the scorer's reading", lambda text: scorer.read(text, kind)),
        ("  all signals", lambda _: read(task, difficulty=scorer.read)),
        ("  the decision", lambda _: policy.decide(assess(task, signals, candidate_set, scorer))),
    ]


def set_all_keys() -> None:
    """A key of no worth for every provider that the catalog knows."""
    for card in discover({}).catalog:
        if card.location == "hosted":
            for variable in key_variables(card.name):
                os.environ.setdefault(variable, "none")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--repeats", type=int, default=30)
    chosen = arguments.parse_args()
    set_all_keys()
    texts = {
        "a request": SHORT,
        "a question": QUESTION,
        "5 KB": (PROSE * 20)[:5_000],
        "500 KB": (PROSE * 1_500)[:500_000],
        "500 KB of digits": "1234567 " * 62_500,
        "500 KB of base64": base64.b64encode(random.Random(7).randbytes(375_000)).decode(),
    }
    other = peer()
    router = Router(policy=Policy.balanced(min_quality=None))
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"load average {', '.join(f'{x:.1f}' for x in os.getloadavg())}")
    print(f"{len(router.catalog)} cards, {len(router.available)} of them available")
    for name, text in texts.items():
        rounds = chosen.repeats if len(text) < 100_000 else max(3, chosen.repeats // 5)
        rivals = [other, *ours(router, text)]
        samples: dict[str, list[float]] = {rival: [] for rival, _ in rivals}
        for _ in range(rounds):
            for rival, call in rivals:
                samples[rival].append(seconds_per_call(call, text, at_least=0.003))
        base = median(samples[other[0]])
        print(f"\n{name} ({len(text):,} characters), {rounds} repeats")
        print(f"  {'':<36} {'median':>13} {'least':>13} {'peer/this':>10}")
        for rival, _ in rivals:
            took, least = median(samples[rival]), min(samples[rival])
            print(f"  {rival:<36} {took * 1e6:>10,.1f} µs {least * 1e6:>10,.1f} µs", end="")
            print(f" {base / took:>9,.1f}x")


if __name__ == "__main__":
    main()
