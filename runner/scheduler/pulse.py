"""Whether a worker lives: when it was last heard of, how long its step may take, and whether memory was short when it
died. Pure; times and counts are given numbers.

A worker that beats is expected to go on beating, unless it can't get to run: on a crowded machine that takes a while.
What the daemon itself missed, because it or the whole machine slept, is nobody's fault.
"""

from __future__ import annotations

import math
from collections.abc import Callable

SILENCE = 4.0  # seconds; a worker beats once a second
STARVED = 30.0  # seconds for one that would run if it were let, or computes without ever coming to its beat
_AGAIN = 1.0  # seconds until it is looked at again
_LATE = 1.0  # seconds; a look that comes so much later than it was due says nothing
SHORTEST = 60.0  # seconds that a step may always take
FIRST = 600.0  # and as long as none has been seen to end: weights may still have to come from a slow disk
_LONGER = 20  # times as long as the longest so far
_APART = 0.5  # seconds at least between two readings: beats that were held up come several at a time


class Pulse:
    """One worker's. Until its first beat nothing is expected of it."""

    def __init__(self) -> None:
        self._heard: float | None = None
        self._allowed = SILENCE
        self._due = 0.0
        self._step = 0.0
        self._longest = 0.0
        self._has_ended = False

    @property
    def due(self) -> float | None:
        """When to look next; None before the first beat."""
        return self._due if self._heard is not None else None

    def heard(self, now: float) -> None:
        """Something came from the worker."""
        if self._heard is not None:
            self._heard = now

    def beat(self, step: float, now: float, silence: float = 0.0) -> str | None:
        """A beat came, of a step that has been going on for so long; what is wrong, if something is.

        The worker says that the next one may be late by the seconds of `silence`.
        """
        self._allowed = SILENCE + silence
        if self._heard is None or now + self._allowed < self._due:
            self._due = now + self._allowed
        self._heard = now
        if step < self._step:
            self._longest, self._has_ended = max(self._longest, self._step), True
        self._step = step
        most = max(SHORTEST, _LONGER * self._longest) if self._has_ended else FIRST
        return f"it has been at one step for {step:.0f} s" if step > most else None

    def look(self, now: float, would_run: Callable[[], bool] = lambda: False) -> str | None:
        """To be called when it is `due`; what is wrong, if something is. `would_run` looks whether the worker is at
        something, or waits for the processor to be."""
        assert self._heard is not None
        if now - self._due > _LATE:
            self._heard = now
        self._due = self._heard + self._allowed
        if now < self._due:
            return None
        if now < self._due - SILENCE + STARVED and would_run():
            self._due = now + _AGAIN
            return None
        return f"it has shown no sign of life for {now - self._heard:.0f} s"


class Shortage:
    """Whether the system ended processes for want of memory about when a worker died.

    It keeps a count of all of them, whoever they were, so only what was counted since the worker's last signs of life
    says something of its death.
    """

    def __init__(self, count: int) -> None:
        self._earlier = self._latest = count
        self._at = -math.inf

    def alive(self, count: int, now: float) -> None:
        """The worker lives, and so many have been ended. Its sign may have been sent before the last of them: so it is
        the reading before this one that counts."""
        if now - self._at >= _APART:
            self._earlier, self._latest, self._at = self._latest, count, now

    def is_to_blame(self, count: int) -> bool:
        """Whether there were more of late, the worker being dead."""
        return count > self._earlier
