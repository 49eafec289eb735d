"""Reads a GGUF file's header, and refuses files that llama.cpp would stumble over.

Follows the GGUF specification (ggml project, docs/gguf.md), versions 2 and 3, little-endian. Every
length is checked against the bytes there are before it is used, so that no file, however damaged,
costs more than a look. llama.cpp itself reports most damage, but ends the process on some: those
cases :func:`check` finds first.
"""

from __future__ import annotations

import contextlib
import functools
import math
import mmap
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

from modelrouter.exceptions import ModelFileError

__all__ = [
    "GGUFArray",
    "GGUFHeader",
    "Tensor",
    "beginning_of",
    "check",
    "check_tensors",
    "read_header",
]

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_MAX_TENSORS: Final = 1 << 20
_MAX_ENTRIES: Final = 1 << 16
_MAX_DIMENSIONS: Final = 4
_MAX_HEADER: Final = 1 << 28
"""Bytes looked at; the largest vocabularies of 2026 make headers of some 30 MB."""

_MAX_TEXTS: Final = 1 << 22
"""Texts in one array; the largest vocabularies of 2026 have some 300,000."""
_SCALARS: Final = {
    0: "<B",
    1: "<b",
    2: "<H",
    3: "<h",
    4: "<I",
    5: "<i",
    6: "<f",
    7: "<?",
    10: "<Q",
    11: "<q",
    12: "<d",
}
_WHOLE: Final = frozenset({0, 1, 2, 3, 4, 5, 7, 10, 11})
_BY_BLOCK: Final = ("expert_count", "expert_used_count")
_MAX_BLOCKS: Final = 1 << 12
_STRING: Final = 8
_ARRAY: Final = 9
_MAX_SIZE: Final = 1 << 27
"""Of windows and widths; the longest windows of 2026 have some 10 million tokens."""

# ggml tensor type -> (elements a block, bytes a block)
_BLOCKS: Final = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    3: (32, 20),
    6: (32, 22),
    7: (32, 24),
    8: (32, 34),
    9: (32, 36),
    10: (256, 84),
    11: (256, 110),
    12: (256, 144),
    13: (256, 176),
    14: (256, 210),
    15: (256, 292),
    16: (256, 66),
    17: (256, 74),
    18: (256, 98),
    19: (256, 50),
    20: (32, 18),
    21: (256, 110),
    22: (256, 82),
    23: (256, 136),
    24: (1, 1),
    25: (1, 2),
    26: (1, 4),
    27: (1, 8),
    28: (1, 8),
    29: (256, 56),
    30: (1, 2),
    34: (256, 54),
    35: (256, 66),
    39: (32, 17),
    40: (64, 36),
    41: (128, 18),
}
_REMOVED_TYPES: Final = frozenset({4, 5, 31, 32, 33, 36, 37, 38})
_INTEGER_TYPES: Final = frozenset({24, 25, 26, 27, 28})
_DATA_ALIGNMENT: Final = 32
_TOKENS: Final = "tokenizer.ggml.tokens"
_MULTIPLIED: Final = (
    "token_embd.weight",
    "norm.weight",
    "output.weight",
    "attn_q.weight",
    "attn_k.weight",
    "attn_v.weight",
    "attn_qkv.weight",
    "ffn_gate.weight",
    "ffn_up.weight",
    "ffn_down.weight",
)
"""Ends of the names of tensors that hold real numbers in every architecture."""

_NOT_MODELS: Final = {
    "adapter": "holds an adapter, not a whole model",
    "mmproj": "holds the image part of a model, not a whole one",
    "imatrix": "holds quantization statistics, not a model",
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor's entry: its name, dimensions, ggml type and place in the data section."""

    name: str
    dimensions: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True, slots=True)
