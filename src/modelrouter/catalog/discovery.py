"""Finds what can be used here: bundled and pulled GGUF files, hosted models with a key."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelrouter.catalog.builtin import (
    builtin_fields,
    bundled_path,
    card_fields,
)
from modelrouter.catalog.card import ModelCard
from modelrouter.catalog.catalog import Catalog
from modelrouter.exceptions import ConfigurationError, ModelFileError

__all__ = ["Found", "Unavailable", "discover", "models_directory"]

MODELS_DIR_VARIABLE: Final = "MODELROUTER_MODELS_DIR"
_BASE_URL_VARIABLES: Final = ("OPENAI_BASE_URL", "OPENAI_API_BASE")


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a known model cannot be asked here, and the one line that changes it."""

    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The known models, and for those that cannot be asked here, why not (by name)."""

    catalog: Catalog
    unavailable: Mapping[str, Unavailable]


def discover(
    environ: Mapping[str, str],
    *,
    models: Iterable[ModelCard | str | Path] = (),
    catalog: Catalog | None = None,
) -> Found:
    """Put together the models that a router may choose from; no network, no model loaded.

    ``models`` are added to ``catalog``, which is by default the built-in cards and the GGUF files
    in the models directory.

    Raises:
        ConfigurationError: an entry of ``models`` is neither a card, a name nor a path.
        ModelFileError: a GGUF named in ``models`` is missing or damaged.
    """
    unavailable: dict[str, Unavailable] = {}
    if catalog is None:
        catalog = Catalog(builtin_cards())
        catalog = catalog.with_cards(_pulled(models_directory(environ), unavailable))
    catalog = catalog.with_cards(_card(model) for model in models)
    for card in catalog:
        missing = _missing(card, environ)
        if missing is not None:
            unavailable.setdefault(card.name, missing)
    return Found(Catalog(_with_base_url(card, environ) for card in catalog), unavailable)


def models_directory(environ: Mapping[str, str]) -> Path:
    """Where GGUF files lie: ``$MODELROUTER_MODELS_DIR``, else the user's data directory."""
    named = environ.get(MODELS_DIR_VARIABLE)
    if named:
        return Path(named)
    from platformdirs import user_data_path

    return user_data_path("modelrouter") / "models"


@functools.cache
def builtin_cards() -> tuple[ModelCard, ...]:
    """The cards of builtin.toml."""
    cards = []
    for name, fields in builtin_fields().items():
        if fields["location"] == "hosted":
            cards.append(ModelCard.hosted(name))
        else:
            cards.append(ModelCard.of(name=name, path=bundled_path(name), **card_fields(name)))
    return tuple(cards)


def _pulled(folder: Path, unavailable: dict[str, Unavailable]) -> list[ModelCard]:
    cards = []
    for path in sorted(folder.glob("*.gguf")) if folder.is_dir() else ():
        try:
            cards.append(ModelCard.local(path))
        except ModelFileError as error:
            unavailable[path.stem] = Unavailable(str(error))
    return cards


def _card(model: object) -> ModelCard:
    if isinstance(model, ModelCard):
        return model
    if isinstance(model, Path) or (isinstance(model, str) and model.endswith(".gguf")):
        return ModelCard.local(model)
    if isinstance(model, str) and model:
        fields = builtin_fields().get(model)
        if fields is not None and fields["location"] == "local":
            return ModelCard.of(name=model, path=bundled_path(model), **card_fields(model))
        if "/" in model:
            return ModelCard.hosted(model)
    raise ConfigurationError(
        f"models: {model!r} is no model.",
        hint='Give a ModelCard, "provider/model", or the path of a .gguf file.',
    )


def _with_base_url(card: ModelCard, environ: Mapping[str, str]) -> ModelCard:
    base = next((environ[v] for v in _BASE_URL_VARIABLES if environ.get(v)), None)
    if base is None or card.api_base is not None or card.location != "hosted":
        return card
    return card.model_copy(update={"api_base": base}) if card.name.startswith("openai/") else card


def _missing(card: ModelCard, environ: Mapping[str, str]) -> Unavailable | None:
    if card.retired is not None:
        use = f"use {card.successor}" if card.successor else ""
        return Unavailable(f"retired by its provider on {card.retired}", use)
    if (why := builtin_fields().get(card.name, {}).get("not_yet")) is not None:
        return Unavailable(why)
    if card.backend == "llamacpp":
        return _missing_file(card)
    # A server that the user named may need no key; the one of a provider does.
    if card.api_key_env is None or card.api_key is not None or card.api_base is not None:
        return None
    if environ.get(card.api_key_env):
        return None
    return Unavailable(f"{card.api_key_env} is not set", f"export {card.api_key_env}=...")


def _missing_file(card: ModelCard) -> Unavailable | None:
    if card.path is None:
        call = f'Router(models=[ModelCard.local("FILE.gguf", name="{card.name}")])'
        return Unavailable("no GGUF file of it is named or pulled", call)
    if not card.path.is_file():
        return Unavailable(f"{card.path} does not exist")
    return None
