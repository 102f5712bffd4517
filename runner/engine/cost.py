"""What looking past strangers' cells costs in the pool, learned from its own steps. Pure: figures in, figures out.

Steps with as many rows differ in how full the pool is, and so tell what a cell costs on this machine with this model.
Of a step of n rows, the part (n - 1) / n of that is spent on cells of others, and a split cache would save it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

FIRST_GUESS = 8  # sequences that a pool is good for, as long as too little was measured
_PASSED_OVER = 32  # weights, which take as long as one head's looking past a cell: measured, see docs/benchmarks.md
_IDLE_SHARE = 0.1  # of the time of a prompt's token, that idle prefixes may cost by standing in the pool
_LEAST_STEPS = 32
_FADE = 1 - 1 / 512  # the weight of what was measured before, with each step
_CERTAIN = 0.05  # of a step's time: how exactly a saving has to be known


def idle_cells(weights: int, heads: int) -> int:
    """How many cells of a pool prefixes may hold that nobody uses, with so many weights and heads of all layers.

    llama.cpp's attention looks past every cell in use, whosever it is. What exceeds this is cheaper to restore from RAM
    than to leave in everybody's way.
    """
    return int(_IDLE_SHARE * weights / (_PASSED_OVER * max(1, heads)))


@dataclass(slots=True)
class _Line:
    """A straight line through (cells, seconds), by least squares; older points fade."""

    count: float = 0.0
    cells: float = 0.0  # means
    seconds: float = 0.0
    spread: float = 0.0  # sums of products of what differs from the means
    both: float = 0.0
    noise: float = 0.0

    def add(self, cells: float, seconds: float) -> None:
        self.count = self.count * _FADE + 1.0
        away, off = cells - self.cells, seconds - self.seconds
        self.cells += away / self.count
        self.seconds += off / self.count
        self.spread = self.spread * _FADE + away * (cells - self.cells)
        self.both = self.both * _FADE + away * (seconds - self.seconds)
        self.noise = self.noise * _FADE + off * (seconds - self.seconds)

    def slope(self) -> tuple[float, float]:
        """Seconds of a cell, and how far off that may be (twice its standard error; infinite when nothing is known)."""
        if self.count < _LEAST_STEPS or self.spread <= 0.0:
            return 0.0, math.inf
        slope = self.both / self.spread
        left = max(0.0, self.noise - slope * self.both) / (self.count - 2)
        return slope, 2 * math.sqrt(left / self.spread)


class Cost:
    """A line for each number of rows."""

    def __init__(self) -> None:
        self._lines: dict[int, _Line] = {}

    def saw(self, rows: int, cells: int, seconds: float) -> None:
        """A decode of one token for each of `rows` sequences, with `cells` cells in use, took so long."""
        self._lines.setdefault(rows, _Line()).add(cells, seconds)

    def saving(self, rows: int, cells: int) -> float | None:
        """The share of such a step that a split cache would save; None when too little was measured to tell."""
        line = self._lines.get(rows)
        if line is None or line.seconds <= 0.0:
            return None
        slope, error = line.slope()
        strangers = cells * (rows - 1) / rows
        if not error * strangers < _CERTAIN * line.seconds:
            return None
        seconds = max(line.seconds + slope * (cells - line.cells), line.seconds / 2)
        return max(0.0, slope * strangers / seconds)
