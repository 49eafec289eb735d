"""The local engine beside the other ways of running a GGUF model from Python, in one run.

    python benchmarks/local_engine.py                            # all of it: half an hour
    python benchmarks/local_engine.py --models 6m --quick        # a minute
    python benchmarks/local_engine.py --peers ours,llama-server --parts scaling --json out.json
    python benchmarks/local_engine.py --soak                     # 10,000 requests, resident memory

Every peer answers the same prompts greedily with the same number of threads; answers end by
``max_tokens`` alone. A figure is the decode tokens of all callers together for each second from the
first request to the last answer, prompts and (for servers) HTTP included. The peers take turns,
level by level, and of each figure the best of the repetitions is taken: on a machine with other
work to do that is the one least disturbed. Times to a first token are medians.

Peers: ours; low-level (a plain loop over llama.cpp's C API, the most there is to be had from
Python); llama (``llama_cpp.Llama`` behind a lock); python-server (``llama_cpp.server``);
example-server (the batching server among llama-cpp-python's examples) and llama-server
(llama.cpp's own), both after ``benchmarks/build_llama_server.sh``. What is not there is named
and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, closing
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from _engine_load import (
    CrowdResult,
    FirstTokens,
    prefix_of,
    prompt,
    rough_crowd,
    shared_prefix,
    soak,
)
from _engine_peers import PEERS, LowLevel, Peer, Setup, started
from _models import MODELS, Model, made

LEVELS = (1, 2, 4, 8, 16, 32)
SERIAL_LEVELS = (1, 16, 32)  # for peers that answer one request at a time
PARTS = ("scaling", "prefix", "crowd")
SLOTS = 32
CONTEXT = 256  # tokens a slot, prompt and answer
PREFIX = 1000
PLOT = Path(__file__).parent.parent / "docs" / "images" / "local_engine_scaling.png"
TITLES = {key: peer.name for key, peer in PEERS.items()}

Rates = dict[str, dict[int, list[float]]]  # peer -> callers -> tokens a second, each repetition


@dataclass(frozen=True)
class Verdict:
    """One target: a peer's figure, ours, and how many times better ours has to be."""

    model: str
    what: str
    peer: float
    ours: float
    ratio: float
    wanted: float

    @property
    def met(self) -> bool:
        """Whether the target is reached."""
        return self.ratio >= self.wanted


def main() -> None:
    options = parsed()
    results: dict[str, Any] = {"machine": machine(), "models": {}}
    print("{processor}, {cores} cores, load {load:.1f}; {versions}".format(**results["machine"]))
    verdicts: list[Verdict] = []
    for key in options.models:
        model = made(key)
        setup = Setup(model.path, options.threads or default_threads(model), SLOTS, CONTEXT)
        found: dict[str, Any] = {"threads": setup.threads}
        results["models"][key] = found
        print(f"\n{model.title}, {setup.threads} thread{'s' * (setup.threads > 1)}")
        if "scaling" in options.parts:
            rates = scaling(model, setup, options)
            print_rates(rates, options.levels)
            verdicts += rate_verdicts(model, rates)
            found["tokens_per_s"] = rates
        if "prefix" in options.parts:
            first = prefixes(setup, options)
            verdicts += prefix_verdicts(model, first)
            found["first_token_s"] = {name: asdict(times) for name, times in first.items()}
        if "crowd" in options.parts:
            wide = replace(setup, context=512)
            result = rough_crowd(
                wide, requests=options.requests, callers=SLOTS, allowed_s=options.requests
            )
            print_crowd(result)
            found["crowd"] = asdict(result)
        if options.soak:
            found["soak"] = soaked(setup, options.requests * 10)
    print_verdicts(verdicts)
    results["targets"] = [{**asdict(verdict), "met": verdict.met} for verdict in verdicts]
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.plot:
        plot(results["models"], options.plot)


