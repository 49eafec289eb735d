"""Measuring a scorer on labelled examples: every figure of a report, from the same resamples."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, TypeAlias

from modelrouter.catalog.card import ModelCard, Price
from modelrouter.evaluation import frontier, pair
from modelrouter.evaluation.estimate import Estimate, bootstrap
from modelrouter.evaluation.outcomes import Outcomes, Progress, collect
from modelrouter.evaluation.reliability import (
    expected_calibration_error,
    reliability,
    risk_coverage,
)
from modelrouter.evaluation.report import (
    AtPrice,
    ModelFigures,
    PairFigures,
    PairReport,
    PriceReport,
    Report,
)
from modelrouter.exceptions import InvalidExamplesError
from modelrouter.fitting.examples import Example, data_hash
from modelrouter.fitting.value import choose
from modelrouter.scoring.base import Scorer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]
    Indices = npt.NDArray[np.intp]

__all__ = ["evaluate", "measure"]

_FEW: Final = 200


def evaluate(
    examples: Iterable[Example],
    scorer: Scorer,
    *,
    catalog: Iterable[ModelCard] = (),
    prices: Mapping[str, Price] | None = None,
    pair: tuple[str, str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    progress: Progress = iter,
) -> Report:
    """Measure a scorer on labelled examples that it was not fitted on.

    ``catalog`` and ``prices`` say what models cost where the examples do not. ``pair`` names the
    weak and the strong model; by default the cheapest (without prices: the weakest) and the best.
    ``resamples`` and ``seed`` are the bootstrap's. ``progress`` goes through the tasks.

    Raises:
        InvalidExamplesError: fewer than two models or ten tasks, or an unknown name in ``pair``.
    """
    examples = list(examples)
    outcomes = collect(examples, scorer, catalog=catalog, prices=prices, progress=progress)
    name = type(scorer).__name__
    warnings = []
    about = getattr(scorer, "about", None) or {}
    if about.get("data_sha256") == data_hash(examples):
        warnings.append(
            "The scorer was fitted on these very rows: the figures flatter it. Hold some back."
        )
    fitted = tuple(getattr(scorer, "models", ()))
    strangers = [model for model in outcomes.models if model not in fitted]
    if fitted and strangers:
        warnings.append(
            f"The scorer was fitted on no answer of {', '.join(strangers)}: what it predicts of "
            f"them is from their cards alone. It knows {', '.join(fitted)}."
        )
    return measure(
        outcomes, scorer=name, pair=pair, resamples=resamples, seed=seed, warnings=warnings
    )


def measure(
    outcomes: Outcomes,
    *,
    scorer: str = "predictions",
    pair: tuple[str, str] | None = None,
    resamples: int = 1000,
    seed: int = 0,
    warnings: Iterable[str] = (),
) -> Report:
    """The report on predictions, however they were made; see :func:`evaluate`.

    Raises:
        InvalidExamplesError: an unknown name in ``pair``.
    """
    order = _order(outcomes)
    chosen = _pair(outcomes, order, pair)
    parts: list[_Part] = [_Singles(outcomes)]
    of_pair = of_prices = None
    if chosen is not None:
        parts.append(of_pair := _Pair(outcomes, *chosen))
    costs, unit = _costs(outcomes, chosen)
    if costs is not None and not math.isnan(frontier.break_even(costs, outcomes.scores)):
        parts.append(of_prices := _Prices(outcomes, costs, unit))
    found = bootstrap(
        lambda sample: {k: v for part in parts for k, v in part.figures(sample).items()},
        len(outcomes.scores),
        resamples=resamples,
        seed=seed,
    )
    first = order[0] if chosen is None else chosen[0]
    order = [first, *(m for m in order if m != first)]
    return Report(
        scorer=scorer,
        tasks=len(outcomes.scores),
        left_out=outcomes.left_out,
        models=tuple(_model(outcomes, m, found) for m in order),
        pair=None if of_pair is None else of_pair.report(found),
        prices=None if of_prices is None else of_prices.report(found),
        ece=expected_calibration_error(outcomes.predicted.ravel(), outcomes.scores.ravel()),
        bins=reliability(outcomes.predicted.ravel(), outcomes.scores.ravel()),
        risk=risk_coverage(outcomes.predicted[:, first], outcomes.scores[:, first]),
        warnings=(*warnings, *_warnings(outcomes, chosen)),
    )


def _warnings(outcomes: Outcomes, chosen: tuple[int, int] | None) -> Iterable[str]:
    if chosen is not None and not _tells_apart(outcomes, *chosen):
        weak, strong = (outcomes.models[m] for m in chosen)
        yield (
            f"The scorer predicts the same of {weak} and {strong}, so it knows neither: tasks are "
            "ordered by how likely it thinks a failure. Fit it on their answers, or rename them to "
            "models that it knows."
        )
    if len(outcomes.scores) < _FEW:
        yield (
            f"{len(outcomes.scores)} tasks are few: the intervals are wide, and no figure means "
            "more than they say."
        )
    if outcomes.costs is None and len(outcomes.models) > 2:
        yield (
            "Not every model's price is known, so cost is left out: give cost_usd in the rows, or "
            "prices."
        )


def _order(outcomes: Outcomes) -> list[int]:
    """Models from the cheapest, or where costs are not known the weakest, to the other end."""
    import numpy as np

    quality = outcomes.scores.mean(axis=0)
    if outcomes.costs is None:
        return [int(m) for m in np.argsort(quality, kind="stable")]
    return [int(m) for m in np.lexsort((-quality, outcomes.costs.mean(axis=0)))]


def _pair(
    outcomes: Outcomes, order: list[int], names: tuple[str, str] | None
) -> tuple[int, int] | None:
    """Columns of the weak and the strong model; ``None`` where one model is both."""
    quality = outcomes.scores.mean(axis=0)
    if names is None:
        weak, strong = order[0], int(quality.argmax())
        return (weak, strong) if quality[strong] > quality[weak] else None
    for name in names:
        if name not in outcomes.models:
            raise InvalidExamplesError(
                f"pair={names!r}: the examples have no model {name!r}.",
                field="model",
                hint=f"They have {', '.join(outcomes.models)}.",
            )
    weak, strong = (outcomes.models.index(name) for name in names)
    if quality[strong] <= quality[weak]:
        raise InvalidExamplesError(
            f"pair={names!r}: the strong model's mean score ({quality[strong]:.3f}) is not above "
            f"the weak model's ({quality[weak]:.3f}).",
            field="score",
            hint="There is no gap to recover; swap them or choose others.",
        )
    return weak, strong


def _costs(outcomes: Outcomes, chosen: tuple[int, int] | None) -> tuple[Floats | None, str]:
    import numpy as np

    if outcomes.costs is not None:
        return outcomes.costs, "USD"
    if len(outcomes.models) == 2 and chosen is not None and _tells_apart(outcomes, *chosen):
        costs = np.zeros_like(outcomes.scores)
        costs[:, chosen[1]] = 1.0
        return costs, "strong calls"
    return None, ""


def _model(outcomes: Outcomes, m: int, found: Mapping[str, Estimate]) -> ModelFigures:
    predicted, scores = outcomes.predicted[:, m], outcomes.scores[:, m]
    return ModelFigures(
        name=outcomes.models[m],
        quality=found[f"quality {m}"],
        predicted=float(predicted.mean()),
        ece=expected_calibration_error(predicted, scores),
        cost_usd=None if outcomes.costs is None else float(outcomes.costs[:, m].mean()),
    )


@dataclass(frozen=True, eq=False)
class _Singles:
    """Mean score of each model."""

    outcomes: Outcomes

    def figures(self, sample: Indices) -> dict[str, float]:
        means = self.outcomes.scores[sample].mean(axis=0)
        return {f"quality {m}": float(mean) for m, mean in enumerate(means)}


class _Pair:
    """The figures of two models, and the report made of their estimates."""

    def __init__(self, outcomes: Outcomes, weak: int, strong: int) -> None:
        self._names = outcomes.models[weak], outcomes.models[strong]
        self._weak, self._strong = outcomes.scores[:, weak], outcomes.scores[:, strong]
        gains = {"router": _gain(outcomes, weak, strong), "prompt length": outcomes.lengths}
        self._orders = {name: (gain, (-gain).argsort()) for name, gain in gains.items()}
        self._all = (-gains["router"]).argsort()

    def curves(self, sample: Indices) -> dict[str, tuple[pair.PairCurve, pair.PairCurve]]:
        """Each way's curve at tenths and at every threshold."""
        import numpy as np

        times = np.bincount(sample, minlength=len(self._weak))
        ways = {}
        for name, (gain, falling) in self._orders.items():
            # The sample in the order it will be sorted in, which is then done in no time.
            rows = np.repeat(falling, times[falling])
            given = gain[rows], self._weak[rows], self._strong[rows]
            ways[name] = pair.stepped_curve(*given), pair.fine_curve(*given)
        weak, strong = self._weak[sample], self._strong[sample]
        by_chance = pair.random_curve(weak, strong)
        ways["random"] = by_chance, by_chance
        ways["oracle"] = (
            pair.oracle_curve(weak, strong),
            pair.oracle_curve(weak, strong, steps=None),
        )
        return ways

    def figures(self, sample: Indices) -> dict[str, float]:
        """Every way's figures on a sample."""
        found: dict[str, float] = {}
        for name, (curve, fine) in self.curves(sample).items():
            found[f"{name} apgr"] = curve.apgr()
            found[f"{name} fine"] = fine.apgr()
            found[f"{name} cpt50"] = curve.cpt(0.5)
            found[f"{name} cpt80"] = curve.cpt(0.8)
        found["over length"] = found["router apgr"] - found["prompt length apgr"]
        return found

    def report(self, found: Mapping[str, Estimate]) -> PairReport:
        """The estimates, put in order."""
        ways = {
            name: PairFigures(
                apgr=found[f"{name} apgr"],
                apgr_fine=found[f"{name} fine"],
                cpt50=found[f"{name} cpt50"],
                cpt80=found[f"{name} cpt80"],
                curve=curve,
                curve_fine=fine,
            )
            for name, (curve, fine) in self.curves(self._all).items()
        }
        return PairReport(*self._names, ways, found["over length"])


