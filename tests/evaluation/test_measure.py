"""The report on routers whose worth is known: one that knows, one that guesses, one that errs."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest

from modelrouter import InvalidExamplesError, ModelCard, Signals, Task
from modelrouter.catalog import Price
from modelrouter.evaluation import Outcomes, collect, evaluate, measure
from modelrouter.evaluation.outcomes import cards_for
from modelrouter.evaluation.pair import stepped_curve
from modelrouter.fitting import Example
from modelrouter.fitting.examples import data_hash
from modelrouter.fitting.value import choose
from modelrouter.scoring import Difficulty
from modelrouter.task import Kind
from modelrouter.testing import example_card
from tests.evaluation.plain import closed_at


def outcomes(
    knowledge: float, tasks: int = 600, *, prices: bool = True, seed: int = 0, models: int = 2
) -> Outcomes:
    """Models of rising ability and price; predictions are the truth mixed with noise.

    ``knowledge`` 1 predicts true probabilities, 0 nothing but noise, -1 the reverse of the truth.
    """
    rng = np.random.default_rng(seed)
    difficulty = rng.normal(0, 2, (tasks, 1))
    ability = np.linspace(-1, 1.5, models)
    truth = 1 / (1 + np.exp(difficulty - ability))
    scores = (rng.random(truth.shape) < truth).astype(float)
    noise = rng.random((tasks, models)) * 0.2 + np.linspace(0.3, 0.6, models)
    predicted = abs(knowledge) * truth + (1 - abs(knowledge)) * noise
    if knowledge < 0:  # believes that the dear model helps where it does not
        gain = predicted[:, -1:] - predicted[:, :1]
        predicted = np.linspace(0.3, 0.6, models) + (gain.max() - gain) * np.linspace(0, 1, models)
    return Outcomes(
        models=tuple(f"m{i}" for i in range(models)),
        scores=scores,
        predicted=np.clip(predicted, 0, 1),
        costs=np.tile(10.0 ** np.arange(models) * 1e-4, (tasks, 1)) if prices else None,
        lengths=rng.integers(10, 500, tasks).astype(float),
    )


def test_a_router_that_knows_beats_everything_and_says_so() -> None:
    report = measure(outcomes(1.0, 1_500), resamples=200)
    assert report.pair is not None
    assert report.prices is not None
    assert (report.pair.weak, report.pair.strong) == ("m0", "m1")
    ways = report.pair.ways
    assert ways["oracle"].apgr.value > ways["router"].apgr.value > 0.6
    assert ways["random"].apgr.value == pytest.approx(0.5)
    assert ways["prompt length"].apgr.value == pytest.approx(0.5, abs=0.12)
    assert ways["router"].cpt50.value < 0.5
    assert report.beats_random is True
    assert report.beats_best_single is True
    assert report.prices.saved.value > 0
    assert report.ece < 0.05
    text = str(report)
    for words in (
        "It beats a random router",
        "It beats routing by prompt length",
        "It beats tossing coins between single models",
        "It beats always using the best single model",
        "Its probabilities can be believed",
    ):
        assert words in text


def test_a_router_that_guesses_is_told_so() -> None:
    report = measure(outcomes(0.0), resamples=200)
    assert report.beats_random is False
    assert report.beats_best_single is False
    assert repr(report).endswith("600 tasks: beats_random=False, beats_best_single=False>")
    text = str(report)
    assert "It does NOT beat a random router" in text
    assert "the interval includes 0.500" in text
    assert "NOT beat always using the best single" in text or "WORSE than always" in text


def test_a_router_that_errs_is_told_so() -> None:
    report = measure(outcomes(-1.0, 1_500), resamples=100)
    assert "It is WORSE than a random router" in str(report)
    assert report.beats_random is False


def test_figures_lie_where_they_must() -> None:
    for models in (2, 4):
        report = measure(outcomes(0.5, models=models), resamples=50)
        assert report.pair is not None
        assert report.prices is not None
        for way in report.pair.ways.values():
            for estimate in (way.apgr, way.apgr_fine, way.cpt50, way.cpt80):
                assert estimate.low <= estimate.value <= estimate.high
            assert way.apgr_fine.value <= report.pair.ways["oracle"].apgr_fine.value + 1e-9
        areas = {name: area.value for name, area in report.prices.area.items()}
        assert areas["oracle"] >= max(areas.values()) - 1e-9
        for at in report.prices.at:
            closed = at.gap_closed
            assert math.isnan(closed.value) or closed.low <= closed.value <= closed.high <= 1
            assert sum(at.shares.values()) == pytest.approx(1)


def test_figures_are_those_of_their_definitions() -> None:
    given = outcomes(0.7, models=3)
    assert given.costs is not None
    report = measure(given, resamples=0)
    assert report.prices is not None
    assert report.pair is not None
    for at in report.prices.at:
        chosen = choose(given.predicted, given.costs, at.value)
        plain = closed_at(chosen, given.costs, given.scores, at.value)
        assert at.gap_closed.value == pytest.approx(plain, nan_ok=True)
        assert at.quality.value == pytest.approx(given.scores[range(600), chosen].mean())
        assert at.cost.value == pytest.approx(given.costs[range(600), chosen].mean())
    gain = given.predicted[:, 2] - given.predicted[:, 0]
    curve = stepped_curve(gain, given.scores[:, 0], given.scores[:, 2])
    assert report.pair.ways["router"].apgr.value == pytest.approx(curve.apgr())
    assert report.pair.ways["router"].cpt80.value == pytest.approx(curve.cpt(0.8))


def test_costs_in_strong_calls_where_two_models_have_no_prices() -> None:
    report = measure(outcomes(1.0, prices=False), resamples=50)
    assert report.prices is not None
    assert report.prices.unit == "strong calls"
    assert report.models[0].cost_usd is None


def test_many_models_without_prices_are_measured_as_a_pair_and_it_says_so() -> None:
    report = measure(outcomes(1.0, prices=False, models=3), resamples=50)
    assert report.prices is None
    assert report.pair is not None
    assert (report.pair.weak, report.pair.strong) == ("m0", "m2")
    assert any("price" in warning for warning in report.warnings)


def test_where_the_cheapest_is_the_best_there_is_nothing_to_route() -> None:
    given = outcomes(1.0)
    assert given.costs is not None
    turned = Outcomes(
        given.models, given.scores, given.predicted, given.costs[:, ::-1], given.lengths
    )
    report = measure(turned, resamples=50)
    assert report.pair is None
    assert report.prices is None
    assert report.beats_random is None
    assert "There is nothing to route: m1 is the best" in str(report)


def test_a_pair_may_be_named() -> None:
    given = outcomes(1.0, models=3)
    report = measure(given, pair=("m1", "m2"), resamples=20)
    assert report.pair is not None
    assert (report.pair.weak, report.pair.strong) == ("m1", "m2")
    assert report.models[0].name == "m1"
    with pytest.raises(InvalidExamplesError, match=r"no model 'm9'.*They have m0, m1, m2"):
        measure(given, pair=("m0", "m9"), resamples=20)
    with pytest.raises(InvalidExamplesError, match="is not above the weak model's"):
        measure(given, pair=("m2", "m0"), resamples=20)


def test_plain_data_is_json_without_nan() -> None:
    for given in (outcomes(0.5), outcomes(0.5, prices=False, models=3), outcomes(0.0)):
        dumped = measure(given, resamples=20).model_dump()
        assert json.loads(json.dumps(dumped, allow_nan=False)) == dumped
        assert dumped["verdicts"]


class Fixed:
    """A scorer that knows each model's rate and nothing of the task."""

    def __init__(self, about: dict[str, str] | None = None, **rates: float) -> None:
        self.about = about or {}
        self.rates = rates

    def read(self, text: str, kind: Kind) -> Difficulty:
        return Difficulty(0.5)

    def p_quality(self, card: ModelCard, task: Task, signals: Signals) -> float:
        return self.rates[card.name]


