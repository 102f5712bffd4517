"""How fast and how stubbornly: a bandwidth cap that many share, and the waits between tries.

Pure: both say how long to wait and leave the waiting to their callers; clocks are given.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each further try while nothing arrives; bytes that arrive start the list anew."""

LONGEST = 300.0
"""Seconds: a server that wants us to stay away for longer is given up."""

_BURST = 0.1  # seconds: what one may be ahead, so that pieces needn't be cut small


class Pace:
    """At most `rate` bytes a second over all who share it; 0 for no limit. Safe to use from several threads."""

    def __init__(self, rate: int = 0, clock: Callable[[], float] = time.monotonic) -> None:
        self.rate = rate
        self._clock = clock
        self._lock = threading.Lock()
        self._paid = clock() - _BURST  # up to when the bytes so far fill the time

    def take(self, count: int) -> float:
        """Tell that `count` bytes have come; how many seconds to wait before taking more."""
        if self.rate <= 0:
            return 0.0
        with self._lock:
            now = self._clock()
            self._paid = max(self._paid, now - _BURST) + count / self.rate
            return max(self._paid - now, 0.0)


class Patience:
    """Decides after a failed try when to try again, or that it is enough. Under its owner's lock.

    `waits` are seconds, each spread by up to a half either way so that many clients don't come back as one. Tries that
    ran at the same time fail as one: whoever fails tells the `round` that it began in.
    """

    def __init__(
        self,
        waits: tuple[float, ...] = WAITS,
        clock: Callable[[], float] = time.monotonic,
        spread: Callable[[], float] = random.random,
    ) -> None:
        self.round = 0
        self._waits = waits
        self._clock = clock
        self._spread = spread
        self._ready = clock()
        self._tries = 0
        self._best = 0

    @property
    def wait(self) -> float:
        """Seconds until the next try may begin."""
        return max(self._ready - self._clock(), 0.0)

    def began_with(self, done: int) -> None:
        """So many bytes were there to begin with."""
        self._best = done

    def failed(self, began: int, done: int, after: float | None = None, slow: bool = False) -> bool:
        """A try of round `began` failed; True if there will be another.

        `done` is how many bytes are there by now: only what was never there before counts as getting on, lest a server
        whose file is shorter than it said have us begin anew for ever. `after` is how long the server said to wait.
        A `slow` try never counts as getting on.
        """
        if began < self.round:
            return True
        self.round += 1
        self._tries = 1 if done > self._best and not slow else self._tries + 1
        self._best = max(self._best, done)
        if self._tries > len(self._waits) or (after or 0.0) > LONGEST:
            return False
        wait = self._waits[self._tries - 1] * (0.5 + self._spread())
        self._ready = self._clock() + max(wait, after or 0.0)
        return True
