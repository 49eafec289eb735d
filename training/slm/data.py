"""Sentences in, batches of (instruction, answer) tokens out."""

from __future__ import annotations

import difflib
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from noise import Lexicon, Noise
from phrasings import COMPLETE, FIX
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from torch import Tensor

END, USER, ASSISTANT, PAD = range(4)
SPECIAL = ["<|end|>", "<|user|>", "<|assistant|>", "<|pad|>"]

# How often a sentence of each source is drawn: everyday modern text first.
SOURCES = {
    "tatoeba": 5.0, "masc": 1.5, "wordnet_examples": 1.0, "gutenberg": 1.0,
    "gnome_help": 0.5, "us_speeches": 0.25, "python_docs": 0.12,
}  # fmt: skip
_SENTENCE = re.compile(r"^[\"']?[A-Z][^|<>{}\[\]\\_=*#@]*[.!?][\"')]*$")
BUCKETS = (16, 20, 24, 28, 32, 36, 40, 48, 56, 64, 80, 96, 128, 176)


@dataclass(frozen=True)
class Example:
    """Tokens, and the loss weight of each; 0 on the instruction."""

    tokens: list[int]
    weights: list[float]


def read_sentences(folder: Path, exclude: set[str]) -> tuple[list[str], list[float]]:
    """Clean sentences of 3 to 40 words, each with its weight in the draw."""
    sentences, weights = [], []
    for name, weight in SOURCES.items():
        for line in (folder / f"{name}.txt").read_text(encoding="utf-8").splitlines():
            line = line.strip()
            words = line.count(" ") + 1
            shouting = sum(c.isupper() for c in line) > len(line) * 0.3
            whole = _SENTENCE.match(line) and line.count('"') % 2 == 0 and not shouting
            if 3 <= words <= 40 and whole and line not in exclude:
                sentences.append(line)
                weights.append(weight)
    return sentences, weights


def train_tokenizer(path: Path, sentences: list[str], size: int) -> Tokenizer:
    """A byte-level BPE tokenizer, made once."""
    if not path.exists():
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
        trainer = trainers.BpeTrainer(
            vocab_size=size,
            special_tokens=SPECIAL,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        )
        asked = [p.replace("{}", "") for p in FIX + COMPLETE] * 300
        tokenizer.train_from_iterator(sentences + asked, trainer)
        tokenizer.save(str(path))
    return Tokenizer.from_file(str(path))


class Examples:
    """Draws examples without end."""

    def __init__(
        self,
        sentences: list[str],
        weights: list[float],
        tokenizer: Tokenizer,
        lexicon: Lexicon,
        seed: int,
        *,
        completion_share: float = 0.15,
        clean_share: float = 0.22,
        edit_weight: float = 3.0,
    ) -> None:
        self.rng = random.Random(seed)
        self.sentences = sentences
        self.cumulative = _cumulate(weights)
        self.tokenizer = tokenizer
        self.noise = Noise(lexicon, self.rng)
        self.completion_share = completion_share
        self.clean_share = clean_share
        self.edit_weight = edit_weight

    def draw(self) -> Example:
        """One example: mostly a correction, sometimes a completion."""
        rng = self.rng
        (text,) = rng.choices(self.sentences, cum_weights=self.cumulative)
        if rng.random() < self.completion_share:
            return self._completion(text)
        if len(text) < 90 and rng.random() < 0.12:
            (more,) = rng.choices(self.sentences, cum_weights=self.cumulative)
            text = f"{text} {more}" if len(more) < 90 else text
        return self._correction(text)

    def _correction(self, clean: str) -> Example:
        words = clean.count(" ") + 1
        errors = 0
        if self.rng.random() >= self.clean_share:
            errors = self.rng.choices([1, 2, 3, 4, 5], [50, 24, 13, 8, 5])[0]
            errors = min(errors, max(1, words // 3))
        wrong = self.noise.corrupt(clean, errors) if errors else clean
        asked = self.rng.choice(FIX).replace("{}", wrong)
        words_right = clean.split(" ")
        matcher = difflib.SequenceMatcher(None, wrong.split(" "), words_right, autojunk=False)
        kept = set()
        for block in matcher.get_matching_blocks():
            kept.update(range(block.b, block.b + block.size))
        encoded = self.tokenizer.encode(clean)
        weights = []
        for start, _ in encoded.offsets:
            word = clean.count(" ", 0, start + 1)
            weights.append(1.0 if word in kept else self.edit_weight)
        return self._example(asked, encoded.ids, weights)

    def _completion(self, text: str) -> Example:
        words = text.split(" ")
        cut = self.rng.randrange(max(1, len(words) // 3), len(words)) if len(words) > 2 else 1
        start, rest = " ".join(words[:cut]), " ".join(words[cut:])
        asked = self.rng.choice(COMPLETE).replace("{}", start)
        ids = self.tokenizer.encode(rest).ids
        return self._example(asked, ids, [1.0] * len(ids))

    def _example(self, asked: str, answer: list[int], weights: list[float]) -> Example:
        question = [USER, *self.tokenizer.encode(asked).ids, ASSISTANT]
        return Example([*question, *answer, END], [*([0.0] * len(question)), *weights, 1.0])


def batches(examples: Examples, tokens: int, pool: int = 6000) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of one padded length each, about ``tokens`` tokens, in random order.

    Every example stands alone from position 0, exactly as when the model is used.
    """
    drawn: dict[int, list[Example]] = {b: [] for b in BUCKETS}
    while True:
        ready = []
        for _ in range(pool):
            example = examples.draw()
            bucket = next((b for b in BUCKETS if len(example.tokens) <= b + 1), None)
            if bucket is None:
                continue
            drawn[bucket].append(example)
            if len(drawn[bucket]) == tokens // bucket:
                ready.append(_pad(drawn[bucket], bucket))
                drawn[bucket] = []
        examples.rng.shuffle(ready)
        yield from ready


def _pad(examples: list[Example], length: int) -> tuple[Tensor, Tensor]:
    tokens = torch.full((len(examples), length + 1), PAD)
    weights = torch.zeros(len(examples), length + 1)
    for row, example in enumerate(examples):
        tokens[row, : len(example.tokens)] = torch.tensor(example.tokens)
        weights[row, : len(example.weights)] = torch.tensor(example.weights)
    return tokens, weights


def _cumulate(weights: list[float]) -> list[float]:
    total, sums = 0.0, []
    for w in weights:
        total += w
        sums.append(total)
    return sums
