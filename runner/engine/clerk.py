"""Reads and writes saved states on a thread of its own, so that no step ever waits for a disk.

Orders come from the loop, and what came of them goes into its inbox.
"""

from __future__ import annotations

import queue
import threading
import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import count, islice

from runner.engine.archive import Archive
from runner.engine.pace import Recent
from runner.engine.shelf import FILES, Saved
from runner.llama.state import Data

MOST = 512 * 1024 * 1024  # bytes that may wait to be written
_TELLING = 256 * 1024  # bytes: what writing fewer takes tells little of what a byte takes
_PACE = 2.5e-9  # seconds that hashing and writing a byte takes, until it is known
_LAST = 0.5  # seconds for the write that is under way at the end


@dataclass(frozen=True, slots=True)
class Listed:
    """What the files of earlier workers hold, the one used last at the end."""

    saved: tuple[Saved, ...]


@dataclass(frozen=True, slots=True)
class Fetched:
    """A state was read; `data` is None when its file is gone or no good."""

    saved: Saved
    data: Data | None


@dataclass(frozen=True, slots=True)
class Filed:
    """A state is in this file now."""

    saved: Saved
    file: str


News = Listed | Fetched | Filed


@dataclass(order=True, slots=True)
class _Order:
    """Something to do: reads first, since a request waits for each, and the end last. `instead` are files to drop."""

    rank: int
    number: int
    saved: Saved | None = field(compare=False)
    data: Data | None = field(compare=False, default=None)
    instead: tuple[str, ...] = field(compare=False, default=())


_READ, _WRITE, _DROP, _END = range(4)


class Clerk:
    """`tell` is called on the clerk's thread. All other methods are for the loop's."""

    def __init__(self, archive: Archive, tell: Callable[[News], None]) -> None:
        self._archive = archive
        self._tell = tell
        self._orders: queue.PriorityQueue[_Order] = queue.PriorityQueue()
        self._numbers = count()
        self._pending = 0  # bytes to write; the lock is for it alone
        self._lock = threading.Lock()
        self._byte = Recent()
        self._deadline = float("inf")
        self._thread = threading.Thread(target=self._run, name="prefix files", daemon=True)
        self._thread.start()

    def read(self, saved: Saved) -> None:
        """Order a state that is in a file; Fetched will follow."""
        self._put(_READ, saved)

    @property
    def pace(self) -> float:
        """Seconds that writing a byte takes here."""
        return self._byte.value or _PACE

    @property
    def room(self) -> int:
        """Bytes that there is room for."""
        return self._archive.room()

    def write(self, saved: Saved, instead: Sequence[str] = ()) -> bool:
        """Order a state to be kept, `instead` of these files; Filed follows if it was.

        False, and nothing is done, with too much on its way already.
        """
        assert saved.data is not None
        with self._lock:
            if self._pending + saved.data.nbytes > MOST:
                return False
            self._pending += saved.data.nbytes
        self._put(_WRITE, saved, saved.data, tuple(instead))
        return True

    def drop(self, files: Sequence[str]) -> None:
        """Have files removed that others replace."""
        if files:
            self._put(_DROP, None, instead=tuple(files))

    def close(self, seconds: float) -> None:
        """Finish what was ordered, as far as it can be begun in time."""
        self._deadline = time.monotonic() + seconds
        self._put(_END, None)
        self._thread.join(seconds + _LAST)

    def _put(self, rank: int, saved: Saved | None, data: Data | None = None, instead: tuple[str, ...] = ()) -> None:
        self._orders.put(_Order(rank, next(self._numbers), saved, data, instead))

    def _run(self) -> None:
        self._tell(Listed(self._list()))
        while (order := self._orders.get()).rank != _END:
            if order.saved is None:
                self._drop(order.instead)
            elif time.monotonic() >= self._deadline:
                continue
            elif order.data is None:
                self._tell(Fetched(order.saved, self._read(order.saved)))
            elif self._write(order.saved, order.data):
                self._drop(order.instead)

    def _list(self) -> tuple[Saved, ...]:
        try:
            listed = [
                Saved(tokens, None, name, adapters) for name, tokens, adapters in islice(self._archive.listed(), FILES)
            ]
        except Exception:  # noqa: BLE001 -- every request waits for the list
            traceback.print_exc()
            return ()
        return tuple(reversed(listed))

    def _read(self, saved: Saved) -> Data | None:
        try:
            return self._archive.read(saved.file or "", saved.tokens, saved.adapters)
        except Exception:  # noqa: BLE001 -- whatever it was, a request waits for the answer
            traceback.print_exc()
            return None

    def _drop(self, files: Sequence[str]) -> None:
        for file in files:
            self._archive.drop(file)

    def _write(self, saved: Saved, data: Data) -> bool:
        name, began = None, time.monotonic()
        try:
            name = self._archive.write(saved.tokens, data, saved.adapters)
        except Exception:  # noqa: BLE001 -- a prefix less; the worker goes on
            traceback.print_exc()
        with self._lock:
            self._pending -= data.nbytes
        if name is not None:
            if data.nbytes >= _TELLING:
                self._byte.add((time.monotonic() - began) / data.nbytes)
            self._tell(Filed(saved, name))
        return name is not None
