"""SmolLM2's quantized weights read back to floats: what an adapter is trained against.

The adapter learns on the very weights that users run (Q4_1), so what quantization took away is
part of what it learns to make up for. Names and the order of rows are those of the GGUF file, so
that an adapter is written back without a permutation.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import gguf
import torch
from gguf.quants import dequantize
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from torch import Tensor


@dataclass(frozen=True)
class Shape:
    """Sizes, from the file's metadata."""

    layers: int
    width: int
    heads: int
    kv_heads: int
    head: int
    hidden: int
    theta: float
    epsilon: float


def field(reader: gguf.GGUFReader, name: str) -> object:
    """One value of the file's metadata."""
    return reader.fields[name].contents()


def read(path: Path) -> tuple[Shape, dict[str, Tensor], Tokenizer]:
    """Shape, weights in bfloat16 by their name in the file, and the tokenizer."""
    reader = gguf.GGUFReader(path)
    heads = int(field(reader, "llama.attention.head_count"))
    width = int(field(reader, "llama.embedding_length"))
    shape = Shape(
        layers=int(field(reader, "llama.block_count")),
        width=width,
        heads=heads,
        kv_heads=int(field(reader, "llama.attention.head_count_kv")),
        head=width // heads,
        hidden=int(field(reader, "llama.feed_forward_length")),
        theta=float(field(reader, "llama.rope.freq_base")),
        epsilon=float(field(reader, "llama.attention.layer_norm_rms_epsilon")),
    )
    weights = {
        t.name: torch.from_numpy(dequantize(t.data, t.tensor_type).copy()).bfloat16()
        for t in reader.tensors
    }
    return shape, weights, tokenizer_of(reader)


def tokenizer_of(reader: gguf.GGUFReader) -> Tokenizer:
    """The file's byte-level BPE; digits one by one, as the model was trained."""
    tokens = field(reader, "tokenizer.ggml.tokens")
    merges = [tuple(m.split(" ")) for m in field(reader, "tokenizer.ggml.merges")]
    kinds = field(reader, "tokenizer.ggml.token_type")
    tokenizer = Tokenizer(models.BPE({t: i for i, t in enumerate(tokens)}, merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    special = [
        AddedToken(t, special=True)
        for t, k in zip(tokens, kinds, strict=True)
        if k == gguf.TokenType.CONTROL
    ]
    tokenizer.add_special_tokens(special)
    return tokenizer


__all__ = ["Shape", "read"]
