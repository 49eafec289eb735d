"""Makes tiny LoRA adapters (GGUF) for the models that the other factories make."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import gguf
import numpy as np
import numpy.typing as npt

from modelrouter.catalog.gguf import read_header
from tests.support.gguf_factory import _finish

__all__ = ["make_lora_gguf"]

Matrix = npt.NDArray[np.float32]


def make_lora_gguf(
    path: Path,
    base: Path,
    *,
    rank: int = 4,
    alpha: float = 16.0,
    seed: int = 0,
    architecture: str | None = None,
    kind: str = "adapter",
    only: Callable[[str], bool] = lambda name: "attn_" in name or "ffn_" in name,
    change: Callable[[dict[str, Matrix]], None] = lambda weights: None,
) -> Path:
    """Write a random adapter for a model.

    Args:
        path: where to write it.
        base: the model's file.
        rank: of each pair.
        alpha: over the rank it is what the pair's product is multiplied with.
        seed: of the weights.
        architecture: what it says that it was made for, in place of the base's.
        kind: ``general.type``.
        only: which of the base's matrices it adapts.
        change: does something to the tensors before they are written.
    """
    random = np.random.default_rng(seed)
    header = read_header(base)
    weights: dict[str, Matrix] = {}
    for tensor in header.tensors:
        if len(tensor.dimensions) != 2 or not only(tensor.name):
            continue
        inputs, outputs = tensor.dimensions
        weights[f"{tensor.name}.lora_a"] = _draw(random, rank, inputs)
        weights[f"{tensor.name}.lora_b"] = _draw(random, outputs, rank)
    change(weights)
    writer = gguf.GGUFWriter(str(path), architecture or header.architecture)
    writer.add_type(kind)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", alpha)
    _finish(writer, weights)
    return path


def _draw(random: np.random.Generator, rows: int, columns: int) -> Matrix:
    return (random.standard_normal((rows, columns)) / columns**0.5).astype(np.float32)
