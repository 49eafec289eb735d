"""Reads a GGUF file's header, and refuses files that llama.cpp would stumble over.

Follows the GGUF specification (ggml project, docs/gguf.md), versions 2 and 3, little-endian. Every
length is checked against the file's size before it is used, so that no file, however damaged,
costs more than a look.
"""

from __future__ import annotations

import mmap
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any, Final

from modelrouter.exceptions import ModelFileError

__all__ = ["GGUFHeader", "Tensor", "check", "read_header"]

_MAGIC: Final = b"GGUF"
_VERSIONS: Final = (2, 3)
_MAX_TENSORS: Final = 1 << 20
_MAX_ENTRIES: Final = 1 << 16
_MAX_DIMENSIONS: Final = 4
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
_STRING: Final = 8
_ARRAY: Final = 9
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
}


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor's entry: its name, dimensions, ggml type and place in the data section."""

    name: str
    dimensions: tuple[int, ...]
    type: int
    offset: int


@dataclass(frozen=True, slots=True)
class GGUFHeader:
    """What a GGUF file says of itself. Arrays are given by their length only."""

    version: int
    metadata: Mapping[str, Any]
    tensors: tuple[Tensor, ...]
    data_start: int
    file_size: int

    @property
    def architecture(self) -> str:
        """``general.architecture``, for example ``llama``."""
        return str(self.metadata.get("general.architecture", ""))

    def of_architecture(self, key: str) -> Any:
        """A metadata value under the architecture's prefix, ``None`` if absent."""
        return self.metadata.get(f"{self.architecture}.{key}")

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
            raise _bad(path, f"is no GGUF file: it has only {size} bytes")
        with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _Reader(path, data).header()
    except FileNotFoundError as exc:
        raise _bad(path, "does not exist", "Check the path.") from exc
    except OSError as exc:
        raise _bad(path, f"cannot be read ({exc.strerror or exc})", "Check its rights.") from exc


def check(path: Path) -> GGUFHeader:
    """Read the header and make sure that llama.cpp can load what it promises.

    Raises:
        ModelFileError: as :func:`read_header`; also tensors beyond the file's end, or metadata
            without which llama.cpp cannot start.
    """
    header = read_header(path)
    if not header.architecture:
        raise _bad(path, "names no general.architecture")
    if not header.tensors:
        raise _bad(path, "holds no tensors")
    for key in ("block_count", "embedding_length", "attention.head_count"):
        value = header.of_architecture(key)
        if isinstance(value, int) and not isinstance(value, bool) and not 0 < value < 1 << 24:
            raise _bad(path, f"says {header.architecture}.{key} = {value}")
    for tensor in header.tensors:
        _check_tensor(path, header, tensor)
    return header


def _check_tensor(path: Path, header: GGUFHeader, tensor: Tensor) -> None:
    if tensor.type not in _BLOCKS:
        raise _bad(path, f"has tensor {tensor.name!r} of unknown type {tensor.type}")
    if any(d <= 0 for d in tensor.dimensions):
        raise _bad(path, f"has tensor {tensor.name!r} with dimensions {tensor.dimensions}")
    per_block, block_bytes = _BLOCKS[tensor.type]
    elements = prod(tensor.dimensions)
    if tensor.dimensions[0] % per_block:
        raise _bad(path, f"has tensor {tensor.name!r} that does not fill its blocks")
    end = header.data_start + tensor.offset + elements // per_block * block_bytes
    if end > header.file_size:
        raise _bad(
            path,
            f"is truncated: tensor {tensor.name!r} ends at byte {end:,}, "
            f"the file at {header.file_size:,}",
        )


def _bad(path: Path, problem: str, hint: str = "Download or convert it again.") -> ModelFileError:
    return ModelFileError(f"{path} {problem}.", hint=hint)


class _Reader:
    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path = path
        self.data = data
        self.size = len(data)
        self.at = 0

    def header(self) -> GGUFHeader:
        if self.data[:4] != _MAGIC:
            raise self.bad(f"is no GGUF file: it starts with {bytes(self.data[:4])!r}")
        self.at = 4
        version = self.scalar("<I")
        if version not in _VERSIONS:
            raise self.bad(f"has GGUF version {version}; versions 2 and 3 are read")
        tensors, entries = self.scalar("<Q"), self.scalar("<Q")
        if tensors > _MAX_TENSORS or entries > _MAX_ENTRIES:
            raise self.bad(f"claims {tensors} tensors and {entries} metadata entries")
        metadata: dict[str, Any] = {}
        for _ in range(entries):
            key = self.string()
            if key in metadata:
                raise self.bad(f"has the metadata key {key!r} twice")
            metadata[key] = self.value(self.scalar("<I"))
        table = tuple(self.tensor() for _ in range(tensors))
        if len({t.name for t in table}) != len(table):
            raise self.bad("has two tensors of the same name")
        alignment = metadata.get("general.alignment", 32)
        if not isinstance(alignment, int) or alignment <= 0 or alignment & (alignment - 1):
            raise self.bad(f"has alignment {alignment!r}")
        start = -(-self.at // alignment) * alignment
        return GGUFHeader(version, metadata, table, start, self.size)

    def tensor(self) -> Tensor:
        name = self.string()
        count = self.scalar("<I")
        if not 0 < count <= _MAX_DIMENSIONS:
            raise self.bad(f"has tensor {name!r} with {count} dimensions")
        dimensions = tuple(self.scalar("<Q") for _ in range(count))
        return Tensor(name, dimensions, self.scalar("<I"), self.scalar("<Q"))

    def value(self, kind: int, depth: int = 0) -> Any:
        if kind in _SCALARS:
            return self.scalar(_SCALARS[kind])
        if kind == _STRING:
            return self.string()
        if kind == _ARRAY and depth < 2:
            return self.array(depth)
        raise self.bad(f"has metadata of unknown type {kind} at byte {self.at:,}")

    def array(self, depth: int) -> int:
        """Step over an array; its length stands for it."""
        kind, count = self.scalar("<I"), self.scalar("<Q")
        if count > self.size:
            raise self.bad(f"claims an array of {count} values")
        if kind in _SCALARS:
            self.take(count * struct.calcsize(_SCALARS[kind]))
        elif kind == _STRING:
            self.skip_strings(count)
        else:
            for _ in range(count):
                self.value(kind, depth + 1)
        return int(count)

    def skip_strings(self, count: int) -> None:
        data, at, size, unpack = self.data, self.at, self.size, struct.Struct("<Q").unpack_from
        for _ in range(count):
            if at + 8 > size:
                break
            at += 8 + unpack(data, at)[0]
        if at > size:
            raise self.bad("is truncated inside its metadata")
        self.at = at

    def string(self) -> str:
        length = self.scalar("<Q")
        if length > self.size:
            raise self.bad(f"claims a text of {length} bytes")
        return bytes(self.take(length)).decode("utf-8", "replace")

    def scalar(self, form: str) -> Any:
        return struct.unpack(form, self.take(struct.calcsize(form)))[0]

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > self.size:
            raise self.bad(f"is truncated: its header goes on past byte {self.size:,}")
        piece = self.data[self.at : end]
        self.at = end
        return piece

    def bad(self, problem: str) -> ModelFileError:
        return _bad(self.path, problem)