def parsed() -> argparse.Namespace:
    def names(known: Sequence[str]) -> Any:
        def read(text: str) -> list[str]:
            wanted = text.split(",")
            if unknown := set(wanted) - set(known):
                raise argparse.ArgumentTypeError(
                    f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}"
                )
            return wanted

        return read

    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--models", type=names(list(MODELS)), default=list(MODELS), help=",".join(MODELS))
    add("--peers", type=names(list(PEERS)), default=list(PEERS), help=",".join(PEERS))
    add("--parts", type=names(PARTS), help=",".join(PARTS))
    add("--levels", type=lambda text: [int(n) for n in text.split(",")], default=list(LEVELS))
    add("--threads", type=int, help="for every peer; by default what ours would take")
    add("--repeats", type=int, help="3, quick 1")
    add("--requests", type=int, help="of the crowd: 1000, quick 100")
    add("--quick", action="store_true", help="one repetition, answers half as long, a small crowd")
    add("--soak", action="store_true", help="ten times as many short requests, alone or with parts")
    add("--json", type=Path, help="write every figure there")
    add("--plot", type=Path, help=f"write the scaling curve there; all models: {PLOT.name}")
    options = parser.parse_args()
    if options.parts is None:
        options.parts = [] if options.soak else list(PARTS)
    options.repeats = options.repeats or (1 if options.quick else 3)
    options.requests = options.requests or (100 if options.quick else 1000)
    whole = "scaling" in options.parts and set(options.models) == set(MODELS)
    if options.plot is None and whole and not options.quick:
        options.plot = PLOT
    return options


def machine() -> dict[str, Any]:
    """Where and with what the figures were taken."""
    processor = platform.processor() or platform.machine()
    info = Path("/proc/cpuinfo")
    if info.exists():
        lines = info.read_text().splitlines()
        processor = next(
            (line.split(":")[1].strip() for line in lines if line.startswith("model name")),
            processor,
        )
    python, packages = platform.python_version(), ("modelrouter", "llama-cpp-python")
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan"),
        "versions": ", ".join(
            [
                f"Python {platform.python_version()}",
                *(f"{name} {version(name)}" for name in packages),
            ]
        ),
        "time": time.strftime("%Y-%m-%d %H:%M"),
    }


def default_threads(model: Model) -> int:
    """As many as our engine takes by itself for this file."""
    from modelrouter.backends.llamacpp import LlamaCppSettings

    return LlamaCppSettings().threads_for(model.path.stat().st_size)


# Scaling


def scaling(model: Model, setup: Setup, options: argparse.Namespace) -> Rates:
    rates: Rates = defaultdict(lambda: defaultdict(list))
    max_tokens = model.max_tokens // (2 if options.quick else 1)
    with ExitStack() as stack:
        peers: dict[str, Peer] = {}
        for name, peer in started(options.peers, setup):
            peers[name] = stack.enter_context(closing(peer))
        for peer in peers.values():
            for level in levels_of(peer, options.levels):  # contexts and buffers are made here
                peer.answers([[prompt(level, 8)]] * level, 2)
        seed = 0
        for _ in range(options.repeats):
            for callers in options.levels:
                rounds = max(1, round(model.least_tokens / (max_tokens * callers)))
                seeds = [range(seed + c * rounds, seed + (c + 1) * rounds) for c in range(callers)]
                seed += callers * rounds
                prompts = [[prompt(i, model.prompt_chars) for i in own] for own in seeds]
                for name, peer in peers.items():
                    if callers in levels_of(peer, options.levels):
                        rates[name][callers].append(rate(peer, prompts, max_tokens))
    return {name: dict(levels) for name, levels in rates.items()}


def levels_of(peer: Peer, levels: Sequence[int]) -> list[int]:
    return [n for n in levels if peer.batches or n in SERIAL_LEVELS]


def rate(peer: Peer, prompts: Sequence[Sequence[str]], max_tokens: int) -> float:
    """Tokens a second in all.

    Raises:
        RuntimeError: an answer is shorter or longer than all others: it would be other work.
    """
    began = time.perf_counter()
    answers = peer.answers(prompts, max_tokens)
    took = time.perf_counter() - began
    if len(answers) != sum(map(len, prompts)) or any(a.tokens != max_tokens for a in answers):
        raise RuntimeError(f"{peer.name} did other work: {[a.tokens for a in answers]}")
    return max_tokens * len(answers) / took


def print_rates(rates: Rates, levels: Sequence[int]) -> None:
    print(f"{'tokens per second, callers:':34}" + "".join(f"{n:>8}" for n in levels))
    for name, by_level in rates.items():
        cells = (f"{max(by_level[n]):8,.0f}" if n in by_level else f"{'':8}" for n in levels)
        print(f"{TITLES[name]:34}" + "".join(cells))