class GGUFArray:
    """An array in the metadata: the type of its items and how many.

    They are not kept, but for the largest of how many experts each block has, or uses.
    """

    item_type: int
    length: int
    largest: int | None = None


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """What a GGUF file says of itself.

    Attributes:
        version: of the format.
        metadata: numbers, truth values and texts as such, arrays as :class:`GGUFArray`.
        tensors: the tensor table.
        data_start: the byte at which the tensors' data begins.
        file_size: in bytes.
        repeated_tokens: how many texts the vocabulary holds twice.
        missing_bytes: how many bytes it has no text for, as SentencePiece writes them.
    """

    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    data_start: int
    file_size: int
    repeated_tokens: int = 0
    missing_bytes: int = 0

    @property
    def architecture(self) -> str:
        """``general.architecture``, for example ``llama``; empty where it is not a text."""
        value = self.metadata.get("general.architecture")
        return value if isinstance(value, str) else ""

    def of_architecture(self, key: str) -> Any:
        """A metadata value under the architecture's prefix, ``None`` if absent."""
        return self.metadata.get(f"{self.architecture}.{key}")

    def whole_number(self, key: str) -> int | None:
        """A whole number under the architecture's prefix, ``None`` if absent or something else."""
        value = self.of_architecture(key)
        return value if isinstance(value, int) and not isinstance(value, bool) else None

    @property
    def parameters(self) -> int:
        """Number of weights."""
        return sum(prod(t.dimensions) for t in self.tensors)


def read_header(path: Path) -> GGUFHeader:
    """Read metadata and tensor table.

    Raises:
        ModelFileError: missing, not a file, not a GGUF, or damaged; the message says which.
    """
    try:
        size = path.stat().st_size
        if not path.is_file():
            raise _bad(path, "is not a file", "Name the .gguf file itself.")
        if size < 24:
            raise _bad(path, f"is not a GGUF file: it has only {size} bytes")
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), min(size, _MAX_HEADER), access=mmap.ACCESS_READ) as data,
        ):
            return _Reader(path, data, size).header()
    except FileNotFoundError as exc:
        raise _bad(path, "does not exist", "Check the path.") from exc
    except OSError as exc:
        raise _bad(path, f"cannot be read ({exc.strerror or exc})", "Check its rights.") from exc
    except ValueError as exc:  # a path with a NUL in it
        raise _bad(path, f"is not a path ({exc})", "Check the path.") from exc


def beginning_of(data: bytes) -> GGUFHeader:
    """What a file's first bytes say: the metadata before they end, no tensors.

    Raises:
        ModelFileError: not even the architecture is in them.
    """
    reader = _Reader(Path("the file"), data, len(data))
    with contextlib.suppress(ModelFileError):
        reader.header()
    if not isinstance(reader.metadata.get("general.architecture"), str):
        raise _bad(reader.path, "names no general.architecture at its beginning")
    return GGUFHeader(0, reader.metadata, (), 0, len(data))


def check(path: Path) -> GGUFHeader:
    """Read the header and make sure that llama.cpp can load what it promises.

    The result is remembered until the file changes.

    Raises:
        ModelFileError: as :func:`read_header`; also a file that holds no model, tensors beyond
            the file's end, and numbers on which llama.cpp would end the process.
    """
    try:
        now = path.stat()
    except (OSError, ValueError):
        return read_header(path)  # raises, saying why
    return _checked(path, now.st_mtime_ns, now.st_size, now.st_ino)


@functools.lru_cache(maxsize=64)
def _checked(path: Path, _modified: int, _size: int, _inode: int) -> GGUFHeader:
    header = read_header(path)
    if not header.architecture:
        raise _bad(path, "names no general.architecture")
    for problem, hint in _not_a_model(header):
        raise _bad(path, problem, hint)
    for problem in _misfits(header):
        raise _bad(path, problem)
    check_tensors(path, header)
    return header


def check_tensors(path: Path, header: GGUFHeader) -> None:
    """Make sure that every tensor lies in the file and is of a type that can be computed with.

    Raises:
        ModelFileError: one is not.
    """
    for tensor in header.tensors:
        _check_tensor(path, header, tensor)


def _not_a_model(header: GGUFHeader) -> Iterator[tuple[str, str]]:
    """Files that are sound and yet no model to load."""
    kind = header.metadata.get("general.type")
    if header.architecture == "clip":
        kind = "mmproj"
    if isinstance(kind, str) and kind in _NOT_MODELS:
        yield _NOT_MODELS[kind], "Name the model's own file."
    part, parts = header.metadata.get("split.no"), header.metadata.get("split.count")
    if isinstance(part, int) and isinstance(parts, int) and part > 0:
        yield f"is part {part + 1} of {parts}", "Name the first part."
    if not header.tensors and not (isinstance(parts, int) and parts > 1):
        yield "holds no tensors", "Download or convert it again."


