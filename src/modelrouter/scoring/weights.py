"""The file of a scorer's weights: a JSON header, then little-endian arrays; it cannot run code.

    magic (8 bytes) | header length (4 bytes) | header (JSON) | arrays, one after the other

The header says what each array holds and the SHA-256 of all that follows it.
"""

from __future__ import annotations

import hashlib
import json
import sys
from array import array
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from modelrouter.exceptions import ScorerFileError
from modelrouter.scoring.features import NAMES

__all__ = ["VERSION", "Ability", "Share", "Weights", "dump", "load"]

MAGIC: Final = b"MRSCORE\n"
VERSION: Final = 1
_ARRAYS: Final = {
    "frequencies": "B",
    "word_fields": "I",
    "tree_feature": "B",
    "tree_threshold": "d",
    "tree_leaf": "H",
}
_LIMIT: Final = 64 * 1024 * 1024
"""Bytes beyond which a file is refused unread."""


@dataclass(frozen=True, slots=True)
class Ability:
    """How a model's chance of success follows from the references' outputs.

    P = sigmoid(bias + sum of slopes times outputs); ``answers`` is how many labelled answers it
    was fitted to, ``source`` where it comes from.
    """

    bias: float
    slopes: tuple[float, ...]
    answers: int = 0
    source: str = ""


@dataclass(frozen=True, slots=True)
class Share:
    """What was learned of one format.

    Attributes:
        trees: how many of the trees are its own.
        level, slope: of each reference, at zero load and for a unit of it.
        words: whether the words add to it.
    """

    trees: int
    level: tuple[float, ...]
    slope: tuple[float, ...]
    words: bool = True


@dataclass(frozen=True, slots=True)
class Weights:
    """All that a learned scorer knows.

    Attributes:
        references: the models whose success is predicted directly, in the order of the fields.
        level, slope: of each reference, at zero load and for a unit of load, in any format that
            ``shares`` does not name.
        shares: what was learned of each format; elsewhere only the load counts.
        load_center, load_scale: how the parts of the language load are standardised.
        vocabulary: the known words, most frequent first.
        frequencies: of each, sixteen times the logarithm of one plus its count in a million.
        word_fields: one packed row of references a word; ``word_scale`` a unit's worth.
        tree_feature, tree_threshold, tree_leaf: the forests, one share's after the other's;
            ``leaf_scale`` a unit's worth.
        abilities: models by name.
        kinds: for each kind that the data cover, the mean complexity, and the mean log odds of
            the small and the large reference.
        about: data hash, date, figures: what a reader of the file wants to know.
    """

    references: tuple[str, ...]
    level: tuple[float, ...]
    slope: tuple[float, ...]
    load_center: tuple[float, ...]
    load_scale: tuple[float, ...]
    vocabulary: tuple[str, ...]
    frequencies: array[int]
    word_fields: array[int]
    word_scale: float
    tree_feature: array[int]
    tree_threshold: array[float]
    tree_leaf: array[int]
    leaf_scale: float
    shares: Mapping[str, Share] = field(default_factory=dict)
    abilities: Mapping[str, Ability] = field(default_factory=dict)
    kinds: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    about: Mapping[str, Any] = field(default_factory=dict)


def dump(weights: Weights, path: str | Path) -> None:
    """Write the file; the same weights give the same bytes.

    Raises:
        ScorerFileError: it cannot be written.
    """
    body = b"\n".join(word.encode() for word in weights.vocabulary)
    sizes = {"vocabulary": len(body)}
    for name in _ARRAYS:
        values: array[Any] = array(_ARRAYS[name], getattr(weights, name))
        if sys.byteorder == "big":
            values.byteswap()
        sizes[name] = len(values)
        body += values.tobytes()
    plain = {
        f.name: getattr(weights, f.name)
        for f in fields(weights)
        if f.name not in (*_ARRAYS, "vocabulary", "abilities", "shares")
    }
    header = {
        "version": VERSION,
        "features": list(NAMES),
        "sizes": sizes,
        "sha256": hashlib.sha256(body).hexdigest(),
        "shares": [
            [name, s.trees, s.level, s.slope, s.words] for name, s in weights.shares.items()
        ],
        "abilities": {
            name: [a.bias, list(a.slopes), a.answers, a.source]
            for name, a in weights.abilities.items()
        },
        **plain,
    }
    head = json.dumps(header, sort_keys=True, ensure_ascii=False, allow_nan=False).encode()
    try:
        Path(path).write_bytes(MAGIC + len(head).to_bytes(4, "little") + head + body)
    except OSError as exc:
        raise ScorerFileError(f"Cannot write {path}: {exc.strerror or exc}.") from exc


