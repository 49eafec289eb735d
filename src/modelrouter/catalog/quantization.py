"""How a GGUF file's weights are stored, as it says of itself, or as its largest part is."""

from __future__ import annotations

from collections import Counter
from math import prod
from typing import Final

from modelrouter.catalog.gguf import GGUFHeader

__all__ = ["stored_as"]

# llama.cpp's enum llama_ftype, general.file_type
_FILE_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 7: "Q8_0", 8: "Q5_0", 9: "Q5_1", 10: "Q2_K",
    11: "Q3_K_S", 12: "Q3_K_M", 13: "Q3_K_L", 14: "Q4_K_S", 15: "Q4_K_M", 16: "Q5_K_S",
    17: "Q5_K_M", 18: "Q6_K", 19: "IQ2_XXS", 20: "IQ2_XS", 21: "Q2_K_S", 22: "IQ3_XS",
    23: "IQ3_XXS", 24: "IQ1_S", 25: "IQ4_NL", 26: "IQ3_S", 27: "IQ3_M", 28: "IQ2_S",
    29: "IQ2_M", 30: "IQ4_XS", 31: "IQ1_M", 32: "BF16", 36: "TQ1_0", 37: "TQ2_0",
    38: "MXFP4_MOE",
}  # fmt: skip

# ggml's enum ggml_type
_TENSOR_TYPES: Final = {
    0: "F32", 1: "F16", 2: "Q4_0", 3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 8: "Q8_0", 10: "Q2_K",
    11: "Q3_K", 12: "Q4_K", 13: "Q5_K", 14: "Q6_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS",
    19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 30: "BF16",
    34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
}  # fmt: skip


def stored_as(header: GGUFHeader) -> str | None:
    """For example ``Q4_K_M``; ``None`` for a kind that is not known here."""
    said = _FILE_TYPES.get(header.metadata.get("general.file_type", -1))
    if said is not None:
        return said
    weights: Counter[int] = Counter()
    for tensor in header.tensors:
        weights[tensor.type] += prod(tensor.dimensions)
    return _TENSOR_TYPES.get(weights.most_common(1)[0][0]) if weights else None