def _misfits(header: GGUFHeader) -> Iterator[str]:
    """Metadata on which llama.cpp would end the process instead of reporting an error."""
    blocks = header.whole_number("block_count")
    split = "split.count" in header.metadata
    if blocks is not None and not (blocks > 0 and (split or blocks <= len(header.tensors))):
        yield f"claims {blocks} blocks with {len(header.tensors)} tensors"
    predicting = header.whole_number("nextn_predict_layers")
    if predicting and blocks is not None and not 0 < predicting < blocks:
        yield f"claims {predicting} of {blocks} blocks that predict further tokens"
    for key in ("context_length", "embedding_length"):
        value = header.whole_number(key)
        if value is not None and not 0 < value <= _MAX_SIZE:
            yield f"says {header.architecture}.{key} = {value}"
    experts, used = (
        value.largest if isinstance(value, GGUFArray) else value or 0  # one for each block
        for value in (header.of_architecture(f"expert_{k}count") for k in ("", "used_"))
    )
    if isinstance(experts, int) and isinstance(used, int):
        possible = 0 < used <= experts <= 1024 if experts else used == 0
        if not possible:
            yield f"claims {used} experts used of {experts}"
    for key in ("attention.layer_norm_rms_epsilon", "attention.layer_norm_epsilon"):
        value = header.of_architecture(key)
        if isinstance(value, float) and not (math.isfinite(value) and value >= 0):
            yield f"says {header.architecture}.{key} = {value}"
    scaling = header.of_architecture("rope.scaling.type")
    if isinstance(scaling, str) and scaling not in ("none", "linear", "yarn", "longrope"):
        yield f"says {header.architecture}.rope.scaling.type = {scaling!r}"
    tokenizer = header.metadata.get("tokenizer.ggml.model")
    if tokenizer in ("none", "no_vocab"):
        yield "has no vocabulary"
    if tokenizer == "llama" and header.missing_bytes:
        yield f"has no token for {header.missing_bytes} of the 256 bytes"
    if header.repeated_tokens:
        yield f"has {header.repeated_tokens} tokens twice in its vocabulary"


def _check_tensor(path: Path, header: GGUFHeader, tensor: Tensor) -> None:
    name = f"tensor {tensor.name!r}"
    if tensor.type in _REMOVED_TYPES:
        raise _bad(path, f"has {name} of type {tensor.type}, which llama.cpp no longer reads")
    if any(d <= 0 for d in tensor.dimensions):
        raise _bad(path, f"has {name} with dimensions {tensor.dimensions}")
    if tensor.type in _INTEGER_TYPES and tensor.name.endswith(_MULTIPLIED):
        raise _bad(path, f"has {name} of type {tensor.type}, which cannot be multiplied")
    start = header.data_start + tensor.offset
    if start % _DATA_ALIGNMENT:
        raise _bad(path, f"has {name} at byte {start:,}, not a multiple of {_DATA_ALIGNMENT}")
    # The size of a type newer than this table is not known; llama.cpp will judge it.
    per_block, block_bytes = _BLOCKS.get(tensor.type, (1, 0))
    if tensor.dimensions[:1] and tensor.dimensions[0] % per_block:
        raise _bad(path, f"has {name} that does not fill its blocks")
    end = start + prod(tensor.dimensions) // per_block * block_bytes
    if end > header.file_size:
        raise _bad(
            path,
            f"is truncated: {name} ends at byte {end:,}, the file at {header.file_size:,}",
        )


def _bad(path: Path, problem: str, hint: str = "Download or convert it again.") -> ModelFileError:
    return ModelFileError(f"{path} {problem}.", hint=hint)


