"""The local engine beside the other ways of running a GGUF model from Python, in one run.

    python benchmarks/local_engine.py                            # all of it: half an hour
    python benchmarks/local_engine.py --models 6m --quick        # a minute
    python benchmarks/local_engine.py --peers ours,llama-server --parts scaling --json out.json
    python benchmarks/local_engine.py --soak                     # 10,000 requests, resident memory

Every peer answers the same prompts greedily with the same number of threads; answers end by
``max_tokens`` alone. A figure is the decode tokens of all callers together for each second from the
first request to the last answer, prompts and (for servers) HTTP included. The peers take turns,
level by level, and of each figure the best of the repetitions is taken: on a machine with other
work to do that is the one least disturbed. Tokens for each second of processor time (callers and
server together) stand beside it, since other work disturbs them little. Times to a first token are
medians.

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
    Soak,
    prefix_of,
    prompt,
    rough_crowd,
    shared_prefix,
    soak,
)
from _engine_peers import CACHE_TYPES, PEERS, LowLevel, Peer, Setup, started
from _models import MODELS, Model, made

LEVELS = (1, 2, 4, 8, 16, 32)
SERIAL_LEVELS = (1, 16, 32)  # for peers that answer one request at a time
PARTS = ("scaling", "prefix", "crowd")
SLOTS = 32
CONTEXT = 256  # tokens a slot, prompt and answer
PREFIX = 1000
PLOT = Path(__file__).parent.parent / "docs" / "images" / "local_engine_scaling.png"
TITLES = {key: peer.name for key, peer in PEERS.items()}


@dataclass(frozen=True)
class Rate:
    """One measurement: tokens for each second, and for each second of processor time."""

    per_s: float
    per_cpu_s: float


Rates = dict[str, dict[int, list[Rate]]]  # peer -> callers -> one for each repetition


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
    curves: dict[str, Rates] = {}
    for key in options.models:
        found, reached = measured(made(key), options, curves)
        results["models"][key] = found
        verdicts += reached
    print_verdicts(verdicts)
    results["targets"] = [{**asdict(verdict), "met": verdict.met} for verdict in verdicts]
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n")
    if options.plot:
        plot(curves, options.plot)


def measured(
    model: Model, options: argparse.Namespace, curves: dict[str, Rates]
) -> tuple[dict[str, Any], list[Verdict]]:
    """Every part that was asked for, with one model: its figures and its targets.

    What the plot shows is added to ``curves``.
    """
    setup = Setup(
        model.path, options.threads or default_threads(model), SLOTS, CONTEXT, options.cache_type
    )
    print(f"\n{model.title}, {setup.threads} thread{'s' * (setup.threads > 1)}")
    found: dict[str, Any] = {"threads": setup.threads}
    verdicts: list[Verdict] = []
    if "scaling" in options.parts:
        rates = curves[model.key] = scaling(model, setup, options)
        print_rates(rates, options.levels)
        verdicts += rate_verdicts(model, rates)
        found["tokens"] = {
            name: {n: [asdict(rate) for rate in found] for n, found in by_level.items()}
            for name, by_level in rates.items()
        }
    if "prefix" in options.parts:
        first = prefixes(setup, options)
        verdicts += prefix_verdicts(model, first)
        found["first_token_s"] = {name: asdict(times) for name, times in first.items()}
    if "crowd" in options.parts:
        n = options.requests
        crowd = rough_crowd(replace(setup, context=512), requests=n, callers=SLOTS, allowed_s=n)
        print_crowd(crowd)
        verdicts += crowd_verdicts(model, crowd)
        found["crowd"] = asdict(crowd)
    if options.soak:
        n = options.requests * 10
        long = soak(setup, requests=n, early=n // 10, callers=16)
        print_soak(long)
        sizes = (long.early_bytes / 1e6, long.bytes / 1e6)
        verdicts.append(memory_verdict(model, f"after {long.early:,} requests", *sizes))
        found["soak"] = asdict(long)
    return found, verdicts


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
    add("--cache-type", choices=list(CACHE_TYPES), help="of every peer; by default its own choice")
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
    packages = [f"{name} {version(name)}" for name in ("modelrouter", "llama-cpp-python")]
    return {
        "processor": processor,
        "cores": os.cpu_count(),
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else float("nan"),
        "versions": ", ".join([f"Python {platform.python_version()}", *packages]),
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


def rate(peer: Peer, prompts: Sequence[Sequence[str]], max_tokens: int) -> Rate:
    """Tokens a second in all.

    Raises:
        RuntimeError: an answer is shorter or longer than all others: it would be other work.
    """
    worked, began = peer.cpu_s(), time.perf_counter()
    answers = peer.answers(prompts, max_tokens)
    took, work = time.perf_counter() - began, peer.cpu_s() - worked
    if len(answers) != sum(map(len, prompts)) or any(a.tokens != max_tokens for a in answers):
        raise RuntimeError(f"{peer.name} did other work: {[a.tokens for a in answers]}")
    tokens = max_tokens * len(answers)
    return Rate(tokens / took, tokens / work)


def best(rates: Sequence[Rate], figure: str = "per_s") -> float:
    """The best of the repetitions."""
    return float(max(getattr(rate, figure) for rate in rates))


def print_rates(rates: Rates, levels: Sequence[int]) -> None:
    for title, figure in (("second", "per_s"), ("second of processor time", "per_cpu_s")):
        print(f"{f'tokens per {title}':34}" + "".join(f"{n:>8}" for n in levels) + "  callers")
        for name, by_level in rates.items():
            cells = (
                f"{best(by_level[n], figure):8,.0f}" if n in by_level else " " * 8 for n in levels
            )
            print(f"  {TITLES[name]:32}" + "".join(cells))


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
            peers, own = best(theirs), best(ours)
            verdicts.append(Verdict(model.title, what, peers, own, own / peers, least))
    return verdicts


# Shared prefix, crowd, soak


def prefixes(setup: Setup, options: argparse.Namespace) -> dict[str, FirstTokens]:
    with closing(LowLevel(setup)) as counter:
        texts = [prefix_of(PREFIX, seed, counter.tokens) for seed in range(min(options.repeats, 2))]
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
    ends = ", ".join(f"{n} {end}" for end, n in result.ends.items())
    mb = [size / 1e6 for size in (result.before_bytes, result.after_bytes)]
    print(
        f"crowd of {result.requests} in {result.seconds:.1f} s: {ends};"
        f" {result.unended} without an end\n"
        f"  {result.different} of {result.compared} texts differ from a sequential run"
        f" (widest gap of the two likeliest logits there: {result.widest_gap:.4f});"
        f" resident memory {mb[0]:.1f} MB before, {mb[1]:.1f} MB after"
    )


def crowd_verdicts(model: Model, result: CrowdResult) -> list[Verdict]:
    counts = {
        "all requests of the crowd: those that ended": (result.requests, result.ended),
        "a sequential run's greedy texts: the same ones": (
            result.compared,
            result.compared - result.different,
        ),
    }
    verdicts = [
        Verdict(model.title, what, of, n, n / of, 1.0) for what, (of, n) in counts.items() if of
    ]
    sizes = (result.before_bytes / 1e6, result.after_bytes / 1e6)
    verdicts.append(memory_verdict(model, "before the crowd", *sizes))
    return verdicts


def memory_verdict(model: Model, when: str, before_mb: float, after_mb: float) -> Verdict:
    """Five in a hundred more are allowed: allocators keep what they were given."""
    what = f"resident memory {when} (MB)"
    return Verdict(model.title, what, before_mb, after_mb, before_mb / after_mb, 0.95)


def print_soak(result: Soak) -> None:
    print(
        f"soak: resident memory {result.early_bytes / 1e6:.1f} MB after {result.early:,} requests,"
        f" {result.bytes / 1e6:.1f} MB after {result.requests:,}"
    )


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


def plot(curves: Mapping[str, Rates], path: Path) -> None:
    """One panel a model: tokens a second over the number of callers."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, panels = plt.subplots(
        1, len(curves), figsize=(5 * len(curves), 4.2), squeeze=False, layout="constrained"
    )
    for panel, (key, rates) in zip(panels[0], curves.items(), strict=True):
        for name, by_level in rates.items():
            levels = sorted(by_level)
            rates_at = [best(by_level[n]) for n in levels]
            style = {"linewidth": 2.5, "zorder": 3} if name == "ours" else {"linewidth": 1.2}
            colour = f"C{list(PEERS).index(name)}"
            panel.plot(
                levels, rates_at, marker="o", markersize=4, color=colour, label=name, **style
            )
        panel.set_title(MODELS[key].title)
        panel.set_xscale("log", base=2)
        panel.set_xticks(LEVELS, [str(n) for n in LEVELS])
        panel.set_xlabel("callers at once")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("decode tokens per second, all callers")
    handles, names = panels[0][0].get_legend_handles_labels()
    labels = [TITLES[name] for name in names]
    figure.legend(handles, labels, loc="outside lower center", ncols=2 * len(curves), frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    print(f"scaling curve: {path}", file=sys.stderr)


if __name__ == "__main__":
    main()
