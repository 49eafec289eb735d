"""Catalog: the cards a router chooses among, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from modelrouter.catalog.card import Family, Location, ModelCard
from modelrouter.exceptions import UnknownModelError
from modelrouter.task import Kind

__all__ = ["Catalog"]


class Catalog:
    """An ordered, immutable collection of cards. A later card replaces one of the same name."""

    def __init__(self, cards: Iterable[ModelCard] = ()) -> None:
        self._cards = {card.name: card for card in cards}
        self._short: dict[str, list[str]] = {}
        for name in self._cards:
            for short in {_plain(name), _plain(name.rpartition("/")[2])}:
                self._short.setdefault(short, []).append(name)

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

        Case does not matter, nor whether words are joined by spaces, hyphens or underscores:
        "GPT-4o", "gpt-4o" and "Mistral 7B" find their cards.

        Raises:
            UnknownModelError: with the nearest names.
        """
        if name in self._cards:
            return self._cards[name]
        meant = self._short.get(_plain(str(name)), [])
        if len(meant) == 1:
            return self._cards[meant[0]]
        raise UnknownModelError(name, meant or self._nearest(str(name)))

    def with_cards(self, cards: Iterable[ModelCard]) -> Catalog:
        """This catalog and further cards, which win where names are the same."""
        return Catalog([*self, *cards])

    def where(
        self,
        *,
        family: Family | None = None,
        location: Location | None = None,
        kind: Kind | None = None,
    ) -> Catalog:
        """The cards of that family, at that location, that may do tasks of that kind."""
        return Catalog(
            card
            for card in self
            if (family is None or family in card.families)
            and (location is None or location == card.location)
            and (kind is None or card.scope is None or kind in card.scope)
        )

    def _nearest(self, name: str) -> list[str]:
        short = _plain(name.rpartition("/")[2])
        near = difflib.get_close_matches(_plain(name), self._short, n=3, cutoff=0.5)
        near += difflib.get_close_matches(short, self._short, n=3, cutoff=0.6)
        return list(dict.fromkeys(full for found in near for full in self._short[found]))[:3]


def _plain(name: str) -> str:
    return "-".join(name.lower().replace("_", " ").replace("-", " ").split())
