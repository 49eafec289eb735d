"""The figures of benchmarks/local_engine.py: kept as JSON, shown as tables, targets and a plot."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

from _engine_load import CrowdResult, FirstTokens, Soak
from _engine_peers import PEERS
from _models import MODELS, Model

TITLES = {key: peer.name for key, peer in PEERS.items()}


@dataclass(frozen=True)
class Rate:
    """One measurement: tokens for each second, and for each second of processor time."""

    per_s: float
    per_cpu_s: float


Rates = dict[str, dict[int, list[Rate]]]  # peer -> callers -> one for each repetition


@dataclass
class Figures:
    """What was measured with one model; a part that was not is empty.

    ``cache_type`` is how ours kept keys and values.
    """

    threads: int
    cache_type: str
    rates: Rates = field(default_factory=dict)
    first_tokens: dict[str, FirstTokens] = field(default_factory=dict)
    crowd: CrowdResult | None = None
    soak: Soak | None = None

    @classmethod
    def read(cls, kept: Mapping[str, Any]) -> Figures:
        """From what :func:`written` wrote."""
        rates = {
            peer: {int(n): [Rate(**rate) for rate in found] for n, found in levels.items()}
            for peer, levels in kept["rates"].items()
        }
        firsts = {peer: FirstTokens(**times) for peer, times in kept["first_tokens"].items()}
        crowd = CrowdResult(**kept["crowd"]) if kept["crowd"] else None
        soak = Soak(**kept["soak"]) if kept["soak"] else None
        return cls(kept["threads"], kept["cache_type"], rates, firsts, crowd, soak)

    def add(self, other: Figures) -> None:
        """Take over the parts that another run has; its repetitions come to ours."""
        for peer, levels in other.rates.items():
            for callers, rates in levels.items():
                self.rates.setdefault(peer, {}).setdefault(callers, []).extend(rates)
        self.first_tokens |= other.first_tokens
        self.crowd = other.crowd or self.crowd
        self.soak = other.soak or self.soak


@dataclass
class Results:
    """A run: where, with what, and the figures of each model."""

    machine: dict[str, Any]
    models: dict[str, Figures] = field(default_factory=dict)

    @classmethod
    def merged(cls, paths: Sequence[Path]) -> Results:
        """Runs put together; the machine is the last one's.

        Raises:
            ValueError: they differ in threads or in what keys and values are kept as, so their
                figures do not belong in one table.
        """
        results = cls({})
        for path in paths:
            kept = json.loads(path.read_text())
            results.machine = kept["machine"]
            for key, figures in kept["models"].items():
                found = Figures.read(figures)
                mine = results.models.setdefault(key, Figures(found.threads, found.cache_type))
                how = [(of.threads, of.cache_type) for of in (mine, found) if of.rates]
                if len(set(how)) > 1:
                    raise ValueError(f"{path}: {key} was measured otherwise: {how}")
                mine.add(found)
        return results

    def verdicts(self) -> list[Verdict]:
        """Every target there are figures for."""
        return [v for key, found in self.models.items() for v in _verdicts(MODELS[key], found)]

    @property
    def whole(self) -> bool:
        """Whether there are throughputs with every model, of ours and of another."""
        every = (self.models[key].rates if key in self.models else {} for key in MODELS)
        return all("ours" in rates and len(rates) > 1 for rates in every)

    def write(self, path: Path) -> None:
        """Keep everything, and which targets are met."""
        kept = asdict(self)
        kept["targets"] = [{**asdict(v), "met": v.met} for v in self.verdicts()]
        path.write_text(json.dumps(kept, indent=1) + "\n")


@dataclass(frozen=True)
class Verdict:
    """One target: a peer's figure, ours, and how many times better ours has to be.

    Of throughputs the figures are the best of all turns, the ratio is the median over the turns.
    """

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


def best(rates: Sequence[Rate], figure: str = "per_s") -> float:
    """The best of the repetitions."""
    return float(max(getattr(rate, figure) for rate in rates))


# Targets


def _verdicts(model: Model, found: Figures) -> Iterator[Verdict]:
    yield from _rate_verdicts(model, found.rates)
    if times := found.first_tokens.get("ours"):
        what = "ours without a prefix to reuse (ms to a first token)"
        figures = (times.first_s * 1e3, times.later_s * 1e3, times.ratio)
        yield Verdict(model.title, what, *figures, 10.0)
    if crowd := found.crowd:
        what = "all requests of the crowd: those that ended"
        share = crowd.ended / crowd.requests
        yield Verdict(model.title, what, crowd.requests, crowd.ended, share, 1.0)
        what, same = "a sequential run's texts: the same ones", crowd.compared - crowd.different
        yield Verdict(model.title, what, crowd.compared, same, same / crowd.compared, 1.0)
        yield _memory(model, "before the crowd", crowd.before_bytes, crowd.after_bytes)
    if soak := found.soak:
        yield _memory(model, f"after {soak.early:,} requests", soak.early_bytes, soak.bytes)


def _rate_verdicts(model: Model, rates: Rates) -> Iterator[Verdict]:
    wanted = [("low-level", 1, 0.97), ("llama", 1, 1.1)]
    for callers in (16, 32):
        wanted += [(peer, callers, model.speedup) for peer in ("llama", "python-server")]
        wanted += [(peer, callers, 1.0) for peer in ("llama-server", "example-server")]
    for peer, callers, least in wanted:
        theirs, ours = (rates.get(name, {}).get(callers) for name in (peer, "ours"))
        if theirs and ours:
            what = f"{TITLES[peer]}, {callers} caller{'s' * (callers > 1)} (tokens/s)"
            # Turns stand side by side in time, so that a machine's changing speed falls on both.
            turns = zip(ours, theirs, strict=False)
            ratio = median(mine.per_s / other.per_s for mine, other in turns)
            yield Verdict(model.title, what, best(theirs), best(ours), ratio, least)


def _memory(model: Model, when: str, before: int, after: int) -> Verdict:
    """Five in a hundred more are allowed: allocators keep what they were given."""
    what = f"resident memory {when} (MB)"
    return Verdict(model.title, what, before / 1e6, after / 1e6, before / after, 0.95)


# Tables


def print_machine(machine: Mapping[str, Any]) -> None:
    print("{processor}, {cores} cores, load {load:.1f}, {time}; {versions}".format(**machine))
    if machine["load"] > 0.5:
        print("Other programs are at work here: throughputs, of threads above all, may mislead.")


def print_model(key: str, found: Figures) -> None:
    """Everything about one model but its targets."""
    print_title(key, found)
    print_rates(found)
    print_first_tokens(found.first_tokens)
    if found.crowd:
        print_crowd(found.crowd)
    if found.soak:
        print_soak(found.soak)


def print_title(key: str, found: Figures) -> None:
    plural = "s" * (found.threads > 1)
    print(f"\n{MODELS[key].title}, {found.threads} thread{plural}", flush=True)


def print_rates(found: Figures) -> None:
    rates = found.rates
    if rates:
        print(f"keys and values of {TITLES['ours']}: {found.cache_type}")
    levels = sorted({callers for by_level in rates.values() for callers in by_level})
    for title, figure in (("second", "per_s"), ("second of processor time", "per_cpu_s")):
        if rates:
            print(f"{f'tokens per {title}':34}" + "".join(f"{n:>8}" for n in levels) + "  callers")
        for name, by_level in rates.items():
            cells = (
                f"{best(by_level[n], figure):8,.0f}" if n in by_level else " " * 8 for n in levels
            )
            print(f"  {TITLES[name]:32}" + "".join(cells))


def print_first_tokens(found: Mapping[str, FirstTokens]) -> None:
    if found:
        print(f"{'first token after a shared prefix':34}   first request   later ones    sooner")
    for name, times in found.items():
        first, later = (f"{t * 1e3:10.1f} ms" for t in (times.first_s, times.later_s))
        print(f"  {TITLES[name]:32} {first:>16} {later:>12} {times.ratio:8.1f}x")


def print_crowd(crowd: CrowdResult) -> None:
    ends = ", ".join(f"{n} {end}" for end, n in crowd.ends.items())
    mb = [size / 1e6 for size in (crowd.before_bytes, crowd.after_bytes)]
    print(
        f"crowd of {crowd.requests:,} in {crowd.seconds:.1f} s: {ends};"
        f" {crowd.unended} without an end\n"
        f"  {crowd.different} of {crowd.compared} texts differ from a sequential run"
        f" (widest gap of the two likeliest logits there: {crowd.widest_gap:.4f});"
        f" resident memory {mb[0]:.1f} MB before, {mb[1]:.1f} MB after"
    )


def print_soak(soak: Soak) -> None:
    mb = [size / 1e6 for size in (soak.early_bytes, soak.bytes)]
    print(
        f"soak: resident memory {mb[0]:.1f} MB after {soak.early:,} requests,"
        f" {mb[1]:.1f} MB after {soak.requests:,}"
    )


def print_verdicts(verdicts: Sequence[Verdict]) -> None:
    if not verdicts:
        return
    print(f"\n{'model':22} {'against':55} {'peer':>8} {'ours':>8} {'ratio':>6} {'wanted':>6}")
    for v in verdicts:
        print(
            f"{v.model:22} {v.what:55} {v.peer:8,.1f} {v.ours:8,.1f} {v.ratio:6.2f}"
            f" {v.wanted:6.2f}  {'met' if v.met else 'NOT MET'}"
        )


# Plot


def plot(models: Mapping[str, Figures], path: Path) -> None:
    """One panel a model: tokens a second over the number of callers."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    models = {key: found for key, found in models.items() if found.rates}
    if not models:
        return
    figure, panels = plt.subplots(
        1, len(models), figsize=(4.6 * len(models), 4.2), squeeze=False, layout="constrained"
    )
    for panel, (key, found) in zip(panels[0], models.items(), strict=True):
        for name, by_level in found.rates.items():
            levels = sorted(by_level)
            panel.plot(
                levels,
                [best(by_level[n]) for n in levels],
                label=TITLES[name],
                color=f"C{list(PEERS).index(name)}",
                marker="o",
                markersize=4,
                linewidth=2.5 if name == "ours" else 1.2,
                zorder=3 if name == "ours" else 2,
            )
        ticks = sorted({n for by_level in found.rates.values() for n in by_level})
        panel.set_title(f"{MODELS[key].title}, {found.threads} threads")
        panel.set_xscale("log", base=2)
        panel.set_xticks(ticks, [str(n) for n in ticks])
        panel.set_xlabel("callers at once")
        panel.set_ylim(bottom=0)
        panel.grid(alpha=0.3)
    panels[0][0].set_ylabel("decode tokens per second, all callers")
    handles, labels = panels[0][0].get_legend_handles_labels()
    columns = 2 * len(models)
    figure.legend(handles, labels, loc="outside lower center", ncols=columns, frameon=False)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=110)
    plt.close(figure)
