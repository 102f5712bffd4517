"""From a wanted ranking to scores.

A head with one output gives any number, which a sigmoid brings between 0 and 1, as clients of rerankers expect; of one
with several, the first is the yes of a model that has weighed it against the no itself.
"""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Callable

from runner.errors import RunnerError
from runner.inference.embed import pooled, timings_of
from runner.inference.requests import Ranked
from runner.scheduler.loop import Scheduler
from runner.scheduler.ticket import Want


async def ranked(scheduler: Scheduler, want: Want, arrived_ns: int, clock_ns: Callable[[], int]) -> Ranked:
    """Submit a Rank and read its scores. Raises what the scheduler or the worker fails it with."""
    vectors, admission, leg = await pooled(scheduler, want)
    scores = scores_of(vectors.data, vectors.width)
    made = Ranked(scores, vectors.usage.prompt_tokens, timings_of(vectors, admission, clock_ns() - arrived_ns))
    leg.take(made)
    return made


def scores_of(data: bytes, width: int) -> tuple[float, ...]:
    """One for each vector of `width` little-endian float32 values. Raises RunnerError for what is no number."""
    values = array("f", data)
    if sys.byteorder == "big":
        values.byteswap()
    firsts = values[::width]
    if any(math.isnan(value) for value in firsts):
        raise RunnerError("the model gave a score that is no number")
    return tuple(_sigmoid(value) for value in firsts) if width == 1 else tuple(firsts)


def _sigmoid(value: float) -> float:
    if value >= 0:
        return 1 / (1 + math.exp(-value))
    return math.exp(value) / (1 + math.exp(value))