def load(path: str | Path) -> Weights:
    """Read and check a file of weights.

    Raises:
        ScorerFileError: missing, no such file, another version, cut short or altered.
    """
    try:
        if (size := Path(path).stat().st_size) > _LIMIT:
            raise ScorerFileError(f"{path} has {size} bytes; no scorer is that large.")
        data = Path(path).read_bytes()
    except OSError as exc:
        raise ScorerFileError(f"Cannot read {path}: {exc.strerror or exc}.") from exc
    if not data.startswith(MAGIC):
        raise ScorerFileError(
            f"{path} is not a file of scorer weights.", hint="Make one with `modelrouter fit`."
        )
    try:
        return _parsed(data, path)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as exc:
        if isinstance(exc, ScorerFileError):
            raise
        raise ScorerFileError(f"{path} is damaged: {exc}.", hint=_AGAIN) from exc


_AGAIN: Final = "Copy it again, or fit anew with `modelrouter fit`."


def _parsed(data: bytes, path: str | Path) -> Weights:
    start = len(MAGIC) + 4
    length = int.from_bytes(data[len(MAGIC) : start], "little")
    header = json.loads(data[start : start + length])
    body = data[start + length :]
    if header["version"] != VERSION:
        raise ScorerFileError(
            f"{path} is of version {header['version']}, this package reads version {VERSION}.",
            hint="Fit anew with `modelrouter fit`.",
        )
    if header["features"] != list(NAMES):
        raise ScorerFileError(
            f"{path} was fitted to other features than this package reads.",
            hint="Fit anew with `modelrouter fit`.",
        )
    if hashlib.sha256(body).hexdigest() != header["sha256"]:
        raise ScorerFileError(f"{path} is damaged: its checksum is wrong.", hint=_AGAIN)
    sizes = header["sizes"]
    at = sizes["vocabulary"]
    text = body[:at].decode()
    arrays: dict[str, Any] = {}
    for name, code in _ARRAYS.items():
        values: array[Any] = array(code)
        end = at + sizes[name] * values.itemsize
        values.frombytes(body[at:end])
        if sys.byteorder == "big":
            values.byteswap()
        if len(values) != sizes[name]:
            raise ScorerFileError(f"{path} is cut short in {name}.", hint=_AGAIN)
        arrays[name], at = values, end
    weights = Weights(
        vocabulary=tuple(text.split("\n")) if text else (),
        references=tuple(header["references"]),
        shares={
            name: Share(int(trees), _vector(level), _vector(slope), bool(words))
            for name, trees, level, slope, words in header["shares"]
        },
        abilities={
            name: Ability(float(bias), _vector(slopes), int(answers), str(source))
            for name, (bias, slopes, answers, source) in header["abilities"].items()
        },
        kinds={kind: _vector(values) for kind, values in header["kinds"].items()},
        about=header["about"],
        word_scale=float(header["word_scale"]),
        leaf_scale=float(header["leaf_scale"]),
        level=_vector(header["level"]),
        slope=_vector(header["slope"]),
        load_center=_vector(header["load_center"]),
        load_scale=_vector(header["load_scale"]),
        **arrays,
    )
    _check(weights, path)
    return weights


def _vector(values: Iterable[float]) -> tuple[float, ...]:
    return tuple(map(float, values))


def _check(weights: Weights, path: str | Path) -> None:
    """See that the arrays fit each other, so that reading a text cannot fail later."""
    models = len(weights.references)
    words = len(weights.vocabulary)
    trees = len(weights.tree_feature) // 7
    fits = (
        models > 0
        and len(weights.level) == len(weights.slope) == models
        and len(weights.frequencies) == words
        and len(weights.word_fields) == words * models
        and len(weights.tree_feature) == len(weights.tree_threshold) == trees * 7
        and len(weights.tree_leaf) == trees * 8 * models
        and sum(share.trees for share in weights.shares.values()) == trees
        and all(
            share.trees >= 0 and len(share.level) == len(share.slope) == models
            for share in weights.shares.values()
        )
        and all(feature < len(NAMES) for feature in weights.tree_feature)
        and all(len(ability.slopes) == models for ability in weights.abilities.values())
        and all(len(means) == 3 for means in weights.kinds.values())
    )
    if not fits:
        raise ScorerFileError(f"{path} is damaged: its arrays do not fit each other.", hint=_AGAIN)
