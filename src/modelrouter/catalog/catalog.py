"""Catalog: the cards a router chooses among, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from modelrouter.catalog.card import ModelCard
from modelrouter.exceptions import UnknownModelError

__all__ = ["Catalog"]


class Catalog:
    """An ordered, immutable collection of cards. A later card replaces one of the same name."""

    def __init__(self, cards: Iterable[ModelCard] = ()) -> None:
        self._cards = {card.name: card for card in cards}
        self._short: dict[str, list[str]] = {}
        for name in self._cards:
            self._short.setdefault(name.rpartition("/")[2].lower(), []).append(name)

    def __iter__(self) -> Iterator[ModelCard]:
        return iter(self._cards.values())

    def __len__(self) -> int:
        return len(self._cards)

    def __contains__(self, name: object) -> bool:
        return name in self._cards

    def __repr__(self) -> str:
        return f"Catalog({', '.join(self._cards)})"

    def get(self, name: str) -> ModelCard:
        """The card of that name; the part after the last slash will do where it is unique.

        Raises:
            UnknownModelError: with the nearest names.
        """
        if name in self._cards:
            return self._cards[name]
        short = self._short.get(str(name).lower(), [])
        if len(short) == 1:
            return self._cards[short[0]]
        raise UnknownModelError(name, short or self._nearest(str(name)))

    def with_cards(self, cards: Iterable[ModelCard]) -> Catalog:
        """This catalog and further cards, which win where names are the same."""
        return Catalog([*self, *cards])

    def _nearest(self, name: str) -> list[str]:
        near = difflib.get_close_matches(name, self._cards, n=3, cutoff=0.5)
        tail = name.rpartition("/")[2].lower()
        for short in difflib.get_close_matches(tail, self._short, n=3, cutoff=0.6):
            near += [full for full in self._short[short] if full not in near]
        return near[:3]
