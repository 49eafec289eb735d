"""A checkpoint's greedy answers in PyTorch, to compare with llama.cpp's.

    python greedy.py --work DIR --out greedy.json

``evaluate.py --parity greedy.json`` compares.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from model import Decoder, Shape
from tokenizers import Tokenizer

from data import ASSISTANT, END, USER

HERE = Path(__file__).parent


def prompts() -> list[str]:
    """Forty corrections and ten completions, from the evaluation's sentences."""
    wrong = (HERE / "eval" / "everyday_errors.tsv").read_text().splitlines()[:40]
    right = (HERE / "eval" / "everyday_correct.txt").read_text().splitlines()[:10]
    asked = [f"Fix the grammar: {line.split(chr(9))[0]}" for line in wrong]
    return asked + [f"Complete the sentence: {' '.join(s.split()[:3])}" for s in right]


@torch.inference_mode()
def answer(model: Decoder, tokenizer: Tokenizer, prompt: str, limit: int = 64) -> str:
    """The most likely answer, token by token, without a cache."""
    tokens = [USER, *tokenizer.encode(prompt).ids, ASSISTANT]
    start = len(tokens)
    for _ in range(limit):
        token = int(model.logits(model(torch.tensor([tokens]))[0, -1]).argmax())
        if token == END:
            break
        tokens.append(token)
    return tokenizer.decode(tokens[start:])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    state = torch.load(args.work / "checkpoint.pt", weights_only=True)
    model = Decoder(Shape())
    model.load_state_dict(state["optimizer"]["masters"])
    tokenizer = Tokenizer.from_file(str(args.work / "tokenizer.json"))
    answers = {p: answer(model, tokenizer, p) for p in prompts()}
    args.out.write_text(json.dumps(answers, indent=1))


if __name__ == "__main__":
    main()
