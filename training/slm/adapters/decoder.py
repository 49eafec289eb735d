"""The frozen decoder with low-rank adapters in every matrix (LoRA, Hu et al. 2021)."""

from __future__ import annotations

import torch
from base import Shape
from torch import Tensor, nn
from torch.nn import functional as F

MATRICES = ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")


class Adapted(nn.Module):
    """A frozen matrix and its low-rank change: ``x W' + scale (x A') B'``."""

    def __init__(self, weight: Tensor, rank: int, alpha: float) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.scale = alpha / max(rank, 1)
        self.rank = rank
        if not rank:
            return
        out_width, in_width = weight.shape
        self.a = nn.Parameter(torch.empty(rank, in_width).uniform_(-1, 1) * (3 / in_width) ** 0.5)
        self.b = nn.Parameter(torch.zeros(out_width, rank))

    def forward(self, x: Tensor) -> Tensor:
        """The matrix applied, its change included."""
        if not self.rank:
            return F.linear(x, self.weight)
        small = F.linear(x, self.a.to(x.dtype))
        return F.linear(x, self.weight) + self.scale * F.linear(small, self.b.to(x.dtype))


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Interleaved pairs, as llama.cpp's llama architecture expects."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


class Block(nn.Module):
    """Grouped-query attention and a gated feed-forward."""

    def __init__(
        self, shape: Shape, weights: dict[str, Tensor], i: int, rank: int, alpha: float
    ) -> None:
        super().__init__()
        self.shape = shape
        for name in MATRICES:
            setattr(self, name, Adapted(weights[f"blk.{i}.{name}.weight"], rank, alpha))
        for name in ("attn_norm", "ffn_norm"):
            self.register_buffer(name, weights[f"blk.{i}.{name}.weight"])

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Hidden states, one layer on."""
        batch, length, width = x.shape
        s = self.shape
        y = F.rms_norm(x, (width,), self.attn_norm, s.epsilon)
        q = self.attn_q(y).view(batch, length, s.heads, s.head).transpose(1, 2)
        k = self.attn_k(y).view(batch, length, s.kv_heads, s.head).transpose(1, 2)
        v = self.attn_v(y).view(batch, length, s.kv_heads, s.head).transpose(1, 2)
        q, k = rotate(q, cos, sin), rotate(k, cos, sin)
        groups = s.heads // s.kv_heads
        k, v = k.repeat_interleave(groups, 1), v.repeat_interleave(groups, 1)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        x = x + self.attn_output(y.transpose(1, 2).reshape(batch, length, width))
        y = F.rms_norm(x, (width,), self.ffn_norm, s.epsilon)
        return x + self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))


class Decoder(nn.Module):
    """Token ids to final hidden states; the head is the tied embedding."""

    def __init__(
        self,
        shape: Shape,
        weights: dict[str, Tensor],
        rank: int,
        alpha: float,
        first_layer: int = 0,
        context: int = 1024,
    ) -> None:
        super().__init__()
        self.register_buffer("embedding", weights["token_embd.weight"])
        self.register_buffer("norm", weights["output_norm.weight"])
        self.epsilon, self.rank, self.alpha = shape.epsilon, rank, alpha
        self.blk = nn.ModuleList(
            Block(shape, weights, i, rank if i >= first_layer else 0, alpha)
            for i in range(shape.layers)
        )
        inverse = 1 / (shape.theta ** (torch.arange(0, shape.head, 2) / shape.head))
        angles = torch.outer(torch.arange(context).float(), inverse)
        self.register_buffer("cos", angles.cos().bfloat16())
        self.register_buffer("sin", angles.sin().bfloat16())

    def forward(self, tokens: Tensor) -> Tensor:
        """Final hidden states of token ids."""
        x = F.embedding(tokens, self.embedding)
        length = tokens.shape[1]
        for block in self.blk:
            x = block(x, self.cos[:length], self.sin[:length])
        return F.rms_norm(x, (x.shape[-1],), self.norm, self.epsilon)

    def logits(self, hidden: Tensor) -> Tensor:
        """The head, apart, so that it is computed only where there is a loss."""
        return F.linear(hidden, self.embedding)

    def adapter(self) -> dict[str, Tensor]:
        """What is trained, by name."""
        return {n: p for n, p in self.named_parameters() if p.requires_grad}
