"""Makes tiny GGUF files that llama.cpp really loads: random ones, and ones that answer by rule.

A random model answers with random bytes, a different run for each prompt. A chain model follows a
table from one byte to the next ("a" -> "b" -> "c" -> end), so that its answer is known beforehand.
Both have a byte-level BPE tokenizer: one token for each byte, a few merges, and the markers of
:data:`MARKERS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gguf
import numpy as np
import numpy.typing as npt

MARKERS = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
"""Control tokens; the template below writes a turn as ``<|role|>text``."""

MERGES = ("t h", "th e", "a n", "an d", "Ġ the", "Ġ and", "i n", "Ġ a", "Ġ t", "o u", "e r")

CHAT_TEMPLATE = (
    "{%- for m in messages -%}"
    "{%- if m['role'] not in ['system', 'user', 'assistant'] -%}"
    "{{- raise_exception('unknown role ' + m['role']) -}}"
    "{%- endif -%}"
    "{{- '<|' + m['role'] + '|>' + m['content'] -}}"
    "{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)
CONTINUE_TEMPLATE = "{{- messages[-1]['content'] -}}"
"""The last message alone: a chain model goes on from its last byte."""

Weights = dict[str, npt.NDArray[np.float32]]


def vocabulary() -> list[str]:
    """Every token's text as the GGUF writes it; a token's index is its id."""
    bytes_ = list(_byte_texts().values())
    merged = [merge.replace(" ", "") for merge in MERGES]
    return [*MARKERS, *bytes_, *merged]


def byte_token(byte: int) -> int:
    """The id of the token that stands for one byte."""
    return len(MARKERS) + byte


END = MARKERS.index("<|end|>")


def make_tiny_gguf(
    path: Path,
    *,
    chat_template: str | None = CHAT_TEMPLATE,
    context_length: int = 512,
    name: str = "test/tiny",
    width: int = 64,
    layers: int = 2,
    seed: int = 0,
    ends: bool = True,
    more_markers: tuple[str, ...] = (),
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write a random llama-architecture model in float32; about 0.5 MB as it is.

    Args:
        path: where to write it.
        chat_template: ``None`` leaves it out.
        context_length: tokens it says it was trained on.
        name: ``general.name``.
        width: embedding length, a multiple of 16.
        layers: number of blocks.
        seed: of the weights.
        ends: ``False`` makes a model that never ends its answer by itself.
        more_markers: control tokens at the end of the vocabulary.
        metadata: string and integer entries that replace or add to the file's own.
    """
    random = np.random.default_rng(seed)
    size, hidden = len(vocabulary()) + len(more_markers), width * 2

    def draw(*shape: int, scale: float) -> npt.NDArray[np.float32]:
        return (random.standard_normal(shape) * scale).astype(np.float32)

    weights: Weights = {
        "token_embd.weight": draw(size, width, scale=1.0),
        "output_norm.weight": np.ones(width, np.float32),
        "output.weight": draw(size, width, scale=0.6),
    }
    for i in range(layers):
        weights |= {
            f"blk.{i}.attn_norm.weight": np.ones(width, np.float32),
            f"blk.{i}.ffn_norm.weight": np.ones(width, np.float32),
            **{
                f"blk.{i}.attn_{part}.weight": draw(width, width, scale=1.5 / width**0.5)
                for part in ("q", "k", "v", "output")
            },
            f"blk.{i}.ffn_gate.weight": draw(hidden, width, scale=1.5 / width**0.5),
            f"blk.{i}.ffn_up.weight": draw(hidden, width, scale=1.5 / width**0.5),
            f"blk.{i}.ffn_down.weight": draw(width, hidden, scale=1.5 / hidden**0.5),
        }
    if not ends:
        # A zero row has logit 0, and among so many others one is always above it.
        weights["output.weight"][: len(MARKERS)] = 0.0
    _write(
        path, weights, chat_template, context_length, name, layers, 4, metadata or {}, more_markers
    )
    return path


