"""The editor's examples: a wrong text in the user's turn, the right one as the answer.

The user's turn is the bare text: the router cuts an instruction away before it asks a narrow model.
"""

from __future__ import annotations

import csv
import difflib
import random
import sys
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

sys.path.append(str(Path(__file__).parents[1]))

from noise import KEYS, PHONETIC, Lexicon, Noise, Words, _core

from data import read_sentences

PROMPT = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n"
END = "<|im_end|>"

# Rules of Harper's tests that are matters of taste or of one house's style.
TASTE = {
    "four_digits", "two_digits", "spelled_numbers", "orthographic_consistency", "Singular",
    "avoid_contractions", "initialisms", "discourse_markers", "oxford_comma", "no_oxford_comma",
    "use_title_case", "capitalize_personal_pronouns_off", "boring_words", "filler_words", "a_while",
}  # fmt: skip
BUCKETS = (24, 32, 40, 48, 56, 64, 80, 96, 128, 176, 240, 320)


@dataclass(frozen=True)
class Example:
    """Token ids, and the loss weight of each; 0 on what the user said."""

    tokens: list[int]
    weights: list[float]


class LearnerNoise(Noise):
    """The bundled editor's errors in the proportions of learners' essays.

    More misspellings, several in one word; words left out; a wrong word of the same form.
    """

    def __init__(
        self, lexicon: Lexicon, rng: random.Random, confusions: dict[str, list[str]]
    ) -> None:
        super().__init__(lexicon, rng)
        self.confusions = confusions
        more = {
            self.spelling: 34.0, self.agreement: 10.0, self.article: 12.0, self.preposition: 10.0,
            self.verb_form: 11.0, self.noun_number: 12.0, self.homophone: 7.0, self.apostrophe: 5.0,
            self.pronoun: 2.0, self.comparison: 1.5, self.word_order: 2.0,
            self.extra_or_missing: 5.0, self.punctuation: 9.0,
        }  # fmt: skip
        self.makers = list(more.items())
        self.makers += [
            (self.confused, 4.0),
            (self.left_out, 2.5),
            (self.run_together, 2.0),
            (self.lower_i, 1.5),
        ]

    def spelling(self, words: Words) -> bool:
        """A misspelling: recorded, phonetic or of the keys; sometimes two in one word."""
        places = [i for i, w in enumerate(words) if len(_core(w)) > 3 and _core(w).isalpha()]
        if not places:
            return False
        # Long words are misspelt more often than short ones.
        i = self.rng.choices(places, [len(_core(words[j])) - 2 for j in places])[0]
        low = _core(words[i])
        recorded = self.lexicon.misspelt.get(low)
        if recorded and self.rng.random() < 0.6:
            return self._set(words, i, self.rng.choice(recorded))
        wrong = self._garbled(low)
        if self.rng.random() < 0.15 and len(low) > 6:
            wrong = self._garbled(wrong)
        return self._set(words, i, wrong)

    def _garbled(self, low: str) -> str:
        kind, i = self.rng.random(), self.rng.randrange(1, len(low))
        if kind < 0.4:
            swaps = [(a, b) for a, b in PHONETIC if a in low]
            if swaps:
                a, b = self.rng.choice(swaps)
                return low.replace(a, b, 1)
        vowels = [j for j in range(1, len(low)) if low[j] in "aeiou"]
        if kind < 0.55 and vowels:
            j = self.rng.choice(vowels)
            return low[:j] + self.rng.choice("aeiou") + low[j + 1 :]
        if kind < 0.7:
            return low[:i] + low[i + 1 :]
        if kind < 0.8:
            return low[: i - 1] + low[i] + low[i - 1] + low[i + 1 :]
        if kind < 0.9:
            return low[:i] + low[i - 1] + low[i:]
        return low[:i] + self.rng.choice(KEYS.get(low[i], low[i])) + low[i + 1 :]

    def confused(self, words: Words) -> bool:
        """Another real word of nearly the same look."""
        places = [
            (i, self.rng.choice(self.confusions[_core(w)]))
            for i, w in enumerate(words)
            if _core(w) in self.confusions
        ]
        return self._replace_one(words, places)

    def left_out(self, words: Words) -> bool:
        """A small word left out."""
        small = {
            "a",
            "an",
            "the",
            "to",
            "of",
            "is",
            "are",
            "was",
            "it",
            "in",
            "that",
            "be",
            "have",
            "and",
            "for",
        }
        places = [i for i, w in enumerate(words) if i and w in small]
        if not places or len(words) < 5:
            return False
        del words[self.rng.choice(places)]
        return True

    def run_together(self, words: Words) -> bool:
        """Two words written as one, or one as two."""
        pairs = (
            "a lot",
            "all right",
            "as well",
            "in fact",
            "every day",
            "each other",
            "any more",
            "no one",
            "of course",
            "in front",
        )
        for i in range(len(words) - 1):
            if f"{words[i]} {_core(words[i + 1])}" in pairs and words[i].islower():
                words[i : i + 2] = [words[i] + words[i + 1]]
                return True
        splits = {
            w: (w[:k], w[k:])
            for w, k in (
                ("cannot", 3),
                ("however", 3),
                ("maybe", 3),
                ("someone", 4),
                ("something", 4),
                ("everyone", 5),
                ("sometimes", 4),
                ("without", 4),
                ("become", 2),
                ("because", 2),
                ("into", 2),
                ("today", 2),
                ("another", 2),
                ("yourself", 4),
                ("everything", 5),
                ("nowadays", 3),
            )
        }
        places = [i for i, w in enumerate(words) if w in splits]
        if not places:
            return False
        i = self.rng.choice(places)
        words[i : i + 1] = splits[words[i]]
        return True

    def lower_i(self, words: Words) -> bool:
        """The pronoun I written small."""
        places = [(i, w) for i, w in enumerate(words) if w in ("I", "I'm", "I've", "I'll", "I'd")]
        if not places:
            return False
        for i, w in places:
            words[i] = "i" + w[1:]
        return True


