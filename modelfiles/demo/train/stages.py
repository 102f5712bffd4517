"""The stages of training as one table: how long, how wide, how fast, on what.

Knows neither the network nor the text; `mix` reads the recipe name, `train` the rest.
"""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stage:
    """One phase. `minutes` is its length on the clock, `rows` is per process."""

    name: str
    minutes: float
    rows: int
    length: int
    peak: float
    hold: float = 0.5
    floor: float = 0.02
    together: bool = False

    def rate(self, done: float) -> float:
        """The learning-rate factor at `done` in [0, 1]: a short warm-up, a hold, then half a cosine down."""
        warmed = min(1.0, done / 0.02 + 0.05)
        if done <= self.hold:
            return self.peak * warmed
        fallen = min(1.0, (done - self.hold) / (1.0 - self.hold))
        return max(self.floor, self.peak * 0.5 * (1.0 + math.cos(math.pi * fallen)))


STAGES = {
    stage.name: stage
    for stage in (
        Stage("mix", minutes=16, rows=5, length=512, peak=0.45, hold=0.7, floor=0.3),
        Stage("skills", minutes=27, rows=5, length=512, peak=0.45, hold=0.45, floor=0.03),
        Stage("long", minutes=4, rows=2, length=2048, peak=0.1, hold=0.3, floor=0.005, together=True),
    )
}
"""In the order of training."""
