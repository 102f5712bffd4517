"""When a download in parts is made durable: so often that a power cut costs no more than a part.

What a sync is under way for, what came since, and the blocks that aren't noted yet stay less than a part together.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

from registry.ingest import Ingest
from registry.transfer.journal import Journal


class Syncs:
    """`part` is a part's bytes, `changed` the lock of the download that this belongs to."""

    def __init__(self, ingest: Ingest, journal: Journal, part: int, changed: threading.Condition) -> None:
        self._ingest = ingest
        self._journal = journal
        self._part = part
        self._changed = changed
        self._new = 0
        self._is_running = False

    def is_time(self, count: int, over: Callable[[], bool]) -> bool:
        """Whether the caller is to `run` this, now that `count` bytes more are there. Under the lock.

        Waits where the disk is slower than the network, unless all is `over`.
        """
        self._new += count
        while self._is_running and self._new >= self._part * 3 // 8 and not over():
            self._changed.wait()
        if self._is_running or self._new < self._part // 4:
            return False
        self._is_running = True
        self._new = 0
        return True

    def run(self) -> None:
        """Make durable what is there: first the bytes, then the journal's word. Without the lock."""
        try:
            self._ingest.sync()
            self._journal.sync()
        finally:
            with self._changed:
                self._is_running = False
                self._changed.notify_all()
