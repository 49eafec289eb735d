"""The local engine beside the other ways of running a GGUF model from Python, in one run.

    python benchmarks/local_engine.py                            # all of it: 45 minutes
    python benchmarks/local_engine.py --models 6m --quick        # a minute
    python benchmarks/local_engine.py --peers ours,llama-server --parts scaling --json a.json
    python benchmarks/local_engine.py --soak                     # 10,000 requests, resident memory
    python benchmarks/local_engine.py --merge a.json b.json      # tables and plot of earlier runs

Every peer answers the same prompts greedily with the same number of threads; answers end by
``max_tokens`` alone. A figure is the decode tokens of all callers together for each second from the
first request to the last answer, prompts and (for servers) HTTP included. The peers take turns,
each in a process of its own. Of each figure the best of the repetitions is shown: on a machine with
other work to do that is the one least disturbed. Targets are held against the median over the turns
of the ratio within a turn. Tokens for each second of processor time (callers and server together)
stand beside it, since other work disturbs them little. Times to a first token are medians.

Peers: ours; low-level (a plain loop over llama.cpp's C API, the most there is to be had from
Python) and low-level-same (the same loop with our type of keys and values); llama
(``llama_cpp.Llama`` behind a lock); python-server (``llama_cpp.server``); example-server (the
batching server among llama-cpp-python's examples) and llama-server (llama.cpp's own), both after
``benchmarks/build_llama_server.sh``. What is not there is named and left out. Every peer keeps keys
and values as it does by default: ours in the type that it chooses for the model, the others in f16;
``--cache-type`` gives every peer the same.

``--json`` is written after every repetition; Ctrl-C or SIGTERM ends a run after the measurement
under way, with the tables of what there is.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack, closing
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import _engine_report as report
from _engine_load import prefix_of, prompt, rough_crowd, shared_prefix, soak
from _engine_peers import CACHE_TYPES, PEERS, LowLevel, Ours, Peer, Setup, started
from _engine_report import Figures, Rate, Results
from _models import MODELS, Model, made

LEVELS = (1, 2, 4, 8, 16, 32)
SERIAL_LEVELS = (1, 16, 32)  # for peers that answer one request at a time
PARTS = ("scaling", "prefix", "crowd", "soak")
SLOTS = 32
CONTEXT = 256  # tokens a slot, prompt and answer
PREFIX = 1000
WARM_UP_S = 3.0
LONG_S = 15.0  # what takes longer is not repeated
PLOT = Path(__file__).parent.parent / "docs" / "images" / "local_engine_scaling.png"


def main() -> None:
    options = parsed()
    results = Results.merged(options.merge) if options.merge else Results(machine())
    report.print_machine(results.machine)
    if options.merge:
        for key, found in results.models.items():
            report.print_model(key, found)
    else:
        signal.signal(signal.SIGINT, cut_short)
        signal.signal(signal.SIGTERM, cut_short)
        (measure if len(options.peers) == 1 else in_turn)(results, options)
    report.print_verdicts(results.verdicts())
    if options.json:
        results.write(options.json)
    if path := options.plot or (PLOT if results.whole and not options.quick else None):
        report.plot(results.models, path)


cut = threading.Event()


def cut_short(number: int, _frame: Any) -> None:
    """Finish the measurement under way and show what there is; the second time, end at once."""
    print("cut short after this measurement", file=sys.stderr)
    cut.set()
    signal.signal(number, signal.SIG_DFL)


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
    add("--parts", type=names(PARTS), default=list(PARTS), help=",".join(PARTS))
    add("--levels", type=lambda text: [int(n) for n in text.split(",")], default=list(LEVELS))
    add("--threads", type=int, help="for every peer; by default all cores")
    add("--cache-type", choices=list(CACHE_TYPES), help="of every peer; by default its own choice")
    add("--repeats", type=int, help="6m and 110m 4, 1.1b 3; quick 1")
    add("--requests", type=int, help="of the crowd: 6m 1000, 110m 100, 1.1b none; quick 100")
    add("--quick", action="store_true", help="one repetition, answers half as long, a small crowd")
    add("--soak", action="store_true", help="the same as --models 6m --parts soak")
    add("--json", type=Path, help="write every figure there, also on the way")
    add("--merge", type=Path, nargs="+", help="measure nothing: show these runs as one")
    add(
        "--plot",
        type=Path,
        help="write the scaling curve there; by default in docs/images, if it has all models",
    )
    options = parser.parse_args()
    if options.soak:
        options.models, options.parts = ["6m"], ["soak"]
    options.threads = options.threads or all_cores()
    return options


def all_cores() -> int:
    from modelrouter.backends.llamacpp.cpu import usable_cores

    return usable_cores()


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


def in_turn(results: Results, options: argparse.Namespace) -> None:
    """Each peer in a process of its own, one after another, as often as there are repetitions.

    In one process they would hinder each other: as soon as two of them have computed there, OpenMP
    counts more threads than cores, and no longer lets them wait at the ready.
    """
    for key in options.models:
        found = results.models[key] = Figures(options.threads, options.cache_type or "")
        repeats = options.repeats or (1 if options.quick else MODELS[key].repeats)
        for turn in range(repeats):
            for peer in sorted(options.peers, key=lambda name: name != "ours"):
                parts = [part for part in options.parts if turn == 0 or part == "scaling"]
                if peer != "ours":
                    parts = [part for part in parts if part in ("scaling", "prefix")]
                if cut.is_set() or not parts:
                    break
                if peer == "low-level-same" and found.cache_type == "f16":
                    continue  # it is the plain loop
                alone(key, peer, parts, found, options)
            if options.json:
                results.write(options.json)
        report.print_model(key, found)


def alone(
    key: str, peer: str, parts: Sequence[str], found: Figures, options: argparse.Namespace
) -> None:
    """One peer's turn; what it measured is added to ``found``."""
    same = found.cache_type if peer == "low-level-same" else options.cache_type
    arguments = {
        "--models": key,
        "--peers": peer,
        "--parts": ",".join(parts),
        "--levels": ",".join(map(str, options.levels)),
        "--threads": str(options.threads),
        "--repeats": "1",
        "--requests": options.requests and str(options.requests),
        "--cache-type": same,
    }
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "one.json"
        given = [part for pair in arguments.items() if pair[1] for part in pair]
        command = [sys.executable, __file__, *given, "--json", str(path)]
        command += ["--quick"] * options.quick
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL)
        if path.exists():
            one = Figures.read(json.loads(path.read_text())["models"][key])
            found.add(one)
            found.cache_type = found.cache_type or one.cache_type


