"""From a model's name to its file in the models folder: what there is, the choice, the fetching."""

from __future__ import annotations

import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Final

from modelrouter._common.memory import available_bytes
from modelrouter.catalog import ModelCard, discover, models_directory
from modelrouter.catalog.builtin import builtin_fields, known_name
from modelrouter.catalog.gguf import GGUFHeader, beginning_of
from modelrouter.exceptions import ModelFileError, NotOnHubError, PullError
from modelrouter.hub.choice import (
    Offer,
    best,
    cache_bytes_a_token,
    is_model,
    quantization_of,
    wanted,
)
from modelrouter.hub.client import Listing, RemoteFile, beginning, listing
from modelrouter.hub.download import Progress, fetch, is_whole
from modelrouter.hub.sources import Source, source

__all__ = ["Plan", "plan", "pull"]

_logger: Final = logging.getLogger("modelrouter")
_LOOKED_AT: Final = 1 << 18
"""Bytes of a file's beginning; its sizes stand before its vocabulary."""
_DEFAULT_WINDOW: Final = 8_192
_GUESSED_CACHE: Final = 0.2
"""Of the weights: what keys and values are taken to need where the file does not say."""
_NAME: Final = re.compile(r"[\w][\w.+()\[\] -]*\.gguf", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Plan:
    """What can be pulled, before anything is.

    Attributes:
        source: what was asked for.
        listing: the repository.
        offers: its models, smallest first.
        window: tokens; what ``memory_bytes`` of the offers counts with.
        folder: where the file goes.
        free_memory_bytes: here, now.
    """

    source: Source
    listing: Listing
    offers: tuple[Offer, ...]
    window: int
    folder: Path
    free_memory_bytes: int

    @property
    def licence(self) -> str | None:
        """The makers' licence where the catalog knows it, else the hub's tag."""
        return self.source.licence or self.listing.licence

    def choose(self, name: str | None = None) -> Offer:
        """The offer of that quantization or file name, else the best that fits into free memory.

        Raises:
            NotOnHubError: there is none of that name.
            PullError: none was named, and none fits.
        """
        name = name or self.source.wanted
        if name is not None:
            return wanted(self.offers, name, self.listing.repository)
        return best(self.offers, self.listing.repository, self.free_memory_bytes)

    def target(self, offer: Offer) -> Path:
        """Where its file goes: under its own name, or one by which the catalog knows the model.

        Raises:
            PullError: the file has a name that no file should have.
        """
        name = PurePosixPath(offer.file).name
        if not _NAME.fullmatch(name):
            raise PullError(f"{self.listing.repository} has a file of a strange name: {name!r}.")
        card = self.source.card
        if card is not None and known_name(Path(name)) != card:
            name = f"{card}-{offer.quantization}.gguf"
        return self.folder / name


def plan(name: str, *, directory: str | Path | None = None) -> Plan:
    """Ask the hub what there is of a model; fetches nothing but a file's beginning.

    Args:
        name: of the catalog (``phi-2``), or ``owner/repository``; after a colon a quantization or
            file name (``phi-2:Q8_0``).
        directory: the models folder by default.

    Raises:
        UnknownModelError, ConfigurationError: the name is not valid.
        PullError: the hub has nothing, or cannot be asked; its kinds say why.
    """
    asked = source(name)
    found = _first_there(asked)
    files = [file for file in found.files if is_model(file.path) and file.size_bytes > 0]
    if not files:
        raise NotOnHubError(
            f"{found.repository} has no whole GGUF model.",
            hint="Files in parts and other formats are not read; look for one that ends in -GGUF.",
        )
    header = _header(found, min(files, key=lambda file: file.size_bytes))
    if header is not None and header.metadata.get("general.type") == "adapter":
        raise NotOnHubError(
            f"{found.repository} has adapters, which are not whole models.",
            hint="`hf download` fetches one; then ModelCard.local(BASE, lora=FILE).",
        )
    window = _window(asked, header)
    free = available_bytes()
    offers = sorted(
        (_offer(file, header, window, free) for file in files), key=lambda o: o.size_bytes
    )
    folder = Path(directory).expanduser() if directory else models_directory(os.environ)
    return Plan(asked, found, tuple(offers), window, folder, free)


def pull(
    name: str | Plan,
    quantization: str | None = None,
    *,
    directory: str | Path | None = None,
    progress: Progress | None = None,
) -> ModelCard:
    """Fetch a model's GGUF file from the Hugging Face hub, once; a Router made later uses it.

    ``modelrouter.pull("phi-2")`` takes the best quantization that fits into free memory. Calling it
    accepts the model's licence, which is on the card. ``HF_ENDPOINT``, ``HF_TOKEN`` and
    ``HF_HUB_OFFLINE`` are heeded. A broken download goes on where it was; the file gets its
    name when its checksum was found right.

    Args:
        name: of the catalog, or ``owner/repository``; after a colon a quantization or file name.
        quantization: for example ``Q4_K_M``, or a file's name.
        directory: the models folder by default.
        progress: called with the bytes there are and the bytes there will be.

    Returns:
        The card, under the name by which a Router finds it.

    Raises:
        UnknownModelError, ConfigurationError: the name is not valid.
        PullError: its kinds say what went wrong.
        ModelFileError: the file is what the hub promised, and no model that can be read.
    """
    made = name if isinstance(name, Plan) else plan(name, directory=directory)
    offer = made.choose(quantization)
    target = made.target(offer)
    _logger.info(
        "Pulling %s from %s; licence: %s", offer.file, made.listing.repository, made.licence
    )
    try:
        made.folder.mkdir(parents=True, exist_ok=True)
    except OSError as exc:
        raise PullError(f"{made.folder} cannot be made: {exc.strerror or exc}.") from exc
    if not is_whole(target, offer):
        fetch(made.listing.repository, made.listing.commit, offer, target, progress)
    return _card(target)


def _card(path: Path) -> ModelCard:
    """The card under the name that a Router gives it: another file may have the model's own."""
    if path.parent == models_directory(os.environ):
        for card in discover(os.environ).catalog:
            if card.path == path:
                return card
    return ModelCard.local(path)


def _first_there(asked: Source) -> Listing:
    missing: NotOnHubError | None = None
    for repository in asked.repositories:
        try:
            return listing(repository)
        except NotOnHubError as error:
            missing = error
    assert missing is not None  # there is always one repository
    if asked.card is None:
        raise missing
    raise NotOnHubError(
        f"None of the repositories known for {asked.card} is there any more: "
        f"{', '.join(asked.repositories)}.",
        hint=asked.instead or "Pull another by name: modelrouter pull OWNER/REPOSITORY.",
    ) from missing


def _header(found: Listing, file: RemoteFile) -> GGUFHeader | None:
    """What the smallest file says of the model; all quantizations say the same."""
    data = beginning(found.repository, found.commit, file.path, min(file.size_bytes, _LOOKED_AT))
    try:
        return beginning_of(data)
    except ModelFileError:
        return None


def _window(asked: Source, header: GGUFHeader | None) -> int:
    """How many tokens the card of it will have."""
    known = builtin_fields().get(asked.card or "", {})
    most = int(known.get("context_window", _DEFAULT_WINDOW))
    trained = header.whole_number("context_length") if header else None
    return min(most, trained) if trained else most


def _offer(file: RemoteFile, header: GGUFHeader | None, window: int, free: int) -> Offer:
    a_token = cache_bytes_a_token(header) if header else None
    cache = int(file.size_bytes * _GUESSED_CACHE) if a_token is None else a_token * window
    memory = file.size_bytes + cache
    return Offer(
        file=file.path,
        quantization=quantization_of(file.path),
        size_bytes=file.size_bytes,
        memory_bytes=memory,
        fits=memory <= free,
        sha256=file.sha256,
        blob_id=file.blob_id,
    )
