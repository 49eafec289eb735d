"""Train the editor's adapter on the processor, at low priority, resumable.

    python train.py --base SMOLLM2.gguf --data DATA --work WORK [--resume] [--until HH:MM]

``DATA`` holds ``text/`` and ``gec/``. A checkpoint is written every few minutes; the learning rate
is held, and falls over the last ``--fall`` minutes before ``--until``.
"""

from __future__ import annotations

import argparse
import datetime
import time
from pathlib import Path

import torch
from base import read
from decoder import Decoder
from torch import Tensor
from torch.nn import functional as F

from examples import Examples, batches

EVAL = Path(__file__).parents[1] / "eval"
SAVE_EVERY = 240  # seconds


def excluded() -> set[str]:
    """The evaluation's sentences; never trained on."""
    sentences = set((EVAL / "everyday_correct.txt").read_text("utf-8").splitlines())
    for line in (EVAL / "everyday_errors.tsv").read_text("utf-8").splitlines():
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


def save(
    path: Path, model: Decoder, optimizer: torch.optim.Optimizer, step: int, seen: int
) -> None:
    """Write the checkpoint beside the old one, then put it in its place."""
    new = path.with_suffix(".new")
    state = {
        "adapter": {n: p.detach() for n, p in model.adapter().items()},
        "optimizer": optimizer.state_dict(),
        "step": step,
        "seen": seen,
        "rank": model.rank,
        "alpha": model.alpha,
    }
    torch.save(state, new)
    new.replace(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--base", type=Path, required=True)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--until", help="HH:MM, UTC")
    parser.add_argument("--fall", type=float, default=15, help="minutes over which the rate falls")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--rank", type=int, default=32)
    parser.add_argument(
        "--first-layer", type=int, default=8, help="layers below it stay as they are"
    )
    parser.add_argument("--tokens", type=int, default=1536, help="tokens a batch")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clean-share", type=float, default=0.2)
    parser.add_argument("--edit-weight", type=float, default=2.0)
    parser.add_argument("--resume", action="store_true")
    args = parser.parse_args()
    torch.manual_seed(args.seed)
    torch.set_num_threads(args.threads)
    args.work.mkdir(exist_ok=True, parents=True)
    shape, weights, tokenizer = read(args.base)
    model = Decoder(shape, weights, args.rank, float(args.rank), args.first_layer)
    examples = Examples(
        args.data, args.work, tokenizer, args.seed, excluded(), args.clean_share, args.edit_weight
    )
    adapter = list(model.adapter().values())
    optimizer = torch.optim.AdamW(adapter, lr=args.rate, betas=(0.9, 0.98), weight_decay=0.0)
    step, seen, checkpoint = 0, 0, args.work / "checkpoint.pt"
    if args.resume:
        state = torch.load(checkpoint, weights_only=True)
        with torch.no_grad():
            for name, p in model.adapter().items():
                p.copy_(state["adapter"][name])
        optimizer.load_state_dict(state["optimizer"])
        step, seen = state["step"], state["seen"]
    trained = sum(p.numel() for p in adapter) / 1e6
    print(f"{len(examples.sentences)} sentences, {trained:.2f} M trained", flush=True)
    end = None
    if args.until:
        now = datetime.datetime.now(datetime.timezone.utc)
        hour, minute = map(int, args.until.split(":"))
        end = time.time() + (now.replace(hour=hour, minute=minute, second=0) - now).total_seconds()
    started = saved = time.time()
    first, loss_mean, edit_mean = seen, None, None
    for tokens, w in batches(examples, args.tokens):
        left = float("inf") if end is None else (end - time.time()) / 60
        if left <= 0:
            break
        rate = args.rate * min(1.0, (step + 1) / 40) * min(1.0, left / args.fall)
        for group in optimizer.param_groups:
            group["lr"] = rate
        loss, edits = loss_of(model, tokens, w)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(adapter, 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step, seen = step + 1, seen + int((tokens != 0).sum())
        loss_mean = loss.item() if loss_mean is None else 0.98 * loss_mean + 0.02 * loss.item()
        if edits > 0:
            edit_mean = (
                edits.item() if edit_mean is None else 0.98 * edit_mean + 0.02 * edits.item()
            )
        if step % 10 == 0:
            pace = (seen - first) / (time.time() - started)
            print(
                f"step {step} loss {loss_mean:.3f} edits {edit_mean or 0:.3f} "
                f"tokens {seen / 1e6:.3f} M, {pace:.0f}/s, rate {rate:.1e}",
                flush=True,
            )
        if time.time() - saved > SAVE_EVERY:
            save(checkpoint, model, optimizer, step, seen)
            saved = time.time()
    save(checkpoint, model, optimizer, step, seen)


if __name__ == "__main__":
    main()