class _Reader:
    """Walks through a header; ``data`` is the file's beginning, ``file_size`` all of it."""

    def __init__(self, path: Path, data: mmap.mmap | bytes, file_size: int) -> None:
        self.path = path
        self.data = data
        self.size = len(data)
        self.file_size = file_size
        self.at = 0
        self.repeated_tokens = 0
        self.missing_bytes = 0
        self.metadata: dict[str, Any] = {}

    def header(self) -> GGUFHeader:
        if self.data[:4] != _MAGIC:
            raise self.bad(f"is not a GGUF file: it starts with {self.data[:4]!r}")
        self.at = 4
        version = self.scalar("<I")
        if version not in _VERSIONS:
            raise self.bad(f"has GGUF version {version}; versions 2 and 3 are read")
        tensors, entries = self.scalar("<Q"), self.scalar("<Q")
        if tensors > _MAX_TENSORS or entries > _MAX_ENTRIES:
            raise self.bad(f"claims {tensors} tensors and {entries} metadata entries")
        metadata = self.metadata
        for _ in range(entries):
            key = self.text()
            if key in metadata:
                raise self.bad(f"has the metadata key {key!r} twice")
            metadata[key] = self.value(self.scalar("<I"), key)
        table = tuple(self.tensor() for _ in range(tensors))
        if len({t.name for t in table}) != len(table):
            raise self.bad("has two tensors of the same name")
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise self.bad(f"has alignment {alignment!r}")
        start = -(-self.at // alignment) * alignment
        counted = (self.repeated_tokens, self.missing_bytes)
        return GGUFHeader(version, metadata, table, start, self.file_size, *counted)

    def tensor(self) -> Tensor:
        name = self.text()
        count = self.scalar("<I")
        if count > _MAX_DIMENSIONS:
            raise self.bad(f"has tensor {name!r} with {count} dimensions")
        dimensions = tuple(self.scalar("<Q") for _ in range(count))
        return Tensor(name, dimensions, self.scalar("<I"), self.scalar("<Q"))

    def value(self, kind: int, key: str, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind == _ARRAY and depth < 2:
            return self.array(key, depth)
        raise self.bad(f"has metadata {key!r} of unknown type {kind}")

    def array(self, key: str, depth: int) -> GGUFArray:
        """Step over an array."""
        kind, count = self.scalar("<I"), self.scalar("<Q")
        if kind in _WHOLE and 0 < count <= _MAX_BLOCKS and key.endswith(_BY_BLOCK):
            largest = max(int(self.scalar(_SCALARS[kind])) for _ in range(count))
            return GGUFArray(kind, count, largest)
        if kind in _SCALARS:
            self.skip(count * struct.calcsize(_SCALARS[kind]))
        elif count > _MAX_TEXTS:
            raise self.bad(f"claims an array {key!r} of {count} items")
        elif kind == _STRING and key == _TOKENS:
            self.count_repeated(count)
        elif kind == _STRING:
            self.skip_texts(count)
        else:
            for _ in range(count):
                self.value(kind, key, depth + 1)
        return GGUFArray(kind, count)

    def skip_texts(self, count: int) -> None:
        data, at, size, length = self.data, self.at, self.size, struct.Struct("<Q").unpack_from
        for _ in range(count):
            if at + 8 > size:
                raise self.short()
            at += 8 + length(data, at)[0]
        if at > size:
            raise self.short()
        self.at = at

    def count_repeated(self, count: int) -> None:
        """Step over the vocabulary and count what it holds twice, as llama.cpp sees it.

        It reads each token up to a NUL, and tells empty ones apart by their place.
        """
        data, at, size, length = self.data, self.at, self.size, struct.Struct("<Q").unpack_from
        tokens: list[bytes] = []
        for _ in range(count):
            if (start := at + 8) > size or (at := start + length(data, at)[0]) > size:
                raise self.short()
            tokens.append(data[start:at])
        self.at = at
        if b"\0" in b"".join(tokens):
            tokens = [token.partition(b"\0")[0] for token in tokens]
        known = {token for token in tokens if token}
        self.repeated_tokens = sum(map(bool, tokens)) - len(known)
        self.missing_bytes = sum(
            b"<0x%02X>" % byte not in known and bytes([byte]) not in known for byte in range(256)
        )

    def text(self) -> str:
        return self.take(self.scalar("<Q")).decode("utf-8", "replace")

    def scalar(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def take(self, count: int) -> bytes:
        start = self.at
        self.skip(count)
        return self.data[start : self.at]

    def skip(self, count: int) -> None:
        if self.at + count > self.size:
            raise self.short()
        self.at += count

    def short(self) -> ModelFileError:
        if self.size < self.file_size:
            return self.bad(f"has a header of more than {_MAX_HEADER:,} bytes")
        return self.bad(f"is truncated: its header goes on past byte {self.size:,}")

    def bad(self, problem: str) -> ModelFileError:
        return _bad(self.path, problem)
