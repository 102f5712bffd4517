"""Stamps: what a blob's file looked like when its hash was last found right.

A stamp only saves work: where it is missing or differs, the blob is hashed again. So none of this needs
to be durable, and failing to write one is no error: on a read-only disk they are remembered while the process lives.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from registry.digests import Digest
from registry.disk import Disk, read_file

_LIMIT = 1024


class Stamps:
    """One small file per blob, in a folder of their own."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk
        self._unwritten: dict[Digest, list[int]] = {}

    def fits(self, digest: Digest, status: os.stat_result) -> bool:
        """Whether the file is the same as when it was stamped, as far as the file system tells."""
        return list(stamp_of(status)) in (self._unwritten.get(digest), self._read(digest))

    def put(self, digest: Digest, status: os.stat_result) -> None:
        """Note that a file with this status has just hashed right."""
        try:
            self._disk.make_dir(self._folder)
            fd = self._disk.reopen(self._folder / digest.file_name)
            try:
                self._disk.truncate(fd, 0)
                self._disk.write(fd, json.dumps(list(stamp_of(status))).encode())
            finally:
                self._disk.close(fd)
        except OSError:
            self._unwritten[digest] = list(stamp_of(status))
        else:
            self._unwritten.pop(digest, None)

    def forget(self, digest: Digest) -> None:
        """Remove a stamp; missing is fine."""
        self._unwritten.pop(digest, None)
        with suppress(OSError):
            self._disk.remove(self._folder / digest.file_name)

    def all(self) -> list[tuple[str, os.stat_result]]:
        """Every stamp's file name, with the status of the file."""
        found = []
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    found.append((entry.name, entry.stat(follow_symlinks=False)))
        return found

    def _read(self, digest: Digest) -> object:
        try:
            return json.loads(read_file(self._disk, self._folder / digest.file_name, _LIMIT)[0])
        except (OSError, ValueError, RecursionError):
            return None


def stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is written to."""
    # The change time can't be set from outside, so a file rewritten under its old date is noticed too.
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
