"""The labelled prompts and the word frequencies, as arrays."""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from modelrouter.fitting.learning import Bags, bags_of, load_of
from modelrouter.scoring.features import (
    COMMON_SHIFT,
    FREQUENCY_SHIFT,
    HEAD,
    KNOWN_SHIFT,
    LOAD,
    NAMES,
    TAIL,
    WordTable,
    format_of,
    group_table,
    read_text,
    words,
)

VOCABULARY = 20_000
POOL_SMALL = (
    "gemma-2-9b-it",
    "llama-3.1-8b-instruct",
    "mistral-7b-instruct-v0.3",
    "qwen2.5-7b-instruct",
)
POOL_LARGE = ("llama-3.1-nemotron-51b-instruct", "llama-3.3-nemotron-super-49b-v1")
MISGRADED = ("trivia_qa",)
"""Sets on which every model scores about 0.2, also those known for 0.7: no measure of level."""


@dataclass(frozen=True)
class Vocabulary:
    """Words of general English by frequency; no labelled prompt has a say in it."""

    words: tuple[str, ...]
    frequencies: tuple[int, ...]

    @classmethod
    def of(cls, folder: Path) -> Vocabulary:
        counts: Counter[str] = Counter()
        for file in sorted(folder.glob("*.txt")):
            with file.open(encoding="utf-8") as lines:
                for line in lines:
                    counts.update(words(line))
        total = sum(counts.values())
        kept = sorted(counts.items(), key=lambda item: (-item[1], item[0]))[:VOCABULARY]
        return cls(
            tuple(word for word, _ in kept),
            tuple(round(16 * math.log1p(count / total * 1e6)) for _, count in kept),
        )

    def table(self) -> WordTable:
        """As the scorer's, without the fields of the models."""
        table = WordTable(
            (word, 1 << KNOWN_SHIFT | (f >= 49) << COMMON_SHIFT | f << FREQUENCY_SHIFT)
            for word, f in zip(self.words, self.frequencies, strict=True)
        )
        for word, groups in group_table().items():
            table[word] |= groups
        return table


@dataclass(frozen=True)
class Prompts:
    """Labelled prompts: features, words, and each model's score (NaN where it has none)."""

    texts: tuple[str, ...]
    sets: np.ndarray
    values: np.ndarray
    found: tuple[tuple[str, ...], ...]
    formats: tuple[str, ...]
    models: tuple[str, ...]
    scores: np.ndarray

    def column(self, model: str) -> np.ndarray:
        return self.scores[:, self.models.index(model)]

    def bags(self, rows: np.ndarray, index: dict[str, int]) -> Bags:
        return bags_of([self.found[row] for row in rows], index)


def read(folder: Path, vocabulary: Vocabulary) -> Prompts:
    """All three files of the folder, in their order."""
    rows: list[tuple[str, str, dict[str, float]]] = []
    for name in ("mmlu", "gsm8k"):
        for row in _lines(folder / f"{name}.jsonl"):
            pair = {"mixtral-8x7b": row["weak"], "gpt-4-1106": row["strong"]}
            rows.append((row["prompt"], f"routellm-{name}", pair))
    for row in _lines(folder / "slm_pool.jsonl"):
        rows.append((row["prompt"], row["task"], row["scores"]))
    models = tuple(dict.fromkeys(model for _, _, scores in rows for model in sorted(scores)))
    table = vocabulary.table()
    readings = [read_text(text, table).values for text, _, _ in rows]
    scores = np.full((len(rows), len(models)), np.nan)
    for at, (_, _, given) in enumerate(rows):
        for model, score in given.items():
            scores[at, models.index(model)] = score
    return Prompts(
        tuple(text for text, _, _ in rows),
        np.array([name for _, name, _ in rows]),
        np.array(readings),
        tuple(tuple(words(window(text))) for text, _, _ in rows),
        tuple(format_of(values) for values in readings),
        models,
        scores,
    )


def window(text: str) -> str:
    return text if len(text) <= HEAD + TAIL else f"{text[:HEAD]}\n{text[-TAIL:]}"


def standard_load(values: np.ndarray) -> tuple[list[float], list[float]]:
    """Center and scale of the parts of the load."""
    at = [NAMES.index(name) for name in LOAD]
    return values[:, at].mean(0).tolist(), values[:, at].std(0).tolist()


def load(values: np.ndarray, center: Sequence[float], scale: Sequence[float]) -> np.ndarray:
    return load_of(values, center, scale)


def _lines(path: Path) -> list[dict]:
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]
