"""One download: from wherever its bytes can be had, from where it stopped, until all are there or it is hopeless.

Knows neither URLs nor hashes. The source opens streams; whether the bytes are right, the blobs decide.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass

from registry.errors import Cancelled, Unreachable
from registry.ingest import Ingest
from registry.progress import Cancel

WAITS = (0.5, 1.0, 2.0, 4.0, 8.0)
"""Seconds to wait before each further try while nothing arrives; bytes that arrive start the list anew."""

_SLICE = 0.1


@dataclass(frozen=True, slots=True)
class Incoming:
    """Bytes on their way: `start` is where in the file they begin, which need not be where we asked.

    `version` is the sender's word for this state of the file (an ETag), or empty: parts of two versions don't fit.
    """

    start: int
    chunks: Iterator[bytes]
    version: str = ""


Opener = Callable[[int, int | None], AbstractContextManager[Incoming]]
"""Opens a file's bytes from an offset on, up to a second one (exclusive) or to the end."""


def download(
    open_at: Opener,
    ingest: Ingest,
    size: int,
    arrived: Callable[[int], None],
    cancelled: Cancel,
    waits: tuple[float, ...] = WAITS,
) -> None:
    """Fill `ingest` to `size` bytes. `arrived` is told how many there are after every chunk.

    Raises Unreachable when `waits` are used up, Cancelled, or a StorageFault. What has arrived stays in the
    ingest.
    """
    if ingest.size > size:
        ingest.restart()
    tries = 0
    best = ingest.size
    while ingest.size < size:
        try:
            _receive(open_at, ingest, size, arrived, cancelled)
        except Unreachable:
            # Only bytes that were never there before count as getting on: a server whose file is shorter
            # than it said would have us begin anew for ever.
            tries = 1 if ingest.size > best else tries + 1
            best = max(best, ingest.size)
            if tries > len(waits):
                raise
            _wait(waits[tries - 1], cancelled)


def _receive(open_at: Opener, ingest: Ingest, size: int, arrived: Callable[[int], None], cancelled: Cancel) -> None:
    with open_at(ingest.size, None) as incoming:
        if incoming.start != ingest.size:
            # A server that ignores ranges begins at the beginning; anything else is beyond repair.
            if incoming.start != 0:
                raise Unreachable(f"asked for bytes from {ingest.size} on, got them from {incoming.start} on")
            ingest.restart()
        for chunk in incoming.chunks:
            room = size - ingest.size
            ingest.write(chunk[:room] if len(chunk) > room else chunk)
            arrived(ingest.size)
            if cancelled():
                raise Cancelled("cancelled while downloading; what has arrived is kept for the next try")
            if len(chunk) >= room:
                return
    if ingest.size < size:
        raise Unreachable(f"the connection ended after {ingest.size} of {size} bytes")


def _wait(seconds: float, cancelled: Cancel) -> None:
    until = time.monotonic() + seconds
    while (left := until - time.monotonic()) > 0:
        if cancelled():
            raise Cancelled("cancelled while waiting to try again; what has arrived is kept")
        time.sleep(min(left, _SLICE))
