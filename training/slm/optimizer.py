"""Muon for the matrices, AdamW for embedding and norms.

Muon orthogonalises the momentum of each matrix (Jordan et al., 2024,
https://kellerjordan.github.io/posts/muon/); at this size it learns from far fewer tokens.
"""

from __future__ import annotations

from typing import Any

import torch
from model import Decoder
from torch import Tensor


def orthogonalise(g: Tensor, steps: int = 5) -> Tensor:
    """Newton-Schulz iteration towards the nearest (semi-)orthogonal matrix, batched."""
    a, b, c = 3.4445, -4.7750, 2.0315
    x = g.bfloat16()
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    x = x / (x.norm(dim=(-2, -1), keepdim=True) + 1e-7)
    for _ in range(steps):
        s = x @ x.mT
        x = a * x + (b * s + c * s @ s) @ x
    return (x.mT if tall else x).float()


class Optimizer:
    """fp32 masters of a bfloat16 model: Muon for matrices, AdamW for the rest."""

    def __init__(self, model: Decoder, muon_lr: float, adam_lr: float) -> None:
        self.named = dict(model.named_parameters())
        self.matrices = [n for n, p in self.named.items() if n.startswith("blk") and p.dim() == 2]
        rest = [n for n in self.named if n not in self.matrices]
        self.masters = {n: p.detach().float().clone() for n, p in self.named.items()}
        self.momentum = {n: torch.zeros_like(self.masters[n]) for n in self.matrices}
        self.adam = torch.optim.AdamW(
            [self.masters[n].requires_grad_() for n in rest],
            lr=adam_lr,
            betas=(0.9, 0.95),
            weight_decay=0.0,
        )
        self.rest, self.muon_lr, self.adam_lr = rest, muon_lr, adam_lr

    @torch.no_grad()
    def step(self, scale: float) -> None:
        """Apply the gradients at this share of the learning rates."""
        for n in self.rest:
            grad = self.named[n].grad
            self.masters[n].grad = None if grad is None else grad.float()
        for group in self.adam.param_groups:
            group["lr"] = self.adam_lr * scale
        self.adam.step()
        shapes: dict[torch.Size, list[str]] = {}
        for n in self.matrices:
            shapes.setdefault(self.named[n].shape, []).append(n)
        for shape, names in shapes.items():
            grads = []
            for n in names:
                grad = self.named[n].grad
                assert grad is not None
                self.momentum[n].lerp_(grad.float(), 0.05)
                grads.append(grad.float().lerp(self.momentum[n], 0.95))
            updates = orthogonalise(torch.stack(grads))
            size = max(1.0, shape[0] / shape[1]) ** 0.5
            for n, update in zip(names, updates, strict=True):
                self.masters[n].mul_(1 - self.muon_lr * scale * 0.01)
                self.masters[n].add_(update, alpha=-self.muon_lr * scale * size)
        for n, p in self.named.items():
            p.copy_(self.masters[n])
            p.grad = None

    def state(self) -> dict[str, Any]:
        """What a checkpoint holds."""
        return {
            "masters": {n: m.detach() for n, m in self.masters.items()},
            "momentum": self.momentum,
            "adam": self.adam.state_dict(),
        }

    @torch.no_grad()
    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint."""
        for n, value in state["masters"].items():
            self.masters[n].copy_(value)
            self.named[n].copy_(value)
        self.momentum = state["momentum"]
        self.adam.load_state_dict(state["adam"])
