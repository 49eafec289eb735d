"""Make the scorer's weights: src/modelrouter/assets/scorer.bin, the same bytes on every run.

    python training/scorer/make_weights.py --data DATA [--out FILE]

DATA holds routing/ (mmlu.jsonl, gsm8k.jsonl, slm_pool.jsonl) and text/ (*.txt). Five-fold
cross-validation gives the calibration and the figures kept in the file; the parts are then fitted
to all rows. Takes about a minute on one core.
"""

from __future__ import annotations

import argparse
import hashlib
from array import array
from pathlib import Path

import numpy as np
from recipe import calibrated, cross_outputs, setting_for, targets_of, train

from data import Vocabulary, read
from modelrouter.fitting.calibration import platt
from modelrouter.fitting.fit import packed
from modelrouter.scoring.engine import LARGE, SMALL
from modelrouter.scoring.weights import Ability, Weights, dump
from modelrouter.signals import detect_kind
from modelrouter.task import Task

ROOT = Path(__file__).resolve().parents[2]
KINDS = ("question_answering", "math", "code")
"""The kinds with labelled answers from several sets (reasoning has one, of logic grids)."""
ALIASES = {"mixtral-8x7b": SMALL, "gpt-4-1106": LARGE}
DATE = "2026-11-23"


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--data", type=Path, required=True)
    default = ROOT / "src/modelrouter/assets/scorer.bin"
    arguments.add_argument("--out", type=Path, default=default)
    given = arguments.parse_args()

    vocabulary = Vocabulary.of(given.data / "text")
    prompts = read(given.data / "routing", vocabulary)
    references, targets = targets_of(prompts)
    found, fold = cross_outputs(prompts, vocabulary, targets)
    trained = train(
        prompts, vocabulary, np.arange(len(targets)), targets, setting_for(len(references))
    )

    abilities, figures = {}, {}
    for column, name in enumerate(references):
        seen = ~np.isnan(targets[:, column])
        bias, slope = platt(found[seen, column], targets[seen, column])
        abilities[name] = _ability(bias, slope, column, len(references), int(seen.sum()))
        chance = calibrated(found[:, column], targets[:, column], fold)[seen]
        figures[name] = _figures(chance, targets[seen, column])
    for name, reference in ALIASES.items():
        column = references.index(reference)
        seen = ~np.isnan(prompts.column(name))
        bias, slope = platt(found[seen, column], prompts.column(name)[seen])
        abilities[name] = _ability(bias, slope, column, len(references), int(seen.sum()))

    weights = Weights(
        references=references,
        load_center=tuple(trained.center),
        load_scale=tuple(trained.scale),
        vocabulary=vocabulary.words,
        frequencies=array("B", vocabulary.frequencies),
        abilities=abilities,
        kinds=_kinds(prompts.texts, found, abilities, references),
        about={
            "date": DATE,
            "data_sha256": _hash(given.data),
            "rows": int((~np.isnan(prompts.scores)).sum()),
            "prompts": len(prompts.texts),
            "sources": "RouteLLM (MMLU, GSM8K; Apache-2.0), LLMRouter (14 sets, 9 models; MIT)",
            "held_out": figures,
        },
        **packed(trained.learned),
    )
    dump(weights, given.out)
    print(f"{given.out}: {given.out.stat().st_size:,} bytes")
    for name, row in figures.items():
        print(f"  {name:<34} {row}")


def _ability(bias: float, slope: float, column: int, models: int, answers: int) -> Ability:
    slopes = tuple(round(slope, 6) if at == column else 0.0 for at in range(models))
    return Ability(round(bias, 6), slopes, answers, "labelled answers of the training data")


def _figures(chance: np.ndarray, scores: np.ndarray) -> dict[str, float]:
    bins = np.minimum((chance * 10).astype(int), 9)
    error = sum(abs(float((chance - scores)[bins == b].sum())) for b in range(10)) / len(scores)
    return {
        "answers": len(scores),
        "mean_score": round(float(scores.mean()), 4),
        "calibration_error": round(error, 4),
        "brier": round(float(((chance - scores) ** 2).mean()), 4),
        "brier_of_the_mean": round(float(scores.var()), 4),
    }


def _kinds(
    texts: tuple[str, ...],
    found: np.ndarray,
    abilities: dict[str, Ability],
    references: tuple[str, ...],
) -> dict[str, tuple[float, ...]]:
    """Of each kind: the means that :class:`Weights` names."""
    kinds = np.array([detect_kind(Task.of(text))[0] for text in texts])
    odds = [
        abilities[name].bias + abilities[name].slopes[at] * found[:, at]
        for at, name in enumerate(references[:2])
    ]
    means = {}
    for kind in KINDS:
        rows = kinds == kind
        complexity = 1 / (1 + np.exp(odds[0][rows]))
        means[kind] = tuple(
            round(float(x), 6)
            for x in (complexity.mean(), odds[0][rows].mean(), odds[1][rows].mean())
        )
    return means


def _hash(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted([*folder.glob("routing/*.jsonl"), *folder.glob("text/*.txt")]):
        digest.update(file.read_bytes())
    return digest.hexdigest()


if __name__ == "__main__":
    main()
