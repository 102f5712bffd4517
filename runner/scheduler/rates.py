"""How fast each worker computes at this moment, from the totals that it reports about once a second.

Pure: figures in, figures out, with the time as a number that the caller brings. Knows no model and no wire.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

from runner.protocol.events import Stats

WINDOW = 5.0  # seconds that a rate looks back
_PERIOD = 1.0  # seconds between two reports of a worker that computes
_SILENCE = 2.5  # seconds without a report, after which time counts as spent without tokens


@dataclass(frozen=True, slots=True)
class Rate:
    """Tokens in a second: generated ones, and those of prompts that were computed."""

    decode: float = 0.0
    prefill: float = 0.0


@dataclass(frozen=True, slots=True)
class _Sample:
    at: float
    decoded: int
    prefilled: int
    is_busy: bool


@dataclass(slots=True)
class _Series:
    samples: deque[_Sample] = field(default_factory=deque)


class Rates:
    """One series of reports for each run of a worker."""

    def __init__(self) -> None:
        self._series: dict[int, _Series] = {}

    def add(self, run: int, stats: Stats, now: float) -> None:
        """A worker has reported."""
        samples = self._series.setdefault(run, _Series()).samples
        sample = _Sample(now, stats.completion_tokens, stats.prompt_tokens, bool(stats.running))
        if samples and not samples[-1].is_busy and samples[-1].at < now - _PERIOD:
            # It was idle, and said nothing: what came since came in the last period.
            last = samples.pop()
            samples.append(_Sample(now - _PERIOD, last.decoded, last.prefilled, is_busy=False))
        samples.append(sample)
        # One sample from before the window stays: what came since then is counted from it.
        while len(samples) > 2 and samples[1].at <= now - WINDOW:
            samples.popleft()

    def of(self, run: int, now: float) -> Rate:
        """What a worker does now; nothing for one that is idle or unknown."""
        series = self._series.get(run)
        if series is None or len(series.samples) < 2 or series.samples[-1].at <= now - WINDOW:
            return Rate()
        samples = series.samples
        last = samples[-1]
        if not last.is_busy and now - last.at > _SILENCE:
            return Rate()
        first = next((one for one, after in zip(samples, list(samples)[1:], strict=False) if after.at > now - WINDOW))
        end = now if now - last.at > _SILENCE else last.at
        seconds = end - first.at
        if seconds <= 0:
            return Rate()
        return Rate((last.decoded - first.decoded) / seconds, (last.prefilled - first.prefilled) / seconds)

    def forget(self, run: int) -> None:
        """The worker has gone."""
        self._series.pop(run, None)
