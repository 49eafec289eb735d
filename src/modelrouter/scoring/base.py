"""The Scorer contract, and what a scorer says of each model: its predictions."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, overload, runtime_checkable

from modelrouter.catalog.card import ModelCard, Speed
from modelrouter.catalog.cost import expected_image_usd, expected_token_usd
from modelrouter.catalog.discovery import Unavailable
from modelrouter.signals.base import Difficulty, Signals
from modelrouter.task import Kind, Task

__all__ = [
    "CandidateSet",
    "Difficulty",
    "Prediction",
    "Predictions",
    "RoutingContext",
    "Scorer",
    "assess",
]


@runtime_checkable
class Scorer(Protocol):
    """Predicts how well models would do a task, from its text and signals alone."""

    def read(self, text: str, kind: Kind) -> Difficulty:
        """The difficulty of the last user turn; :meth:`p_quality` finds it in the signals."""
        ...

    def p_quality(self, card: ModelCard, task: Task, signals: Signals) -> float:
        """0 to 1: the chance that the card's model does the task well."""
        ...


class Prediction(NamedTuple):
    """What to expect if this card's model were given the task. (A named tuple, for speed.)

    ``cost_usd`` and ``latency_s`` are expectations from the signals' token counts.
    """

    card: ModelCard
    p_quality: float
    cost_usd: float
    latency_s: float
    unavailable: Unavailable | None = None


class CandidateSet:
    """The cards to choose among, and which of them cannot be asked here.

    Made once for many tasks: what follows from the cards alone is worked out once and kept.

    Attributes:
        cards: in the catalog's order.
        unavailable: why some of them cannot be asked here, by name.
        prices: USD for a prompt token and for a token of the answer, by card.
        speeds: by card.
        kept: what policies have worked out of the cards alone, under keys of their own.
    """

    __slots__ = ("cards", "kept", "prices", "speeds", "unavailable")

    def __init__(
        self, cards: Iterable[ModelCard], unavailable: Mapping[str, Unavailable] | None = None
    ) -> None:
        """Take the cards as they are now; later changes to the arguments are not seen."""
        self.cards = tuple(cards)
        self.unavailable = dict(unavailable or {})
        self.prices = [expected_token_usd(card) for card in self.cards]
        self.speeds = [
            (s.first_token_s, s.prefill_tokens_per_s, s.decode_tokens_per_s)
            for s in (card.speed for card in self.cards)
        ]
        self.kept: dict[Hashable, Any] = {}


class Predictions(Sequence[Prediction]):
    """What to expect of each candidate; quality is predicted when first looked at.

    Most cards are out of the question for other reasons, so that a decision seldom needs every
    prediction; what has been predicted once stays as it is. Threads may share it: two of them
    predict the same.
    """

    __slots__ = ("_measured", "_predicted", "_scorer", "_signals", "_task", "candidate_set")

    def __init__(
        self,
        candidate_set: CandidateSet,
        task: Task,
        signals: Signals,
        scorer: Scorer,
        measured: Mapping[str, Speed] | None = None,
    ) -> None:
        """``measured`` speeds, by card name, stand in place of those that the cards state."""
        self.candidate_set = candidate_set
        self._task, self._signals, self._scorer = task, signals, scorer
        self._measured = measured
        self._predicted: list[Prediction | None] = [None] * len(candidate_set.cards)

    @classmethod
    def of(cls, predictions: Sequence[Prediction], task: Task, signals: Signals) -> Predictions:
        """Predictions that are known already."""
        unavailable = {p.card.name: p.unavailable for p in predictions if p.unavailable is not None}
        candidate_set = CandidateSet([p.card for p in predictions], unavailable)
        made = cls(candidate_set, task, signals, _NoScorer())
        made._predicted = list(predictions)
        return made

    def __len__(self) -> int:
        return len(self._predicted)

    @overload
    def __getitem__(self, at: int) -> Prediction: ...
    @overload
    def __getitem__(self, at: slice) -> tuple[Prediction, ...]: ...
    def __getitem__(self, at: int | slice) -> Prediction | tuple[Prediction, ...]:
        if isinstance(at, slice):
            return tuple(self[i] for i in range(*at.indices(len(self))))
        return self._predicted[at] or self._predict(at)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Predictions) and tuple(self) == tuple(other)

    __hash__ = None  # type: ignore[assignment]  # as of any mutable sequence

    def __reduce__(self) -> tuple[Any, ...]:
        # Predicted in full and without the scorer, so that a copy says the same anywhere.
        return Predictions.of, (tuple(self), self._task, self._signals)

    def expense(self, at: int) -> tuple[float, float]:
        """USD and seconds that the card of this place is expected to take."""
        if (known := self._predicted[at]) is not None:
            return known.cost_usd, known.latency_s
        candidate_set, prompt, output = (
            self.candidate_set,
            self._signals.prompt_tokens,
            self._signals.output_tokens,
        )
        input_usd, output_usd = candidate_set.prices[at]
        cost_usd = prompt * input_usd + output * output_usd
        if self._signals.kind == "image_generation":
            cost_usd += expected_image_usd(candidate_set.cards[at])
        if (
            self._measured
            and (speed := self._measured.get(candidate_set.cards[at].name)) is not None
        ):
            return cost_usd, speed.latency_s(prompt, output)
        first, prefill, decode = candidate_set.speeds[at]
        return cost_usd, first + prompt / prefill + output / decode

    def _predict(self, at: int) -> Prediction:
        card = self.candidate_set.cards[at]
        prediction = Prediction(
            card,
            self._scorer.p_quality(card, self._task, self._signals),
            *self.expense(at),
            self.candidate_set.unavailable.get(card.name),
        )
        self._predicted[at] = prediction
        return prediction


class _NoScorer:
    """In place of a scorer where every prediction is known."""

    def read(self, text: str, kind: Kind) -> Difficulty:
        raise AssertionError("every prediction is known")

    def p_quality(self, card: ModelCard, task: Task, signals: Signals) -> float:
        raise AssertionError("every prediction is known")


class RoutingContext:
    """All that a policy decides on; a policy is a pure function of it."""

    __slots__ = ("predictions", "signals", "task")

    def __init__(self, task: Task, signals: Signals, predictions: Sequence[Prediction]) -> None:
        """``predictions`` may be predictions yet to be made, as :func:`assess` gives them."""
        self.task = task
        self.signals = signals
        self.predictions: Predictions = (
            predictions
            if isinstance(predictions, Predictions)
            else Predictions.of(predictions, task, signals)
        )


def assess(
    task: Task,
    signals: Signals,
    candidate_set: CandidateSet,
    scorer: Scorer,
    measured: Mapping[str, Speed] | None = None,
) -> RoutingContext:
    """Predict quality, cost and latency of every card on the task.

    ``measured`` speeds, by card name, stand in place of those that the cards state.
    """
    return RoutingContext(
        task, signals, Predictions(candidate_set, task, signals, scorer, measured)
    )
