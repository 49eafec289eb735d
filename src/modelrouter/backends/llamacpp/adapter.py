"""Adapter: a LoRA that a model runs with, and how strongly."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from modelrouter.catalog.card import ModelCard

__all__ = ["Adapter", "adapter_of", "key_of"]


@dataclass(frozen=True, slots=True)
class Adapter:
    """One adapter.

    Attributes:
        path: of its file, absolute.
        scale: what its part of each weight is multiplied with.
    """

    path: Path
    scale: float


def adapter_of(card: ModelCard) -> Adapter | None:
    """What the card's model runs with, if anything."""
    if card.lora is None:
        return None
    return Adapter(Path(os.path.abspath(card.lora)), card.lora_scale)


def key_of(card: ModelCard) -> str:
    """What two cards have in common that may share a loaded model; no file is looked at."""
    adapter = adapter_of(card)
    path = os.path.abspath(card.path or "")
    return path if adapter is None else f"{path}\0{adapter.path}\0{adapter.scale!r}"
