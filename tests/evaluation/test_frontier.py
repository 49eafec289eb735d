"""Quality over cost: curves that can be checked by hand, and what must hold for all."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modelrouter.evaluation.frontier import (
    Frontier,
    Gap,
    Path,
    break_even,
    closed,
    mixture,
)
from modelrouter.fitting.value import choose
from tests.evaluation.plain import closed_at

# Two models on four tasks: the dear one adds a good answer on the first and the second.
SCORES = np.array([[0, 1], [0, 1], [1, 1], [0, 0]], dtype=float)
COSTS = np.tile([1.0, 5.0], (4, 1))
KNOWS = np.array([[0.0, 0.9], [0.2, 0.8], [0.9, 0.95], [0.1, 0.2]])


def test_the_curve_by_hand() -> None:
    curve = Path(KNOWS, COSTS, SCORES).frontier()
    # Each move costs (5 - 1) / 4 a task; the promising ones come first.
    assert curve.costs.tolist() == [1, 2, 3, 4, 5]
    assert curve.qualities.tolist() == [0.25, 0.5, 0.75, 0.75, 0.75]
    assert curve.cost_of(0.75) == pytest.approx(3)
    assert curve.cost_of(0.6) == pytest.approx(2.4)
    assert math.isnan(curve.cost_of(0.8))
    assert curve.quality_at(2.5) == pytest.approx(0.625)
    assert math.isnan(curve.quality_at(0.5))


def test_the_area_by_hand() -> None:
    curve = Path(KNOWS, COSTS, SCORES).frontier()
    assert curve.area(1, 5) == pytest.approx((0.375 + 0.625 + 0.75 + 0.75) / 4)
    assert curve.area(5, 9) == pytest.approx(0.75)
    assert math.isnan(curve.area(5, 5))


def test_a_sample_counts_a_task_as_often_as_it_is_drawn() -> None:
    path = Path(KNOWS, COSTS, SCORES)
    twice = path.frontier(np.array([0, 0, 2, 3]))
    by_hand = Path(KNOWS[[0, 0, 2, 3]], COSTS, SCORES[[0, 0, 2, 3]]).frontier()
    assert twice.area(1, 5) == pytest.approx(by_hand.area(1, 5))
    assert twice.qualities[-1] == by_hand.qualities[-1]


def test_break_even_and_the_gap_closed_by_hand() -> None:
    value = break_even(COSTS, SCORES)
    assert value == pytest.approx(4 / 0.5)
    # At 8 a good answer: always cheap 8 * .25 - 1 = 1 = always dear; the oracle 8 * .75 - 3 = 3.
    chosen = choose(KNOWS, COSTS, value)
    assert chosen.tolist() == [1, 1, 0, 0]
    assert closed_at(chosen, COSTS, SCORES, value) == pytest.approx(1.0)
    assert closed_at([1, 0, 0, 0], COSTS, SCORES, value) == pytest.approx(0.5)
    assert closed_at([1, 1, 1, 1], COSTS, SCORES, value) == pytest.approx(0.0)
    assert closed_at([0, 0, 1, 1], COSTS, SCORES, value) == pytest.approx(-1.0)


def test_several_gaps_are_closed_together() -> None:
    assert closed([Gap(0.4, 0.1), Gap(0.0, 0.0), Gap(0.1, 0.1)]) == pytest.approx(0.4)


def test_no_trade_off_where_the_cheapest_is_the_best() -> None:
    assert math.isnan(break_even(COSTS, SCORES[:, ::-1]))
    same = np.ones((4, 2))
    assert math.isnan(closed_at([0] * 4, COSTS, same, 8.0))


def test_a_mixture_is_a_straight_line_between_single_models() -> None:
    curve = mixture(COSTS, SCORES)
    assert curve.costs.tolist() == [1, 5]
    assert curve.quality_at(3) == pytest.approx(0.5)


TABLES = st.tuples(st.integers(2, 12), st.integers(2, 4)).flatmap(
    lambda shape: st.tuples(
        *(
            arrays(float, shape, elements=st.integers(0, 10).map(lambda i: i / 10))
            for _ in range(2)
        ),
        arrays(float, shape, elements=st.integers(1, 9).map(float)),
    )
)
Tables = tuple[np.ndarray, np.ndarray, np.ndarray]


@settings(deadline=None)
@given(TABLES)
def test_costs_rise_along_every_curve(tables: Tables) -> None:
    predicted, scores, costs = tables
    for curve in (Path(predicted, costs, scores).frontier(), mixture(costs, scores)):
        assert (np.diff(curve.costs) >= 0).all()


@settings(deadline=None)
@given(TABLES)
def test_the_oracle_is_nowhere_below_a_router_or_a_mixture(tables: Tables) -> None:
    predicted, scores, costs = tables
    oracle = Path(scores, costs, scores).frontier()
    assert (np.diff(oracle.qualities) >= -1e-12).all()
    for curve in (Path(predicted, costs, scores).frontier(), mixture(costs, scores)):
        for cost, quality in zip(curve.costs, curve.qualities, strict=True):
            assert quality <= oracle.quality_at(cost + 1e-9) + 1e-9


@settings(deadline=None)
@given(TABLES, st.floats(0.5, 50))
def test_no_choice_closes_more_than_the_whole_gap(tables: Tables, value: float) -> None:
    predicted, scores, costs = tables
    found = closed_at(choose(predicted, costs, value), costs, scores, value)
    assert math.isnan(found) or found <= 1 + 1e-9
    perfect = closed_at(choose(scores, costs, value), costs, scores, value)
    assert math.isnan(perfect) or perfect == pytest.approx(1.0)


def test_a_curve_may_be_a_single_point() -> None:
    point = Frontier(np.array([1.0]), np.array([0.5]))
    assert point.quality_at(2.0) == 0.5
    assert point.cost_of(0.4) == 1.0
