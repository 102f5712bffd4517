"""What a step of the pool costs on this machine, learned from the steps themselves. Pure: figures in, figures out.

A decode of `rows` tokens over `cells` cells takes about `fixed + row * rows + cell * rows * cells`: a pass over the
weights, each row's own work, and looking past every cell of the pool, a stranger's included. The last is what a split
cache saves.
"""

from __future__ import annotations

import math

import numpy as np

FIRST_GUESS = 8  # sequences, as long as too little was measured
_LEAST_STEPS = 64
_FORGET = 1 / 512  # how much each step takes from the weight of those before it
_SPREAD = 1e-4  # the least eigenvalue of the correlations that still tells the three parts from each other


class Cost:
    """Least squares over the latest steps, older ones fading."""

    def __init__(self) -> None:
        self._sums = np.zeros((3, 3))
        self._targets = np.zeros(3)
        self._steps = 0

    def saw(self, rows: int, cells: int, seconds: float) -> None:
        """A decode of one token for each of `rows` sequences, with `cells` cells in use, took so long."""
        parts = np.array([1.0, rows, rows * cells])
        # Relative errors count, so a slow step weighs no more than a quick one.
        weight = 1 / max(seconds, 1e-6) ** 2
        self._sums = self._sums * (1 - _FORGET) + weight * np.outer(parts, parts)
        self._targets = self._targets * (1 - _FORGET) + weight * seconds * parts
        self._steps += 1

    def crossover(self, tokens: float) -> float:
        """How many sequences of so many tokens each cost more in one pool than another pass over the weights does.

        From there on it pays to give each cells of its own, even while some of them stay behind in the pool. Infinite
        when looking past cells costs nothing.
        """
        fixed, _, cell = self._parts()
        if math.isnan(fixed):
            return FIRST_GUESS
        if cell <= 0.0:
            return math.inf
        # n sequences pass over the n - 1 others' cells: cell * n * (n - 1) * tokens against `fixed`.
        return 0.5 + math.sqrt(0.25 + max(0.0, fixed) / (cell * max(1.0, tokens)))

    def _parts(self) -> tuple[float, float, float]:
        """Seconds of each part; not a number as long as the steps were too few, or too much alike."""
        scale = np.sqrt(np.diag(self._sums))
        if self._steps < _LEAST_STEPS or not scale.all():
            return math.nan, math.nan, math.nan
        alike = self._sums / np.outer(scale, scale)
        if np.linalg.eigvalsh(alike)[0] < _SPREAD:
            return math.nan, math.nan, math.nan
        fixed, row, cell = np.linalg.solve(alike, self._targets / scale) / scale
        return float(fixed), float(row), float(cell)
