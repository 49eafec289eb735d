"""Quantize the float32 GGUF through llama-cpp-python.

python quantize.py tiny-editor-f32.gguf ../../src/modelrouter/assets/tiny-editor.gguf
"""

from __future__ import annotations

import argparse
from pathlib import Path

import llama_cpp

TYPES = {"q8_0": llama_cpp.LLAMA_FTYPE_MOSTLY_Q8_0, "f16": llama_cpp.LLAMA_FTYPE_MOSTLY_F16}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--type", choices=TYPES, default="q8_0")
    args = parser.parse_args()
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = TYPES[args.type]
    params.nthread = 2
    new = args.target.with_suffix(".new")
    code = llama_cpp.llama_model_quantize(str(args.source).encode(), str(new).encode(), params)
    if code != 0:
        raise SystemExit(f"quantization failed: {code}")
    new.replace(args.target)
    print(f"{args.target}: {args.target.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
