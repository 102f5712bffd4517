"""Turns a stream of examples into fixed-shape batches: ids, loss weights, segments.

Owns packing. Knows nothing of what the examples say.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Encoded:
    """One example: token ids, the weight of each as a target, and the family that its loss is booked under."""

    ids: list[int]
    weights: list[float]
    family: int


@dataclass(frozen=True, slots=True)
class Batch:
    """Arrays of (rows, length + 1): position i is read, position i + 1 is predicted."""

    ids: NDArray[np.int64]
    weights: NDArray[np.float32]
    segments: NDArray[np.int64]
    families: NDArray[np.int64]


def pack(examples: Iterator[Encoded], rows: int, length: int, together: bool) -> Iterator[Batch]:
    """Fill rows with whole examples, one after another, without end.

    An example that no longer fits starts the next row; one that never fits is cut at the row's end.
    With `together`, the examples of a row see each other, as the turns of a long conversation do.
    """
    waiting: Encoded | None = None
    while True:
        shape = (rows, length + 1)
        ids, segments = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        weights, families = np.zeros(shape, np.float32), np.zeros(shape, np.int64)
        for row in range(rows):
            at, segment = 0, 0
            while at < length + 1:
                example = waiting or next(examples)
                waiting = None
                room, size = length + 1 - at, len(example.ids)
                if size > room and at > 0:
                    waiting = example
                    break
                size = min(size, room)
                segment += 1
                ids[row, at : at + size] = example.ids[:size]
                weights[row, at : at + size] = example.weights[:size]
                weights[row, at] = 0.0
                families[row, at : at + size] = example.family
                segments[row, at : at + size] = 1 if together else segment
                at += size
        yield Batch(ids, weights, segments, families)
