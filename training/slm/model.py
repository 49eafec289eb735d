"""A llama-architecture decoder in plain PyTorch, small enough to train on two cores."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F


@dataclass(frozen=True)
class Shape:
    """The model's sizes; ``hidden`` is divisible by 256 so that every quantization applies."""

    vocabulary: int = 4096
    width: int = 256
    layers: int = 6
    heads: int = 8
    hidden: int = 768
    context: int = 512

    @property
    def head(self) -> int:
        """The width of one attention head."""
        return self.width // self.heads


class RMSNorm(nn.Module):
    """Normalization by the root mean square."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Hidden states, normalized."""
        return F.rms_norm(x, (x.shape[-1],), self.weight, 1e-5)


def rotary(shape: Shape) -> tuple[Tensor, Tensor]:
    """Cosines and sines of every position's angles."""
    inverse = 1 / (10000 ** (torch.arange(0, shape.head, 2) / shape.head))
    angles = torch.outer(torch.arange(shape.context).float(), inverse)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Interleaved pairs, as llama.cpp's llama architecture expects."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack([even * cos - odd * sin, even * sin + odd * cos], -1).flatten(-2)


class Block(nn.Module):
    """Causal attention and a gated feed-forward; parameters are named as in GGUF."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        width = shape.width
        self.attn_norm, self.ffn_norm = RMSNorm(width), RMSNorm(width)
        self.attn_q, self.attn_k, self.attn_v, self.attn_output = (
            nn.Linear(width, width, bias=False) for _ in range(4)
        )
        self.ffn_gate, self.ffn_up = (nn.Linear(width, shape.hidden, bias=False) for _ in range(2))
        self.ffn_down = nn.Linear(shape.hidden, width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        """Hidden states, one layer on."""
        batch, length, width = x.shape
        y = self.attn_norm(x)
        q, k, v = (
            f(y).view(batch, length, self.shape.heads, self.shape.head).transpose(1, 2)
            for f in (self.attn_q, self.attn_k, self.attn_v)
        )
        # Written out: on the processor it is twice as fast to train as the fused kernel here.
        scores = rotate(q, cos, sin) @ rotate(k, cos, sin).mT * self.shape.head**-0.5
        future = torch.ones(length, length, dtype=torch.bool).triu(1)
        y = scores.masked_fill(future, float("-inf")).softmax(-1) @ v
        x = x + self.attn_output(y.transpose(1, 2).reshape(batch, length, width))
        y = self.ffn_norm(x)
        return x + self.ffn_down(F.silu(self.ffn_gate(y)) * self.ffn_up(y))


class Decoder(nn.Module):
    """Token ids -> final hidden states; the head is the tied embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = RMSNorm(shape.width)
        cos, sin = rotary(shape)
        self.register_buffer("cos", cos, persistent=False)
        self.register_buffer("sin", sin, persistent=False)
        for name, p in self.named_parameters():
            if p.dim() > 1:
                last = name.endswith(("attn_output.weight", "ffn_down.weight"))
                nn.init.normal_(p, std=0.02 / (math.sqrt(2 * shape.layers) if last else 1))

    def forward(self, tokens: Tensor) -> Tensor:
        """Final hidden states of token ids."""
        x = self.token_embd(tokens)
        cos = self.cos[: tokens.shape[1]].to(x.dtype)
        sin = self.sin[: tokens.shape[1]].to(x.dtype)
        for block in self.blk:
            x = block(x, cos, sin)
        return self.output_norm(x)

    def logits(self, hidden: Tensor) -> Tensor:
        """The head, apart, so that it is computed only where there is a loss."""
        return F.linear(hidden, self.token_embd.weight)
