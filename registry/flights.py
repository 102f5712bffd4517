"""Fetches under way, one for each digest: whoever comes second waits, hears how far the first is, and then looks again.

Knows nothing of what is fetched, or where to.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from registry.digests import Digest
from registry.errors import Cancelled


class Flights:
    """The turns of all threads of this process."""

    def __init__(self) -> None:
        self._turn = threading.Condition()
        self._flights: dict[Digest, _Flight] = {}

    @contextmanager
    def exclusive(
        self, digest: Digest, cancelled: Callable[[], bool] | None = None, heard: Callable[[int], None] | None = None
    ) -> Iterator[Callable[[int], None]]:
        """Hold a digest against other threads while fetching it; raises Cancelled while waiting.

        Whoever holds it tells the function that this gives how many bytes are there; `heard` is told so while waiting.
        """
        flight = _Flight()
        told = -1
        while True:
            with self._turn:
                first = self._flights.setdefault(digest, flight)
                if first is flight:
                    break
                self._turn.wait(0.05)
            if cancelled is not None and cancelled():
                raise Cancelled(f"cancelled while waiting for another fetch of {digest}")
            if heard is not None and first.done > told:
                told = first.done
                heard(told)
        try:
            yield flight.tell
        finally:
            with self._turn:
                del self._flights[digest]
                self._turn.notify_all()


class _Flight:
    """A fetch under way: how far it is, for those who wait for it."""

    def __init__(self) -> None:
        self.done = 0

    def tell(self, done: int) -> None:
        """Say how many bytes are there."""
        self.done = done
