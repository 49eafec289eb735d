"""Which deployment a card means: a model, where it is reached, and with which key."""

from __future__ import annotations

import os
from collections.abc import Hashable

from modelrouter.catalog.card import ModelCard

__all__ = ["deployment"]


def deployment(card: ModelCard) -> Hashable:
    """A key for what is known of the deployment; a new API key is a new deployment.

    Of the API key, and of one in the address, only Python's hash is part of it, which differs from
    process to process.
    """
    if card.api_key is not None:
        secret = hash(card.api_key.get_secret_value())
    else:
        secret = hash(os.environ.get(card.api_key_env, "")) if card.api_key_env else 0
    return card.name, card.api_base, secret, hash(card.address) if card.api_address else 0
