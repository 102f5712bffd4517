"""Places a working copy circuit into a fresh model, so that training starts with it instead of finding it.

Two parts, after the induction heads that trained models show. Layer 0: heads that look one and two tokens back, by
a constant that all embeddings share and RoPE's fast pairs, and write down what stood there. Layer 1: heads that
look for a place before which the last two tokens stood already, by RoPE's slow pairs, and say what stands there;
two, because one digit or syllable stands in many places. Everything stays trainable. On sequences of random ids a
new model with this is right four times in five, where one without it is at chance after minutes of training.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modelfiles.demo.train.model import Block, Llama, Shape

SPREAD = 0.2
"""Standard deviation of the embeddings: the scale of the residual stream."""
SHARED = 0.6
"""The constant's size beside a token's own part."""
LOOK_BACK = 11.0
"""Sharpness of the look back, as the amplitude of each pair."""
FAST = 8
"""Pairs of RoPE that tell neighbours apart."""
SLOW = 12
"""First pair that hardly turns within a few hundred tokens, and so compares contents."""
MATCH = 4.5
"""Gain on either side of the comparison."""
WRITE = 1.5
SAY = 10.0
"""How loudly each part writes, relative to the embedding."""


@torch.no_grad()
def place(model: Llama) -> None:
    """Overwrite the initial embeddings, the first two attention layers and all output projections."""
    shape = model.shape
    generator = torch.Generator().manual_seed(7)
    constant = torch.randn(shape.width, generator=generator)
    constant /= constant.norm() / shape.width**0.5
    tokens = torch.randn(shape.vocabulary, shape.width, generator=generator)
    tokens -= torch.outer(tokens @ constant / shape.width, constant)
    model.token_embd.weight.copy_(SPREAD * (tokens + SHARED * constant))
    model.output_norm.weight.fill_(0.3)
    blocks = [block for block in model.blk if isinstance(block, Block)]
    for block in blocks:
        block.attn_output.weight.zero_()
        block.ffn_down.weight.zero_()
    # rows of `read` pick the part of a token that is compared; `once` and `twice` hold it of one and two tokens back
    read = _frame(shape.width, generator)[:, : 2 * shape.head_width].T
    notes = _frame(shape.width, generator)
    once, twice = notes[:, : 2 * shape.head_width], notes[:, 2 * shape.head_width :]
    _look_back(blocks[0], shape, constant, read, (once, twice))
    _say(blocks[1], shape, _frame(shape.width, generator), read, (once, twice))


def _frame(width: int, generator: torch.Generator) -> Tensor:
    """A random orthonormal basis, as columns."""
    return torch.linalg.qr(torch.randn(width, width, generator=generator))[0]


def _look_back(block: Block, shape: Shape, constant: Tensor, read: Tensor, notes: tuple[Tensor, Tensor]) -> None:
    """Heads 0 and 1 attend one token back, 2 and 3 two; they write its `read` part into the note of that distance."""
    size = shape.head_width
    angles = shape.rope_base ** -(torch.arange(0, size, 2) / size)
    share = SHARED / (1 + SHARED**2) ** 0.5
    reading = constant / shape.width / share
    for head in range(shape.heads):
        distance = 1 + head // 2
        rows, part = slice(head * size, (head + 1) * size), slice((head % 2) * size, (head % 2 + 1) * size)
        key, query = torch.zeros(size), torch.zeros(size)
        key[0 : 2 * FAST : 2] = LOOK_BACK
        # turned ahead of the key by so many steps of RoPE, the product peaks at that distance
        query[0 : 2 * FAST : 2] = LOOK_BACK * (distance * angles[:FAST]).cos()
        query[1 : 2 * FAST : 2] = -LOOK_BACK * (distance * angles[:FAST]).sin()
        block.attn_q.weight[rows] = torch.outer(query, reading)
        block.attn_k.weight[rows] = torch.outer(key, reading)
        block.attn_v.weight[rows] = read[part]
        block.attn_output.weight[:, rows] = SPREAD * WRITE * notes[head // 2][:, part]


def _say(block: Block, shape: Shape, basis: Tensor, read: Tensor, notes: tuple[Tensor, Tensor]) -> None:
    """Every head looks for a place before which the last two tokens stood already, and writes what stands there."""
    size = shape.head_width
    once, twice = notes
    half = (size - 2 * SLOW) // 2
    for head in range(shape.heads):
        rows = slice(head * size, (head + 1) * size)
        part = slice(head * size // 2, head * size // 2 + half)
        query, key = torch.zeros(size, shape.width), torch.zeros(size, shape.width)
        query[size - 2 * half : size - half], key[size - 2 * half : size - half] = read[part], once[:, part].T
        query[size - half :], key[size - half :] = once[:, part].T, twice[:, part].T
        block.attn_q.weight[rows] = MATCH * query
        block.attn_k.weight[rows] = MATCH * key
        block.attn_v.weight[rows] = basis[:, rows].T
        block.attn_output.weight[:, rows] = SPREAD * SAY * basis[:, rows]
