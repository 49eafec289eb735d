"""Examples side by side."""

from __future__ import annotations

import math

from modelrouter.fitting.examples import Example
from modelrouter.fitting.table import tabulate


def test_rows_of_one_task_stand_side_by_side_and_repeats_are_averaged() -> None:
    table = tabulate(
        [
            Example.of("t", "a", 1, cost_usd=2, group="g"),
            Example.of("u", "a", 0),
            Example.of("t", "b", 0.5),
            Example.of("t", "a", 0, cost_usd=4),
        ]
    )
    assert [task.text for task in table.tasks] == ["t", "u"]
    assert table.groups == ("g", "")
    assert table.models == ("a", "b")
    assert table.scores[0].tolist() == [0.5, 0.5]
    assert table.costs[0, 0] == 3
    assert math.isnan(table.scores[1, 1])
    assert math.isnan(table.costs[1, 0])


def test_complete_leaves_out_tasks_that_a_model_has_no_score_for() -> None:
    rows = [Example.of("t", "a", 1), Example.of("u", "a", 0), Example.of("t", "b", 1)]
    assert [task.text for task in tabulate(rows).complete().tasks] == ["t"]
