"""Report: what an evaluation found, as data, as text, and in words where it disappoints."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final

from modelrouter.evaluation.estimate import Estimate
from modelrouter.evaluation.frontier import Frontier
from modelrouter.evaluation.pair import PairCurve
from modelrouter.evaluation.reliability import Bin, RiskCoverage

__all__ = ["AtPrice", "ModelFigures", "PairFigures", "PairReport", "PriceReport", "Report"]

GOOD_ECE: Final = 0.05
"""Below this expected calibration error, predictions can be read as probabilities."""

_FEW: Final = 200
_COVERAGES: Final = (0.1, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, slots=True)
class ModelFigures:
    """One model alone.

    Attributes:
        name: as in the examples.
        quality: mean score.
        predicted: mean prediction of the scorer.
        ece: expected calibration error of the scorer's predictions for this model.
        cost_usd: mean USD a task, ``None`` where prices are not known.
    """

    name: str
    quality: Estimate
    predicted: float
    ece: float
    cost_usd: float | None


@dataclass(frozen=True, eq=False)
class PairFigures:
    """One way of choosing between two models; see :mod:`modelrouter.evaluation.pair`.

    Attributes:
        apgr: as RouteLLM computes it, from thresholds at tenths.
        apgr_fine: the same area from a threshold at every task.
        cpt50, cpt80: share of strong calls that recovers 50 and 80 % of the gap.
        curve: quality by share of strong calls, at tenths.
        curve_fine: the same at every threshold.
    """

    apgr: Estimate
    apgr_fine: Estimate
    cpt50: Estimate
    cpt80: Estimate
    curve: PairCurve
    curve_fine: PairCurve


@dataclass(frozen=True, eq=False)
class PairReport:
    """The router between two models, beside the ways of choosing that know less or all.

    Attributes:
        weak, strong: names.
        ways: ``router``, ``prompt length``, ``random`` (on average), ``oracle``.
        over_length: APGR of the router less that of prompt length, paired.
    """

    weak: str
    strong: str
    ways: dict[str, PairFigures]
    over_length: Estimate


@dataclass(frozen=True, slots=True)
class AtPrice:
    """The router when one more task done well is worth ``value`` (see ``PriceReport.unit``).

    Attributes:
        value: the price of quality.
        quality, cost: mean score and cost of what the router chooses.
        best_single: the best single model at that price.
        gap_closed: share of the gap between it and the oracle that the router closes.
        shares: share of tasks by model.
    """

    value: float
    quality: Estimate
    cost: Estimate
    best_single: str
    gap_closed: Estimate
    shares: dict[str, float]


@dataclass(frozen=True, eq=False)
class PriceReport:
    """Quality over cost for all models; see :mod:`modelrouter.evaluation.frontier`.

    Attributes:
        unit: ``USD``, or ``strong calls`` where two models have no prices.
        best_single: the single model of the highest mean score, with its cost and quality.
        break_even: the price of quality at which it pays over the cheapest.
        at: figures at 1/4, 1/2, 1, 2 and 4 times that price.
        gap_closed: share of all these gaps together that is closed.
        saved: share of the best single model's cost saved at its quality, read off the curve;
            NaN where the router never reaches it.
        area: mean quality over the costs from the cheapest to the best single model:
            ``router``, ``mixture`` (coin tosses between single models), ``oracle``.
        over_mixture: router's area less the mixture's, paired.
        curves: the same three as curves.
        singles: mean cost and mean score of each model.
    """

    unit: str
    best_single: str
    break_even: float
    at: tuple[AtPrice, ...]
    gap_closed: Estimate
    saved: Estimate
    area: dict[str, Estimate]
    over_mixture: Estimate
    curves: dict[str, Frontier]
    singles: dict[str, tuple[float, float]]


@dataclass(frozen=True, eq=False, repr=False)
class Report:
    """What an evaluation found. ``print(report)`` is meant for people.

    Attributes:
        scorer: what was evaluated.
        tasks: how many tasks; ``left_out`` lacked a score of some model.
        models: each model alone, the cheapest (or else the weakest) first.
        pair: the router between the cheapest and the best model; ``None`` where the cheapest is
            the best.
        prices: all models with their prices; ``None`` where prices are missing or the cheapest
            model is the best.
        ece: expected calibration error over all predictions.
        bins: predicted and observed quality by bin.
        risk: how often the first model fails on the tasks that the scorer is surest of.
        warnings: what limits the figures.
    """

    scorer: str
    tasks: int
    left_out: int
    models: tuple[ModelFigures, ...]
    pair: PairReport | None
    prices: PriceReport | None
    ece: float
    bins: tuple[Bin, ...]
    risk: RiskCoverage
    warnings: tuple[str, ...] = field(default=())

    @property
    def verdicts(self) -> tuple[str, ...]:
        """In words: whether the router beats random, prompt length and the best single model."""
        return tuple(_verdicts(self))

    @property
    def beats_random(self) -> bool | None:
        """Whether the whole interval lies above random; ``None`` where it cannot be said."""
        if self.pair is None and self.prices is None:
            return None
        return (self.pair is None or self.pair.ways["router"].apgr.above(0.5)) and (
            self.prices is None or self.prices.over_mixture.above(0.0)
        )

    @property
    def beats_best_single(self) -> bool | None:
        """Whether the gap to the oracle that is closed is surely above 0."""
        return None if self.prices is None else self.prices.gap_closed.above(0.0)

    def model_dump(self) -> dict[str, Any]:
        """Plain data, ready for JSON; curves at tenths, NaN as ``None``."""
        return {
            "scorer": self.scorer,
            "tasks": self.tasks,
            "left_out": self.left_out,
            "verdicts": list(self.verdicts),
            "beats_random": self.beats_random,
            "beats_best_single": self.beats_best_single,
            "warnings": list(self.warnings),
            "models": [
                {
                    "name": m.name,
                    "quality": m.quality.model_dump(),
                    "predicted": m.predicted,
                    "ece": m.ece,
                    "cost_usd": m.cost_usd,
                }
                for m in self.models
            ],
            "pair": None if self.pair is None else _dump_pair(self.pair),
            "prices": None if self.prices is None else _dump_prices(self.prices),
            "calibration": {"ece": self.ece, "bins": [asdict(b) for b in self.bins]},
            "risk_coverage": {
                "model": self.models[0].name,
                "area": self.risk.area,
                "area_random": self.risk.area_random,
                "area_oracle": self.risk.area_oracle,
                "risk_at": {f"{c:g}": _risk_at(self.risk, c) for c in _COVERAGES},
            },
        }

    def plot(self, path: str | Path) -> Path:
        """Draw the curves into a PNG file; see :func:`modelrouter.evaluation.plots.save`.

        Raises:
            MissingDependencyError: matplotlib is not installed.
        """
        from modelrouter.evaluation.plots import save

        return save(self, path)

    def __repr__(self) -> str:
        return (
            f"<Report on {self.scorer}, {self.tasks} tasks: beats_random={self.beats_random}, "
            f"beats_best_single={self.beats_best_single}>"
        )

    def __str__(self) -> str:
        return "\n".join(_lines(self))


def _dump_pair(pair: PairReport) -> dict[str, Any]:
    return {
        "weak": pair.weak,
        "strong": pair.strong,
        "over_length": pair.over_length.model_dump(),
        **{
            name.replace(" ", "_"): {
                "apgr": way.apgr.model_dump(),
                "apgr_fine": way.apgr_fine.model_dump(),
                "cpt50": way.cpt50.model_dump(),
                "cpt80": way.cpt80.model_dump(),
                "shares": way.curve.shares.tolist(),
                "qualities": way.curve.qualities.tolist(),
            }
            for name, way in pair.ways.items()
        },
    }


def _dump_prices(prices: PriceReport) -> dict[str, Any]:
    return {
        "unit": prices.unit,
        "best_single": prices.best_single,
        "break_even": prices.break_even,
        "gap_closed": prices.gap_closed.model_dump(),
        "saved": prices.saved.model_dump(),
        "area": {name: area.model_dump() for name, area in prices.area.items()},
        "over_mixture": prices.over_mixture.model_dump(),
        "at": [
            {
                "value": at.value,
                "quality": at.quality.model_dump(),
                "cost": at.cost.model_dump(),
                "best_single": at.best_single,
                "gap_closed": at.gap_closed.model_dump(),
                "shares": at.shares,
            }
            for at in prices.at
        ],
    }


def _risk_at(risk: RiskCoverage, coverage: float) -> float:
    count = len(risk.risk)
    return float(risk.risk[max(1, math.ceil(coverage * count - 1e-9)) - 1])


def _verdicts(report: Report) -> Iterator[str]:
    if report.pair is None:
        first = report.models[0]
        yield (
            f"There is nothing to route: {first.name} is the best model here and no other is "
            "cheaper; use it for everything."
        )
    else:
        yield _against_random(report.pair)
        yield _against_length(report.pair)
    if report.prices is not None:
        yield _against_mixture(report.prices)
        yield _against_single(report.prices)
    if report.ece < GOOD_ECE:
        yield f"Its probabilities can be believed: calibration error {report.ece:.3f}."
    else:
        yield (
            f"Its probabilities are off by {report.ece:.3f} on average (calibration error): use "
            "them to order tasks, not as promises of quality."
        )


def _against_random(pair: PairReport) -> str:
    apgr = pair.ways["router"].apgr
    if apgr.above(0.5):
        return f"It beats a random router: APGR {apgr} against 0.500."
    if apgr.below(0.5):
        return f"It is WORSE than a random router: APGR {apgr} against 0.500."
    return f"It does NOT beat a random router: APGR {apgr}; the interval includes 0.500."


def _against_length(pair: PairReport) -> str:
    more, length = pair.over_length, pair.ways["prompt length"].apgr.value
    if more.above(0.0):
        return f"It beats routing by prompt length (APGR {length:.3f}) by {more}."
    if more.below(0.0):
        return f"It is WORSE than routing by prompt length (APGR {length:.3f}): {more}."
    return (
        f"It does NOT beat routing by prompt length (APGR {length:.3f}): the difference is {more}."
    )


def _against_mixture(prices: PriceReport) -> str:
    more = prices.over_mixture
    if more.above(0.0):
        return f"It beats tossing coins between single models: mean quality {more} higher."
    if more.below(0.0):
        return f"It is WORSE than tossing coins between single models: mean quality {more}."
    return (
        "It does NOT beat tossing coins between single models: mean quality differs by "
        f"{more}, which includes 0."
    )


def _against_single(prices: PriceReport) -> str:
    closed = prices.gap_closed
    gap = f"{_percent(closed)} of the gap to the oracle"
    if closed.above(0.0):
        return f"It beats always using the best single model: it closes {gap}."
    if closed.below(0.0):
        return (
            f"It is WORSE than always using the best single model: it closes {gap}. "
            "Use that model for everything."
        )
    return (
        f"It does NOT beat always using the best single model: it closes {gap}, which includes 0."
    )


def _percent(estimate: Estimate) -> str:
    if math.isnan(estimate.value):
        return "nothing to gain"
    # Adding 0.0 after rounding leaves no "-0.0%".
    value, low, high = (
        f"{round(x, 3) + 0.0:.1%}" for x in (estimate.value, estimate.low, estimate.high)
    )
    return value if math.isnan(estimate.low) else f"{value} ({low} to {high})"


def _lines(report: Report) -> Iterator[str]:
    left = f" ({report.left_out} left out: not scored for every model)" if report.left_out else ""
    yield f"{report.scorer} on {report.tasks:,} tasks{left}, {len(report.models)} models"
    yield ""
    for verdict in report.verdicts:
        yield f"- {verdict}"
    for warning in report.warnings:
        yield f"! {warning}"
    yield ""
    yield "Each model alone (95 % intervals throughout)"
    width = max(len(m.name) for m in report.models)
    for m in report.models:
        cost = "" if m.cost_usd is None else f"  {m.cost_usd:.6f} USD a task"
        yield (
            f"  {m.name:<{width}}  quality {m.quality}  predicted {m.predicted:.3f}  "
            f"calibration error {m.ece:.3f}{cost}"
        )
    if report.pair is not None:
        yield ""
        yield from _pair_lines(report.pair)
    if report.prices is not None:
        yield ""
        yield from _price_lines(report.prices)
    yield ""
    yield from _reliability_lines(report)


def _pair_lines(pair: PairReport) -> Iterator[str]:
    yield f"Between {pair.weak} (weak) and {pair.strong} (strong), as RouteLLM measures"
    yield f"  {'':<13}  {'APGR':<24}  {'fine':<6}  {'CPT(50%)':<24}  CPT(80%)"
    for name, way in pair.ways.items():
        yield (
            f"  {name:<13}  {way.apgr!s:<24}  {way.apgr_fine.value:<6.3f}  "
            f"{_percent(way.cpt50):<24}  {_percent(way.cpt80)}"
        )


def _price_lines(prices: PriceReport) -> Iterator[str]:
    yield f"Among all models, cost in {prices.unit}; best single model: {prices.best_single}"
    areas = ", ".join(f"{name} {area}" for name, area in prices.area.items())
    yield f"  mean quality over cost: {areas}"
    if math.isnan(prices.saved.value):
        yield (
            f"  the router's choices nowhere reach the quality of {prices.best_single}: for that, "
            "use it alone"
        )
    else:
        yield f"  cost saved at the quality of {prices.best_single}: {_percent(prices.saved)}"
    yield f"  {'worth of a good answer':<24}  {'quality':<24}  {'cost':<12}  gap closed"
    for at in prices.at:
        yield (
            f"  {at.value:<24.6g}  {at.quality!s:<24}  {at.cost.value:<12.6g}  "
            f"{_percent(at.gap_closed)}, over {at.best_single}"
        )


def _reliability_lines(report: Report) -> Iterator[str]:
    yield f"Predicted against observed quality (expected calibration error {report.ece:.3f})"
    for b in report.bins:
        yield (
            f"  {b.low:.1f} to {b.high:.1f}  predicted {b.predicted:.3f}  observed "
            f"{b.observed:.3f} ({b.observed_low:.3f} to {b.observed_high:.3f})  n={b.count:,}"
        )
    yield ""
    shown = ", ".join(f"{c:.0%}: {_risk_at(report.risk, c):.3f}" for c in _COVERAGES)
    yield f"How often {report.models[0].name} fails on the share of tasks it is surest of"
    yield f"  {shown}"
