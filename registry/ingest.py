"""One file under way into the store: written aside, hashed as it grows, then sealed or abandoned.

Knows neither what the bytes mean nor what they will be called; `blobs` decides that.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path

from registry.digests import Digest
from registry.disk import Disk, storage


class Ingest:
    """Owned by one thread. After `seal`, `keep` or `abandon` it is spent.

    `path` is where the bytes lie, `size` how many of them are hashed, `resumed` how many the file had from an earlier
    try: those are yet to be hashed. `disk` is what it writes with.
    """

    def __init__(self, disk: Disk, path: Path, fd: int) -> None:
        self.path = path
        self.disk = disk
        self.size = 0
        self.resumed = 0
        self._disk = disk
        self._fd = fd
        self._is_lost = False
        self._state = hashlib.sha256()

    @classmethod
    def create(cls, disk: Disk, path: Path) -> Ingest:
        """Begin a file that must not exist yet."""
        with storage("beginning a file", path):
            return cls(disk, path, disk.create(path))

    @classmethod
    def resume(cls, disk: Disk, path: Path) -> Ingest:
        """Go on with a file from an earlier try; begins one if there is none."""
        with storage("going on with a file", path):
            ingest = cls(disk, path, disk.reopen(path))
            ingest.resumed = os.fstat(ingest.fd).st_size
        return ingest

    @property
    def fd(self) -> int:
        """The open file, for those who fill it by other means than `write`; they call `count` then."""
        return self._fd

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes."""
        with storage("writing", self.path):
            self._disk.write(self._fd, data)
        self._state.update(data)
        self.size += len(data)

    def write_at(self, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write bytes anywhere in the file, from any thread; whoever fills it so calls `count` in order."""
        with storage("writing", self.path):
            self._disk.write_at(self._fd, offset, data)

    def sync(self) -> None:
        """Make durable what has been written so far. A file that fails here is lost: `keep` won't keep it."""
        with storage("making a file durable", self.path):
            try:
                self._disk.sync(self._fd)
            except OSError:
                self._is_lost = True  # what the page cache holds and the disk doesn't would be believed next time
                raise

    def count(self, data: bytes | bytearray | memoryview) -> None:
        """Hash bytes that are in the file already."""
        self._state.update(data)
        self.size += len(data)

    def restart(self) -> None:
        """Throw away what there is and begin again from nothing."""
        with storage("beginning again", self.path):
            self._disk.truncate(self._fd, 0)
        self._state = hashlib.sha256()
        self.size = 0
        self.resumed = 0

    def digest(self) -> Digest:
        """The digest of all bytes so far."""
        return Digest(self._state.hexdigest())

    def seal(self, own: bool = True) -> None:
        """Make the bytes durable and close. `own`: the inode is ours alone, so make it read-only."""
        with storage("making a file durable", self.path):
            if own:
                self._disk.protect(self.path)
            try:
                self._disk.sync(self._fd)
                fd, self._fd = self._fd, -1
                self._disk.close(fd)
            except OSError:
                # What the kernel couldn't write it may now call clean: a later sync of these bytes would succeed
                # and mean nothing. So they are lost, and are not kept for another try.
                self.abandon()
                self.size = 0
                raise

    def keep(self) -> None:
        """Close, and leave the bytes for another try."""
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            with suppress(OSError):
                self._disk.close(fd)
        if self._is_lost:
            with suppress(OSError):
                self._disk.remove(self.path)

    def abandon(self) -> None:
        """Close and remove, as far as the disk lets us: called while another error is on its way."""
        self.keep()
        with suppress(OSError):
            self._disk.remove(self.path)
