"""How to download: the values that a caller may choose."""

from __future__ import annotations

from dataclasses import dataclass

from registry.transfer.pace import WAITS, Pace
from registry.transfer.parts import Shape


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """How to download. `waits` are seconds between tries, `connections` as many as one file may have at once.

    `paces` are the bandwidth caps that it is under. A connection that brings less than 1 kB a second over `patience`
    seconds is given up for another. `shape` is how to cut the file, where its size is not to decide.
    """

    waits: tuple[float, ...] = WAITS
    connections: int = 4
    paces: tuple[Pace, ...] = ()
    patience: float = 30.0
    shape: Shape | None = None
