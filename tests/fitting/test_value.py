"""The value rule: its moves are its choices at every worth."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from modelrouter.fitting.value import choose, hull, moves

TABLES = st.tuples(st.integers(1, 6), st.integers(2, 5)).flatmap(
    lambda shape: st.tuples(
        arrays(float, shape, elements=st.integers(0, 20).map(lambda i: i / 20)),
        arrays(float, shape, elements=st.integers(0, 8).map(float)),
    )
)


def test_the_hull_leaves_out_models_that_a_mixture_of_others_beats() -> None:
    #           cheap  dominated  below the line  dear
    quality = [0.2, 0.1, 0.3, 0.9]
    cost = [1.0, 2.0, 4.0, 5.0]
    assert hull(quality, cost) == [0, 3]


def test_worth_decides_between_cheap_and_dear() -> None:
    quality, costs = np.array([[0.5, 0.9]]), np.array([[0.001, 0.009]])
    # 0.4 more quality for 0.008 USD: pays from 0.02 USD a good answer on.
    assert moves(quality, costs).value.tolist() == [np.float64(0.008) / np.float64(0.4)]
    assert choose(quality, costs, 0.019).tolist() == [0]
    assert choose(quality, costs, 0.021).tolist() == [1]


@settings(deadline=None)
@given(TABLES, st.floats(0.01, 500))
def test_moves_made_up_to_a_worth_give_the_choice_at_it(
    tables: tuple[np.ndarray, np.ndarray], value: float
) -> None:
    quality, costs = tables
    made = moves(quality, costs)
    rows = np.arange(len(quality))
    at = made.start.copy()
    for task, before, after, needed in zip(
        made.task, made.before, made.after, made.value, strict=True
    ):
        if needed < value:
            assert at[task] == before
            at[task] = after
    chosen = choose(quality, costs, value)
    worth = value * quality - costs
    assert np.allclose(worth[rows, at], worth[rows, chosen])


@settings(deadline=None)
@given(TABLES)
def test_cost_and_promised_quality_only_grow_with_worth(
    tables: tuple[np.ndarray, np.ndarray],
) -> None:
    quality, costs = tables
    made = moves(quality, costs)
    assert (np.diff(made.value) >= 0).all()
    assert (costs[made.task, made.after] > costs[made.task, made.before]).all()
    assert (quality[made.task, made.after] > quality[made.task, made.before]).all()
