"""When requests are due at a given rate. Pure; knows no clock."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from runner.bench.shape import Rate


def offsets(rate: Rate, rng: random.Random) -> Iterator[float]:
    """Seconds from the start, without end and never falling; the first is 0. The same seed gives the same times."""
    mean = 1.0 / rate.per_second
    due = 0.0
    while True:
        yield due
        # A gamma distribution of this shape and scale has the mean that the rate asks for, whatever the shape.
        is_steady = math.isinf(rate.burstiness)
        due += mean if is_steady else rng.gammavariate(rate.burstiness, mean / rate.burstiness)
