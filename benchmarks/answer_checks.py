"""How many answers that are none are noticed, how many good ones are taken for none, in what time.

    python benchmarks/answer_checks.py [FILE ...] [--misses]

The answers in tests/data/answers.jsonl are real ones, of SmolLM2-135M-Instruct (Q4_1) and of the
bundled editor, each labelled by a reader before the checks saw it: "ok", "poor" (an answer, and a
bad one), "soft" (a reader may say either), or what is wrong with it. The checks were made while
the set "chosen on" was looked at; "last" was read when they were made, and changed them
little. FILEs have the same form.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections import Counter
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

from modelrouter.dispatch.answer_checks import Asked, no_answer, payload_of
from modelrouter.signals.language import detect_language

DATA = Path(__file__).parents[1] / "tests" / "data" / "answers.jsonl"
TOKENS = 300


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("files", nargs="*", type=Path, default=[DATA])
    arguments.add_argument("--misses", action="store_true", help="print what was judged wrongly")
    options = arguments.parse_args()
    rows = [json.loads(line) for f in options.files for line in f.read_text("utf-8").splitlines()]
    for name in dict.fromkeys(row["set"] for row in rows):
        report(name, [row for row in rows if row["set"] == name], options.misses)
    print(f"\ntime for an answer of {TOKENS} tokens")
    for name, seconds in times(rows):
        print(f"  {name:<20}{seconds * 1e6:6.1f} us")


def report(name: str, rows: list[dict[str, Any]], misses: bool) -> None:
    noticed: Counter[str] = Counter()
    total: Counter[str] = Counter()
    for row in rows:
        label = row["label"].partition(",")[0]
        why = judged(row)
        total[label] += 1
        noticed[label] += bool(why)
        if misses and label != "soft" and bool(why) != (label not in ("ok", "poor")):
            print(f"  {label}, {row['kind']}: {row['messages'][-1]['content']!r}")
            print(f"      {row['answer']!r} {why}")
    print(f"\n{name}: {len(rows)} answers")
    for label in sorted(total.keys() - {"ok", "poor", "soft"}):
        print(f"  {label:<12}noticed {noticed[label]:4} of {total[label]}")
    fine = total["ok"] + total["poor"]
    print(f"  {'none':<12}alarms  {noticed['ok'] + noticed['poor']:4} of {fine}")
    print(f"  {'soft':<12}noticed {noticed['soft']:4} of {total['soft']}")


def judged(row: dict[str, Any]) -> str:
    return no_answer(row["answer"], asked_of(row), stopped=row["finish_reason"] == "stop")


def asked_of(row: dict[str, Any]) -> Asked:
    *before, last = row["messages"]
    context = "\n".join(message["content"] for message in before)
    prompt = last["content"]
    return Asked(prompt, row["kind"], payload_of(prompt), context, detect_language(prompt))


def times(rows: list[dict[str, Any]]) -> Iterable[tuple[str, float]]:
    """Medians over the good answers, made as long as that by others of the same kind of task."""
    fine = [row for row in rows if row["label"] == "ok" and row["answer"].isascii()]
    for kind in sorted({row["kind"] for row in fine}):
        same = [row for row in fine if row["kind"] == kind]
        long = " ".join(dict.fromkeys(row["answer"] for row in same))[: 4 * TOKENS]
        if len(long) < 4 * TOKENS:
            continue
        yield kind, statistics.median(timed(partial(check, asked_of(row), long)) for row in same)


def check(asked: Asked, answer: str) -> str:
    """As a call does it: the payload is looked for each time."""
    prompt = asked.prompt
    fresh = Asked(prompt, asked.kind, payload_of(prompt), asked.context, asked.language)
    return no_answer(answer, fresh)


def timed(call: Callable[[], object], repeats: int = 200) -> float:
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(repeats):
            call()
        best = min(best, (time.perf_counter() - started) / repeats)
    return best


if __name__ == "__main__":
    main()
