"""The hashing of a file while it arrives: a thread that follows the first gap, and is done soon after the last byte.

What an earlier try wrote is compared with the journal's word on the way; a block that differs becomes a gap again.
"""

from __future__ import annotations

import logging
import threading
import zlib
from collections.abc import Callable

from registry.digests import CHUNK
from registry.disk import storage
from registry.ingest import Ingest
from registry.transfer.parts import Extent, Parts

log = logging.getLogger(__name__)


class Frontier:
    """`changed` is the lock that `parts` is under; `failed` is told, under it, what ended the thread early."""

    def __init__(
        self, ingest: Ingest, parts: Parts, changed: threading.Condition, failed: Callable[[BaseException], None]
    ) -> None:
        self._ingest = ingest
        self._parts = parts
        self._changed = changed
        self._failed = failed
        self._wanted = 0
        self._idle = True
        self._held = False
        self._over = False
        self._buffer = bytearray(CHUNK)
        self._thread = threading.Thread(target=self._run, name="hash", daemon=True)

    def start(self) -> None:
        """Begin."""
        self._thread.start()

    def stop(self) -> None:
        """End, after the piece at hand. Without the lock."""
        with self._changed:
            self._over = True
            self._changed.notify_all()
        self._thread.join()

    def hold(self) -> None:
        """Wait until no hashing is under way, and allow none. Under the lock."""
        self._held = True
        while not self._idle:
            self._changed.wait()

    def go_on(self) -> None:
        """Hash again, from where the ingest is now. Under the lock."""
        self._held = False
        self._wanted = 0
        self._changed.notify_all()

    def wants(self) -> bool:
        """Whether there is enough to wake it for. Under the lock."""
        return self._idle and self._parts.prefix >= self._wanted

    def _run(self) -> None:
        try:
            with storage("reading what has arrived", self._ingest.path), self._ingest.path.open("rb", 0) as file:
                while (piece := self._next()) is not None:
                    view = self._read(file.seek, file.readinto, piece)
                    if piece.crc is None or self._is_right(piece, view):
                        self._ingest.count(view)
        except BaseException as error:  # noqa: BLE001  # raised by whoever waits for the download
            with self._changed:
                self._failed(error)
        finally:
            with self._changed:
                self._idle = True
                self._changed.notify_all()

    def _next(self) -> Extent | None:
        """The next piece to hash; None at the end, or when told to stop."""
        with self._changed:
            self._idle = True
            self._changed.notify_all()
            while not self._over and self._ingest.size < self._parts.size:
                piece = None if self._held else self._parts.readable(self._ingest.size, CHUNK)
                if piece is not None:
                    self._idle = False
                    return piece
                # Small pieces would cost more in waking up than in hashing.
                self._wanted = min(self._ingest.size + CHUNK, self._parts.size)
                self._changed.wait()
            return None

    def _read(
        self, seek: Callable[[int], object], readinto: Callable[[memoryview], int | None], piece: Extent
    ) -> memoryview:
        length = piece.stop - piece.start
        if len(self._buffer) < length:
            self._buffer = bytearray(length)
        view = memoryview(self._buffer)[:length]
        seek(piece.start)
        got = 0
        while got < length and (more := readinto(view[got:])):
            got += more
        if got < length and piece.crc is None:
            raise OSError(f"only {got} of {length} bytes could be read")
        return view[:got]

    def _is_right(self, piece: Extent, view: memoryview) -> bool:
        right = len(view) == piece.stop - piece.start and zlib.crc32(view) == piece.crc
        if not right:
            log.warning("bytes %d to %d of %s were lost", piece.start, piece.stop, self._ingest.path.name)
        with self._changed:
            self._parts.compared(piece, right)
            self._changed.notify_all()
        return right
