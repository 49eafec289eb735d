"""What was tried beside the shipped recipe, and what each gave; a table on every run.

    python training/scorer/experiments.py --data DATA [transfer] [options] [amount] [story] [pool]

APGR here is the fine area (every threshold), two or three random splits of five folds, averaged.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from recipe import FORESTS, cross_outputs, folds_of, setting_for, targets_of, train

from data import Prompts, Vocabulary, load, read, standard_load
from modelrouter.evaluation.pair import fine_curve
from modelrouter.fitting.boosting import Boosting, grow, predict
from modelrouter.scoring.features import LOAD, NAMES

WEAK, STRONG = "mixtral-8x7b", "gpt-4-1106"
SETS = ("routellm-mmlu", "routellm-gsm8k")
FAMILY = {
    "routellm-mmlu": ("routellm-mmlu", "mmlu"),
    "routellm-gsm8k": ("routellm-gsm8k", "gsm8k", "agentverse-mgsm"),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True)
    arguments.add_argument("which", nargs="*")
    given = arguments.parse_args()
    vocabulary = Vocabulary.of(given.data / "text")
    prompts = read(given.data / "routing", vocabulary)
    _, targets = targets_of(prompts)
    known = {
        "transfer": transfer,
        "options": options,
        "amount": amount,
        "story": story,
        "pool": pool,
    }
    for name in given.which or known:
        print(f"\n{name}")
        known[name](prompts, vocabulary, targets)


def area(prompts: Prompts, rows: np.ndarray, gain: np.ndarray) -> float:
    return fine_curve(gain, prompts.column(WEAK)[rows], prompts.column(STRONG)[rows]).apgr()


def transfer(prompts: Prompts, vocabulary: Vocabulary, targets: np.ndarray) -> None:
    """To a benchmark that nothing was learned from: single features, the load, fits elsewhere."""
    values = prompts.values
    scale = values.std(0) + 1e-9
    table = np.clip((values - values.mean(0)) / scale, -4, 4)
    loads = load(values, *standard_load(values))
    gap = targets[:, 1] - targets[:, 0]
    for name in LOAD:
        found = [area(prompts, prompts.sets == s, table[prompts.sets == s, NAMES.index(name)])
                 for s in SETS]  # fmt: skip
        print(f"  {name:<44} {found[0]:.3f} {found[1]:.3f}")
    found = [area(prompts, prompts.sets == s, loads[prompts.sets == s]) for s in SETS]
    print(f"  {'load: their plain mean':<44} {found[0]:.3f} {found[1]:.3f}")
    for label, damping, held in (
        ("ridge of the gap on all features", 300.0, 0.0),
        ("the same, held to the load", 300.0, 0.1),
        ("the same, held to the load strongly", 30_000.0, 0.1),
    ):
        found = []
        for name in SETS:
            inside = ~np.isin(prompts.sets, FAMILY[name]) & ~np.isnan(gap)
            prior = np.zeros(table.shape[1])
            prior[[NAMES.index(part) for part in LOAD]] = held / len(LOAD)
            x, y = table[inside], gap[inside] - gap[inside].mean()
            weight = prior + np.linalg.solve(
                x.T @ x + damping * np.eye(x.shape[1]), x.T @ (y - x @ prior)
            )
            rows = prompts.sets == name
            found.append(area(prompts, rows, table[rows] @ weight))
        print(f"  {label:<44} {found[0]:.3f} {found[1]:.3f}")
    found = []
    for name in SETS:
        inside = ~np.isin(prompts.sets, FAMILY[name]) & ~np.isnan(gap)
        rest = gap[inside, None] - gap[inside].mean()
        forest = grow(values[inside], rest, np.ones((1, 1)), Boosting(trees=120, rate=0.05))
        rows = prompts.sets == name
        found.append(area(prompts, rows, predict(forest, values[rows])[:, 0]))
    print(f"  {'boosted trees of the gap on all features':<44} {found[0]:.3f} {found[1]:.3f}")


def options(prompts: Prompts, vocabulary: Vocabulary, targets: np.ndarray) -> None:
    """MMLU inside the distribution: how many trees, and whether words help."""
    rows = np.flatnonzero(prompts.sets == "routellm-mmlu")
    shipped = FORESTS["options"]
    for label, forest, wordless in (
        ("load alone", replace(shipped, trees=0), True),
        ("words, no trees", replace(shipped, trees=0), False),
        ("60 trees", replace(shipped, trees=60), True),
        ("100 trees (shipped)", shipped, True),
        ("100 trees and words", shipped, False),
        ("100 trees on fewer features", replace(shipped, features=0.15), True),
        ("200 slower trees", replace(shipped, trees=200, rate=0.03, features=0.1), True),
    ):
        _split(
            prompts, vocabulary, targets[:, :2], rows, rows, label, {"options": forest}, wordless
        )


def amount(prompts: Prompts, vocabulary: Vocabulary, targets: np.ndarray) -> None:
    """MMLU inside the distribution: what fewer labelled prompts teach, and so what more would."""
    rows = np.flatnonzero(prompts.sets == "routellm-mmlu")
    setting = replace(setting_for(2), forests={"options": FORESTS["options"]})
    random = np.random.default_rng(0)
    for share in (0.125, 0.25, 0.5, 1.0):
        found = []
        for _ in range(3):
            fold = folds_of(prompts, rows, 5, random)
            gain = np.zeros(len(rows))
            for part in range(5):
                seen = rows[(fold != part) & (random.random(len(rows)) < share)]
                made = train(prompts, vocabulary, seen, targets[:, :2], setting)
                out = made.outputs(prompts, rows[fold == part])
                gain[fold == part] = out[:, 1] - out[:, 0]
            found.append(area(prompts, rows, gain))
        label = f"{round(0.8 * share * len(rows)):,} labelled prompts"
        print(f"  {label:<44} {np.mean(found):.3f}  {[round(x, 3) for x in found]}", flush=True)


def story(prompts: Prompts, vocabulary: Vocabulary, targets: np.ndarray) -> None:
    """GSM8K inside the distribution."""
    own = prompts.sets == "routellm-gsm8k"
    inside = np.flatnonzero((np.array(prompts.formats) == "story") | own)
    for trees in (0, 15, 20, 40, 80):
        forest = replace(FORESTS["story"], trees=trees)
        both = {"story": forest, "open": replace(forest, trees=0)}
        label = f"{trees} trees"
        _split(prompts, vocabulary, targets, inside, np.flatnonzero(own), label, both, True)


def _split(
    prompts: Prompts,
    vocabulary: Vocabulary,
    targets: np.ndarray,
    rows: np.ndarray,
    test: np.ndarray,
    label: str,
    forests: dict[str, Boosting],
    wordless: bool,
) -> None:
    names = frozenset(forests) if wordless else frozenset()
    setting = replace(setting_for(targets.shape[1]), forests=forests, wordless=names)
    found = []
    for seed in (0, 1):
        made, _ = cross_outputs(prompts, vocabulary, targets, rows, setting, seed=seed)
        at = np.isin(rows, test)
        found.append(area(prompts, rows[at], (made[:, 1] - made[:, 0])[at]))
    print(f"  {label:<44} {np.mean(found):.3f}  {[round(x, 3) for x in found]}", flush=True)


def pool(prompts: Prompts, vocabulary: Vocabulary, targets: np.ndarray) -> None:
    """The nine models' answers: how many trees, and whether words help (Brier score)."""
    rows = np.flatnonzero(~np.isnan(targets[:, 2]))
    shipped = FORESTS["open"]
    for label, forest, wordless in (
        ("level and load alone", replace(shipped, trees=0), True),
        ("words, no trees", replace(shipped, trees=0), False),
        ("100 trees", replace(shipped, trees=100), True),
        ("160 trees", shipped, True),
        ("160 trees and words (shipped)", shipped, False),
    ):
        names = frozenset(FORESTS) if wordless else frozenset({"options", "story"})
        forests = {**FORESTS, "open": forest}
        setting = replace(setting_for(targets.shape[1]), forests=forests, wordless=names)
        made, _ = cross_outputs(prompts, vocabulary, targets, rows, setting)
        found = ((made[:, 2:] - targets[rows, 2:]) ** 2).mean()
        print(f"  {label:<44} {found:.4f}", flush=True)


if __name__ == "__main__":
    main()
