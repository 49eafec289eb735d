"""LearnedScorer: predicts from a text's features, and learns models from labelled answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.resources import as_file, files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelrouter.catalog.card import ModelCard
from modelrouter.scoring.base import Difficulty
from modelrouter.scoring.engine import Engine
from modelrouter.scoring.weights import Ability, Weights, dump, load
from modelrouter.signals.base import Signals
from modelrouter.task import Kind, Task, TaskLike

if TYPE_CHECKING:
    from modelrouter.fitting.examples import Example, ExampleSource
    from modelrouter.fitting.thresholds import Threshold

__all__ = ["LearnedScorer"]


class LearnedScorer:
    """Predicts each model's chance to do a task well; fulfils the ``Scorer`` contract.

    ``LearnedScorer()`` has the weights that ship with the package; they are read on first use.
    """

    def __init__(self, weights: Weights | None = None) -> None:
        """Use these weights, or those of the package."""
        self._given = weights
        self._engine: Engine | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self._given,)  # the tables are made anew from the weights

    @classmethod
    def load(cls, path: str | Path) -> LearnedScorer:
        """The scorer that :meth:`save` wrote.

        Raises:
            ScorerFileError: missing, no scorer's file, another version, cut short or altered.
        """
        return cls(load(path))

    def save(self, path: str | Path) -> None:
        """Write the weights, with the data's hash, the date and the figures.

        Raises:
            ScorerFileError: the file cannot be written.
        """
        dump(self.weights, path)

    @classmethod
    def fit(
        cls, examples: Sequence[Example] | ExampleSource, *, progress: Any = None
    ) -> LearnedScorer:
        """Learn the models of labelled answers, on top of the shipped weights.

        A :class:`~modelrouter.Ledger` may be given: its rows with feedback and text are taken.
        ``progress`` wraps the iterable of steps, as ``tqdm`` and rich's ``track`` do.

        Raises:
            InvalidExamplesError: too few rows, or nothing to tell apart.
        """
        from modelrouter.fitting.fit import fit

        rows = examples if isinstance(examples, Sequence) else examples.examples()
        return cls(fit(cls().weights, rows, progress=progress))

    def add_model(self, model: ModelCard | str, examples: Sequence[Example]) -> Ability:
        """Learn one more model from some labelled answers; 30 are enough, 10 the least.

        Rows of other models are left out. The model's card may be given or its name.

        Raises:
            InvalidExamplesError: too few rows of the model, or all with one score.
        """
        from modelrouter.fitting.fit import fit_ability

        name = model if isinstance(model, str) else model.name
        rows = [(self.read_outputs(e.task.text), e.score) for e in examples if e.model == name]
        weights = self.weights
        ability = fit_ability(name, rows, weights)
        self._given = replace(weights, abilities={**weights.abilities, name: ability})
        if self._engine is not None:
            self._engine.learn(name, ability)
        return ability

    @property
    def weights(self) -> Weights:
        """The weights, read from the package where none were given."""
        if self._given is None:
            with as_file(files("modelrouter") / "assets" / "scorer.bin") as path:
                self._given = load(path)
        return self._given

    @property
    def about(self) -> Mapping[str, Any]:
        """The data's hash, the date and the figures of the weights."""
        return self.weights.about

    @property
    def models(self) -> tuple[str, ...]:
        """The models with an ability of their own, fitted to labelled answers."""
        return tuple(self.weights.abilities)

    def read(self, text: str, kind: Kind) -> Difficulty:
        """The chance that a 7B-class model fails, and what :meth:`p_quality` needs of the text."""
        return (self._engine or self._start()).read(text, kind)

    def read_outputs(self, text: str) -> list[float]:
        """The references' predicted success on a text, uncalibrated; for fitting."""
        return (self._engine or self._start()).outputs(text)[0]

    def p_quality(self, card: ModelCard, task: Task, signals: Signals) -> float:
        """0 to 1: the chance that the card's model does the task well; 0 outside its scope."""
        return (self._engine or self._start()).p_quality(card, task, signals)

    def threshold(
        self,
        prompts: Sequence[TaskLike] | Sequence[Example],
        cards: Iterable[ModelCard],
        **wish: float,
    ) -> Threshold:
        """See :func:`modelrouter.fitting.threshold`; ``wish`` is its one wish.

        Raises:
            ConfigurationError: not exactly one wish, or one that cannot be fulfilled.
            InvalidTaskError: a prompt is malformed.
        """
        from modelrouter.fitting.thresholds import threshold

        return threshold(self, prompts, cards, **wish)  # type: ignore[arg-type] # its floats by name

    def _start(self) -> Engine:
        self._engine = engine = Engine(self.weights)
        return engine
