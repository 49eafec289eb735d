"""Plots of a report: cost-quality curves, reliability, risk-coverage; matplotlib on first use."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from modelrouter.exceptions import ConfigurationError, MissingDependencyError

if TYPE_CHECKING:
    from modelrouter.evaluation.report import PairReport, PriceReport, Report

__all__ = ["draw", "save"]

_STYLES: Final[dict[str, dict[str, Any]]] = {
    "router": {"color": "#0b62a4", "linewidth": 2},
    "prompt length": {"color": "#7a7a7a", "linestyle": "--"},
    "random": {"color": "#b0b0b0", "linestyle": ":"},
    "mixture": {"color": "#b0b0b0", "linestyle": ":"},
    "oracle": {"color": "#3a923a", "linestyle": "-."},
}


def save(report: Report, path: str | Path) -> Path:
    """Write a report's plots to a PNG file (or what else the name's ending says).

    Raises:
        MissingDependencyError: matplotlib is not installed.
        ConfigurationError: the file cannot be written.
    """
    target = Path(path)
    figure = draw(report)
    try:
        figure.savefig(target, dpi=120)
    except (OSError, ValueError) as exc:
        raise ConfigurationError(
            f"Cannot write the plot {target}: {exc}.", hint="Name a .png file in a folder of yours."
        ) from exc
    return target


def draw(report: Report) -> Any:
    """The plots as a matplotlib Figure, which a notebook shows as it is.

    Raises:
        MissingDependencyError: matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure  # without pyplot: no window, no global state
    except ImportError as exc:
        raise MissingDependencyError(
            "Plots need matplotlib.", hint="pip install 'modelrouter[plots]'"
        ) from exc
    panels: list[tuple[Any, Any]] = []
    if report.pair is not None:
        panels.append((_draw_pair, report.pair))
    if report.prices is not None and report.prices.unit == "USD":
        panels.append((_draw_prices, report.prices))
    panels += [(_draw_reliability, report), (_draw_risk, report)]
    columns = 2 if len(panels) in (2, 4) else len(panels)
    rows = len(panels) // columns
    figure = Figure(figsize=(5.4 * columns, 4.3 * rows), layout="constrained")
    for place, (panel, part) in enumerate(panels, 1):
        panel(figure.add_subplot(rows, columns, place), part)
    figure.suptitle(f"{report.scorer}, {report.tasks:,} tasks")
    return figure


def _draw_pair(axes: Any, pair: PairReport) -> None:
    for name, way in pair.ways.items():
        label = f"{name} (APGR {way.apgr.value:.3f})"
        axes.plot(
            100 * way.curve_fine.shares, way.curve_fine.qualities, label=label, **_STYLES[name]
        )
    _finish(axes, f"{pair.weak} or {pair.strong}", "calls to the strong model, %", "mean score")


def _draw_prices(axes: Any, prices: PriceReport) -> None:
    for name, curve in prices.curves.items():
        area = prices.area[name].value
        label = name if math.isnan(area) else f"{name} (mean {area:.3f})"
        axes.plot(1000 * curve.costs, curve.qualities, label=label, **_STYLES[name])
    known = [cost for cost, _ in prices.singles.values()]
    middle = (min(known) + max(known)) / 2
    for name, (cost, quality) in prices.singles.items():
        axes.plot(1000 * cost, quality, "o", color="#333333", markersize=4)
        side = "right" if cost > middle else "left"
        axes.annotate(
            name,
            (1000 * cost, quality),
            fontsize=7,
            ha=side,
            xytext=(-4 if side == "right" else 4, -8),
            textcoords="offset points",
        )
    _finish(axes, "All models", "USD for 1,000 tasks", "mean score")


def _draw_reliability(axes: Any, report: Report) -> None:
    axes.plot([0, 1], [0, 1], color="#b0b0b0", linestyle=":")
    predicted = [b.predicted for b in report.bins]
    observed = [b.observed for b in report.bins]
    below = [max(0.0, b.observed - b.observed_low) for b in report.bins]
    above = [max(0.0, b.observed_high - b.observed) for b in report.bins]
    axes.errorbar(predicted, observed, yerr=[below, above], fmt="o-", color="#0b62a4", capsize=2)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    title = f"Calibration (error {report.ece:.3f})"
    _finish(axes, title, "predicted quality", "observed mean score", legend=False)


def _draw_risk(axes: Any, report: Report) -> None:
    risk = report.risk
    axes.plot(100 * risk.coverage, risk.risk, label=f"scorer (area {risk.area:.3f})", **_ROUTER)
    axes.axhline(risk.area_random, label=f"random ({risk.area_random:.3f})", **_STYLES["random"])
    axes.set_ylim(bottom=0)
    title = f"When {report.models[0].name} may answer"
    _finish(axes, title, "tasks given to it, surest first, %", "1 - mean score")


_ROUTER: Final = _STYLES["router"]


def _finish(axes: Any, title: str, x: str, y: str, *, legend: bool = True) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    axes.grid(alpha=0.25)
    if legend:
        axes.legend(fontsize=8)
