"""The worker's signs of life: a Beat a second, from a thread that does nothing else.

So the daemon can tell a worker that computes for long from one that is stopped, or stuck. Knows no step, only since
when one has been going on. What will hold up even this thread is announced.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from runner.engine.outbox import Outbox
from runner.protocol.events import Beat

_SECONDS = 1.0


class Heart:
    """Beats from its making on. `begin` and `end` frame a step; they belong to one thread."""

    def __init__(self, outbox: Outbox, each: Callable[[], None] = lambda: None) -> None:
        self._outbox = outbox
        self._each = each
        self._began: float | None = None
        self._silence = 0.0
        self._over = threading.Event()
        threading.Thread(target=self._run, name="heart", daemon=True).start()

    def begin(self) -> None:
        """A step begins, and the one before it has ended."""
        self._began = time.monotonic()

    def end(self) -> None:
        """Nothing is computed any more."""
        self._began = None

    @contextmanager
    def silence(self, most: float) -> Iterator[None]:
        """Inside of this no thread may get to run for `most` seconds. One such thing at a time."""
        self._silence = most
        self._beat()
        try:
            yield
        finally:
            self._silence = 0.0
            self._beat()

    def close(self) -> None:
        """Stop beating."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.is_set():
            self._beat()
            self._each()
            self._over.wait(_SECONDS)

    def _beat(self) -> None:
        began = self._began
        self._outbox.put(Beat(0.0 if began is None else max(0.0, time.monotonic() - began), self._silence))
