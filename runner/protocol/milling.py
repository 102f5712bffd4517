"""What a quantizer process is told and what it says: JSON, one message a line, over its stdin and stdout.

The daemon writes a Job and, once it likes the Plan, any second line. The end of the process's input is its end.
"""

from __future__ import annotations

import msgspec

from runner.protocol.sandbox import Mode


class Importance(msgspec.Struct, frozen=True):
    """Where numbers about a tensor lie in a file of little-endian floats: `count` sums from byte `at`, to be divided by
    the `counts` ones from byte `counts_at` (each for as many sums as the next), or by `calls` where there are none."""

    name: str
    at: int
    count: int
    counts_at: int
    counts: int
    calls: int


class Imatrix(msgspec.Struct, frozen=True):
    """An importance matrix: its file, where its numbers lie, and what is noted of it in the result."""

    path: str
    entries: tuple[Importance, ...]
    dataset: str
    chunks: int


class Job(msgspec.Struct, frozen=True):
    """Quantize `source` (the first of its shards) into `target`, as the file type of this number."""

    source: str
    target: str
    number: int
    imatrix: Imatrix | None = None
    sandbox: Mode = "on"


class Plan(msgspec.Struct, frozen=True, tag=True):
    """What is going to be done: the bytes of all tensors, and whether an importance matrix is missing for it."""

    size: int
    needs_imatrix: bool


class Quantized(msgspec.Struct, frozen=True, tag=True):
    """The target is complete."""


class Refused(msgspec.Struct, frozen=True, tag=True):
    """It can't be done, and why, in llama.cpp's words."""

    reason: str


Said = Plan | Quantized | Refused
