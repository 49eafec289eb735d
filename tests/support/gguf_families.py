"""Tiny random models of each family's architecture, with its kind of tokenizer and its markers.

Shapes are small, what matters is kept: grouped queries, fused matrices, biases, heads wider than
their share, windows that slide, tied embeddings; SentencePiece with byte fallback, or byte-pair
encoding; the markers that each family writes its turns with.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

from tests.support.gguf_factory import MERGES, Weights, _byte_texts, _finish

__all__ = ["FAMILIES", "Family", "make_family_gguf"]

WIDTH, HIDDEN, LAYERS, HEADS = 64, 128, 2, 4
LLAMA_3 = ("<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>",
           "<|eot_id|>")  # fmt: skip
TURNS = ("<start_of_turn>", "<end_of_turn>")
CHATML = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
PHI_4 = ("<|endoftext|>", "<|system|>", "<|user|>", "<|assistant|>", "<|end|>")


@dataclass(frozen=True)
class Family:
    """What one model of the catalog looks like to llama.cpp.

    Attributes:
        architecture: as GGUF writes it.
        name: ``general.name``, as its files have it.
        tokenizer: ``spm``, or the name of a byte-pair encoding's splitting rule.
        markers: control tokens; the first begins a text, the second ends one.
        ends_turn: the marker that ends an answer.
        kv_heads: of the keys and values.
        head: numbers of an attention head.
        own: the chat template in the file; ``None`` for files that have none.
    """

    architecture: str
    name: str
    tokenizer: str
    markers: tuple[str, ...]
    ends_turn: str
    begins: bool
    kv_heads: int = HEADS
    head: int = WIDTH // HEADS
    tied: bool = False


FAMILIES: Mapping[str, Family] = {
    "phi-2": Family(
        "phi2", "Phi2", "phi-2", ("<|endoftext|>", "<|endoftext|>"), "<|endoftext|>", False
    ),
    "mistral-7b": Family(
        "llama", "mistralai_mistral-7b-instruct-v0.2", "spm", ("<s>", "</s>"), "</s>", True, 2
    ),
    "gemma-2b": Family(
        "gemma", "gemma-2b-it", "spm", ("<bos>", "<eos>", *TURNS), TURNS[1], True, 1, 32, True
    ),
    "gemma-7b": Family(
        "gemma", "gemma-7b-it", "spm", ("<bos>", "<eos>", *TURNS), TURNS[1], True, 4, 32, True
    ),
    "tinyllama-1.1b": Family(
        "llama", "tinyllama_tinyllama-1.1b-chat-v1.0", "spm", ("<s>", "</s>"), "</s>", True, 1
    ),
    "alpaca-7b": Family("llama", "alpaca-7b", "spm", ("<s>", "</s>"), "</s>", True),
    "llama-3-8b": Family(
        "llama", "Meta-Llama-3-8B-Instruct", "llama-bpe", LLAMA_3, "<|eot_id|>", True, 2
    ),
    "llama-3.2-3b": Family(
        "llama", "Llama 3.2 3B Instruct", "llama-bpe", LLAMA_3, "<|eot_id|>", True, 2, tied=True
    ),
    "gemma-3-1b": Family(
        "gemma3", "Gemma 3 1b It", "spm", ("<bos>", "<eos>", *TURNS), TURNS[1], True, 1, 32, True
    ),
    "gemma-3-4b": Family(
        "gemma3", "Gemma 3 4b It", "spm", ("<bos>", "<eos>", *TURNS), TURNS[1], True, 2, 32, True
    ),
    "qwen3-4b": Family(
        "qwen3", "Qwen3 4B", "qwen2", ("<|endoftext|>", *CHATML), "<|im_end|>", False, 2, 32
    ),
    "phi-4-mini": Family(
        "phi3", "Phi 4 Mini Instruct", "gpt-4o", ("<|endoftext|>", *PHI_4), "<|end|>", False, 2
    ),
    "smollm2-1.7b": Family(
        "llama", "Smollm2 1.7B Instruct", "smollm", CHATML, "<|im_end|>", False, tied=True
    ),
}
"""By the catalog's name."""


