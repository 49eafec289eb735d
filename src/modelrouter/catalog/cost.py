"""What an answer costs: the one rule from a card's prices and the tokens that a reply reports."""

from __future__ import annotations

from typing import Protocol

from modelrouter.catalog.card import ModelCard

__all__ = ["Used", "is_unpriced", "settled_cost_usd"]


class Used(Protocol):
    """Tokens as a reply reports them; :class:`modelrouter.Usage` is one."""

    @property
    def prompt_tokens(self) -> int:
        """Of the prompt, the cache's among them."""
        ...

    @property
    def completion_tokens(self) -> int:
        """Of the answer."""
        ...

    @property
    def total_tokens(self) -> int:
        """Both."""
        ...

    @property
    def cached_tokens(self) -> int:
        """Of the prompt, read from the provider's cache."""
        ...

    @property
    def cache_write_tokens(self) -> int:
        """Of the prompt, written to the provider's cache."""
        ...


def settled_cost_usd(card: ModelCard, used: Used, *, images: int = 0) -> float | None:
    """USD of a reply; ``None`` where the price is unknown.

    Args:
        card: of the model that answered; one on this machine costs nothing.
        used: the tokens that it reports.
        images: how many pictures it made.
    """
    if card.location == "local":
        return 0.0
    price = card.price
    if price is None:
        return None
    if images and price.image is None and not used.total_tokens:
        return None  # its pictures are billed by tokens, and it reports none
    by_tokens = price.cost_usd(
        used.prompt_tokens, used.completion_tokens, used.cached_tokens, used.cache_write_tokens
    )
    return by_tokens + (price.image or 0.0) * images


def is_unpriced(card: ModelCard) -> bool:
    """Whether nobody here knows what the model costs."""
    return card.location == "hosted" and card.price is None