def labelled(tasks: int = 40, **extra: Any) -> list[Example]:
    return [
        Example.of(f"Question {i}?", model, float(score), **extra)
        for i in range(tasks)
        for model, score in (("weak", i % 2), ("strong", i % 4 > 0))
    ]


def test_examples_are_predicted_and_measured() -> None:
    report = evaluate(labelled(), Fixed(weak=0.5, strong=0.75), resamples=50)
    assert (report.scorer, report.tasks) == ("Fixed", 40)
    assert [(m.name, m.quality.value, m.predicted) for m in report.models] == [
        ("weak", 0.5, 0.5),
        ("strong", 0.75, 0.75),
    ]
    assert report.pair is not None
    assert report.pair.ways["router"].apgr.value == pytest.approx(0.5)
    assert any("40 tasks are few" in warning for warning in report.warnings)


def test_a_scorer_that_knows_no_model_orders_by_difficulty_and_it_is_said() -> None:
    report = evaluate(labelled(), Fixed(weak=0.5, strong=0.5), resamples=10)
    assert any("so it knows neither" in warning for warning in report.warnings)


def test_a_scorer_measured_on_the_rows_it_was_fitted_on_is_named() -> None:
    rows = labelled()
    for about, named in (({"data_sha256": data_hash(rows)}, True), ({"data_sha256": "0"}, False)):
        report = evaluate(rows, Fixed(about, weak=0.5, strong=0.75), resamples=10)
        assert any("fitted on these very rows" in w for w in report.warnings) is named