def make_family_gguf(
    path: Path,
    card: str,
    *,
    chat_template: str | None = None,
    context_length: int = 512,
    seed: int = 0,
    architecture: str | None = None,
) -> Path:
    """Write a random model of that family.

    Args:
        path: where to write it.
        card: one of :data:`FAMILIES`.
        chat_template: of the file; most files of these families have one.
        context_length: tokens it says it was trained on.
        seed: of the weights.
        architecture: what it is to call itself in place of the truth.
    """
    family = FAMILIES[card]
    writer = gguf.GGUFWriter(str(path), architecture or family.architecture)
    writer.add_name(family.name)
    writer.add_context_length(context_length)
    writer.add_embedding_length(WIDTH)
    writer.add_block_count(LAYERS)
    writer.add_feed_forward_length(HIDDEN)
    writer.add_head_count(HEADS)
    writer.add_head_count_kv(family.kv_heads)
    writer.add_rope_freq_base(10000.0)
    if family.architecture == "phi2":
        writer.add_layer_norm_eps(1e-5)
        writer.add_rope_dimension_count(family.head // 2)  # Phi-2 turns a part of each head
    else:
        writer.add_layer_norm_rms_eps(1e-6)
        writer.add_rope_dimension_count(family.head)
    if family.head * HEADS != WIDTH:
        writer.add_key_length(family.head)
        writer.add_value_length(family.head)
    if family.architecture == "gemma3":
        writer.add_sliding_window(64)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    tokens = _add_spm(writer, family) if family.tokenizer == "spm" else _add_bpe(writer, family)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    _finish(writer, _weights(family, tokens, np.random.default_rng(seed)))
    return path


def _weights(family: Family, tokens: int, random: np.random.Generator) -> Weights:
    def draw(outputs: int, inputs: int, scale: float = 1.2) -> npt.NDArray[np.float32]:
        return (random.standard_normal((outputs, inputs)) * scale / inputs**0.5).astype(np.float32)

    def ones(size: int = WIDTH) -> npt.NDArray[np.float32]:
        return np.ones(size, np.float32)

    def bias(size: int = WIDTH) -> npt.NDArray[np.float32]:
        return (random.standard_normal(size) * 0.1).astype(np.float32)

    weights: Weights = {
        # What a token is must not outweigh what the blocks make of it, or a model whose output is
        # its embedding would only repeat itself. Gemma multiplies embeddings by the width's root.
        "token_embd.weight": draw(tokens, WIDTH, 0.25 if family.tied else 4.0),
        "output_norm.weight": ones(),
    }
    if not family.tied:
        weights["output.weight"] = draw(tokens, WIDTH, 4.0)
    if family.architecture == "phi2":
        weights |= {"output_norm.bias": bias(), "output.bias": bias(tokens)}
    blocks: dict[str, Callable[[], Weights]] = {
        "phi2": lambda: _phi2_block(family, draw, ones, bias),
        "phi3": lambda: _phi3_block(family, draw, ones),
    }
    block = blocks.get(family.architecture, lambda: _block(family, draw, ones))
    for i in range(LAYERS):
        weights |= {f"blk.{i}.{name}": values for name, values in block().items()}
    return weights


def _block(family: Family, draw: Any, ones: Any) -> Weights:
    queries, kept = family.head * HEADS, family.head * family.kv_heads
    weights: Weights = {
        "attn_norm.weight": ones(),
        "ffn_norm.weight": ones(),
        "attn_q.weight": draw(queries, WIDTH),
        "attn_k.weight": draw(kept, WIDTH),
        "attn_v.weight": draw(kept, WIDTH),
        "attn_output.weight": draw(WIDTH, queries),
        "ffn_gate.weight": draw(HIDDEN, WIDTH),
        "ffn_up.weight": draw(HIDDEN, WIDTH),
        "ffn_down.weight": draw(WIDTH, HIDDEN),
    }
    if family.architecture in ("gemma3", "qwen3"):
        weights |= {
            "attn_q_norm.weight": ones(family.head),
            "attn_k_norm.weight": ones(family.head),
        }
    if family.architecture == "gemma3":
        weights |= {"post_attention_norm.weight": ones(), "post_ffw_norm.weight": ones()}
    return weights


def _phi2_block(family: Family, draw: Any, ones: Any, bias: Any) -> Weights:
    return {
        "attn_norm.weight": ones(),
        "attn_norm.bias": bias(),
        "attn_qkv.weight": draw(3 * WIDTH, WIDTH),
        "attn_qkv.bias": bias(3 * WIDTH),
        "attn_output.weight": draw(WIDTH, WIDTH),
        "attn_output.bias": bias(),
        "ffn_up.weight": draw(HIDDEN, WIDTH),
        "ffn_up.bias": bias(HIDDEN),
        "ffn_down.weight": draw(WIDTH, HIDDEN),
        "ffn_down.bias": bias(),
    }


def _phi3_block(family: Family, draw: Any, ones: Any) -> Weights:
    return {
        "attn_norm.weight": ones(),
        "attn_qkv.weight": draw(family.head * (HEADS + 2 * family.kv_heads), WIDTH),
        "attn_output.weight": draw(WIDTH, WIDTH),
        "ffn_norm.weight": ones(),
        "ffn_up.weight": draw(2 * HIDDEN, WIDTH),
        "ffn_down.weight": draw(WIDTH, HIDDEN),
    }


def _add_spm(writer: gguf.GGUFWriter, family: Family) -> int:
    """SentencePiece: pieces with scores, and a token for each byte that no piece has."""
    gemma = family.architecture.startswith("gemma")
    letters = [chr(c) for c in range(ord("!"), ord("~") + 1)]
    pieces = ["\u2581", *letters, "\u2581t", "he", "\u2581the", "in", "an", "\u2581a", "st", "er"]
    special = ["<unk>", *dict.fromkeys(family.markers)]
    tokens = [*special, *(f"<0x{byte:02X}>" for byte in range(256)), *pieces]
    kinds = [
        *(gguf.TokenType.UNKNOWN if t == "<unk>" else gguf.TokenType.CONTROL for t in special),
        *[gguf.TokenType.BYTE] * 256,
        *[gguf.TokenType.NORMAL] * len(pieces),
    ]
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([0.0] * (len(special) + 256) + [-float(i) for i in range(len(pieces))])
    writer.add_token_types(kinds)
    writer.add_unk_token_id(0)
    writer.add_add_space_prefix(not gemma)
    _add_ends(writer, family, tokens)
    return len(tokens)


def _add_bpe(writer: gguf.GGUFWriter, family: Family) -> int:
    """Byte-pair encoding: a token for each byte, some merges."""
    markers = list(dict.fromkeys(family.markers))
    merged = [merge.replace(" ", "") for merge in MERGES]
    tokens = [*_byte_texts().values(), *merged, *markers]
    kinds = [gguf.TokenType.NORMAL] * (256 + len(merged)) + [gguf.TokenType.CONTROL] * len(markers)
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre(family.tokenizer)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(list(MERGES))
    _add_ends(writer, family, tokens)
    return len(tokens)


def _add_ends(writer: gguf.GGUFWriter, family: Family, tokens: list[str]) -> None:
    writer.add_vocab_size(len(tokens))
    writer.add_bos_token_id(tokens.index(family.markers[0]))
    writer.add_eos_token_id(tokens.index(family.markers[1]))
    writer.add_uint32("tokenizer.ggml.eot_token_id", tokens.index(family.ends_turn))
    writer.add_add_bos_token(family.begins)
