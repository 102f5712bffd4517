"""What a worker has done since it began, as numbers that only grow: counts, nanoseconds, and spreads over bounds.

Sums of a dead worker's and its successor's are as good as those of one that lived on, so the daemon adds them up. What
is done with the numbers is not known here.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import msgspec

STEP_TOKENS = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096)
"""Bounds for the tokens of one step."""
STEP_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
"""Bounds for the length of one step."""


class Spread(msgspec.Struct, frozen=True, array_like=True):
    """How often a value fell between which bounds: a count for each bound that it didn't pass, and one for those past
    the last; and the sum of all values. Empty before the first."""

    counts: tuple[int, ...] = ()
    sum: float = 0.0

    def __add__(self, other: Spread) -> Spread:
        """Both together; they are of the same bounds."""
        if not (self.counts and other.counts):
            return self if self.counts else other
        return Spread(tuple(map(sum, zip(self.counts, other.counts, strict=True))), self.sum + other.sum)


class Tally:
    """A spread that still grows."""

    __slots__ = ("_counts", "_sum", "bounds")

    def __init__(self, bounds: Sequence[float]) -> None:
        self.bounds = tuple(bounds)
        self._counts = [0] * (len(bounds) + 1)
        self._sum = 0.0

    def add(self, value: float) -> None:
        """One more value."""
        self._counts[bisect_left(self.bounds, value)] += 1
        self._sum += value

    def spread(self) -> Spread:
        """What has come up to now."""
        return Spread(tuple(self._counts), self._sum)


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """The counters. A step is one round of planning, one decode and what follows from it."""

    steps: int = 0
    ubatches: int = 0  # times that llama.cpp went over the weights; one for each decode, unless it had to split one
    prompt_tokens: int = 0  # computed, those computed again after a preemption included
    completion_tokens: int = 0
    preemptions: int = 0
    fill_ns: int = 0  # planning, and writing the batch
    wait_ns: int = 0  # the decode, and for its logits
    sample_ns: int = 0
    post_ns: int = 0  # text, stop strings, events
    step_tokens: Spread = Spread()
    step_seconds: Spread = Spread()
    drafts: int = 0  # times that tokens were guessed ahead
    drafted_tokens: int = 0
    accepted_tokens: int = 0  # of those, the ones that the model would have chosen
    reused_cells: int = 0  # tokens that needed no computing, because they stood in cells,
    reused_ram: int = 0  # because their state was saved in RAM,
    reused_disk: int = 0  # or in a file
    demotions: int = 0  # prefixes saved when they lost their cells
    embed_steps: int = 0  # decodes of inputs to embed or rank
    embed_inputs: int = 0
    embed_tokens: int = 0
    embed_ns: int = 0

    def __add__(self, other: Totals) -> Totals:
        """Both together, counters only."""
        return Totals(**{name: getattr(self, name) + getattr(other, name) for name in Totals.__struct_fields__})