def make_chain_gguf(
    path: Path,
    chain: Mapping[int, int | None],
    *,
    chat_template: str | None = CONTINUE_TEMPLATE,
    context_length: int = 512,
    name: str = "test/chain",
) -> Path:
    """Write a model whose next token depends on the last one alone.

    ``chain`` maps a byte to the byte that follows it, or to ``None`` for the end of the answer; a
    byte that is not in it follows itself. A token of several bytes counts as its last one.
    """
    tokens = vocabulary()
    size = len(tokens)
    width = -(-size // 32) * 32
    # Each token is its own axis, and attention and feed-forward add nothing: what reaches the
    # output is the last token's axis, which the output matrix turns into the next one's.
    embedding = np.zeros((size, width), np.float32)
    embedding[np.arange(size), np.arange(size)] = 1.0
    output = np.zeros((size, width), np.float32)
    following = {i: i for i in range(len(MARKERS))}
    byte_of = {text: byte for byte, text in _byte_texts().items()}
    for token in range(len(MARKERS), size):
        last = byte_of[tokens[token][-1]]
        then = chain.get(last, last)
        following[token] = END if then is None else byte_token(then)
    for token, then_token in following.items():
        output[then_token, token] = 1.0
    zeros = np.zeros((width, width), np.float32)
    weights: Weights = {
        "token_embd.weight": embedding,
        "output_norm.weight": np.ones(width, np.float32),
        "output.weight": output,
        "blk.0.attn_norm.weight": np.ones(width, np.float32),
        "blk.0.ffn_norm.weight": np.ones(width, np.float32),
        **{f"blk.0.attn_{part}.weight": zeros for part in ("q", "k", "v", "output")},
        **{f"blk.0.ffn_{part}.weight": zeros for part in ("gate", "up", "down")},
    }
    _write(path, weights, chat_template, context_length, name, 1, 1, {})
    return path


BERT_MARKERS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
CLS, SEP = BERT_MARKERS.index("[CLS]"), BERT_MARKERS.index("[SEP]")


def make_tiny_embedding_gguf(
    path: Path,
    *,
    pooling: int | None = 1,
    context_length: int = 64,
    name: str = "test/tiny-bert",
    width: int = 32,
    layers: int = 2,
    seed: int = 0,
) -> Path:
    """Write a random BERT: it reads a text in both directions and has no decoder.

    Its WordPiece vocabulary has the lower-case letters and digits, each as the beginning of a word
    and as its continuation; all else is unknown to it. A text of one word of n letters has n + 2
    tokens, :data:`CLS` before and :data:`SEP` after it. For an embedding model of the decoder
    kind take :func:`make_tiny_gguf` with ``metadata={"llama.pooling_type": ...}``.

    Args:
        path: where to write it.
        pooling: llama.cpp's number for it (1 mean, 2 cls, 3 last, 4 rank); ``None`` says nothing.
        context_length: the most tokens of a text.
        name: ``general.name``.
        width: length of the vectors, a multiple of 16.
        layers: number of blocks.
        seed: of the weights.
    """
    random = np.random.default_rng(seed)
    letters = "abcdefghijklmnopqrstuvwxyz0123456789"
    tokens = [*BERT_MARKERS, *(f"\u2581{x}" for x in letters), *letters]

    def draw(*shape: int) -> npt.NDArray[np.float32]:
        return (random.standard_normal(shape) / shape[-1] ** 0.5).astype(np.float32)

    def norm(of: str) -> Weights:
        return {f"{of}.weight": np.ones(width, np.float32), f"{of}.bias": draw(width)}

    def layer(of: str, outputs: int, inputs: int) -> Weights:
        return {f"{of}.weight": draw(outputs, inputs), f"{of}.bias": draw(outputs)}

    weights: Weights = {
        "token_embd.weight": draw(len(tokens), width) * 4,
        "token_types.weight": draw(2, width),
        "position_embd.weight": draw(context_length, width),
        **norm("token_embd_norm"),
    }
    for i in range(layers):
        for part in ("attn_q", "attn_k", "attn_v", "attn_output"):
            weights |= layer(f"blk.{i}.{part}", width, width)
        weights |= norm(f"blk.{i}.attn_output_norm")
        weights |= layer(f"blk.{i}.ffn_up", width * 2, width)
        weights |= layer(f"blk.{i}.ffn_down", width, width * 2)
        weights |= norm(f"blk.{i}.layer_output_norm")

    writer = gguf.GGUFWriter(str(path), "bert")
    writer.add_name(name)
    writer.add_context_length(context_length)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(width * 2)
    writer.add_head_count(2)
    writer.add_layer_norm_eps(1e-12)
    writer.add_causal_attention(False)
    if pooling is not None:
        writer.add_uint32("bert.pooling_type", pooling)
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_tokenizer_model("bert")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [
            gguf.TokenType.CONTROL if i < len(BERT_MARKERS) else gguf.TokenType.NORMAL
            for i in range(len(tokens))
        ]
    )
    writer.add_token_type_count(2)
    writer.add_pad_token_id(BERT_MARKERS.index("[PAD]"))
    writer.add_unk_token_id(BERT_MARKERS.index("[UNK]"))
    writer.add_bos_token_id(CLS)
    writer.add_eos_token_id(SEP)
    writer.add_uint32("tokenizer.ggml.cls_token_id", CLS)
    writer.add_sep_token_id(SEP)
    _finish(writer, weights)
    return path


