"""Rows for idle sequences are computed where that was measured to be quicker, and nowhere else."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import given
from hypothesis import strategies as st

from modelrouter.backends.llamacpp.engine.pace import Pace


def linear(rows: int) -> float:
    """Kernels that take a row at a time."""
    return 1.0 + rows


def in_sixteens(rows: int) -> float:
    """Kernels that are quicker with sixteen rows than with ten."""
    return 1.0 + rows // 16 * 9 + rows % 16


def used_with(seconds: Callable[[int], float], sequences: int) -> Pace:
    pace = Pace(sequences)
    for rows in range(1, sequences + 1):
        pace.note(rows, seconds(rows))
    return pace


def test_sequences_side_by_side_are_computed_alone():
    assert used_with(in_sixteens, 32).rows(range(8)) == 0
    assert used_with(in_sixteens, 32).rows(range(16)) == 0


def test_a_block_of_rows_is_filled_up_where_that_is_quicker():
    assert used_with(in_sixteens, 32).rows(range(13)) == 16
    assert used_with(linear, 32).rows(range(13)) == 0


def test_a_block_is_not_filled_up_beyond_the_sequences_there_are():
    assert used_with(in_sixteens, 15).rows(range(13)) == 0
    assert used_with(in_sixteens, 0).rows([*range(7), *range(8, 16)]) == 0


def test_filling_up_is_tried_once_before_it_is_judged():
    pace = Pace(16)
    pace.note(13, 14.0)
    assert pace.rows(range(13)) == 16
    pace.note(16, 17.0)
    assert pace.rows(range(13)) == 0


def test_a_gap_is_computed_over_where_two_computations_take_longer():
    crowded = [*range(7), *range(8, 16)]
    assert used_with(in_sixteens, 32).rows(crowded) == 16
    assert used_with(lambda rows: 5.0 + rows, 32).rows([0, 1, 3, 4]) == 5
    assert used_with(lambda rows: 0.1 + rows, 32).rows([0, 6]) == 0


def test_what_was_slower_is_tried_again_now_and_then():
    pace = used_with(linear, 32)
    chosen = [pace.rows(range(13)) for _ in range(128)]
    assert chosen.count(16) == 2
    for _ in range(40):
        pace.note(16, 1.0)
    assert pace.rows(range(13)) == 16


@given(
    st.sets(st.integers(0, 31), min_size=1),
    st.lists(st.tuples(st.integers(1, 32), st.floats(1e-6, 1.0)), max_size=20),
)
def test_the_rows_hold_every_sequence_at_work(working, measured):
    pace = Pace(32)
    for rows, seconds in measured:
        pace.note(rows, seconds)
    rows = pace.rows(sorted(working))
    assert rows == 0 or max(working) < rows <= 32
