"""A GGUF's header read at its source: only as many bytes as it has, in as few requests as can be guessed.

Asks any source that opens files from an offset on. What the header means is for others.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from typing import IO

from registry.errors import BadGGUF, Cancelled, Truncated, Unreachable
from registry.gguf.peek import peek, require_known
from registry.gguf.reader import Header, read_header
from registry.progress import Cancel, never
from registry.sources.source import RemoteFile, Source
from registry.transfer.http import SOON
from registry.transfer.incoming import in_time

FIRST = 256 << 10
"""Bytes asked for at first: enough for what has no vocabulary, and for every model's architecture."""
MOST = 64 << 20
"""Bytes of the longest header that is read this way; the longest known ones have 16 MB."""
WAITS = (0.3, 1.0)

_UNIT = 64 << 10


def read_remote_header(
    source: Source,
    file: RemoteFile,
    *,
    first: int = FIRST,
    arrived: Callable[[int], object] = int,
    cancelled: Cancel = never,
    waits: tuple[float, ...] = WAITS,
) -> Header:
    """The header of a file at its source, `first` bytes of it in the first request. Comes after `source.look`.

    `arrived` is told the bytes of every chunk. Raises UnsupportedModel as soon as the architecture is known and isn't
    one of the engine's; BadGGUF naming the file for what is no sound header, or longer than MOST; Cancelled; and what
    opening raises (Unreachable after `waits`, seconds between tries).
    """
    with tempfile.TemporaryFile(buffering=0) as kept:  # it is read through its descriptor as well
        reading = _Reading(source, file, kept, arrived, cancelled, waits)
        goal = first
        while True:
            goal = min(-(-goal // _UNIT) * _UNIT, MOST, file.size)
            reading.up_to(goal)
            try:
                return read_header(kept.fileno(), file_size=file.size)
            except Truncated as error:
                seen = peek(reading.beginning())
                require_known(seen)
                if goal >= min(MOST, file.size):
                    raise Truncated(error.reason, file.title) from None
                goal = max(seen.goal, goal + _UNIT)
            except BadGGUF as error:
                raise BadGGUF(error.reason, file.title) from None


class _Reading:
    """The beginning of a file, which grows."""

    def __init__(
        self,
        source: Source,
        file: RemoteFile,
        kept: IO[bytes],
        arrived: Callable[[int], object],
        cancelled: Cancel,
        waits: tuple[float, ...],
    ) -> None:
        self._open = source.open_at(file)
        self._file = file
        self._kept = kept
        self._arrived = arrived
        self._cancelled = cancelled
        self._waits = waits
        self._size = 0

    def up_to(self, goal: int) -> None:
        """Have the first `goal` bytes."""
        tries = 0
        while self._size < goal:
            try:
                self._receive(goal)
            except Unreachable:
                if tries == len(self._waits):
                    raise
                time.sleep(self._waits[tries])
                tries += 1

    def beginning(self) -> bytes:
        """All that there is."""
        self._kept.seek(0)
        return self._kept.read()

    def _receive(self, goal: int) -> None:
        with self._open(self._size, goal) as incoming, in_time(incoming, SOON, self._file.title):
            if incoming.start not in (0, self._size):
                raise Unreachable(f"{self._file.title}: asked for bytes from {self._size} on, got others")
            # A server that ignores ranges begins at the beginning.
            self._size = incoming.start
            self._kept.truncate(self._size)
            self._kept.seek(self._size)
            for chunk in incoming.chunks:
                self._arrived(len(chunk))
                self._kept.write(chunk[: goal - self._size])
                self._size = min(self._size + len(chunk), goal)
                if self._cancelled():
                    raise Cancelled(f"cancelled while reading the header of {self._file.title}")
                if self._size == goal:
                    break
        if self._size < goal:
            raise Unreachable(f"{self._file.title}: the connection ended after {self._size} of {goal} bytes")