def measure(results: Results, options: argparse.Namespace) -> None:
    """Every part that was asked for, with every model; ``results`` grows on the way."""

    def keep() -> None:
        if options.json:
            results.write(options.json)

    for key in options.models:
        model = made(key)
        setup = Setup(model.path, options.threads, SLOTS, CONTEXT, options.cache_type)
        found = results.models[key] = Figures(options.threads, options.cache_type or "")
        report.print_title(key, found)
        if "scaling" in options.parts:
            scaling(model, setup, options, found, keep)
            report.print_rates(found)
        if "prefix" in options.parts and not cut.is_set():
            prefixes(setup, options, found, keep)
            report.print_first_tokens(found.first_tokens)
        requests = options.requests or (min(model.crowd, 100) if options.quick else model.crowd)
        if "crowd" in options.parts and requests and not cut.is_set():
            roomy = replace(setup, context=512, exact=True)  # texts are compared to the letter
            found.crowd = rough_crowd(roomy, requests=requests, callers=SLOTS, allowed_s=600)
            report.print_crowd(found.crowd)
        if "soak" in options.parts and requests == model.crowd >= 1000 and not cut.is_set():
            found.soak = soak(setup, requests=10 * requests, early=requests, callers=16)
            report.print_soak(found.soak)
        keep()
        if cut.is_set():
            return


def scaling(
    model: Model,
    setup: Setup,
    options: argparse.Namespace,
    found: Figures,
    keep: Callable[[], None],
) -> None:
    """Fill ``found.rates``; ``keep`` is called after each repetition."""
    max_tokens = model.max_tokens // (2 if options.quick else 1)
    repeats = options.repeats or (1 if options.quick else model.repeats)
    levels = list(options.levels)
    with ExitStack() as stack:
        peers: dict[str, Peer] = {}
        for name, peer in started(options.peers, setup):
            peers[name] = stack.enter_context(closing(peer))
            peer.prepare(levels_of(peer, levels))
            warm_up(peer, model, max_tokens)
            if isinstance(peer, Ours):
                found.cache_type = peer.cache_type
        seed = 0
        for _ in range(repeats):
            for callers in list(levels):
                rounds = max(1, round(model.least_tokens / (max_tokens * callers)))
                seeds = [range(seed + c * rounds, seed + (c + 1) * rounds) for c in range(callers)]
                seed += callers * rounds
                prompts = [[prompt(i, model.prompt_chars) for i in own] for own in seeds]
                longest = 0.0
                for name, peer in peers.items():
                    if cut.is_set():
                        return
                    if callers in levels_of(peer, levels):
                        began = time.perf_counter()
                        rate = measured(peer, prompts, max_tokens)
                        longest = max(longest, time.perf_counter() - began)
                        found.rates.setdefault(name, {}).setdefault(callers, []).append(rate)
                if longest > LONG_S:
                    levels.remove(callers)
            keep()


def warm_up(peer: Peer, model: Model, max_tokens: int) -> None:
    """Have it work for a while, as the others do: processors run faster just after a rest."""
    until = time.perf_counter() + WARM_UP_S
    while time.perf_counter() < until:
        peer.answers([[prompt(0, model.prompt_chars)]], max_tokens)


def levels_of(peer: Peer, levels: Sequence[int]) -> list[int]:
    return [n for n in levels if peer.batches or n in SERIAL_LEVELS]


def measured(peer: Peer, prompts: Sequence[Sequence[str]], max_tokens: int) -> Rate:
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


def prefixes(
    setup: Setup, options: argparse.Namespace, found: Figures, keep: Callable[[], None]
) -> None:
    """Time to a first token where a long beginning is shared, for each peer with a stream."""
    with closing(LowLevel(setup)) as counter:
        texts = [prefix_of(PREFIX, seed, counter.tokens) for seed in range(2)]
    roomy = replace(setup, slots=4, context=2048)
    names = [name for name in options.peers if not name.startswith("low-level")]
    for name, peer in started(names, roomy):
        with closing(peer):
            if cut.is_set():
                return
            found.first_tokens[name] = shared_prefix(peer, texts, enough_s=LONG_S)
        keep()


if __name__ == "__main__":
    main()
