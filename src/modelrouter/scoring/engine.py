"""What a text's features say of each model's chance to do the task well, read in microseconds.

The weights predict the success of reference models on a text, among them ``small`` (the 7B class)
and ``large``; ``complexity`` is the calibrated chance that ``small`` fails. A model with labelled
answers has an ability: its chance follows from the references' as in item response theory. Any
other card keeps its strength for the kind, bent by how much harder than others of its kind the
text is, for small models and for large ones. Kinds without labelled answers (grammar, chat,
writing, ...) have no right answer to learn from; there the bend is the wording heuristic's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from struct import Struct
from typing import Final

from modelrouter.catalog.card import ModelCard
from modelrouter.scoring.base import Difficulty
from modelrouter.scoring.features import (
    COMMON_SHIFT,
    FIELD_BITS,
    FREQUENCY_SHIFT,
    HEAD,
    KNOWN_SHIFT,
    LOAD,
    NAMES,
    SKILL_SHIFT,
    WordTable,
    format_of,
    group_table,
    read_text,
)
from modelrouter.scoring.forest import FIELD, CompiledForest
from modelrouter.scoring.weights import Ability, Weights
from modelrouter.signals import estimate_complexity
from modelrouter.signals.base import Signals
from modelrouter.signals.complexity import HARD_WORDS
from modelrouter.task import Kind, Task

__all__ = [
    "LARGE",
    "LEAF_ZERO",
    "SMALL",
    "WORD_ZERO",
    "Engine",
    "Vocabulary",
]

SMALL: Final = "reference/small"
LARGE: Final = "reference/large"
"""The references that stand for the 7B class and for large hosted models."""

WORD_ZERO: Final = 1 << 12
LEAF_ZERO: Final = 1 << 15
"""What stands for zero in the fields of words and leaves, which hold no negative numbers."""

_COMMON: Final = 49
"""The frequency, as a vocabulary states it, of a word met 20 times in a million."""

_BEND_SMALL: Final = 5.0
_BEND_LARGE: Final = 2.0
"""How strongly complexity bends a card's strength, in log odds; SLMs fall off faster."""
_BENDS: Final = (_BEND_SMALL, _BEND_LARGE)
_HARD_SMALL: Final = 0.26
_HARD_LARGE: Final = 0.13
"""What a hard word ("prove", "concurrent") takes from the log odds in free text. The labelled sets
hold few: the figures are the wording heuristic's, halved, not learned."""
_EDGE: Final = 1e-3
_WINDOW: Final = HEAD
"""Where listed options are looked for in a text of any kind."""
_SLM: Final = frozenset({"slm"})
_LOAD_AT: Final = tuple(NAMES.index(name) for name in LOAD)
_COUNT: Final = (1 << FIELD_BITS) - 1


