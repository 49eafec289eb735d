"""A tiny CLIP with random weights: the real architecture, tokenizer format and folder layout.

The weights are named as in Hugging Face's ``CLIPModel``; from them the ONNX graphs are written node
by node, with the inputs and outputs of the usual exports.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Final

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

__all__ = ["CONFIG", "SCALE", "make_tiny_clip", "weights"]

WIDTH, HEADS, LAYERS, INNER, SPACE = 16, 2, 2, 32, 12
SIDE, PATCH, WINDOW = 24, 8, 77
SCALE: Final = 37.0
_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_MERGES = ["a </w>".split(), ["p", "h"], ["o", "t"], ["ph", "ot"], ["phot", "o</w>"], ["d", "o"]]
_MERGES = [m for m in _MERGES if m != ["a", "</w>"]]

_TOWER: Final = {
    "hidden_size": WIDTH,
    "intermediate_size": INNER,
    "num_hidden_layers": LAYERS,
    "num_attention_heads": HEADS,
    "hidden_act": "quick_gelu",
    "layer_norm_eps": 1e-5,
    "projection_dim": SPACE,
}


def _vocabulary() -> dict[str, int]:
    words = [*_LETTERS, *(f"{c}</w>" for c in _LETTERS), *("".join(m) for m in _MERGES)]
    words += ["<|startoftext|>", "<|endoftext|>"]
    return {word: at for at, word in enumerate(words)}


VOCABULARY: Final = _vocabulary()
START, END = VOCABULARY["<|startoftext|>"], VOCABULARY["<|endoftext|>"]

CONFIG: Final[dict[str, Any]] = {
    "model_type": "clip",
    "projection_dim": SPACE,
    "text_config": {
        **_TOWER,
        "vocab_size": len(VOCABULARY),
        "max_position_embeddings": WINDOW,
        "bos_token_id": START,
        "eos_token_id": END,
        "pad_token_id": END,
    },
    "vision_config": {**_TOWER, "image_size": SIDE, "patch_size": PATCH, "num_channels": 3},
}
PREPROCESSING: Final = {
    "do_resize": True,
    "size": {"shortest_edge": SIDE},
    "resample": 3,
    "do_center_crop": True,
    "crop_size": {"height": SIDE, "width": SIDE},
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
    "image_mean": [0.48145466, 0.4578275, 0.40821073],
    "image_std": [0.26862954, 0.26130258, 0.27577711],
    "do_convert_rgb": True,
    "image_processor_type": "CLIPImageProcessor",
}


def weights(seed: int = 0) -> dict[str, np.ndarray]:
    """Random ones, by the names of ``CLIPModel.state_dict()``."""
    rng = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {"logit_scale": np.asarray(np.log(SCALE), np.float32)}

    def put(name: str, *shape: int, spread: float = 0.3) -> None:
        made[name] = (rng.standard_normal(shape) * spread).astype(np.float32)

    def norm(name: str) -> None:
        put(f"{name}.weight", WIDTH)
        made[f"{name}.weight"] += 1
        put(f"{name}.bias", WIDTH)

    for tower in ("text_model", "vision_model"):
        for layer in range(LAYERS):
            at = f"{tower}.encoder.layers.{layer}"
            for part in "qkv":
                put(f"{at}.self_attn.{part}_proj.weight", WIDTH, WIDTH)
                put(f"{at}.self_attn.{part}_proj.bias", WIDTH)
            put(f"{at}.self_attn.out_proj.weight", WIDTH, WIDTH)
            put(f"{at}.self_attn.out_proj.bias", WIDTH)
            put(f"{at}.mlp.fc1.weight", INNER, WIDTH)
            put(f"{at}.mlp.fc1.bias", INNER)
            put(f"{at}.mlp.fc2.weight", WIDTH, INNER)
            put(f"{at}.mlp.fc2.bias", WIDTH)
            norm(f"{at}.layer_norm1")
            norm(f"{at}.layer_norm2")
    put("text_model.embeddings.token_embedding.weight", len(VOCABULARY), WIDTH, spread=1.0)
    put("text_model.embeddings.position_embedding.weight", WINDOW, WIDTH)
    norm("text_model.final_layer_norm")
    put("vision_model.embeddings.class_embedding", WIDTH)
    put("vision_model.embeddings.patch_embedding.weight", WIDTH, 3, PATCH, PATCH, spread=0.1)
    put("vision_model.embeddings.position_embedding.weight", (SIDE // PATCH) ** 2 + 1, WIDTH)
    norm("vision_model.pre_layrnorm")
    norm("vision_model.post_layernorm")
    put("text_projection.weight", SPACE, WIDTH)
    put("visual_projection.weight", SPACE, WIDTH)
    return made


class _Graph:
    """Nodes and constants as they are added; each method gives the name of its result."""

    def __init__(self, made: dict[str, np.ndarray]) -> None:
        self.weights, self.nodes, self.constants = made, [], {}

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        name = f"{op}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(op, inputs, [name], **attributes))
        return name

    def constant(self, value: Any, kind: Any = np.int64) -> str:
        array = np.asarray(value, kind)
        name = f"constant_{len(self.constants)}"
        self.constants[name] = array
        return name

    def weight(self, name: str, *, transposed: bool = False) -> str:
        key = f"{name}.T" if transposed else name
        self.constants[key] = self.weights[name].T.copy() if transposed else self.weights[name]
        return key

    def linear(self, x: str, name: str, *, bias: bool = True) -> str:
        x = self.node("MatMul", x, self.weight(f"{name}.weight", transposed=True))
        return self.node("Add", x, self.weight(f"{name}.bias")) if bias else x

    def norm(self, x: str, name: str) -> str:
        scale, bias = self.weight(f"{name}.weight"), self.weight(f"{name}.bias")
        return self.node("LayerNormalization", x, scale, bias, axis=-1, epsilon=1e-5)

    def heads(self, x: str) -> str:
        x = self.node("Reshape", x, self.constant([0, 0, HEADS, WIDTH // HEADS]))
        return self.node("Transpose", x, perm=[0, 2, 1, 3])

    def encoder(self, x: str, tower: str, mask: str | None) -> str:
        for layer in range(LAYERS):
            at = f"{tower}.encoder.layers.{layer}"
            h = self.norm(x, f"{at}.layer_norm1")
            q, k, v = (self.heads(self.linear(h, f"{at}.self_attn.{p}_proj")) for p in "qkv")
            scores = self.node("MatMul", q, self.node("Transpose", k, perm=[0, 1, 3, 2]))
            root = self.constant((WIDTH // HEADS) ** -0.5, np.float32)
            scores = self.node("Mul", scores, root)
            if mask is not None:
                scores = self.node("Add", scores, mask)
            h = self.node("MatMul", self.node("Softmax", scores, axis=-1), v)
            h = self.node("Transpose", h, perm=[0, 2, 1, 3])
            h = self.node("Reshape", h, self.constant([0, 0, WIDTH]))
            x = self.node("Add", x, self.linear(h, f"{at}.self_attn.out_proj"))
            h = self.linear(self.norm(x, f"{at}.layer_norm2"), f"{at}.mlp.fc1")
            gate = self.node("Sigmoid", self.node("Mul", h, self.constant(1.702, np.float32)))
            h = self.linear(self.node("Mul", h, gate), f"{at}.mlp.fc2")
            x = self.node("Add", x, h)
        return x

    def text(self) -> str:
        length = self.node("Shape", "input_ids", start=1, end=2)
        place = "text_model.embeddings.position_embedding.weight"
        positions = self.node("Slice", self.weight(place), self.constant([0]), length)
        table = self.weight("text_model.embeddings.token_embedding.weight")
        x = self.node("Add", self.node("Gather", table, "input_ids"), positions)
        causal = np.triu(np.full((WINDOW, WINDOW), -1e9, np.float32), 1)
        zero = self.constant([0, 0])
        both = self.node("Concat", length, length, axis=0)
        mask = self.node("Slice", self.constant(causal, np.float32), zero, both)
        keep = self.node("Cast", "attention_mask", to=TensorProto.FLOAT)
        gone = self.node("Sub", self.constant(1.0, np.float32), keep)
        gone = self.node("Mul", gone, self.constant(-1e9, np.float32))
        gone = self.node("Unsqueeze", gone, self.constant([1, 2]))
        x = self.encoder(x, "text_model", self.node("Add", mask, gone))
        x = self.norm(x, "text_model.final_layer_norm")
        ends = self.node("Cast", self.node("Equal", "input_ids", self.constant(END)), to=6)
        at = self.node("ArgMax", ends, axis=1, keepdims=1)  # the first end is the text's
        x = self.node("GatherND", x, at, batch_dims=1)
        return self.linear(x, "text_projection", bias=False)

    def vision(self) -> str:
        kernel = self.weight("vision_model.embeddings.patch_embedding.weight")
        x = self.node("Conv", "pixel_values", kernel, strides=[PATCH, PATCH])
        x = self.node("Reshape", x, self.constant([0, WIDTH, -1]))
        x = self.node("Transpose", x, perm=[0, 2, 1])
        batch = self.node("Shape", x, start=0, end=1)
        shape = self.node("Concat", batch, self.constant([1, WIDTH]), axis=0)
        first = self.node("Expand", self.weight("vision_model.embeddings.class_embedding"), shape)
        x = self.node("Concat", first, x, axis=1)
        place = "vision_model.embeddings.position_embedding.weight"
        x = self.node("Add", x, self.weight(place))
        x = self.encoder(self.norm(x, "vision_model.pre_layrnorm"), "vision_model", None)
        x = self.node("Gather", x, self.constant(0), axis=1)
        return self.linear(
            self.norm(x, "vision_model.post_layernorm"), "visual_projection", bias=False
        )

    def unit(self, x: str) -> str:
        length = self.node("ReduceL2", x, axes=[-1], keepdims=1)
        return self.node("Div", x, length)

    def save(self, path: Path, outputs: dict[str, str]) -> None:
        for name, made in outputs.items():
            self.nodes.append(helper.make_node("Identity", [made], [name]))
        used = {i for node in self.nodes for i in node.input}
        floats, ints = TensorProto.FLOAT, TensorProto.INT64
        known = {
            "input_ids": (ints, ["texts", "tokens"]),
            "attention_mask": (ints, ["texts", "tokens"]),
            "pixel_values": (floats, ["pictures", 3, "height", "width"]),
        }
        graph = helper.make_graph(
            self.nodes,
            "clip",
            [helper.make_tensor_value_info(n, *t) for n, t in known.items() if n in used],
            [helper.make_tensor_value_info(n, floats, ["rows", f"{n}_columns"]) for n in outputs],
            [numpy_helper.from_array(v, n) for n, v in self.constants.items()],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
        onnx.checker.check_model(model)
        onnx.save(model, path)


def _tokenizer() -> dict[str, Any]:
    """``tokenizer.json`` as CLIP's fast tokenizer writes it."""
    pattern = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|"
    pattern += r"[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    byte_level = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    special = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {"id": START, "content": "<|startoftext|>", "special": True, **special},
            {"id": END, "content": "<|endoftext|>", "special": True, **special},
        ],
        "normalizer": {
            "type": "Sequence",
            "normalizers": [
                {"type": "NFC"},
                {"type": "Replace", "pattern": {"Regex": r"\s+"}, "content": " "},
                {"type": "Lowercase"},
            ],
        },
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {
                    "type": "Split",
                    "pattern": {"Regex": pattern},
                    "behavior": "Removed",
                    "invert": True,
                },
                {"type": "ByteLevel", **byte_level},
            ],
        },
        "post_processor": {
            "type": "RobertaProcessing",
            "sep": ["<|endoftext|>", END],
            "cls": ["<|startoftext|>", START],
            "trim_offsets": False,
            "add_prefix_space": False,
        },
        "decoder": {"type": "ByteLevel", **byte_level},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": "<|endoftext|>",
            "continuing_subword_prefix": "",
            "end_of_word_suffix": "</w>",
            "fuse_unk": False,
            "vocab": VOCABULARY,
            "merges": [" ".join(m) for m in _MERGES],
        },
    }


def make_tiny_clip(folder: Path, *, split: bool = True, both: bool = True) -> Path:
    """Write a CLIP folder: with ``split`` a graph each, with ``both`` one that gives logits."""
    (folder / "onnx").mkdir(parents=True, exist_ok=True)
    for name, value in (
        ("config.json", CONFIG),
        ("preprocessor_config.json", PREPROCESSING),
        ("tokenizer.json", _tokenizer()),
    ):
        (folder / name).write_text(json.dumps(value), "utf-8")
    made = weights()
    if split:
        text, vision = _Graph(made), _Graph(made)
        text.save(folder / "onnx" / "text_model.onnx", {"text_embeds": text.text()})
        vision.save(folder / "onnx" / "vision_model.onnx", {"image_embeds": vision.vision()})
    if both:
        graph = _Graph(made)
        texts, pictures = graph.unit(graph.text()), graph.unit(graph.vision())
        logits = graph.node("MatMul", pictures, graph.node("Transpose", texts, perm=[1, 0]))
        logits = graph.node("Mul", logits, graph.constant(SCALE, np.float32))
        graph.save(
            folder / "onnx" / "model.onnx",
            {"logits_per_image": logits, "text_embeds": texts, "image_embeds": pictures},
        )
    return folder
