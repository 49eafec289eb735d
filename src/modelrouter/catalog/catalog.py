"""Catalog: the cards a router chooses among, by name."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator

from modelrouter.catalog.card import Axes, Family, Location, ModelCard
from modelrouter.exceptions import ConfigurationError, UnknownModelError
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
            ConfigurationError: it is not a name at all.
        """
        if not isinstance(name, str):
            raise ConfigurationError(
                f"model must be a model's name, got {name!r}.",
                hint='Give one name, or "auto"; to choose among several, '
                'policy=Policy(rules=[Rule.when().only("NAME", "NAME")]).',
            )
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

    def compare(self, one: str, other: str) -> dict[str, list[str]]:
        """Two models side by side: for each line of the comparison, what is true of each.

        Raises:
            UnknownModelError: no card has one of the names.
        """
        pair = [_described(self.get(name)) for name in (one, other)]
        return {what: [each[what] for each in pair] for what in pair[0]}

    def _nearest(self, name: str) -> list[str]:
        short = _plain(name.rpartition("/")[2])
        near = difflib.get_close_matches(_plain(name), self._short, n=3, cutoff=0.5)
        near += difflib.get_close_matches(short, self._short, n=3, cutoff=0.6)
        return list(dict.fromkeys(full for found in near for full in self._short[found]))[:3]


def _described(card: ModelCard) -> dict[str, str]:
    axes = {} if card.axes is None else card.axes.model_dump()
    price = card.price
    best = sorted(card.strengths, key=lambda kind: -card.strengths[kind])[:4]
    cost = "unknown"
    if card.location == "local":
        cost = "free"
    elif price is not None:
        cost = f"${price.input * 1e6:.2f} in, ${price.output * 1e6:.2f} out for a million tokens"
    return {
        "model": card.name,
        "families": ", ".join(sorted(card.families)),
        **{axis: axes.get(axis, "not known") for axis in Axes.model_fields},
        "runs": "on this machine" if card.location == "local" else "hosted",
        "parameters": f"{card.parameters:,}" if card.parameters else "not published",
        "context_window": f"{card.context_window:,} tokens",
        "reads": ", ".join(sorted(card.modalities_in)),
        "makes": ", ".join(sorted(card.modalities_out)),
        "best_at": ", ".join(f"{kind} {card.strengths[kind]:.2f}" for kind in best) or "not known",
        "strengths_source": card.strengths_source or "a guess by default",
        "price": cost,
        "licence": card.licence or "not known",
        "in_service": f"no, since {card.retired}" if card.retired else "yes",
    }


def _plain(name: str) -> str:
    return "-".join(name.lower().replace("_", " ").replace("-", " ").split())
