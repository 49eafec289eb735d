"""The three models that the local engine is measured with: made once, kept in a cache directory.

``6m`` is the bundled tiny-editor; ``110m`` and ``1.1b`` have random weights in the llama
architecture, since how fast a model answers does not depend on what its weights say. None of them
ever ends an answer by itself: the end token's row in the output matrix is zero, and among so many
other tokens one always has a logit above 0. So every peer does the same work for the same request.

    python benchmarks/_models.py [6m 110m 1.1b]    # make them, print their paths
"""

from __future__ import annotations

import itertools
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

CONTEXT = 2048  # tokens that each file says it was trained on
MARKERS = ("<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>")
MERGES = ("t h", "th e", "a n", "an d")  # llama.cpp wants some; nearly every letter is one token
TEMPLATE = (
    "{%- for m in messages -%}{{- '<|' + m['role'] + '|>' + m['content'] -}}{%- endfor -%}"
    "{%- if add_generation_prompt -%}{{- '<|assistant|>' -}}{%- endif -%}"
)


@dataclass(frozen=True)
class Shape:
    """A random model's size: lengths and counts as GGUF names them."""

    width: int
    layers: int
    heads: int
    kv_heads: int
    hidden: int
    vocabulary: int
    quantized_as: str


@dataclass(frozen=True)
class Model:
    """A model and what it is asked in one measurement.

    Attributes:
        key: ``6m``, ``110m`` or ``1.1b``.
        title: for tables.
        prompt_chars: characters of a prompt: few, since reading prompts is not what is measured.
        max_tokens: tokens of an answer.
        least_tokens: a measurement goes on, request after request, until so many were decoded.
        repeats: how often each measurement is made.
        crowd: requests of the rough crowd.
        shape: of a random model.
        speedup: how many times a lock's throughput 16 and 32 callers should have.
    """

    key: str
    title: str
    prompt_chars: int
    max_tokens: int
    least_tokens: int
    repeats: int
    crowd: int
    shape: Shape | None
    speedup: float

    @property
    def path(self) -> Path:
        """Where the file is, once :func:`made` has returned."""
        return cache_dir() / f"{self.key}.gguf"


MODELS = {
    "6m": Model("6m", "6 M (Q8_0)", 32, 96, 3072, 4, 1000, None, 3.5),
    "110m": Model(
        key="110m",
        title="110 M random (Q8_0)",
        prompt_chars=8,
        max_tokens=64,
        least_tokens=512,
        repeats=4,
        crowd=100,
        shape=Shape(768, 12, 12, 12, 2048, 16_384, "Q8_0"),
        speedup=3.0,
    ),
    "1.1b": Model(
        key="1.1b",
        title="1.1 B random (Q4_K_M)",
        prompt_chars=8,
        max_tokens=32,
        least_tokens=128,
        repeats=3,
        crowd=0,
        shape=Shape(2048, 22, 32, 4, 5632, 32_000, "Q4_K_M"),
        speedup=2.2,
    ),
}


def cache_dir() -> Path:
    """Where models and peers' programs are; ``MODELROUTER_BENCH_CACHE`` names another place."""
    from platformdirs import user_cache_path

    named = os.environ.get("MODELROUTER_BENCH_CACHE")
    path = Path(named) if named else user_cache_path("modelrouter") / "benchmarks"
    path.mkdir(parents=True, exist_ok=True)
    return path


def made(key: str) -> Model:
    """The model, its file made if it is not there yet."""
    model = MODELS[key]
    if not model.path.exists():
        print(f"making {model.path}", file=sys.stderr)
        half = model.path.with_suffix(".half")  # a broken-off run leaves no file that looks whole
        if model.shape is None:
            _endless_tiny_editor(half)
        else:
            _random(model.shape, half)
        half.replace(model.path)
    return model


def _endless_tiny_editor(path: Path) -> None:
    """The bundled model; its context is named longer, which changes no figure."""
    import gguf

    with as_file(files("modelrouter") / "assets" / "tiny-editor.gguf") as bundled:
        shutil.copyfile(bundled, path)
    reader = gguf.GGUFReader(path, "r+")
    end = reader.fields["tokenizer.ggml.eos_token_id"].contents()
    rows = next(t for t in reader.tensors if t.name == "token_embd.weight")  # the output's as well
    rows.data[end] = 0
    reader.fields["llama.context_length"].parts[-1][0] = CONTEXT
    reader.data.flush()


