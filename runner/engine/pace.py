"""How long steps take on this machine, learned from the steps themselves: a table of times by rows.

It answers how much of a prompt may ride along with decodes, and what another row costs. Knows counts and seconds, no
sequences and no clock.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections import deque
from statistics import median

GOAL = 0.5  # seconds that a step with decodes may last when prompts are computed beside them
LEAST = 16  # prompt tokens that always may, whatever they cost: a prompt is never starved by decodes

_UNKNOWN = 64  # prompt tokens beside decodes as long as nobody knows what they cost
_SAMPLES = 9  # of each figure; the median of them shrugs off what other processes do to single steps
_TELLING = 8  # prompt tokens: fewer are lost in the noise of a step


class Pace:
    """Times of steps, as `observe` is told of them. `budget` is the most rows that a step may have."""

    def __init__(self, budget: int, goal: float = GOAL) -> None:
        self._budget = budget
        self._goal = goal
        self._steps: dict[int, Recent] = {}  # seconds of a step without prompts, by its rows
        self._sizes: list[int] = []  # the keys of `_steps`, in order
        self._token = Recent()  # seconds of one prompt token
        self._is_cold = True

    def observe(self, rows: int, prompt: int, seconds: float) -> None:
        """A step took so long for `rows` rows of decoding sequences and `prompt` tokens of prompts."""
        if self._is_cold:  # the very first reads the weights from disk
            self._is_cold = False
        elif prompt >= _TELLING:
            self._token.add(max(0.0, seconds - self.step(rows)) / prompt)
        elif not prompt and rows:
            size = _size(rows)
            if size not in self._steps:
                self._steps[size] = Recent()
                self._sizes.insert(bisect_left(self._sizes, size), size)
            self._steps[size].add(seconds)

    @property
    def token(self) -> float | None:
        """Seconds that one token of a prompt takes; None when nobody knows yet."""
        return self._token.value

    def chunk(self, decodes: int) -> int:
        """How many prompt tokens may be computed in a step with so many decodes, LEAST to the budget.

        As many as keep the step within the goal; and where decodes alone take half of it or more, as many as take as
        long as these, or prompts would hardly be computed in a crowd.
        """
        if not decodes:
            return self._budget
        token = self._token.value
        if token is None:
            return min(self._budget, _UNKNOWN)
        base = self.step(decodes)
        room = max(self._goal - base, base)
        if room >= token * self._budget:
            return self._budget
        return min(self._budget, max(LEAST, int(room / token)))

    def step(self, rows: int) -> float:
        """Seconds that a step of so many rows and no prompt takes, 0 for none or when nobody knows yet.

        Between and beyond what was seen, rows are taken to cost what they cost there.
        """
        if not rows or not self._sizes:
            return 0.0
        size = _size(rows)
        at = bisect_right(self._sizes, size)
        lower = self._sizes[at - 1] if at else 0
        if lower == size:
            return self._time(size)
        if at == len(self._sizes):
            return self._time(lower) + (rows - lower) * self._slope()
        upper = self._sizes[at]
        if not at:  # fewer rows than were ever seen: their share, as if another row cost as much as any
            return self._time(upper) * rows / upper
        share = (size - lower) / (upper - lower)
        return self._time(lower) * (1 - share) + self._time(upper) * share

    def row(self, rows: int, more: int) -> float:
        """Seconds that each of `more` rows adds to a step of `rows` rows."""
        # What is nearer may be counted with the same size.
        lower, upper = _size(rows), _size(rows + max(more, rows // 4))
        return max(0.0, self.step(upper) - self.step(lower)) / (upper - lower)

    def _time(self, size: int) -> float:
        return self._steps[size].value or 0.0

    def _slope(self) -> float:
        """Seconds of a row beyond the largest step: as it was up to there, at most the average."""
        largest = self._sizes[-1]
        average = self._time(largest) / largest
        if len(self._sizes) > 1:
            lower = self._sizes[-2]
            return min(average, max(0.0, (self._time(largest) - self._time(lower)) / (largest - lower)))
        # A prompt's token costs less, since nothing is drawn from it. A guess that is soon put right: whoever trusts it
        # makes a larger step, and that is known then.
        return (3 * min(self._token.value or 0.0, average) + average) / 4


class Recent:
    """The median of the latest samples of something; None before the first."""

    def __init__(self) -> None:
        self._samples: deque[float] = deque(maxlen=_SAMPLES)
        self.value: float | None = None

    def add(self, sample: float) -> None:
        self._samples.append(sample)
        self.value = median(self._samples)


def _size(rows: int) -> int:
    """The size that steps of so many rows are counted with: every one up to 8, then four to a doubling."""
    if rows <= 8:
        return rows
    step = 1 << (rows.bit_length() - 3)
    return rows // step * step
