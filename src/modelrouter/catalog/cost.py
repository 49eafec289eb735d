"""What an answer costs, from a card's prices: as settled, as expected, and at the most."""

from __future__ import annotations

from typing import Final, Protocol

from modelrouter.catalog.card import ModelCard, Price

__all__ = [
    "Used",
    "expected_cost_usd",
    "expected_image_usd",
    "expected_token_usd",
    "highest_cost_usd",
    "is_unpriced",
    "settled_cost_usd",
]

UNKNOWN_PRICE: Final = Price(input=10e-6, output=30e-6)
"""What a hosted model of unknown price is expected to cost: a large model's price, so that not
knowing never looks cheap."""

EXPECTED_IMAGE_TOKENS: Final = 1_056
"""Tokens of one picture of 1024 x 1024 pixels in medium quality, as OpenAI counts them."""


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


def expected_token_usd(card: ModelCard) -> tuple[float, float]:
    """USD expected for a prompt token and for a token of the answer."""
    if card.location == "local":
        return 0.0, 0.0
    price = card.price or UNKNOWN_PRICE
    return price.input, price.output


def expected_cost_usd(card: ModelCard, prompt_tokens: int, output_tokens: int) -> float:
    """USD expected for a task."""
    input_usd, output_usd = expected_token_usd(card)
    return prompt_tokens * input_usd + output_tokens * output_usd


def expected_image_usd(card: ModelCard) -> float:
    """USD expected for one picture."""
    if card.location == "local":
        return 0.0
    price = card.price or UNKNOWN_PRICE
    return EXPECTED_IMAGE_TOKENS * price.output if price.image is None else price.image


def highest_cost_usd(
    card: ModelCard, prompt_tokens: int, output_tokens: int, images: int = 0
) -> float | None:
    """The most USD that so many tokens, or pictures, can come to; ``None`` where it is unknown.

    A prompt token counts at the dearest of its prices: plain, read from a cache, written to it.
    """
    if card.location == "local":
        return 0.0
    price = card.price
    if price is None:
        return None
    if images and price.image:
        return price.image * images + price.input * prompt_tokens
    return max(
        price.cost_usd(prompt_tokens, output_tokens),
        price.cost_usd(prompt_tokens, output_tokens, prompt_tokens, 0),
        price.cost_usd(prompt_tokens, output_tokens, 0, prompt_tokens),
    )
