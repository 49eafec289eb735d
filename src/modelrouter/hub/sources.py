"""Where a model's GGUF files lie on the hub: a catalog name, or ``owner/repository[:which]``."""

from __future__ import annotations

import functools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any, Final

from modelrouter._common.toml import loads
from modelrouter.catalog import Catalog
from modelrouter.catalog.builtin import builtin_fields
from modelrouter.catalog.discovery import builtin_cards
from modelrouter.exceptions import ConfigurationError, UnknownModelError

__all__ = ["Source", "pullable", "source"]

_REPOSITORY: Final = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


@dataclass(frozen=True, slots=True)
class Source:
    """What was asked for.

    Attributes:
        repositories: as ``owner/name``, in the order in which they are tried.
        card: the catalog's name of the model, where it has one.
        wanted: a quantization or a file's name, where one was named.
        licence: of the weights, as far as the catalog knows.
        terms: where the licence is to be read.
        note: what to know before pulling it.
        instead: what to do where none of the repositories is there.
    """

    repositories: tuple[str, ...]
    card: str | None = None
    wanted: str | None = None
    licence: str | None = None
    terms: str | None = None
    note: str = ""
    instead: str = ""


def source(name: str) -> Source:
    """Read what the user wrote: ``phi-2``, ``owner/name``, after a colon a quantization or file.

    Raises:
        UnknownModelError: no card has that name.
        ConfigurationError: a hosted model, the bundled one, or nothing that names a model.
    """
    text = name.strip() if isinstance(name, str) else ""
    text = re.sub(r"^(https?://)?(huggingface\.co|hf\.co)/|^hf://|^hf:", "", text).rstrip("/")
    base, _, wanted = text.partition(":")
    if not base:
        raise ConfigurationError(
            f"{name!r} names no model.", hint='Write a name of the catalog or "owner/repository".'
        )
    card = _known(base)
    if card is not None:
        return _of_card(card, wanted or None)
    if _REPOSITORY.fullmatch(base):
        return Source((base,), wanted=wanted or None)
    raise ConfigurationError(
        f"{name!r} is neither a model of the catalog nor a repository of the hub.",
        hint='Write "owner/repository" or "owner/repository:file.gguf".',
    )


def pullable() -> tuple[str, ...]:
    """The catalog's names that can be pulled."""
    return tuple(_table())


@functools.cache
def _table() -> Mapping[str, Mapping[str, Any]]:
    return loads((resources.files("modelrouter") / "hub" / "sources.toml").read_text("utf-8"))


def _known(name: str) -> str | None:
    """The catalog's name of a model; ``None`` for what looks like a repository."""
    try:
        return Catalog(builtin_cards()).get(name).name
    except UnknownModelError:
        if "/" in name:
            return None
        raise


def _of_card(card: str, wanted: str | None) -> Source:
    entry = _table().get(card)
    if entry is None:
        local = builtin_fields()[card]["location"] == "local"
        raise ConfigurationError(
            f"{card} is {'part of this package' if local else 'a hosted model'}: there is nothing "
            "to pull.",
            hint=f"What can be pulled: {', '.join(pullable())}, or any owner/repository.",
        )
    return Source(
        tuple(entry["repositories"]),
        card=card,
        wanted=wanted,
        licence=entry["licence"],
        terms=entry["terms"],
        note=entry.get("note", ""),
        instead=entry.get("instead", ""),
    )
