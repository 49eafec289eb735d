"""Outcomes: labelled examples as a table of tasks by models, predictions and costs beside it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from modelrouter.catalog.card import ModelCard, Price
from modelrouter.catalog.catalog import Catalog
from modelrouter.exceptions import InvalidExamplesError, UnknownModelError
from modelrouter.fitting.examples import Example
from modelrouter.fitting.predictions import tables
from modelrouter.fitting.table import tabulate
from modelrouter.scoring.base import Scorer

if TYPE_CHECKING:
    import numpy as np
    import numpy.typing as npt

    Floats = npt.NDArray[np.float64]

__all__ = ["Outcomes", "Progress", "cards_for", "collect"]

Progress: TypeAlias = Callable[[Sequence[Any]], Iterable[Any]]
"""Goes through a sequence and shows how far it is, as ``tqdm.tqdm`` or ``rich``'s ``track`` do."""

FEWEST_TASKS: Final = 10
"""With fewer tasks no figure means anything."""


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What each model made of each task, what was predicted, and what it costs; without holes.

    Attributes:
        models: names; the columns of the tables.
        scores: 0 to 1, tasks by models.
        predicted: the scorer's P(quality), tasks by models.
        costs: USD, tasks by models; ``None`` where some model's price is not known.
        lengths: characters of each task.
        left_out: tasks that lack a score of some model.
    """

    models: tuple[str, ...]
    scores: Floats
    predicted: Floats
    costs: Floats | None
    lengths: Floats
    left_out: int = 0


def cards_for(
    models: Iterable[str],
    *,
    catalog: Iterable[ModelCard] = (),
    prices: Mapping[str, Price] | None = None,
) -> list[ModelCard]:
    """A card for each name: the catalog's, or a plain hosted card of unknown price.

    A card keeps the name that the examples use. ``prices`` win over the catalog's.
    """
    known = Catalog(catalog)
    return [_card(name, known, prices or {}) for name in models]


def collect(
    examples: Sequence[Example],
    scorer: Scorer,
    *,
    catalog: Iterable[ModelCard] = (),
    prices: Mapping[str, Price] | None = None,
    progress: Progress = iter,
) -> Outcomes:
    """Predict every task of the examples for every model, and set the scores beside it.

    Several scores of one model on one task are averaged. A task that some model has no score for is
    left out and counted. Costs are the examples' own where every one has it, else expectations from
    the models' prices.

    Raises:
        InvalidExamplesError: fewer than two models, or fewer than ten tasks with scores of all.
    """
    import numpy as np

    every = tabulate(examples)
    table = every.complete()
    _check(table.models, len(table.tasks), len(every.tasks))
    cards = cards_for(table.models, catalog=catalog, prices=prices)
    predicted, expected = tables(scorer, progress(table.tasks), cards)
    costs: Floats | None = None
    if not np.isnan(table.costs).any():
        costs = table.costs
    elif all(card.price is not None or card.location == "local" for card in cards):
        costs = expected
    return Outcomes(
        models=table.models,
        scores=table.scores,
        predicted=predicted,
        costs=costs,
        lengths=np.array([sum(len(m.text) for m in t.messages) for t in table.tasks], float),
        left_out=len(every.tasks) - len(table.tasks),
    )


def _check(models: tuple[str, ...], complete: int, tasks: int) -> None:
    if len(models) < 2:
        raise InvalidExamplesError(
            f"The examples are of {len(models)} models ({', '.join(models) or 'none'}).",
            field="model",
            hint="Routing needs at least two: label the answers of another model.",
        )
    if complete < FEWEST_TASKS:
        raise InvalidExamplesError(
            f"{complete} of {tasks} tasks have a score of every model "
            f"({', '.join(models)}); {FEWEST_TASKS} are needed.",
            hint="Label every model's answer to the same tasks.",
        )


def _card(name: str, catalog: Catalog, prices: Mapping[str, Price]) -> ModelCard:
    changes: dict[str, Any] = {"name": name}
    if name in prices:
        changes["price"] = prices[name]
    try:
        return catalog.get(name).model_copy(update=changes)
    except UnknownModelError:
        return ModelCard(
            **{
                "families": {"llm"},
                "location": "hosted",
                "backend": "litellm",
                "context_window": 8_192,
                **changes,
            }
        )
