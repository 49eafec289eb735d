"""A GGUF file as parts that can be spoilt one by one, and written out again.

The gguf package writes only what is right; these tests need what is wrong.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from math import prod
from typing import Any

U8, I8, U16, I16, U32, I32, F32, BOOL, STRING, ARRAY, U64, I64, F64 = range(13)

_SCALARS = {
    U8: "<B",
    I8: "<b",
    U16: "<H",
    I16: "<h",
    U32: "<I",
    I32: "<i",
    F32: "<f",
    BOOL: "<?",
    U64: "<Q",
    I64: "<q",
    F64: "<d",
}
MERGES = ("a b", "c d")
TOKENS = ("<end>", *(chr(c) for c in range(ord("a"), ord("z") + 1)), "ab", "cd")


@dataclass(frozen=True)
class Entry:
    """One metadata entry; an array's value is ``(type of its items, items)``."""

    key: str
    type: int
    value: Any


@dataclass(frozen=True)
class TensorEntry:
    """One tensor of 32-bit floats unless ``type`` says otherwise."""

    name: str
    dimensions: tuple[int, ...]
    type: int = 0
    offset: int | None = None
    """``None`` puts it behind the one before."""


@dataclass(frozen=True)
class GGUFFile:
    """The parts; the counts are those of the parts unless given."""

    entries: tuple[Entry, ...] = ()
    tensors: tuple[TensorEntry, ...] = ()
    magic: bytes = b"GGUF"
    version: int = 3
    tensor_count: int | None = None
    entry_count: int | None = None
    alignment: int = 32
    fill: bytes = field(default=b"\x00\x00\x80\x3c", repr=False)

    def with_entry(self, key: str, type_: int, value: Any) -> GGUFFile:
        """The same file with that entry in place of the one of that name, or added."""
        entry = Entry(key, type_, value)
        if any(e.key == key for e in self.entries):
            return replace(self, entries=tuple(entry if e.key == key else e for e in self.entries))
        return replace(self, entries=(*self.entries, entry))

    def without_entry(self, key: str) -> GGUFFile:
        """The same file without that entry."""
        return replace(self, entries=tuple(e for e in self.entries if e.key != key))

    def header(self) -> bytes:
        """Everything before the data section."""
        tensor_count = len(self.tensors) if self.tensor_count is None else self.tensor_count
        entry_count = len(self.entries) if self.entry_count is None else self.entry_count
        head = self.magic + struct.pack("<IQQ", self.version, tensor_count, entry_count)
        return head + b"".join(map(_entry, self.entries)) + self._table()

    def write(self) -> bytes:
        """The whole file; the data is ``fill`` over and over."""
        header = self.header()
        padding = -len(header) % self.alignment
        size = sum(self._padded(t) for t in self.tensors)
        return header + b"\0" * padding + (self.fill * (size // len(self.fill) + 1))[:size]

    def _padded(self, tensor: TensorEntry) -> int:
        size = prod(tensor.dimensions) * 4
        return size + -size % self.alignment

    def _table(self) -> bytes:
        out, offset = b"", 0
        for tensor in self.tensors:
            out += text(tensor.name) + struct.pack("<I", len(tensor.dimensions))
            out += struct.pack(f"<{len(tensor.dimensions)}Q", *tensor.dimensions)
            at = offset if tensor.offset is None else tensor.offset
            out += struct.pack("<IQ", tensor.type, at)
            offset += self._padded(tensor)
        return out


def text(value: str | bytes) -> bytes:
    """A string as GGUF writes it."""
    raw = value.encode() if isinstance(value, str) else value
    return struct.pack("<Q", len(raw)) + raw


def array(item_type: int, items: Iterable[Any]) -> bytes:
    """An array as GGUF writes it."""
    values = list(items)
    head = struct.pack("<IQ", item_type, len(values))
    return head + b"".join(_value(item_type, v) for v in values)


def _entry(entry: Entry) -> bytes:
    return text(entry.key) + struct.pack("<I", entry.type) + _value(entry.type, entry.value)


def _value(type_: int, value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if type_ == STRING:
        return text(value)
    if type_ == ARRAY:
        return array(*value)
    return struct.pack(_SCALARS[type_], value)


def tiny_llama(width: int = 32, layers: int = 1, context: int = 256) -> GGUFFile:
    """A whole llama-architecture model of a few kilobytes that llama.cpp loads."""
    size, hidden = len(TOKENS), 2 * width
    entries = (
        Entry("general.architecture", STRING, "llama"),
        Entry("general.name", STRING, "Tiny Test Llama"),
        Entry("general.license", STRING, "mit"),
        Entry("llama.context_length", U32, context),
        Entry("llama.embedding_length", U32, width),
        Entry("llama.block_count", U32, layers),
        Entry("llama.feed_forward_length", U32, hidden),
        Entry("llama.attention.head_count", U32, 4),
        Entry("llama.attention.head_count_kv", U32, 4),
        Entry("llama.attention.layer_norm_rms_epsilon", F32, 1e-5),
        Entry("llama.rope.dimension_count", U32, width // 4),
        Entry("llama.rope.freq_base", F32, 10000.0),
        Entry("llama.vocab_size", U32, size),
        Entry("tokenizer.ggml.model", STRING, "gpt2"),
        Entry("tokenizer.ggml.pre", STRING, "gpt-2"),
        Entry("tokenizer.ggml.tokens", ARRAY, (STRING, TOKENS)),
        Entry("tokenizer.ggml.token_type", ARRAY, (I32, [3] + [1] * (size - 1))),
        Entry("tokenizer.ggml.merges", ARRAY, (STRING, MERGES)),
        Entry("tokenizer.ggml.bos_token_id", U32, 0),
        Entry("tokenizer.ggml.eos_token_id", U32, 0),
    )
    tensors = [
        TensorEntry("token_embd.weight", (width, size)),
        TensorEntry("output_norm.weight", (width,)),
        TensorEntry("output.weight", (width, size)),
    ]
    for i in range(layers):
        tensors += [
            TensorEntry(f"blk.{i}.attn_norm.weight", (width,)),
            TensorEntry(f"blk.{i}.ffn_norm.weight", (width,)),
            *(
                TensorEntry(f"blk.{i}.attn_{part}.weight", (width, width))
                for part in ("q", "k", "v", "output")
            ),
            TensorEntry(f"blk.{i}.ffn_gate.weight", (width, hidden)),
            TensorEntry(f"blk.{i}.ffn_up.weight", (width, hidden)),
            TensorEntry(f"blk.{i}.ffn_down.weight", (hidden, width)),
        ]
    return GGUFFile(entries, tuple(tensors))
