"""How often the kind of a task is read rightly, by kind, with what it was taken for.

    python benchmarks/kind_accuracy.py [--split dev|held]

The labelled tasks are in tests/data/kinds.jsonl: "dev" was tuned on, "held" was written before
the detector and never looked at in tuning. The baseline is the most frequent kind.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

from modelrouter.signals import detect_kind
from modelrouter.task import KINDS, Task

DATA = Path(__file__).parents[1] / "tests" / "data" / "kinds.jsonl"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--split", choices=("dev", "held"))
    only = arguments.parse_args().split
    rows = [json.loads(line) for line in DATA.read_text("utf-8").splitlines()]
    for split in [only] if only else ["dev", "held"]:
        report(split, [row for row in rows if row["split"] == split])


def report(split: str, rows: list[dict[str, Any]]) -> None:
    right: Counter[str] = Counter()
    total: Counter[str] = Counter()
    taken_for: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in rows:
        kind = row["kind"]
        found, _ = detect_kind(Task.of(row.get("text") or row["messages"]))
        total[kind] += 1
        right[kind] += found == kind
        if found != kind:
            taken_for[kind][found] += 1
    share = right.total() / total.total()
    baseline = max(total.values()) / total.total()
    print(f"\n{split}: {right.total()} of {total.total()} right, {share:.1%}", end=" ")
    print(f"(always the most frequent kind: {baseline:.1%})")
    for kind in KINDS:
        wrong = ", ".join(f"{other} {n}" for other, n in taken_for[kind].most_common())
        print(f"  {kind:<20} {right[kind]:>3} of {total[kind]:<3} {wrong}")


if __name__ == "__main__":
    main()
