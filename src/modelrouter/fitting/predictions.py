"""Predictions: what a scorer expects of every task and model, as tables."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from modelrouter import signals as reading
from modelrouter.catalog.card import ModelCard
from modelrouter.catalog.cost import expected_cost_usd
from modelrouter.exceptions import ConfigurationError, InvalidExamplesError
from modelrouter.fitting.examples import Example
from modelrouter.fitting.table import tabulate
from modelrouter.scoring.base import Scorer
from modelrouter.task import Task, TaskLike

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["UNKNOWN_DOUBT", "PredictionTable", "predict", "tables"]

UNKNOWN_DOUBT: Final = 0.1
"""How far predictions are taken to be off where the scorer was not tried on the model's answers."""


@dataclass(frozen=True, eq=False)
class PredictionTable:
    """What a scorer expects of each prompt and model.

    Attributes:
        models: names, the columns.
        quality: P(quality), prompts by models.
        costs: expected USD, prompts by models.
        scores: the answers' real scores where they are labelled, else ``None``.
        doubts: by how much the scorer's predictions for each model may be off; none where they
            are taken as true probabilities.
    """

    models: tuple[str, ...]
    quality: Floats
    costs: Floats
    scores: Floats | None = None
    doubts: tuple[float, ...] = ()


def predict(
    scorer: Scorer, prompts: Iterable[TaskLike] | Iterable[Example], cards: Iterable[ModelCard]
) -> PredictionTable:
    """What the scorer expects of every prompt and model.

    Labelled examples may stand in place of prompts; they need a score of every card's model.

    Raises:
        InvalidTaskError: a prompt is malformed.
        ConfigurationError: fewer than two cards.
        InvalidExamplesError: the examples lack a card's model.
    """
    known = list(cards)
    if len(known) < 2:
        raise ConfigurationError(
            f"cards={[card.name for card in known]}: there is nothing to choose between.",
            hint="Give the cards of at least two models.",
        )
    if isinstance(prompts, (str, Task)):
        raise ConfigurationError(
            f"prompts is one {type(prompts).__name__}, not several.", hint="Give a list."
        )
    tasks, scores = _tasks(list(prompts), [card.name for card in known])
    quality, costs = tables(scorer, tasks, known)
    names = tuple(card.name for card in known)
    return PredictionTable(names, quality, costs, scores, _doubts(scorer, names))


def tables(
    scorer: Scorer, tasks: Iterable[Task], cards: Sequence[ModelCard]
) -> tuple[Floats, Floats]:
    """P(quality) and expected USD, each tasks by cards."""
    import numpy as np

    quality: list[list[float]] = []
    costs: list[list[float]] = []
    for task in tasks:
        signals = reading.read(task, difficulty=scorer.read)
        tokens = (signals.prompt_tokens, signals.output_tokens)
        quality.append([scorer.p_quality(card, task, signals) for card in cards])
        costs.append([expected_cost_usd(card, *tokens) for card in cards])
    shape = (len(quality), len(cards))
    return (
        np.array(quality, dtype=float).reshape(shape),
        np.array(costs, dtype=float).reshape(shape),
    )


def _doubts(scorer: Scorer, names: Iterable[str]) -> tuple[float, ...]:
    """The calibration errors that a fitted scorer had on held-out answers."""
    about = getattr(scorer, "about", None) or {}
    held_out = about.get("held_out") or {}
    return tuple(held_out.get(name, {}).get("calibration_error", UNKNOWN_DOUBT) for name in names)


def _tasks(
    prompts: Sequence[TaskLike | Example], names: list[str]
) -> tuple[Sequence[Task], Floats | None]:
    labelled = [p for p in prompts if isinstance(p, Example)]
    if not labelled:
        return [Task.of(p) for p in prompts if not isinstance(p, Example)], None
    if len(labelled) < len(prompts):
        raise ConfigurationError("prompts are either all labelled examples or none.")
    if missing := [name for name in names if all(e.model != name for e in labelled)]:
        raise InvalidExamplesError(
            f"the examples have no answer of {missing[0]!r}.",
            field="model",
            hint="Label its answers, or leave its card out.",
        )
    table = tabulate([e for e in labelled if e.model in names]).complete()
    return table.tasks, table.scores[:, [table.models.index(name) for name in names]]
