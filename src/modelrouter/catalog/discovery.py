"""Finds what can be used here: bundled and pulled GGUF files, hosted models with a key."""

from __future__ import annotations

import functools
import importlib.util
import logging
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from modelrouter.catalog.builtin import (
    builtin_fields,
    bundled_path,
    card_fields,
    key_variables,
    known_name,
)
from modelrouter.catalog.card import ModelCard
from modelrouter.catalog.catalog import Catalog
from modelrouter.catalog.clip import check_clip
from modelrouter.catalog.gguf import check
from modelrouter.catalog.lora import check_adapter
from modelrouter.catalog.succession import is_switched_off
from modelrouter.exceptions import ConfigurationError, ModelFileError, UnknownModelError

__all__ = ["Found", "Unavailable", "discover", "models_directory"]

logger = logging.getLogger("modelrouter")

MODELS_DIR_VARIABLE: Final = "MODELROUTER_MODELS_DIR"
_BASE_URL_VARIABLES: Final = ("OPENAI_BASE_URL", "OPENAI_API_BASE")


@dataclass(frozen=True, slots=True)
class Unavailable:
    """Why a known model cannot be asked here, and the one line that changes it."""

    text: str
    fix: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """The known models, and for those that cannot be asked here, why not (by name).

    A damaged file in the models directory is in ``unavailable`` without a card.
    """

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
        ConfigurationError: an entry of ``models`` is neither a card, a name nor a path, or two
            of them have one name.
        UnknownModelError: an entry is a name that no card has.
        ModelFileError: a GGUF named in ``models`` is missing or damaged.
    """
    unavailable: dict[str, Unavailable] = {}
    if catalog is None:
        catalog = Catalog(builtin_cards())
        catalog = catalog.with_cards(_pulled(models_directory(environ), unavailable))
    catalog = catalog.with_cards(_named(models, catalog))
    for card in catalog:
        missing = _missing(card, environ)
        if missing is None:
            unavailable.pop(card.name, None)
        else:
            unavailable.setdefault(card.name, missing)
    return Found(Catalog(_with_base_url(card, environ) for card in catalog), unavailable)


def models_directory(environ: Mapping[str, str]) -> Path:
    """Where GGUF files lie: ``$MODELROUTER_MODELS_DIR``, else the user's data directory.

    Only the folder itself is looked at, not those inside it.
    """
    named = environ.get(MODELS_DIR_VARIABLE)
    if named:
        return Path(named).expanduser()
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
            cards.append(ModelCard(name=name, path=bundled_path(name), **card_fields(name)))
    return tuple(cards)


def _pulled(folder: Path, unavailable: dict[str, Unavailable]) -> list[ModelCard]:
    """The cards of the folder's GGUF files; the first file of a known model fills its card."""
    cards: dict[str, ModelCard] = {}
    for path in _gguf_files(folder):
        try:
            card = ModelCard.local(path)
            if card.name in cards:
                card = card.model_copy(update={"name": path.stem})
            cards[card.name] = card
        except ModelFileError as error:
            logger.warning("%s", error)
            unavailable.setdefault(known_name(path) or path.stem, Unavailable(str(error)))
    return list(cards.values())


def _gguf_files(folder: Path) -> list[Path]:
    try:
        return sorted(p for p in folder.iterdir() if p.suffix.lower() == ".gguf")
    except FileNotFoundError:
        return []
    except OSError as exc:
        logger.warning("The models directory %s cannot be read: %s.", folder, exc.strerror or exc)
        return []


def _named(models: object, catalog: Catalog) -> list[ModelCard]:
    """The cards of what the user gave.

    The checks come first: a lone string would otherwise be read letter by letter.
    """
    if isinstance(models, (str, Path, ModelCard)) or not isinstance(models, Iterable):
        raise ConfigurationError(
            f"models={models!r} is not a list.", hint=f"Write models=[{models!r}]."
        )
    cards: dict[str, ModelCard] = {}
    for model in models:
        card = _card(model, catalog)
        if card.name in cards:
            raise ConfigurationError(
                f"models: two are called {card.name!r}.",
                hint='Give one a name of its own: ModelCard.local("FILE.gguf", name="...").',
            )
        cards[card.name] = card
    return list(cards.values())


def _card(model: object, catalog: Catalog) -> ModelCard:
    if isinstance(model, ModelCard):
        if model.backend == "llamacpp" and model.path is not None:
            _check_files(model.path, model.lora)
        return model
    if isinstance(model, Path) or (isinstance(model, str) and model.lower().endswith(".gguf")):
        return ModelCard.local(model)
    if isinstance(model, str) and model.strip():
        try:
            return catalog.get(model)
        except UnknownModelError:
            if Path(model).is_dir():
                return ModelCard.local(model)
            if "/" not in model:
                raise
        return ModelCard.hosted(model)
    raise ConfigurationError(
        f"models: {model!r} must be a card, a name or a path.",
        hint='Give a ModelCard, "provider/model", or the path of a .gguf file or CLIP folder.',
    )


def _with_base_url(card: ModelCard, environ: Mapping[str, str]) -> ModelCard:
    base = next((environ[v] for v in _BASE_URL_VARIABLES if environ.get(v)), None)
    if base is None or card.api_base is not None or card.location != "hosted":
        return card
    return card.model_copy(update={"api_base": base}) if card.name.startswith("openai/") else card


def _missing(card: ModelCard, environ: Mapping[str, str]) -> Unavailable | None:
    # What the provider switched off, a server of the user's own may still have.
    if is_switched_off(card):
        use = f"use {card.successor}" if card.successor else ""
        return Unavailable(f"retired by its provider on {card.retired}", use)
    if card.backend == "llamacpp":
        return _missing_file(card)
    if card.backend == "clip":
        return _missing_folder(card)
    return _missing_key(card, environ)


def _missing_key(card: ModelCard, environ: Mapping[str, str]) -> Unavailable | None:
    # A server that the user named may need no key; the one of a provider does.
    if card.api_key_env is None or card.api_key is not None or card.api_base is not None:
        return None
    variables = key_variables(card.name)
    if card.api_key_env not in variables:
        variables = (card.api_key_env,)
    if any(environ.get(variable, "").strip() for variable in variables):
        return None
    return Unavailable(f"{card.api_key_env} is not set", f"export {card.api_key_env}=...")


def _missing_file(card: ModelCard) -> Unavailable | None:
    if card.path is None:
        call = f'Router(models=[ModelCard.local("FILE.gguf", name="{card.name}")])'
        known = "file" in builtin_fields().get(card.name, {})
        fix = f"modelrouter pull {card.name}" if known else call
        return Unavailable("no GGUF file of it is named or pulled", fix)
    try:
        _check_files(card.path, card.lora)
    except ModelFileError as error:
        return Unavailable(str(error))
    return None


def _check_files(path: Path, lora: Path | None) -> None:
    check(path)
    if lora is not None:
        check_adapter(lora, path)


def _missing_folder(card: ModelCard) -> Unavailable | None:
    if card.path is None:
        call = f'Router(models=[ModelCard.local("FOLDER", name="{card.name}")])'
        return Unavailable("no folder of it is named", call)
    if importlib.util.find_spec("onnxruntime") is None:
        return Unavailable("onnxruntime is not installed", "pip install 'modelrouter[clip]'")
    try:
        check_clip(card.path)
    except ModelFileError as error:
        return Unavailable(str(error))
    return None
