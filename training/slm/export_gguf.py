"""Write a training checkpoint as a float32 GGUF, with tokenizer and chat template.

    python export_gguf.py --work DIR --out tiny-editor-f32.gguf

Needs ``gguf`` and ``torch``; ``quantize.py`` then makes the file that ships. No weight is permuted:
``model.py`` already rotates interleaved pairs, as llama.cpp's llama architecture does.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import gguf
import torch
from model import Shape
from torch import Tensor

from data import ASSISTANT, END, PAD, USER

HERE = Path(__file__).parent


def describe(writer: gguf.GGUFWriter, shape: Shape) -> None:
    """The general and the architecture's metadata."""
    writer.add_name("modelrouter/tiny-editor")
    writer.add_author("The modelrouter developers")
    writer.add_license("apache-2.0")
    writer.add_languages(["en"])
    writer.add_description(
        "Corrects short English texts and completes English sentences; nothing else."
    )
    writer.add_file_type(gguf.LlamaFileType.ALL_F32)
    writer.add_context_length(shape.context)
    writer.add_embedding_length(shape.width)
    writer.add_block_count(shape.layers)
    writer.add_feed_forward_length(shape.hidden)
    writer.add_head_count(shape.heads)
    writer.add_head_count_kv(shape.heads)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(shape.head)
    writer.add_rope_freq_base(10000.0)
    writer.add_vocab_size(shape.vocabulary)


def add_tokenizer(writer: gguf.GGUFWriter, path: Path, size: int) -> None:
    """Vocabulary, merges, special tokens and chat template."""
    tokenizer = json.loads(path.read_text(encoding="utf-8"))
    vocabulary = {i: token for token, i in tokenizer["model"]["vocab"].items()}
    special = {t["id"]: t["content"] for t in tokenizer["added_tokens"]}
    vocabulary |= special
    control, normal = gguf.TokenType.CONTROL, gguf.TokenType.NORMAL
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([vocabulary[i] for i in range(size)])
    writer.add_token_types([control if i in special else normal for i in range(size)])
    merges = tokenizer["model"]["merges"]
    writer.add_token_merges([m if isinstance(m, str) else " ".join(m) for m in merges])
    writer.add_bos_token_id(USER)
    writer.add_eos_token_id(END)
    writer.add_eot_token_id(END)
    writer.add_pad_token_id(PAD)
    writer.add_add_bos_token(False)
    writer.add_add_eos_token(False)
    writer.add_add_space_prefix(False)
    template = (HERE / "chat_template.jinja").read_text(encoding="utf-8").strip()
    writer.add_chat_template(template)
    assert vocabulary[ASSISTANT] in template


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True, help="tokenizer and checkpoint")
    parser.add_argument("--checkpoint", type=Path, help="instead of the one in --work")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()

    shape = Shape()
    state = torch.load(args.checkpoint or args.work / "checkpoint.pt", weights_only=True)
    weights: dict[str, Tensor] = state["optimizer"]["masters"]
    writer = gguf.GGUFWriter(args.out, "llama")
    describe(writer, shape)
    add_tokenizer(writer, args.work / "tokenizer.json", shape.vocabulary)
    for name, weight in weights.items():
        writer.add_tensor(name, weight.detach().float().numpy())
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    print(f"step {state['step']}, {state['seen'] / 1e6:.2f} M tokens -> {args.out}")


if __name__ == "__main__":
    main()
