"""Calibration and risk-coverage, by hand and for all predictions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modelrouter.evaluation.reliability import (
    expected_calibration_error,
    reliability,
    risk_coverage,
)


def test_bins_and_error_by_hand() -> None:
    predicted = np.array([0.0, 0.1, 0.15, 0.95, 1.0])
    scores = np.array([0, 0, 1, 1, 0], dtype=float)
    table = reliability(predicted, scores)
    assert [(b.low, b.count) for b in table] == [(0.0, 2), (0.1, 1), (0.9, 2)]
    assert [b.observed for b in table] == [0.0, 1.0, 0.5]
    # 2/5 * |.05 - 0| + 1/5 * |.15 - 1| + 2/5 * |.975 - .5|
    assert expected_calibration_error(predicted, scores) == pytest.approx(0.38)


def test_wilsons_interval_by_hand() -> None:
    (only,) = reliability(np.full(10, 0.75), np.array([1.0] * 8 + [0.0] * 2))
    assert (only.observed_low, only.observed_high) == (
        pytest.approx(0.4902, abs=1e-4),
        pytest.approx(0.9433, abs=1e-4),
    )


def test_predictions_that_are_true_probabilities_have_next_to_no_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(50_000)
    scores = (rng.random(50_000) < p).astype(float)
    assert expected_calibration_error(p, scores) < 0.01
    assert expected_calibration_error(np.clip(p + 0.2, 0, 1), scores) > 0.1


def test_risk_by_hand() -> None:
    found = risk_coverage(np.array([0.9, 0.1, 0.8, 0.2]), np.array([1.0, 0.0, 0.0, 1.0]))
    assert found.risk.tolist() == pytest.approx([0, 1 / 2, 1 / 3, 1 / 2])
    assert found.area == pytest.approx((0 + 1 / 2 + 1 / 3 + 1 / 2) / 4)
    assert found.area_random == 0.5
    assert found.area_oracle == pytest.approx((0 + 0 + 1 / 3 + 1 / 2) / 4)
    assert found.coverage_at(0.34) == 0.75
    assert found.coverage_at(0.0) == 0.25


def test_tasks_of_equal_confidence_are_averaged_not_ordered_by_luck() -> None:
    found = risk_coverage(np.zeros(4), np.array([1.0, 1.0, 0.0, 0.0]))
    assert found.risk.tolist() == [0.5] * 4
    assert found.area == found.area_random


UNIT = st.integers(0, 20).map(lambda i: i / 20)
CASES = st.integers(1, 60).flatmap(
    lambda n: st.tuples(arrays(float, n, elements=UNIT), arrays(float, n, elements=UNIT))
)


@settings(deadline=None)
@given(CASES, st.integers(1, 20))
def test_every_prediction_is_in_one_bin_and_the_error_is_bounded(
    case: tuple[np.ndarray, np.ndarray], bins: int
) -> None:
    predicted, scores = case
    table = reliability(predicted, scores, bins)
    assert sum(b.count for b in table) == len(predicted)
    for b in table:
        assert b.low - 1e-9 <= b.predicted <= b.high + 1e-9
        assert b.observed_low - 1e-9 <= b.observed <= b.observed_high + 1e-9
    bias = abs(predicted.mean() - scores.mean())
    assert bias - 1e-9 <= expected_calibration_error(predicted, scores, bins) <= 1 + 1e-9


@settings(deadline=None)
@given(CASES)
def test_no_order_has_less_risk_than_the_best(case: tuple[np.ndarray, np.ndarray]) -> None:
    confidence, scores = case
    found = risk_coverage(confidence, scores)
    assert found.area_oracle <= found.area + 1e-9
    assert found.risk[-1] == pytest.approx(found.area_random)