def _random(shape: Shape, path: Path) -> None:
    raw = path.with_suffix(".f16")
    try:
        _write(shape, raw)
        _quantize(raw, path, shape.quantized_as)
    finally:
        raw.unlink(missing_ok=True)


def _write(shape: Shape, path: Path) -> None:
    import gguf

    writer = gguf.GGUFWriter(str(path), "llama")
    writer.add_name("random")
    writer.add_context_length(CONTEXT)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.kv_heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.width // shape.heads)
    writer.add_rope_freq_base(10_000.0)
    writer.add_vocab_size(shape.vocabulary)
    writer.add_file_type(gguf.LlamaFileType.MOSTLY_F16)
    _add_tokenizer(writer, shape.vocabulary)
    for name, values in _weights(shape):
        writer.add_tensor(name, values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _weights(shape: Shape) -> Iterator[tuple[str, Any]]:
    import numpy as np

    random = np.random.default_rng(0)

    def draw(rows: int, columns: int, scale: float) -> Any:
        values = random.standard_normal((rows, columns), dtype=np.float32)
        values *= scale
        return values.astype(np.float16)

    width, hidden = shape.width, shape.hidden
    kv_width = width // shape.heads * shape.kv_heads
    matrices = {
        "attn_q": (width, width),
        "attn_k": (kv_width, width),
        "attn_v": (kv_width, width),
        "attn_output": (width, width),
        "ffn_gate": (hidden, width),
        "ffn_up": (hidden, width),
        "ffn_down": (width, hidden),
    }
    yield "token_embd.weight", draw(shape.vocabulary, width, 1.0)
    for i in range(shape.layers):
        yield f"blk.{i}.attn_norm.weight", np.ones(width, np.float32)
        yield f"blk.{i}.ffn_norm.weight", np.ones(width, np.float32)
        for name, (rows, columns) in matrices.items():
            yield f"blk.{i}.{name}.weight", draw(rows, columns, 1.5 / columns**0.5)
    yield "output_norm.weight", np.ones(width, np.float32)
    output = draw(shape.vocabulary, width, 0.6)
    # Markers and bytes are never answered: the former so that no answer ends, the latter so that
    # every answer is text.
    output[: len(MARKERS) + 256] = 0
    yield "output.weight", output


def _add_tokenizer(writer: Any, size: int) -> None:
    import gguf

    merged = [merge.replace(" ", "") for merge in MERGES]
    tokens = [*MARKERS, *_byte_texts(), *merged]
    tokens += itertools.islice(_words(), size - len(tokens))
    kinds = [gguf.TokenType.CONTROL] * len(MARKERS)
    kinds += [gguf.TokenType.NORMAL] * (size - len(kinds))
    end = MARKERS.index("<|end|>")
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_token_merges(list(MERGES))
    writer.add_bos_token_id(end)
    writer.add_eos_token_id(end)
    writer.add_pad_token_id(MARKERS.index("<|pad|>"))
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)
    writer.add_chat_template(TEMPLATE)


def _words() -> Iterator[str]:
    """As many different made-up words as wanted, each with a space before it."""
    for length in itertools.count(2):
        for letters in itertools.product("bdfgklmnprstvz", "aeiou", repeat=length):
            yield "Ġ" + "".join(letters)


def _byte_texts() -> list[str]:
    """The visible character by which GPT-2's byte-level BPE writes each byte."""
    visible = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    hidden = itertools.count(256)
    return [chr(byte) if byte in visible else chr(next(hidden)) for byte in range(256)]


def _quantize(source: Path, target: Path, kind: str) -> None:
    import ctypes

    import llama_cpp

    parameters = llama_cpp.llama_model_quantize_default_params()
    parameters.ftype = getattr(llama_cpp, f"LLAMA_FTYPE_MOSTLY_{kind}")
    parameters.nthread = 1
    failed = llama_cpp.llama_model_quantize(
        str(source).encode(), str(target).encode(), ctypes.byref(parameters)
    )
    if failed:
        raise RuntimeError(f"llama.cpp could not quantize {source} as {kind}.")


if __name__ == "__main__":
    for wanted in sys.argv[1:] or MODELS:
        print(made(wanted).path)
