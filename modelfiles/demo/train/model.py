"""The network: a small Llama in PyTorch, laid out as llama.cpp's `llama` architecture reads it.

Owns the shape and the forward pass. Knows nothing of text, of training or of files.
RoPE turns neighbouring pairs, so the weights go into a GGUF without a permutation.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class Shape:
    """Every number that decides the size of the file; all widths divide by 32, as Q8_0 needs."""

    vocabulary: int = 4096
    width: int = 256
    layers: int = 4
    heads: int = 4
    hidden: int = 704
    rope_base: float = 100_000.0
    epsilon: float = 1e-5
    context: int = 4096

    @property
    def head_width(self) -> int:
        return self.width // self.heads


def rotations(shape: Shape, length: int) -> tuple[Tensor, Tensor]:
    """Cosines and sines of RoPE, each (length, head_width / 2)."""
    steps = torch.arange(0, shape.head_width, 2, dtype=torch.float32) / shape.head_width
    angles = torch.outer(torch.arange(length, dtype=torch.float32), shape.rope_base**-steps)
    return angles.cos(), angles.sin()


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Turn the pairs (0, 1), (2, 3), … of the last axis; `x` is (batch, heads, length, head_width)."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), dim=-1).flatten(-2)


class Block(nn.Module):
    """Attention, then SwiGLU, each behind an RMSNorm and added to the stream."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.attn_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.ffn_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self.attn_q = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_k = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_v = nn.Linear(shape.width, shape.width, bias=False)
        self.attn_output = nn.Linear(shape.width, shape.width, bias=False)
        self.ffn_gate = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_up = nn.Linear(shape.width, shape.hidden, bias=False)
        self.ffn_down = nn.Linear(shape.hidden, shape.width, bias=False)

    def forward(self, x: Tensor, cos: Tensor, sin: Tensor, mask: Tensor) -> Tensor:
        batch, length, width = x.shape

        def heads(projected: Tensor) -> Tensor:
            return projected.view(batch, length, self.shape.heads, self.shape.head_width).transpose(1, 2)

        h = self.attn_norm(x)
        query = rotate(heads(self.attn_q(h)), cos, sin)
        key = rotate(heads(self.attn_k(h)), cos, sin)
        seen = F.scaled_dot_product_attention(query, key, heads(self.attn_v(h)), attn_mask=mask)
        x = x + self.attn_output(seen.transpose(1, 2).reshape(batch, length, width))
        h = self.ffn_norm(x)
        forwarded: Tensor = self.ffn_down(F.silu(self.ffn_gate(h)) * self.ffn_up(h))
        return x + forwarded


class Llama(nn.Module):
    """Token ids in, hidden states out; `logits` turns chosen states into scores with the tied embedding."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.token_embd = nn.Embedding(shape.vocabulary, shape.width)
        self.blk = nn.ModuleList(Block(shape) for _ in range(shape.layers))
        self.output_norm = nn.RMSNorm(shape.width, eps=shape.epsilon)
        self._initialise()

    def _initialise(self) -> None:
        nn.init.normal_(self.token_embd.weight, std=0.04)
        for name, parameter in self.blk.named_parameters():
            if parameter.ndim == 2:
                last = name.endswith(("attn_output.weight", "ffn_down.weight"))
                scale = (2 * self.shape.layers) ** -0.5 if last else 1.0
                nn.init.normal_(parameter, std=scale * parameter.shape[1] ** -0.5 * 0.7)

    def forward(self, tokens: Tensor, segments: Tensor) -> Tensor:
        """Hidden states (batch, length, width).

        `tokens` and `segments` are (batch, length); a token sees earlier tokens of its own segment only.
        """
        length = tokens.shape[1]
        cos, sin = rotations(self.shape, length)
        past = torch.ones(length, length, dtype=torch.bool).tril()
        mask = (segments[:, None, :, None] == segments[:, None, None, :]) & past
        x = self.token_embd(tokens)
        for block in self.blk:
            x = block(x, cos, sin, mask)
        normed: Tensor = self.output_norm(x)
        return normed

    def logits(self, states: Tensor) -> Tensor:
        """Scores (n, vocabulary) for states (n, width)."""
        return states @ self.token_embd.weight.T
