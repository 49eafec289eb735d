"""From a model's own probabilities to the chance that its answer is right."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.exceptions import InvalidExamplesError
from modelrouter.scoring.confidence import LEAST_ROWS, Curves, fit_curves

share = st.floats(0, 1)


def test_a_kind_that_nothing_is_known_of_keeps_the_probability():
    assert Curves().p_correct("grammar", 0.37) == 0.37
    assert Curves().probability("grammar", 0.37) == 0.37


@given(rows=st.lists(st.tuples(share, share), min_size=LEAST_ROWS, max_size=80), at=share, on=share)
def test_a_learned_curve_never_falls_and_stays_a_probability(rows, at, on):
    curves = fit_curves(("grammar", p, score) for p, score in rows)
    low, high = sorted((at, on))
    found = curves.p_correct("grammar", low), curves.p_correct("grammar", high)
    assert 0.0 <= found[0] <= found[1] + 1e-12 <= 1.0 + 1e-9


@given(rows=st.lists(st.tuples(share, share), min_size=LEAST_ROWS, max_size=80), wish=share)
def test_the_probability_for_a_wish_fulfils_it(rows, wish):
    curves = fit_curves(("grammar", p, score) for p, score in rows)
    least = curves.probability("grammar", wish)
    if least <= 1.0:
        assert curves.p_correct("grammar", least) >= wish - 1e-9
    else:
        assert curves.p_correct("grammar", 1.0) < wish


def test_an_overconfident_model_is_seen_through():
    draw = random.Random(0)
    rows = []
    for _ in range(4_000):
        probability = draw.random()
        rows.append(("math", probability, float(draw.random() < probability / 2)))
    curves = fit_curves(rows)
    for probability in (0.2, 0.5, 0.8):
        assert curves.p_correct("math", probability) == pytest.approx(probability / 2, abs=0.06)


def test_kinds_with_few_answers_are_left_out():
    rows = [("math", 0.5, 1.0)] * LEAST_ROWS + [("chat", 0.5, 1.0)] * (LEAST_ROWS - 1)
    curves = fit_curves(rows)
    assert curves.p_correct("math", 0.5) == 1.0
    assert curves.p_correct("chat", 0.5) == 0.5


@pytest.mark.parametrize("row", [("math", 1.5, 1.0), ("math", 0.5, float("nan"))])
def test_values_out_of_range_are_named_with_their_row(row):
    with pytest.raises(InvalidExamplesError, match="row 2"):
        fit_curves([("math", 0.5, 1.0), row])


def test_too_few_answers_teach_nothing():
    with pytest.raises(InvalidExamplesError, match=str(LEAST_ROWS)):
        fit_curves([("math", 0.5, 1.0)])