class FittedOnWeak(Fixed):
    models = ("weak", "other")


def test_models_that_the_scorer_was_not_fitted_on_are_named() -> None:
    report = evaluate(labelled(), FittedOnWeak(weak=0.5, strong=0.75), resamples=10)
    (warning,) = [w for w in report.warnings if "fitted on no answer" in w]
    assert "no answer of strong:" in warning
    assert "It knows weak, other." in warning


def test_costs_come_from_the_rows_or_from_prices() -> None:
    scorer = Fixed(weak=0.5, strong=0.75)
    assert collect(labelled(), scorer).costs is None
    paid = collect(labelled(cost_usd=0.25), scorer)
    assert paid.costs is not None
    assert (paid.costs == 0.25).all()
    prices = {"weak": Price(input=1e-6, output=1e-6), "strong": Price(input=1e-5, output=1e-5)}
    priced = collect(labelled(), scorer, prices=prices)
    assert priced.costs is not None
    assert np.allclose(priced.costs[:, 1], 10 * priced.costs[:, 0])
    cards = [example_card("acme/weak"), example_card("acme/strong")]
    assert collect(labelled(), scorer, catalog=cards).costs is not None


def test_a_card_is_found_under_the_short_name_and_keeps_the_rows_name() -> None:
    (known, unknown) = cards_for(["Large", "other"], catalog=[example_card("acme/large")])
    assert (known.name, known.price) == ("Large", example_card().price)
    assert (unknown.name, unknown.price) == ("other", None)


def test_tasks_without_every_score_are_left_out_and_counted() -> None:
    rows = [*labelled(), Example.of("Only one answered?", "weak", 1)]
    found = collect(rows, Fixed(weak=0.5, strong=0.5))
    assert (len(found.scores), found.left_out) == (40, 1)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([Example.of(f"q{i}", "m", 1) for i in range(20)], "are of 1 models"),
        (labelled(9), "9 of 9 tasks have a score of every model"),
        (
            [Example.of(f"q{i}", "weak" if i % 2 else "strong", 1) for i in range(40)],
            "0 of 40 tasks",
        ),
    ],
)
def test_rows_that_say_nothing(rows: list[Example], message: str) -> None:
    with pytest.raises(InvalidExamplesError, match=message):
        evaluate(rows, Fixed(weak=0.5, strong=0.5, m=0.5))


def test_progress_goes_through_every_task() -> None:
    seen: list[Task] = []

    def progress(tasks: Any) -> Any:
        for task in tasks:
            seen.append(task)
            yield task

    evaluate(labelled(), Fixed(weak=0.5, strong=0.75), resamples=1, progress=progress)
    assert len(seen) == 40


def test_verdicts_follow_the_intervals() -> None:
    report = measure(outcomes(0.15, 120), resamples=200)
    assert report.pair is not None
    apgr = report.pair.ways["router"].apgr
    says = next(v for v in report.verdicts if "random router" in v)
    assert ("NOT" in says) == (apgr.low <= 0.5 <= apgr.high)
    assert not math.isnan(apgr.low)