def _write(
    path: Path,
    weights: Weights,
    chat_template: str | None,
    context_length: int,
    name: str,
    layers: int,
    heads: int,
    metadata: Mapping[str, Any],
    more_markers: tuple[str, ...] = (),
) -> None:
    writer = gguf.GGUFWriter(str(path), "llama")
    width = weights["token_embd.weight"].shape[1]
    writer.add_name(name)
    writer.add_context_length(context_length)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(weights["blk.0.ffn_up.weight"].shape[0])
    writer.add_head_count(heads)
    writer.add_head_count_kv(heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(len(vocabulary()) + len(more_markers))
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    _add_tokenizer(writer, more_markers)
    if chat_template is not None:
        writer.add_chat_template(chat_template)
    for key, value in metadata.items():
        for entries in writer.kv_data:
            entries.pop(key, None)
        add = writer.add_string if isinstance(value, str) else writer.add_uint32
        add(key, value)
    _finish(writer, weights)


def _finish(writer: gguf.GGUFWriter, weights: Weights) -> None:
    for tensor, values in weights.items():
        writer.add_tensor(tensor, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _add_tokenizer(writer: gguf.GGUFWriter, more_markers: tuple[str, ...]) -> None:
    tokens = [*vocabulary(), *more_markers]
    control = {*MARKERS, *more_markers}
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(
        [gguf.TokenType.CONTROL if token in control else gguf.TokenType.NORMAL for token in tokens]
    )
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(END)
    writer.add_eos_token_id(END)
    writer.add_pad_token_id(MARKERS.index("<|pad|>"))
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)


def _byte_texts() -> dict[int, str]:
    """The visible character by which GPT-2's byte-level BPE writes each byte."""
    visible = [*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)]
    others = [byte for byte in range(256) if byte not in visible]
    texts = {byte: chr(byte) for byte in visible}
    texts |= {byte: chr(256 + i) for i, byte in enumerate(others)}
    return {byte: texts[byte] for byte in range(256)}


def quantize(path: Path, to: Path) -> Path:
    """Write a Q8_0 copy of a file, as llama.cpp does it."""
    import llama_cpp.llama_cpp as c

    options = c.llama_model_quantize_default_params()
    options.ftype, options.nthread = 7, 1  # LLAMA_FTYPE_MOSTLY_Q8_0
    assert c.llama_model_quantize(str(path).encode(), str(to).encode(), options) == 0
    return to
