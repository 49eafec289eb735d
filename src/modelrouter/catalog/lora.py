"""Reads a LoRA adapter's GGUF header, and refuses one that does not fit its base model.

Follows llama.cpp's own loader: for each weight of the base that is adapted there is a pair, ``a``
from the inputs to the rank and ``b`` from the rank to the outputs (Hu et al., 2021); of the token
embedding the other way round.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from pathlib import Path

from modelrouter.catalog.gguf import GGUFHeader, Tensor, check, check_tensors, read_header
from modelrouter.exceptions import ModelFileError

__all__ = ["check_adapter"]

_HINT = "Use an adapter that was made for this very model, converted with convert_lora_to_gguf.py."


def check_adapter(path: Path, base: Path) -> None:
    """Make sure that a file is a LoRA adapter that fits the base.

    The result is remembered until one of the files changes.

    Raises:
        ModelFileError: either file is missing or damaged, the first is not a LoRA adapter, or it
            was made for a model of another architecture or shape.
    """
    header = check(base)
    try:
        now = path.stat()
    except (OSError, ValueError):
        read_header(path)  # raises, saying why
        raise
    _check(path, base, now.st_mtime_ns, now.st_size, header.file_size, header.architecture)


@functools.lru_cache(maxsize=64)
def _check(
    path: Path, base: Path, _modified: int, _size: int, _base_size: int, _architecture: str
) -> None:
    adapter, model = read_header(path), check(base)
    for problem in _problems(adapter, model, base):
        raise ModelFileError(f"{path} {problem}.", hint=_HINT)
    check_tensors(path, adapter)


def _problems(adapter: GGUFHeader, model: GGUFHeader, base: Path) -> Iterator[str]:
    said = adapter.metadata.get
    if said("general.type") != "adapter":
        yield "is not an adapter: its general.type is " + repr(said("general.type", "not given"))
    elif said("adapter.type") != "lora":
        yield f"is an adapter of the type {said('adapter.type')!r}, not lora"
    elif adapter.architecture != model.architecture:
        yield (
            f"was made for the architecture {adapter.architecture!r}, and {base} is "
            f"{model.architecture!r}"
        )
    elif said("adapter.alora.invocation_tokens") is not None:
        yield "is an activated LoRA, which works from certain tokens on: that is not supported"
    elif not isinstance(said("adapter.lora.alpha"), float):
        yield "names no adapter.lora.alpha"
    else:
        yield from _misfits(adapter, model, base)


def _misfits(adapter: GGUFHeader, model: GGUFHeader, base: Path) -> Iterator[str]:
    weights = {tensor.name: tensor for tensor in model.tensors}
    pairs: dict[str, dict[str, Tensor]] = {}
    for tensor in adapter.tensors:
        name, _, part = tensor.name.rpartition(".lora_")
        if part in ("a", "b"):
            pairs.setdefault(name, {})[part] = tensor
        elif not tensor.name.endswith("_norm.weight"):
            yield f"holds {tensor.name!r}, which is not part of a LoRA"
    if not pairs:
        yield "adapts nothing: it holds no pair of lora_a and lora_b"
    for name, pair in pairs.items():
        if len(pair) != 2:
            yield f"holds but one of lora_a and lora_b for {name!r}"
        elif name not in weights:
            # The rest of a model in parts stands in the others.
            if "split.count" not in model.metadata:
                yield f"adapts {name!r}, which {base} does not have"
        elif not _fits(weights[name], pair["a"], pair["b"]):
            yield (
                f"adapts {name!r} with {pair['a'].dimensions} and {pair['b'].dimensions}, and in "
                f"{base} it is {weights[name].dimensions}"
            )


def _fits(weight: Tensor, a: Tensor, b: Tensor) -> bool:
    shapes = weight.dimensions, a.dimensions, b.dimensions
    if any(len(shape) != 2 for shape in shapes):
        return len({len(shape) for shape in shapes}) == 1  # of experts: llama.cpp will judge it
    (inputs, outputs), (a_in, a_out), (b_in, b_out) = shapes
    if weight.name == "token_embd.weight":
        return (a_out, b_out, a_in) == (outputs, inputs, b_in)
    return (a_in, b_out, a_out) == (inputs, outputs, b_in)
