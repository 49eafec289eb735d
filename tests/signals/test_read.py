"""All signals of a task, put together."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelrouter.signals import Difficulty, read
from modelrouter.task import Kind, Task

TOOL: dict[str, Any] = {"type": "function", "function": {"name": "f", "parameters": {}}}
SCHEMA: dict[str, Any] = {
    "type": "json_schema",
    "json_schema": {"name": "x", "schema": {"type": "object"}},
}


def test_reads_the_last_turn_and_counts_the_whole_conversation() -> None:
    signals = read(
        Task.of(
            [
                {"role": "system", "content": "You prove theorems and design distributed systems."},
                {"role": "user", "content": "Write to ann@example.com about the proof."},
                {"role": "assistant", "content": "Done."},
                {"role": "user", "content": "hi"},
            ]
        )
    )
    assert signals.kind == "chat"
    assert signals.complexity < 0.1
    assert signals.pii == ("email",)
    assert signals.contains_pii
    assert signals.user_turns == 2
    assert signals.language == "en"
    assert signals.system_tokens > 5
    assert signals.prompt_tokens > signals.system_tokens + 10
    assert signals.context_tokens == signals.prompt_tokens + signals.output_tokens


def test_needs_follow_from_the_tasks_shape() -> None:
    image = {"type": "image_url", "image_url": {"url": "https://example.com/a.jpg"}}
    looking = [{"role": "user", "content": [image]}]
    assert read(Task.of("hi")).needs == frozenset()
    assert read(Task.of(looking)).needs == {"vision"}
    assert read(Task.of("hi", tools=[TOOL], response_format=SCHEMA)).needs == {
        "tools",
        "json_schema",
    }
    assert "long_context" in read(Task.of("Summarize this: " + "many words " * 9_000)).needs


def test_a_scorers_reading_takes_the_heuristics_place() -> None:
    seen: list[tuple[str, Kind]] = []

    def learned(text: str, kind: Kind) -> Difficulty:
        seen.append((text, kind))
        return Difficulty(0.42, skills=(1.5, -2.0))

    signals = read(Task.of("Draw a cat."), difficulty=learned)
    assert (signals.complexity, signals.difficulty) == (0.42, (1.5, -2.0))
    assert seen == [("Draw a cat.", "image_generation")]


def test_a_tokenizer_makes_the_count_exact() -> None:
    assert read(Task.of("hi there"), tokenizer=len).token_error == 0.0
    assert read(Task.of("hi there")).token_error > 0.0


@given(st.text(min_size=1).filter(str.strip))
def test_same_task_same_signals(text: str) -> None:
    assert read(Task.of(text)) == read(Task.of(text))


@pytest.mark.parametrize("piece", ["word ", "12 345 6789 ", "ж", "漢字", "a@b ", '"', "```\n"])
def test_time_is_at_most_linear(piece: str) -> None:
    def seconds(size: int) -> float:
        task = Task.of((piece * (size // len(piece) + 1))[:size])
        best = float("inf")
        for _ in range(3):
            start = time.thread_time()
            read(task)
            best = min(best, time.thread_time() - start)
        return best

    # Eight times the text: eight times the time when linear, sixty-four when quadratic.
    assert seconds(160_000) < 30 * seconds(20_000) + 0.005
