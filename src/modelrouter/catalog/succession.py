"""What becomes of a request for a model that its provider has switched off."""

from __future__ import annotations

from modelrouter.catalog.card import ModelCard
from modelrouter.catalog.catalog import Catalog
from modelrouter.exceptions import ConfigurationError, RetiredModelError

__all__ = ["in_service", "is_switched_off"]


def is_switched_off(card: ModelCard) -> bool:
    """Whether its provider has; a server of the user's own may still have the model."""
    return card.retired is not None and card.api_base is None


def in_service(card: ModelCard, catalog: Catalog, *, follow_successor: bool) -> ModelCard:
    """The card, or where it is retired, the first of its line of successors that is not.

    Raises:
        RetiredModelError: it is retired, and its successor is not wanted or there is none.
        ConfigurationError: the successors go in a circle.
        UnknownModelError: the catalog lacks a successor.
    """
    line = [card]
    while is_switched_off(line[-1]):
        successor = line[-1].successor
        if not follow_successor or successor is None:
            raise RetiredModelError(card.name, card.retired or "", line[-1].successor)
        line.append(catalog.get(successor))
        if line[-1] in line[:-1]:
            names = " -> ".join(c.name for c in line)
            raise ConfigurationError(f"The successors go in a circle: {names}.")
    return line[-1]
