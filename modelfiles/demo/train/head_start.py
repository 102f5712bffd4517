"""Places a working copy circuit into a fresh model, so that training starts with it instead of finding it.

Two parts, after the induction heads that trained models show. Layer 0: heads that look one token back, by a
constant that all embeddings share and RoPE's fast pairs, and write down what stood there. Layer 1: heads that
look for places whose predecessor is the present token, by RoPE's slow pairs, and say what stands there.
Everything stays trainable. On sequences of random ids, a new model with this is right where one without it
is at chance, and on two cores that saves most of an hour.
"""

from __future__ import annotations

import torch
from torch import Tensor

from modelfiles.demo.train.model import Block, Llama, Shape

SPREAD = 0.2
"""Standard deviation of the embeddings: the scale of the residual stream."""
SHARED = 0.6
"""The constant's size beside a token's own part."""
LOOK_BACK = 60.0
"""Sharpness of the look at the token before, as a squared amplitude."""
FAST = 8
"""Pairs of RoPE that tell neighbours apart."""
SLOW = 12
"""First pair that hardly turns within a few hundred tokens, and so compares contents."""
MATCH = 3.5
"""Gain on either side of the comparison."""
WRITE = 1.2
SAY = 6.0
"""How loudly each part writes, relative to the embedding."""


@torch.no_grad()
def place(model: Llama) -> None:
    """Overwrite the initial embeddings, the first two attention layers and all output projections."""
    shape = model.shape
    generator = torch.Generator().manual_seed(7)
    basis = torch.linalg.qr(torch.randn(shape.width, shape.width, generator=generator))[0]
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
    # rows of `read` pick the part of a token that is compared, columns of `note` hold the predecessor's part
    compared = shape.head_width - 2 * SLOW
    read = torch.linalg.qr(torch.randn(shape.width, 2 * shape.head_width, generator=generator))[0].T
    note = torch.linalg.qr(torch.randn(shape.width, 2 * shape.head_width, generator=generator))[0]
    _look_back(blocks[0], shape, constant, read, note)
    _say(blocks[1], shape, basis, read, note, compared)


def _look_back(block: Block, shape: Shape, constant: Tensor, read: Tensor, note: Tensor) -> None:
    """Heads 0 and 1 attend to the token before and write its `read` part into `note`."""
    size = shape.head_width
    amplitude = (LOOK_BACK / FAST * size**0.5 / 8) ** 0.5 * (8 / FAST) ** 0.5
    angles = shape.rope_base ** -(torch.arange(0, size, 2) / size)
    key, query = torch.zeros(size), torch.zeros(size)
    key[0 : 2 * FAST : 2] = amplitude
    # one step of RoPE ahead of the key, so that the product peaks at a distance of one
    query[0 : 2 * FAST : 2] = amplitude * angles[:FAST].cos()
    query[1 : 2 * FAST : 2] = -amplitude * angles[:FAST].sin()
    share = SHARED / (1 + SHARED**2) ** 0.5
    reading = constant / shape.width / share
    for head in range(2):
        rows = slice(head * size, (head + 1) * size)
        block.attn_q.weight[rows] = torch.outer(query, reading) * LOOK_BACK**0.25
        block.attn_k.weight[rows] = torch.outer(key, reading) * LOOK_BACK**0.25
        block.attn_v.weight[rows] = read[rows]
        block.attn_output.weight[:, rows] = SPREAD * WRITE * note[:, rows]


def _say(block: Block, shape: Shape, basis: Tensor, read: Tensor, note: Tensor, compared: int) -> None:
    """Every head compares the present token with the noted predecessors and writes what it finds there."""
    size = shape.head_width
    for head in range(shape.heads):
        rows = slice(head * size, (head + 1) * size)
        source = slice((head % 2) * size + size - compared, (head % 2) * size + size)
        query, key = torch.zeros(size, shape.width), torch.zeros(size, shape.width)
        query[size - compared :] = MATCH * read[source]
        key[size - compared :] = MATCH * note[:, source].T
        block.attn_q.weight[rows] = query
        block.attn_k.weight[rows] = key
        block.attn_v.weight[rows] = basis[rows]
        block.attn_output.weight[:, rows] = SPREAD * SAY * basis[rows].T
