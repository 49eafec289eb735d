"""Which of a repository's files to take: quantization, what it needs, the best that fits."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Final

from modelrouter._common.memory import gigabytes
from modelrouter.catalog.gguf import GGUFHeader
from modelrouter.exceptions import NotOnHubError, PullError

__all__ = ["Offer", "best", "cache_bytes_a_token", "is_model", "quantization_of", "wanted"]

_QUANTIZATION: Final = re.compile(
    r"(?:^|[-_. ])((?:UD-)?(?:IQ|TQ|Q)[1-8](?:_[A-Z0-9]+)*|MXFP4(?:_MOE)?|BF16|FP?16|FP?32)$",
    re.IGNORECASE,
)
_PART: Final = re.compile(r"-\d{5}-of-\d{5}$")
_FLOATS: Final = ("BF16", "F16", "FP16", "F32", "FP32")
_OTHER: Final = ("mmproj", "imatrix", "ggml-vocab")
_F16_BYTES: Final = 2


@dataclass(frozen=True, slots=True)
class Offer:
    """One file that may be pulled.

    Attributes:
        file: its path in the repository.
        quantization: for example ``Q4_K_M``; the file's name where that says nothing.
        size_bytes: on disk.
        memory_bytes: weights, and keys and values of one text as long as the window.
        fits: whether that is free here now.
        sha256: the hub's checksum of the content; ``None`` for the few files kept without one,
            which have ``blob_id``, git's.
    """

    file: str
    quantization: str
    size_bytes: int
    memory_bytes: int
    fits: bool
    sha256: str | None
    blob_id: str | None

    @property
    def is_float(self) -> bool:
        """Whether the weights are as they were trained, not quantized."""
        return self.quantization in _FLOATS


def is_model(file: str) -> bool:
    """Whether a file of a repository is a whole model: no part of one, no helper's."""
    path = PurePosixPath(file)
    name = path.name.lower()
    return (
        path.suffix.lower() == ".gguf"
        and not _PART.search(path.stem)
        and not any(other in name for other in _OTHER)
    )


def quantization_of(file: str) -> str:
    """What the file's name says of its quantization; its name where it says nothing."""
    stem = PurePosixPath(file).stem
    found = _QUANTIZATION.search(stem)
    return found[1].upper() if found else stem


def cache_bytes_a_token(header: GGUFHeader) -> int | None:
    """Bytes that keys and values of one token take in 16 bits; ``None`` where it is not said.

    The layers that look at a part of the text only, or keep no keys, count as all others: the
    figure is an upper bound for them.
    """
    number = header.whole_number
    layers, width, heads = (
        number(key) for key in ("block_count", "embedding_length", "attention.head_count")
    )
    if not layers or not width or not heads:
        return None
    kept = number("attention.head_count_kv") or heads
    key = number("attention.key_length") or width // heads
    value = number("attention.value_length") or width // heads
    return layers * kept * (key + value) * _F16_BYTES


def wanted(offers: Sequence[Offer], name: str, repository: str) -> Offer:
    """The offer of that quantization or file name; case does not matter.

    Raises:
        NotOnHubError: there is none, or several.
    """
    said = name.lower()
    found = [offer for offer in offers if offer.file == name] or [
        offer
        for offer in offers
        if said
        in (
            offer.quantization.lower(),
            offer.file.lower(),
            PurePosixPath(offer.file).name.lower(),
        )
    ]
    if len(found) == 1:
        return found[0]
    choices = [o.file for o in found] or [o.quantization for o in offers]
    raise NotOnHubError(
        f"{repository} has {'several files' if found else 'no file'} for {name!r}.",
        hint=f"Choose one of {', '.join(choices)}.",
        choices=choices,
    )


def best(offers: Iterable[Offer], repository: str, free_bytes: int) -> Offer:
    """The largest quantized file that fits into free memory, or else the largest unquantized one.

    Of one model's quantizations the larger is the better; weights that are not quantized cost twice
    the time of eight bits a weight and are hardly better.

    Raises:
        PullError: none fits.
    """
    fitting = [offer for offer in offers if offer.fits]
    if not fitting:
        raise PullError(
            f"No file of {repository} fits into the {gigabytes(free_bytes)} of free memory.",
            hint="Free some, pull a smaller model, or name a quantization to pull it all the same.",
        )
    return max(fitting, key=lambda offer: (not offer.is_float, offer.size_bytes))
