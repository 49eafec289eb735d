"""Labelled rows: every shape that is read, and every mistake told by row and field."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from modelrouter import Catalog, InvalidExamplesError, Task
from modelrouter.fitting.examples import (
    Example,
    check_learnable,
    data_hash,
    parse_rows,
    read_jsonl,
    task_key,
)
from modelrouter.testing import example_card


def parse(*rows: Any, **options: Any) -> list[Example]:
    return list(parse_rows(enumerate(rows, 1), **options))


def file(tmp_path: Path, *lines: str) -> Path:
    path = tmp_path / "data.jsonl"
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_one_answer_a_row() -> None:
    row = {"task": "Add 2 and 2.", "model": "m", "score": 1, "cost_usd": 0.01, "latency_s": 2}
    (example,) = parse(row)
    assert example == Example(Task.of("Add 2 and 2."), "m", 1.0, 0.01, 2.0)


def test_one_task_a_row_with_several_models() -> None:
    first, second = parse(
        {"prompt": "Hi", "task": "small talk", "scores": {"a": 0.5, "b": 1}, "costs_usd": {"b": 2}}
    )
    assert (first.model, first.score, first.cost_usd) == ("a", 0.5, None)
    assert (second.model, second.score, second.cost_usd) == ("b", 1.0, 2.0)
    assert first.task is second.task
    assert first.group == "small talk"


def test_a_pair_under_names_of_ones_own() -> None:
    row = {"prompt": "Q", "subject": "history", "weak": 0, "strong": 1}
    weak, strong = parse(row, rename={"weak": "mixtral", "strong": "gpt-4"})
    assert [(e.model, e.score, e.group) for e in (weak, strong)] == [
        ("mixtral", 0.0, "history"),
        ("gpt-4", 1.0, "history"),
    ]


def test_a_short_name_becomes_the_name_of_its_card() -> None:
    catalog = Catalog([example_card("acme/large"), example_card("acme/small")])
    rows = [{"task": "t", "scores": {"Large": 1, "unheard-of": 0}}]
    examples = parse(*rows, catalog=catalog, rename={"unheard-of": "small"})
    assert [e.model for e in examples] == ["acme/large", "acme/small"]
    assert [e.model for e in parse(*rows, catalog=catalog)] == ["acme/large", "unheard-of"]


def test_conversations_are_tasks_too() -> None:
    messages = [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    (example,) = parse({"messages": messages, "model": "m", "score": True})
    assert example.task.system_text == "Be brief."
    assert example.score == 1.0


def test_a_file_may_have_blank_lines_a_byte_order_mark_and_odd_separators(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    row = {"task": "a\u2028b", "model": "m", "score": 0}
    text = "\n" + json.dumps(row, ensure_ascii=False) + "\r\n\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    (example,) = read_jsonl(path)
    assert example.task.text == "a\u2028b"


GOOD = {"task": "t", "model": "m", "score": 1}


@pytest.mark.parametrize(
    ("row", "field", "message"),
    [
        ([1], "", "is a list, not an object"),
        ({**GOOD, "task": None}, "task", "has no task; its fields are task, model, score"),
        ({}, "task", "its fields are none"),
        ({**GOOD, "task": "  "}, "task", "is empty"),
        ({**GOOD, "task": 5}, "task", "got int"),
        ({"messages": [{"role": "x"}], "model": "m", "score": 1}, "messages", "unknown role 'x'"),
        ({"task": "t"}, "score", "has no score"),
        ({"task": "t", "model": "m"}, "score", "is missing"),
        ({"task": "t", "score": 1}, "model", "is missing"),
        ({**GOOD, "model": " "}, "model", "' ' is not a model's name"),
        ({**GOOD, "score": 1.2}, "score", "1.2 is out of range. Use a number from 0 to 1"),
        ({**GOOD, "score": -1}, "score", "-1 is out of range"),
        ({**GOOD, "score": float("nan")}, "score", "nan is out of range"),
        ({**GOOD, "score": "1"}, "score", "'1' is not a number"),
        ({**GOOD, "cost_usd": -0.1}, "cost_usd", "-0.1 is out of range. Use a number of 0 or more"),
        ({**GOOD, "cost_usd": float("inf")}, "cost_usd", "inf is out of range"),
        ({**GOOD, "cost_usd": True}, "cost_usd", "True is not a number"),
        ({**GOOD, "latency_s": "fast"}, "latency_s", "'fast' is not a number"),
        ({"task": "t", "scores": {}}, "scores", "names no model"),
        ({"task": "t", "scores": [1]}, "scores", "is not an object of numbers by model"),
        ({"task": "t", "scores": {"m": 7}}, "scores['m']", "7 is out of range"),
        (
            {"task": "t", "scores": {"m": 1}, "costs_usd": {"n": 1}},
            "costs_usd",
            "'n', which has no score",
        ),
        ({"task": "t", "weak": 1}, "strong", "is missing"),
    ],
)
def test_a_mistake_is_told_with_its_row_and_field(row: Any, field: str, message: str) -> None:
    with pytest.raises(InvalidExamplesError) as caught:
        parse(GOOD, row)
    assert (caught.value.row, caught.value.field) == (2, field)
    assert str(caught.value).startswith(f"row 2, {field}: " if field else "row 2: ")
    assert message in str(caught.value)


def test_an_unknown_model_is_told_with_those_known() -> None:
    with pytest.raises(InvalidExamplesError, match=r"row 1, model: unknown model 'm'.*a, b"):
        parse(GOOD, models=["b", "a"])


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ((), "holds no rows"),
        (("", "{"), "row 2: is not JSON"),
        (('{"task": "t", "model": "m", "score": 1}', "[" * 100_000), "row 2: is not JSON"),
    ],
)
def test_a_file_without_rows_or_with_broken_ones(
    tmp_path: Path, lines: tuple[str, ...], message: str
) -> None:
    with pytest.raises(InvalidExamplesError, match=message):
        read_jsonl(file(tmp_path, *lines))


def test_a_file_that_is_not_there_or_not_text(tmp_path: Path) -> None:
    with pytest.raises(InvalidExamplesError, match="No such file"):
        read_jsonl(tmp_path / "none.jsonl")
    (tmp_path / "latin").write_bytes(b"\n\xe9\n")
    with pytest.raises(InvalidExamplesError, match=r"row 2: .*not UTF-8"):
        read_jsonl(tmp_path / "latin")


def test_an_example_made_by_hand_is_checked_too() -> None:
    with pytest.raises(InvalidExamplesError, match="score: 2 is out of range"):
        Example.of("t", "m", 2)


def test_learning_needs_rows_of_every_model_and_more_than_one_outcome() -> None:
    rows = [Example.of(f"t{i}", "a", i % 2) for i in range(30)]
    check_learnable(rows)
    with pytest.raises(InvalidExamplesError, match="There are no examples"):
        check_learnable([])
    with pytest.raises(InvalidExamplesError, match="'b' has 1 rows, 30 are needed"):
        check_learnable([*rows, Example.of("t", "b", 1)])
    with pytest.raises(InvalidExamplesError, match="every row has the score 1"):
        check_learnable([Example.of(f"t{i}", "a", 1) for i in range(30)])


@settings(deadline=None)
@given(st.permutations(range(6)))
def test_the_hash_is_of_what_the_rows_say_not_of_their_order(order: list[int]) -> None:
    rows = [Example.of(f"task {i}", "m", i / 10) for i in range(6)]
    assert data_hash([rows[i] for i in order]) == data_hash(rows)
    assert data_hash(rows[1:]) != data_hash(rows)
    assert data_hash([*rows[1:], Example.of("task 0", "m", 0.9)]) != data_hash(rows)


def test_equal_tasks_have_one_key_and_others_another() -> None:
    with_system = [{"role": "system", "content": "x"}, {"role": "user", "content": "t"}]
    tools = [{"type": "function", "function": {"name": "f"}}]
    tasks = [Task.of("t"), Task.of(with_system), Task.of("t", tools=tools), Task.of("u")]
    assert len({task_key(task) for task in tasks}) == 4
    assert task_key(Task.of([{"role": "user", "content": "t"}])) == task_key(Task.of("t"))


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.text(min_size=1).filter(str.strip),
            st.sampled_from(["a", "b"]),
            st.floats(0, 1),
        ),
        min_size=1,
        max_size=5,
    )
)
def test_what_is_written_is_read_again(rows: list[tuple[str, str, float]]) -> None:
    lines = [json.dumps({"task": t, "model": m, "score": s}) for t, m, s in rows]
    read = parse(*map(json.loads, lines))
    assert [(e.task.text, e.model, e.score) for e in read] == rows
