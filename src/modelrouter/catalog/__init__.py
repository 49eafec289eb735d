"""The catalog: which models there are, what each can and costs, and which can be used here."""

from modelrouter.catalog.card import (
    Axes,
    Capability,
    Family,
    Location,
    Modality,
    ModelCard,
    Price,
    Speed,
)
from modelrouter.catalog.catalog import Catalog
from modelrouter.catalog.discovery import Found, Unavailable, discover, models_directory

__all__ = [
    "Axes",
    "Capability",
    "Catalog",
    "Family",
    "Found",
    "Location",
    "Modality",
    "ModelCard",
    "Price",
    "Speed",
    "Unavailable",
    "discover",
    "models_directory",
]
