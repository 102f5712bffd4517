"""How fast each worker computes at this moment, from the totals that it reports about once a second.

Tokens are divided by the time that its steps took, so pauses between requests make nothing look slow. Pure: figures in,
figures out, with the time as a number that the caller brings.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from itertools import pairwise

from runner.protocol.events import Stats

WINDOW = 5.0  # seconds that a rate looks back


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens in a second, all requests together: generated ones, and those of prompts that were computed."""

    decode: float = 0.0
    prefill: float = 0.0


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    decoded: int
    prefilled: int
    spent: float  # seconds in steps


class Rates:
    """One series of reports for each run of a worker."""

    def __init__(self) -> None:
        self._series: dict[int, deque[_Sample]] = {}

    def add(self, run: int, stats: Stats, now: float) -> None:
        """A worker has reported. Its totals only grow."""
        spent = (stats.fill_ns + stats.wait_ns + stats.sample_ns + stats.post_ns) / 1e9
        samples = self._series.setdefault(run, deque([_Sample(now - WINDOW, 0, 0, 0.0)]))
        samples.append(_Sample(now, stats.completion_tokens, stats.prompt_tokens, spent))
        # One sample from before the window stays: what came since then is counted from it.
        while len(samples) > 2 and samples[1].at <= now - WINDOW:
            samples.popleft()

    def of(self, run: int, now: float) -> Rate:
        """What a worker did in the last few seconds; nothing for one that was idle, or is unknown."""
        samples = self._series.get(run, ())
        inside = [(before, after) for before, after in pairwise(samples) if after.at > now - WINDOW]
        if not inside:
            return Rate()
        first, last = inside[0][0], inside[-1][1]
        spent = last.spent - first.spent
        if spent <= 0:
            return Rate()
        return Rate((last.decoded - first.decoded) / spent, (last.prefilled - first.prefilled) / spent)

    def forget(self, run: int) -> None:
        """The worker has gone."""
        self._series.pop(run, None)
