"""One file under way into the store: written aside, hashed as it grows, then sealed or abandoned.

Knows neither what the bytes mean nor what they will be called; `blobs` decides that.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from registry.digests import CHUNK, Digest
from registry.disk import Disk, storage
from registry.errors import Cancelled


class Ingest:
    """Owned by one thread. After `seal`, `keep` or `abandon` it is spent.

    `path` is where the bytes lie, `size` how many there are, `resumed` how many were found from an earlier try.
    """

    def __init__(self, disk: Disk, path: Path, fd: int) -> None:
        self.path = path
        self.size = 0
        self.resumed = 0
        self._disk = disk
        self._fd = fd
        self._state = hashlib.sha256()

    @classmethod
    def create(cls, disk: Disk, path: Path) -> Ingest:
        """Begin a file that must not exist yet."""
        with storage("beginning a file", path):
            return cls(disk, path, disk.create(path))

    @classmethod
    def resume(cls, disk: Disk, path: Path, cancelled: Callable[[], bool] | None = None) -> Ingest:
        """Go on with a file from an earlier try, hashing what is there; begins one if there is none."""
        with storage("going on with a file", path):
            ingest = cls(disk, path, disk.reopen(path))
        try:
            ingest._hash_existing(cancelled)
        except BaseException:
            ingest.keep()
            raise
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

    def abandon(self) -> None:
        """Close and remove, as far as the disk lets us: called while another error is on its way."""
        self.keep()
        with suppress(OSError):
            self._disk.remove(self.path)

    def _hash_existing(self, cancelled: Callable[[], bool] | None) -> None:
        buffer = bytearray(CHUNK)
        view = memoryview(buffer)
        os.lseek(self._fd, 0, os.SEEK_SET)
        with storage("reading what an earlier try fetched", self.path):
            while got := self._disk.read_into(self._fd, view):
                self.count(view[:got])
                if cancelled is not None and cancelled():
                    raise Cancelled("cancelled while reading what an earlier try fetched")
            # Bytes are appended next: at the end of what was read, wherever the file ends.
            if os.fstat(self._fd).st_size != self.size:
                self._disk.truncate(self._fd, self.size)
        self.resumed = self.size
