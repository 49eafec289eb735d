"""APGR and CPT: a case worked by hand, and what must hold for every router."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modelrouter.evaluation.pair import (
    PairCurve,
    fine_curve,
    oracle_curve,
    random_curve,
    stepped_curve,
)

# Ten tasks, the router's numbers 10 to 1. The strong model adds something on the first three only:
# at 10 % of calls a third of the gap is recovered, at 20 % two thirds, from 30 % on all of it.
GAIN = np.arange(10.0, 0.0, -1.0)
WEAK = np.array([0, 0, 0, 0, 0, 1, 1, 1, 1, 1], dtype=float)
STRONG = np.array([1, 1, 1, 0, 0, 1, 1, 1, 1, 1], dtype=float)


def test_the_curve_by_hand() -> None:
    curve = stepped_curve(GAIN, WEAK, STRONG)
    assert curve.shares.tolist() == pytest.approx([i / 10 for i in range(11)])
    assert curve.pgr().tolist() == pytest.approx([0, 1 / 3, 2 / 3, *[1] * 8])
    assert (curve.weak, curve.strong) == (0.5, 0.8)


def test_apgr_by_hand() -> None:
    # Trapezoids of width 0.1: 0.1 * (0/2 + 1/3 + 2/3 + 7 * 1 + 1/2) = 0.85.
    assert stepped_curve(GAIN, WEAK, STRONG).apgr() == pytest.approx(0.85)
    assert fine_curve(GAIN, WEAK, STRONG).apgr() == pytest.approx(0.85)


def test_cpt_by_hand() -> None:
    curve = stepped_curve(GAIN, WEAK, STRONG)
    # 50 %: half way from a third (10 %) to two thirds (20 %). 80 %: 0.4 of the way to all (30 %).
    assert curve.cpt(0.5) == pytest.approx(0.15)
    assert curve.cpt(0.8) == pytest.approx(0.24)
    assert curve.cpt(0.0) == 0.0
    assert curve.cpt(1.0) == pytest.approx(0.3)


def test_the_worst_order_by_hand() -> None:
    curve = stepped_curve(-GAIN, WEAK, STRONG)
    # Nothing until 70 % of the calls, then the same steps: 0.1 * (1/3 + 2/3 + 1/2).
    assert curve.apgr() == pytest.approx(0.15)
    assert curve.cpt(0.5) == pytest.approx(0.85)


def test_steps_are_quantiles_and_equal_numbers_go_together() -> None:
    gain = np.array([0.0] * 6 + [1.0] * 4)
    curve = stepped_curve(gain, WEAK, STRONG)
    assert curve.shares.tolist() == [0.0, 0.4, 1.0]
    constant = stepped_curve(np.zeros(10), WEAK, STRONG)
    assert constant.shares.tolist() == [0.0, 1.0]
    assert constant.apgr() == pytest.approx(0.5)


def test_random_on_average() -> None:
    curve = random_curve(WEAK, STRONG)
    assert curve.apgr() == pytest.approx(0.5)
    assert (curve.cpt(0.5), curve.cpt(0.8)) == (pytest.approx(0.5), pytest.approx(0.8))


def test_random_orders_come_to_a_half_on_average() -> None:
    rng = np.random.default_rng(0)
    weak = rng.integers(0, 2, 400).astype(float)
    strong = np.maximum(weak, rng.integers(0, 2, 400))
    found = [stepped_curve(rng.random(400), weak, strong).apgr() for _ in range(200)]
    error = np.std(found) / math.sqrt(len(found))
    assert abs(np.mean(found) - 0.5) < 4 * error


def test_the_oracle_makes_no_call_that_loses() -> None:
    weak, strong = np.array([0.0, 1.0, 1.0, 0.0]), np.array([1.0, 0.0, 1.0, 1.0])
    curve = oracle_curve(weak, strong, steps=None)
    assert curve.qualities.tolist() == [0.5, 0.75, 1.0, 1.0, 1.0]
    assert oracle_curve(weak, strong).shares.tolist() == pytest.approx([i / 10 for i in range(11)])


def test_without_a_gap_there_is_nothing_to_recover() -> None:
    curve = stepped_curve(GAIN, STRONG, WEAK)
    assert math.isnan(curve.apgr())
    assert math.isnan(curve.cpt(0.5))


def test_a_curve_that_falls_back_is_first_reached_where_it_is_first_reached() -> None:
    shares, qualities = np.array([0.0, 0.5, 0.6, 1.0]), np.array([0.0, 1.0, 0.2, 1.0])
    assert PairCurve(shares, qualities, 0.0, 1.0).cpt(0.8) == pytest.approx(0.4)


UNIT = st.integers(0, 8).map(lambda i: i / 8)
PAIRS = st.integers(2, 40).flatmap(
    lambda n: st.tuples(
        arrays(float, n, elements=UNIT),
        arrays(float, n, elements=UNIT),
        arrays(float, n, elements=UNIT),
    )
)


@settings(deadline=None)
@given(PAIRS)
def test_shares_rise_from_none_to_all_and_end_at_the_models(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    gain, weak, strong = case
    for curve in (stepped_curve(gain, weak, strong), fine_curve(gain, weak, strong)):
        assert (np.diff(curve.shares) > 0).all()
        assert (curve.shares[0], curve.shares[-1]) == (0.0, 1.0)
        assert curve.qualities[0] == pytest.approx(weak.mean())
        assert curve.qualities[-1] == pytest.approx(strong.mean())


@settings(deadline=None)
@given(PAIRS)
def test_the_oracle_is_nowhere_below_a_router(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    gain, weak, strong = case
    oracle = oracle_curve(weak, strong, steps=None)
    assert (np.diff(oracle.qualities) >= -1e-12).all()
    for curve in (stepped_curve(gain, weak, strong), fine_curve(gain, weak, strong)):
        best = np.interp(curve.shares, oracle.shares, oracle.qualities)
        assert (curve.qualities <= best + 1e-9).all()


@settings(deadline=None)
@given(PAIRS)
def test_only_the_order_of_the_numbers_counts_for_the_fine_area(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    gain, weak, strong = case
    one, other = fine_curve(gain, weak, strong), fine_curve(gain**3 + 5, weak, strong)
    assert one.qualities.tolist() == pytest.approx(other.qualities.tolist())


@settings(deadline=None)
@given(PAIRS)
def test_an_order_and_its_reverse_come_to_one_together(
    case: tuple[np.ndarray, np.ndarray, np.ndarray],
) -> None:
    gain, weak, strong = case
    one, other = fine_curve(gain, weak, strong), fine_curve(-gain, weak, strong)
    if strong.mean() - weak.mean() > 1e-6:
        assert one.apgr() + other.apgr() == pytest.approx(1.0)
