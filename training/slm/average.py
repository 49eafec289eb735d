"""Average the weights of two checkpoints of one run, the second with the share given.

    python average.py ONE/checkpoint.pt OTHER/checkpoint.pt --share 0.5 --out WORK/checkpoint.pt

Averaging fine-tuned weights is Wortsman et al., 2022 (model soups, https://arxiv.org/abs/2203.05482).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch


def main() -> None:
    """Average, and write a checkpoint that export_gguf.py reads."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("one", type=Path)
    parser.add_argument("other", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the second checkpoint")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    one, other = (torch.load(path, weights_only=True) for path in (args.one, args.other))
    weights = one["optimizer"]["masters"]
    for name, value in other["optimizer"]["masters"].items():
        weights[name].lerp_(value, args.share)
    torch.save({**other, "optimizer": {**other["optimizer"], "masters": weights}}, args.out)


if __name__ == "__main__":
    main()