def confusions_of(lexicon: Lexicon, vocabulary: set[str]) -> dict[str, list[str]]:
    """Real words one edit from another: what a spelling checker cannot see."""
    by_gap: dict[str, list[str]] = defaultdict(list)
    words = sorted(w for w in vocabulary if 4 <= len(w) <= 9)
    for word in words:
        for i in range(len(word)):
            by_gap[word[:i] + "_" + word[i + 1 :]].append(word)
    table: dict[str, set[str]] = defaultdict(set)
    for group in by_gap.values():
        if len(group) > 1:
            for word in group:
                table[word].update(w for w in group if w != word)
    return {w: sorted(o) for w, o in table.items()}


class Examples:
    """Draws examples without end."""

    def __init__(
        self,
        data: Path,
        work: Path,
        tokenizer: Tokenizer,
        seed: int,
        excluded: set[str],
        clean_share: float = 0.2,
        edit_weight: float = 2.0,
    ) -> None:
        self.rng = random.Random(seed)
        self.sentences, weights = read_sentences(data / "text", excluded)
        total, self.cumulative = 0.0, []
        for w in weights:
            total += w
            self.cumulative.append(total)
        lexicon = Lexicon.load(work / "lexicon.json", self.sentences)
        common = {
            w for w in lexicon.by_tag if w in lexicon.misspelt or lexicon.verb(w) or lexicon.noun(w)
        }
        self.noise = LearnerNoise(lexicon, self.rng, confusions_of(lexicon, common))
        self.tokenizer = tokenizer
        with (data / "gec" / "harper.tsv").open(encoding="utf-8") as lines:
            rows = list(csv.DictReader(lines, delimiter="\t", quoting=csv.QUOTE_NONE))
        self.pairs = [
            (r["wrong"], r["right"])
            for r in rows
            if r["rule"] not in TASTE and len(r["wrong"]) < 300
        ]
        self.right = [
            s
            for s in (data / "gec" / "harper_correct.txt").read_text("utf-8").splitlines()
            if 10 < len(s) < 300
        ]
        self.clean_share, self.edit_weight = clean_share, edit_weight

    def draw(self) -> Example:
        """One example: mostly noise put into clean sentences, sometimes a recorded pair."""
        kind = self.rng.random()
        if kind < 0.07:
            return self._example(*self.rng.choice(self.pairs))
        if kind < 0.085:
            text = self.rng.choice(self.right)
            return self._example(text, text)
        sentences = [self._sentence()]
        if self.rng.random() < 0.22:
            sentences += [
                self._sentence() for _ in range(self.rng.choices([1, 2, 3, 5], [50, 25, 15, 10])[0])
            ]
        return self._example(" ".join(w for w, _ in sentences), " ".join(r for _, r in sentences))

    def _sentence(self) -> tuple[str, str]:
        (right,) = self.rng.choices(self.sentences, cum_weights=self.cumulative)
        if self.rng.random() < self.clean_share:
            return right, right
        words = right.count(" ") + 1
        errors = 1 + sum(self.rng.random() < 0.13 for _ in range(words - 3))
        return self.noise.corrupt(right, min(errors, 8)), right

    def _example(self, wrong: str, right: str) -> Example:
        words = right.split(" ")
        matcher = difflib.SequenceMatcher(None, wrong.split(" "), words, autojunk=False)
        kept = {j for b in matcher.get_matching_blocks() for j in range(b.b, b.b + b.size)}
        encoded = self.tokenizer.encode(right)
        weights = [
            1.0 if right.count(" ", 0, start + 1) in kept else self.edit_weight
            for start, _ in encoded.offsets
        ]
        question = self.tokenizer.encode(PROMPT.format(wrong)).ids
        end = self.tokenizer.encode(END).ids
        return Example([*question, *encoded.ids, *end], [*([0.0] * len(question)), *weights, 1.0])


def batches(examples: Examples, tokens: int, pool: int = 600) -> Iterator[tuple[Tensor, Tensor]]:
    """Batches of one padded length each, about ``tokens`` tokens, in random order."""
    drawn: dict[int, list[Example]] = {b: [] for b in BUCKETS}
    while True:
        ready = []
        for _ in range(pool):
            example = examples.draw()
            bucket = next((b for b in BUCKETS if len(example.tokens) <= b + 1), None)
            if bucket is None:
                continue
            drawn[bucket].append(example)
            if len(drawn[bucket]) >= max(1, tokens // bucket):
                ready.append(_pad(drawn[bucket], bucket))
                drawn[bucket] = []
        examples.rng.shuffle(ready)
        yield from ready


def _pad(examples: list[Example], length: int) -> tuple[Tensor, Tensor]:
    tokens = torch.zeros((len(examples), length + 1), dtype=torch.long)
    weights = torch.zeros(len(examples), length + 1)
    for row, example in enumerate(examples):
        tokens[row, : len(example.tokens)] = torch.tensor(example.tokens)
        weights[row, : len(example.weights)] = torch.tensor(example.weights)
    return tokens, weights