class Engine:
    """The weights, made ready for reading."""

    def __init__(self, weights: Weights) -> None:
        models = len(weights.references)
        self._weights = weights
        self._parts: dict[str, _Part] = {}
        self._table = Vocabulary(weights)
        self._fields = Struct(f"<{models}I")
        self._bytes = FIELD * models // 8
        self._field_mask = (1 << FIELD * models) - 1
        self._leaf_scale = weights.leaf_scale
        self._word_scale = weights.word_scale
        self._plain = tuple(zip(weights.level, weights.slope, strict=True))
        self._load = tuple(zip(_LOAD_AT, weights.load_center, weights.load_scale, strict=True))
        self._kinds = weights.kinds
        self._abilities = {
            name: (ability.bias, ability.slopes) for name, ability in weights.abilities.items()
        }
        self._small, self._large = self._abilities.get(SMALL), self._abilities.get(LARGE)
        self._cards: dict[int, _Known] = {}
        self._last: tuple[str, Sequence[float]] = ("", ())

    def learn(self, name: str, ability: Ability) -> None:
        """Take a model's ability, from now on."""
        self._abilities[name] = (ability.bias, ability.slopes)
        self._cards.clear()

    def outputs(self, text: str) -> tuple[list[float], str, list[str]]:
        """The references' predicted success, the text's format, its words."""
        values, total, spoken = read_text(text, self._table)
        form = format_of(values)
        load = 0.0
        for at, center, scale in self._load:
            load += min(4.0, max(-4.0, (values[at] - center) / scale))
        load /= len(self._load)
        part = self._parts.get(form) or self._compiled(form)
        if part is None:
            # What was learned of other formats would mislead more than it tells.
            return [level + slope * load for level, slope in self._plain], form, spoken
        forest, starts, slopes, by_words = part
        unpack, size = self._fields.unpack, self._bytes
        leaf_scale = self._leaf_scale
        leaves = unpack(forest.total(values).to_bytes(size, "little"))
        found = [
            start + slope * load + leaf * leaf_scale
            for start, slope, leaf in zip(starts, slopes, leaves, strict=True)
        ]
        if by_words:
            words = unpack((total >> SKILL_SHIFT & self._field_mask).to_bytes(size, "little"))
            zero = (total >> KNOWN_SHIFT & _COUNT) * WORD_ZERO
            word_scale = self._word_scale / math.sqrt(len(spoken) or 1)
            found = [f + (word - zero) * word_scale for f, word in zip(found, words, strict=True)]
        return found, form, spoken

    def _compiled(self, form: str) -> _Part | None:
        """What was learned of a format, compiled when it is first met."""
        weights, first = self._weights, 0
        for name, share in weights.shares.items():
            if name == form:
                models, last = len(weights.references), first + share.trees
                forest = CompiledForest(
                    weights.tree_feature[7 * first : 7 * last],
                    weights.tree_threshold[7 * first : 7 * last],
                    weights.tree_leaf[8 * models * first : 8 * models * last],
                    models,
                )
                zero = share.trees * LEAF_ZERO * weights.leaf_scale
                part = (forest, [level - zero for level in share.level], share.slope, share.words)
                self._parts[form] = part
                return part
            first += share.trees
        return None

    def read(self, text: str, kind: Kind) -> Difficulty:
        """Complexity; the ease for small and for large models; the outputs, where they were read.

        Of a kind that the data do not cover, outputs are read only when a model asks for them.
        """
        small_ability, large_ability = self._small, self._large
        if (
            small_ability is None
            or large_ability is None
            # Whatever its words look like, a question with listed options is one to be answered.
            or not (kind in self._kinds or "\nA" in text[:_WINDOW])
        ):
            return self._by_wording(text, kind)
        found, form, spoken = self.outputs(text)
        means = self._kinds.get("question_answering" if form == "options" else kind)
        if means is None or form not in self._weights.shares:
            return self._by_wording(text, kind)
        small, large = _odds(small_ability, found), _odds(large_ability, found)
        usual, usual_small, usual_large = means
        if form == "open" and not HARD_WORDS.isdisjoint(spoken):
            hard = min(3, sum(map(HARD_WORDS.__contains__, spoken)))
            small -= _HARD_SMALL * hard
            large -= _HARD_LARGE * hard
        away = 0.5 - usual
        return Difficulty(
            _sigmoid(-small),
            (
                _BEND_SMALL * away + small - usual_small,
                _BEND_LARGE * away + large - usual_large,
                *found,
            ),
        )

    def _by_wording(self, text: str, kind: Kind) -> Difficulty:
        complexity = estimate_complexity(text, kind)
        away = 0.5 - complexity
        return Difficulty(complexity, (_BEND_SMALL * away, _BEND_LARGE * away))

    def p_quality(self, card: ModelCard, task: Task, signals: Signals) -> float:
        """See :meth:`LearnedScorer.p_quality`."""
        known = self._cards.get(id(card)) or self._remember(card)
        _, fitted, at, strengths, outside = known
        kind = signals.kind
        strength = strengths.get(kind)
        if strength is None:
            strength = strengths[kind] = card.strength(kind)
        if strength <= 0.0:
            return 0.0
        skills = signals.difficulty
        if fitted is not None:
            return _sigmoid(_odds(fitted, skills[2:] or self._outputs_again(task.text)))
        sure = signals.kind_confidence
        strength = min(1.0 - _EDGE, max(_EDGE, sure * strength + (1.0 - sure) * outside))
        # Another reader's signals have no skills.
        ease = skills[at] if skills else _BENDS[at] * (0.5 - signals.complexity)
        return 1.0 / (1.0 + (1.0 - strength) / strength * math.exp(-ease))

    def _outputs_again(self, text: str) -> Sequence[float]:
        # Several models ask of the same text in a row.
        last, found = self._last
        if last is not text:
            found = self.outputs(text)[0]
            self._last = (text, found)
        return found

    def _remember(self, card: ModelCard) -> _Known:
        # The card is kept with its number, so that no other card can come to have it.
        if len(self._cards) > _MANY_CARDS:
            self._cards.clear()
        known: _Known = (
            card,
            self._abilities.get(card.name),
            0 if card.families == _SLM else 1,
            {},
            0.0 if card.scope is not None else card.general_strength,
        )
        self._cards[id(card)] = known
        return known


_Fitted = tuple[float, Sequence[float]]
_Known = tuple[ModelCard, _Fitted | None, int, dict[Kind, float], float]
_Part = tuple[CompiledForest, list[float], tuple[float, ...], bool]
_MANY_CARDS: Final = 4_096


def _odds(ability: _Fitted, outputs: Sequence[float]) -> float:
    bias, slopes = ability
    return bias + sum(map(float.__mul__, slopes, outputs))


def _sigmoid(odds: float) -> float:
    if odds < 0.0:
        power = math.exp(max(odds, -60.0))
        return power / (1.0 + power)
    return 1.0 / (1.0 + math.exp(-min(odds, 60.0)))


class Vocabulary(WordTable):
    """Each known word's integer, made when the word is first met.

    Its fields: the word's groups, that it is known and how frequent, and the references' weights.
    """

    def __init__(self, weights: Weights) -> None:
        self._index = dict(zip(weights.vocabulary, range(len(weights.vocabulary)), strict=True))
        self._frequencies = weights.frequencies
        self._fields = weights.word_fields
        self._width = len(weights.references)
        self._groups = group_table()
        super().__init__((w, g) for w, g in self._groups.items() if w not in self._index)

    def __missing__(self, word: str) -> int:
        at = self._index.get(word)
        if at is None:
            return 0
        frequency = self._frequencies[at]
        value = (
            self._groups[word]
            | 1 << KNOWN_SHIFT
            | (frequency >= _COMMON) << COMMON_SHIFT
            | frequency << FREQUENCY_SHIFT
        )
        shift = SKILL_SHIFT
        for field in self._fields[at * self._width : (at + 1) * self._width]:
            value |= field << shift
            shift += FIELD
        self[word] = value
        return value