def rate_verdicts(model: Model, rates: Rates) -> list[Verdict]:
    wanted = [("low-level", 1, 0.97), ("llama", 1, 1.1)]
    for callers in (16, 32):
        wanted += [(peer, callers, model.speedup) for peer in ("llama", "python-server")]
        wanted += [(peer, callers, 1.0) for peer in ("llama-server", "example-server")]
    verdicts = []
    for peer, callers, least in wanted:
        theirs, ours = (rates.get(name, {}).get(callers) for name in (peer, "ours"))
        if theirs and ours:
            what = f"{TITLES[peer]}, {callers} caller{'s' * (callers > 1)} (tokens/s)"
            best = max(theirs), max(ours)
            verdicts.append(Verdict(model.title, what, *best, best[1] / best[0], least))
    return verdicts


# Shared prefix, crowd, soak


def prefixes(setup: Setup, options: argparse.Namespace) -> dict[str, FirstTokens]:
    with closing(LowLevel(setup)) as counter:
        texts = [prefix_of(PREFIX, seed, counter.tokens) for seed in range(options.repeats)]
    wide = replace(setup, slots=4, context=2048)
    names = [name for name in options.peers if name != "low-level"]
    found = {}
    print(f"first token after {PREFIX:,} shared tokens:    first request   later ones    sooner")
    for name, peer in started(names, wide):
        with closing(peer):
            found[name] = times = shared_prefix(peer, texts)
        first, later = (f"{t * 1e3:10.1f} ms" for t in (times.first_s, times.later_s))
        print(f"{TITLES[name]:34} {first:>16} {later:>12} {times.ratio:8.1f}x")
    return found


def prefix_verdicts(model: Model, found: Mapping[str, FirstTokens]) -> list[Verdict]:
    if "ours" not in found:
        return []
    times = found["ours"]
    what = "ours with nothing to reuse (ms to a first token)"
    figures = (times.first_s * 1e3, times.later_s * 1e3, times.ratio)
    return [Verdict(model.title, what, *figures, 10.0)]


def print_crowd(result: CrowdResult) -> None:
    ends = ", ".join(f"{n} {end}" for end, n in result.ends.most_common())
    mb = [size / 1e6 for size in (result.before_bytes, result.after_bytes)]
    print(
        f"crowd of {result.ends.total() + result.unended} in {result.seconds:.1f} s: {ends};"
        f" {result.unended} without an end\n"
        f"  {result.different} of {result.compared} texts differ from a sequential run"
        f" (widest gap of the two likeliest logits there: {result.widest_gap:.4f});"
        f" resident memory {mb[0]:.1f} MB before, {mb[1]:.1f} MB after"
    )


def soaked(setup: Setup, requests: int) -> dict[str, int]:
    result = soak(setup, requests=requests, early=requests // 10, callers=16)
    print(
        f"soak: resident memory {result.early_bytes / 1e6:.1f} MB after {result.early:,} requests,"
        f" {result.bytes / 1e6:.1f} MB after {result.requests:,}"
    )
    return asdict(result)


# What comes of it


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    if not verdicts:
        return
    print(f"\n{'model':22} {'against':52} {'peer':>8} {'ours':>8} {'ratio':>6} {'wanted':>6}")
    for v in verdicts:
        print(
            f"{v.model:22} {v.what:52} {v.peer:8,.1f} {v.ours:8,.1f} {v.ratio:6.2f}"
            f" {v.wanted:6.2f}  {'met' if v.met else 'NOT MET'}"
        )


def plot(found: Mapping[str, Any], path: Path) -> None:
    """One panel a model: tokens a second over the number of callers."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    measured = {key: model["tokens_per_s"] for key, model in found.items()}
    figure, panels = plt.subplots(
        1, len(measured), figsize=(5 * len(measured), 4.2), squeeze=False, layout="constrained"
    )
    for panel, (key, rates) in zip(panels[0], measured.items(), strict=True):
        for name, by_level in rates.items():
            levels = sorted(by_level)
            best = [max(by_level[n]) for n in levels]
            style = {"linewidth": 2.5, "zorder": 3} if name == "ours" else {"linewidth": 1.2}
            colour = f"C{list(PEERS).index(name)}"
            panel.plot(levels, best, marker="o", markersize=4, color=colour, label=name, **style)
        panel.set_title(MODELS[key].title)
        panel.set_xscale("log", base=2)
        panel.set_xticks(LEVELS, [str(n) for n in LEVELS])
        panel.set_xlabel("callers at once")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("decode tokens per second, all callers")
    handles, names = panels[0][0].get_legend_handles_labels()
    labels = [TITLES[name] for name in names]
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"scaling curve: {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
