"""Places a working copy circuit into a fresh model, so that training starts with it instead of finding it.

Two parts, after the induction heads that trained models show. Layer 0: a head that looks one token back and one that
looks two back, by a constant that all embeddings share and RoPE's fast pairs; they write down what stood there.
Layer 1: two heads that look for a place before which the last two tokens stood already, by RoPE's slow pairs, and
say what stands there; two, because one digit or syllable stands in many places. The other heads are left alone:
with all of them placed and loud, copying is learnt and questions are not. Everything stays trainable.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modelfiles.demo.train.model import Block, Llama, Shape

SPREAD = 0.3
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
SAY = 5.0
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
    model.output_norm.weight.fill_(0.25)
    blocks = [block for block in model.blk if isinstance(block, Block)]
    for block in blocks:
        block.attn_output.weight.zero_()
        block.ffn_down.weight.zero_()
    # rows of `read` pick the part of a token that is compared; `once` and `twice` hold it of one and two tokens back
    size = shape.head_width
    read = _frame(shape.width, generator)[:, :size].T
    notes = _frame(shape.width, generator)
    once, twice = notes[:, :size], notes[:, size : 2 * size]
    for distance, note in ((1, once), (2, twice)):
        _look_back(blocks[0], shape, constant, read, note, distance)
    _say(blocks[1], shape, _frame(shape.width, generator), read, once, twice)


def _frame(width: int, generator: torch.Generator) -> Tensor:
    """A random orthonormal basis, as columns."""
    return torch.linalg.qr(torch.randn(width, width, generator=generator))[0]


def _look_back(block: Block, shape: Shape, constant: Tensor, read: Tensor, note: Tensor, distance: int) -> None:
    """Head `distance` - 1 attends so many tokens back and writes the `read` part of what it sees into `note`."""
    size = shape.head_width
    angles = shape.rope_base ** -(torch.arange(0, size, 2) / size)
    share = SHARED / (1 + SHARED**2) ** 0.5
    reading = constant / shape.width / share
    rows = slice((distance - 1) * size, distance * size)
    key, query = torch.zeros(size), torch.zeros(size)
    key[0 : 2 * FAST : 2] = LOOK_BACK
    # turned ahead of the key by so many steps of RoPE, the product peaks at that distance
    query[0 : 2 * FAST : 2] = LOOK_BACK * (distance * angles[:FAST]).cos()
    query[1 : 2 * FAST : 2] = -LOOK_BACK * (distance * angles[:FAST]).sin()
    block.attn_q.weight[rows] = torch.outer(query, reading)
    block.attn_k.weight[rows] = torch.outer(key, reading)
    block.attn_v.weight[rows] = read
    block.attn_output.weight[:, rows] = SPREAD * WRITE * note


def _say(block: Block, shape: Shape, basis: Tensor, read: Tensor, once: Tensor, twice: Tensor) -> None:
    """Heads 0 and 1 look for a place before which the last two tokens stood already, and write what stands there."""
    size = shape.head_width
    half = (size - 2 * SLOW) // 2
    for head in range(2):
        rows = slice(head * size, (head + 1) * size)
        part = slice(head * size // 2, head * size // 2 + half)
        query, key = torch.zeros(size, shape.width), torch.zeros(size, shape.width)
        query[size - 2 * half : size - half], key[size - 2 * half : size - half] = read[part], once[:, part].T
        query[size - half :], key[size - half :] = once[:, part].T, twice[:, part].T
        block.attn_q.weight[rows] = MATCH * query
        block.attn_k.weight[rows] = MATCH * key
        block.attn_v.weight[rows] = basis[:, rows].T
        block.attn_output.weight[:, rows] = SPREAD * SAY * basis[:, rows]
