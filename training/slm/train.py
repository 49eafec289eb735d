"""Train the bundled SLM on the processor, resumable, ending at a set time.

    python train.py --text DIR --work DIR --minutes 75 --hold 0.55

The learning rate is held, then falls to zero over the rest of the time. To go on from a finished
run with a small rate: ``--resume --seed 2 --hold 0 --muon-lr 0.004 --adam-lr 8e-4``.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from model import Decoder, Shape
from noise import Lexicon
from optimizer import Optimizer
from torch import Tensor
from torch.nn import functional as F

from data import PAD, Examples, batches, read_sentences, train_tokenizer

HERE = Path(__file__).parent
SAVE_EVERY = 180  # seconds
WARM_UP = 50  # steps


def excluded() -> set[str]:
    """The evaluation's sentences; never trained on."""
    sentences = set((HERE / "eval" / "everyday_correct.txt").read_text().splitlines())
    for line in (HERE / "eval" / "everyday_errors.tsv").read_text().splitlines():
        wrong, right, _ = line.split("\t")
        sentences |= {wrong, *right.split(" | ")}
    return sentences


def loss_of(model: Decoder, tokens: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
    """Weighted loss to train on, and the plain mean loss of the changed words to watch."""
    hidden = model(tokens[:, :-1])
    counted = weights[:, 1:] > 0
    logits = model.logits(hidden[counted]).float()
    losses = F.cross_entropy(logits, tokens[:, 1:][counted], reduction="none")
    w = weights[:, 1:][counted]
    edits = losses.detach()[w > 1]
    return (losses * w).sum() / w.sum(), edits.mean() if len(edits) else torch.tensor(0.0)


class Progress:
    """Steps and tokens so far, with smoothed losses to print."""

    def __init__(self, step: int, seen: int) -> None:
        self.step, self.seen = step, seen
        self.first, self.started = seen, time.time()
        self.loss: float | None = None
        self.edits: float | None = None

    def add(self, tokens: Tensor, loss: float, edits: float) -> None:
        """Count one step."""
        self.step += 1
        self.seen += int((tokens != PAD).sum())
        self.loss = loss if self.loss is None else 0.98 * self.loss + 0.02 * loss
        if edits > 0:
            self.edits = edits if self.edits is None else 0.98 * self.edits + 0.02 * edits

    def __str__(self) -> str:
        rate = (self.seen - self.first) / (time.time() - self.started)
        return (
            f"step {self.step} loss {self.loss or 0:.3f} edits {self.edits or 0:.3f} "
            f"tokens {self.seen / 1e6:.2f} M, {rate:.0f}/s"
        )


def examples_from(args: argparse.Namespace) -> Examples:
    """Examples from the text, with tokenizer and lexicon made once and kept in ``--work``."""
    sentences, weights = read_sentences(args.text, excluded())
    return Examples(
        sentences,
        weights,
        train_tokenizer(args.work / "tokenizer.json", sentences, Shape().vocabulary),
        Lexicon.load(args.work / "lexicon.json", sentences),
        args.seed,
        clean_share=args.clean_share,
        edit_weight=args.edit_weight,
    )


def train(args: argparse.Namespace, model: Decoder, examples: Examples) -> None:
    """Steps until the time is over, with a checkpoint every few minutes and at the end."""
    optimizer = Optimizer(model, args.muon_lr, args.adam_lr)
    checkpoint = args.work / "checkpoint.pt"
    progress = Progress(0, 0)
    if args.resume:
        state = torch.load(checkpoint, weights_only=True)
        optimizer.load(state["optimizer"])
        progress = Progress(state["step"], state["seen"])
    saved = time.time()
    for tokens, weights in batches(examples, args.tokens):
        share = (time.time() - progress.started) / 60 / args.minutes
        if share >= 1:
            break
        loss, edits = loss_of(model, tokens, weights)
        loss.backward()
        fall = 1.0 if share < args.hold else (1 - share) / (1 - args.hold)
        optimizer.step(min(1.0, (progress.step + 1) / WARM_UP) * fall)
        progress.add(tokens, loss.item(), edits.item())
        if progress.step % 25 == 0:
            print(f"{share:.0%} {progress}", flush=True)
        if time.time() - saved > SAVE_EVERY:
            save(checkpoint, optimizer, progress)
            saved = time.time()
    save(checkpoint, optimizer, progress)


def save(path: Path, optimizer: Optimizer, progress: Progress) -> None:
    """Write the checkpoint beside the old one, then put it in its place."""
    new = path.with_suffix(".new")
    state = {"optimizer": optimizer.state(), "step": progress.step, "seen": progress.seen}
    torch.save(state, new)
    new.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--text", type=Path, required=True, help="a folder of SOURCE.txt files")
    parser.add_argument("--work", type=Path, required=True, help="for checkpoint and caches")
    parser.add_argument("--minutes", type=float, required=True)
    parser.add_argument("--tokens", type=int, default=6144, help="tokens a batch")
    parser.add_argument("--muon-lr", type=float, default=0.02)
    parser.add_argument("--adam-lr", type=float, default=4e-3)
    parser.add_argument("--hold", type=float, default=0.6, help="share of the time at full rate")
    parser.add_argument("--clean-share", type=float, default=0.22)
    parser.add_argument("--edit-weight", type=float, default=3.0)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(2)

    args.work.mkdir(exist_ok=True)
    examples = examples_from(args)
    model = Decoder(Shape()).to(torch.bfloat16)
    size = sum(p.numel() for p in model.parameters())
    print(f"{len(examples.sentences)} sentences, {size / 1e6:.2f} M parameters", flush=True)
    train(args, model, examples)


if __name__ == "__main__":
    main()