def _gain(outcomes: Outcomes, weak: int, strong: int) -> Floats:
    """What the scorer expects to gain from the strong model, task by task.

    A scorer that knows neither model predicts the same of both; how likely they are to fail is then
    what it has to say.
    """
    gain = outcomes.predicted[:, strong] - outcomes.predicted[:, weak]
    return gain if _tells_apart(outcomes, weak, strong) else -outcomes.predicted[:, weak]


def _tells_apart(outcomes: Outcomes, weak: int, strong: int) -> bool:
    gain = outcomes.predicted[:, strong] - outcomes.predicted[:, weak]
    return bool(abs(gain).max() > 1e-9)


class _Prices:
    """The figures of all models with their costs, and the report made of their estimates."""

    def __init__(self, outcomes: Outcomes, costs: Floats, unit: str) -> None:
        import numpy as np

        self._models, self._scores, self._costs = outcomes.models, outcomes.scores, costs
        self._unit = unit
        self._paths = {
            "router": frontier.Path(outcomes.predicted, costs, outcomes.scores),
            "oracle": frontier.Path(outcomes.scores, costs, outcomes.scores),
        }
        self._break_even = frontier.break_even(costs, outcomes.scores)
        self._values = [self._break_even * step for step in frontier.PRICE_STEPS]
        self._choices = [choose(outcomes.predicted, costs, v) for v in self._values]
        quality, cost = outcomes.scores.mean(axis=0), costs.mean(axis=0)
        self._best = int(np.lexsort((cost, -quality))[0])
        self._bounds = float(cost.min()), float(cost[self._best])
        rows = np.arange(len(costs))
        # Of every task at every price: what the router gets and pays, and the oracle's worth.
        self._at_prices = [
            np.stack(
                [
                    outcomes.scores[rows, choice],
                    costs[rows, choice],
                    (outcomes.scores - costs / value).max(axis=1),
                ]
            )
            for value, choice in zip(self._values, self._choices, strict=True)
        ]

    def curves(self, sample: Indices) -> dict[str, frontier.Frontier]:
        """The cost-quality curves on a sample."""
        return {
            "router": self._paths["router"].frontier(sample),
            "mixture": frontier.mixture(self._costs[sample], self._scores[sample]),
            "oracle": self._paths["oracle"].frontier(sample),
        }

    def figures(self, sample: Indices) -> dict[str, float]:
        """Every figure on a sample of tasks."""
        import numpy as np

        weight = np.bincount(sample, minlength=len(self._costs)) / len(sample)
        cost, score = weight @ self._costs, weight @ self._scores
        curves = self.curves(sample)
        found = {f"area {name}": curve.area(*self._bounds) for name, curve in curves.items()}
        found["over mixture"] = found["area router"] - found["area mixture"]
        best_cost = float(cost[self._best])
        same = curves["router"].cost_of(float(score[self._best]))
        found["saved"] = 1.0 - same / best_cost if best_cost > 0 else math.nan
        gaps = []
        for i, (value, figures) in enumerate(zip(self._values, self._at_prices, strict=True)):
            quality, paid, oracle = (float(mean) for mean in figures @ weight)
            single = float((score - cost / value).max())
            gaps.append(frontier.Gap(oracle - single, quality - paid / value - single))
            found[f"quality at {i}"], found[f"cost at {i}"] = quality, paid
            found[f"closed at {i}"] = frontier.closed(gaps[-1:])
        found["closed"] = frontier.closed(gaps)
        return found

    def report(self, found: Mapping[str, Estimate]) -> PriceReport:
        """The estimates, put in order."""
        import numpy as np

        quality, cost = self._scores.mean(axis=0), self._costs.mean(axis=0)
        return PriceReport(
            unit=self._unit,
            best_single=self._models[self._best],
            break_even=self._break_even,
            at=tuple(
                AtPrice(
                    value=value,
                    quality=found[f"quality at {i}"],
                    cost=found[f"cost at {i}"],
                    best_single=self._models[int((value * quality - cost).argmax())],
                    gap_closed=found[f"closed at {i}"],
                    shares={
                        name: float((choice == m).mean()) for m, name in enumerate(self._models)
                    },
                )
                for i, (value, choice) in enumerate(zip(self._values, self._choices, strict=True))
            ),
            gap_closed=found["closed"],
            saved=found["saved"],
            area={name: found[f"area {name}"] for name in ("router", "mixture", "oracle")},
            over_mixture=found["over mixture"],
            curves=self.curves(np.arange(len(self._costs))),
            singles={
                name: (float(cost[m]), float(quality[m])) for m, name in enumerate(self._models)
            },
        )


_Part: TypeAlias = _Singles | _Pair | _Prices
