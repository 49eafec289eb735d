"""Write a trained adapter as a LoRA GGUF file, as llama.cpp reads it.

    python export.py CHECKPOINT.pt ADAPTER.gguf [--name NAME]

The matrices are kept in 8 bits (Q8_0): an adapter of rank 32 over 22 layers takes 7.7 MB.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import gguf
import torch
from gguf.quants import quantize


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("adapter", type=Path)
    parser.add_argument("--name", default="editor")
    args = parser.parse_args()
    state = torch.load(args.checkpoint, weights_only=True)
    writer = gguf.GGUFWriter(args.adapter, "llama")
    writer.add_type("adapter")
    writer.add_name(args.name)
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", float(state["alpha"]))
    q8 = gguf.GGMLQuantizationType.Q8_0
    for name, values in state["adapter"].items():
        matrix, _, side = name.rpartition(".")
        packed = quantize(values.float().numpy(), q8)
        writer.add_tensor(f"{matrix}.weight.lora_{side}", packed, raw_dtype=q8)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


if __name__ == "__main__":
    main()
