"""Stamps: what a blob's file looked like when its hash was last found right.

A stamp only saves work: where it is missing or differs, the blob is hashed again. So none of this needs
to be durable, and failing to write one is no error.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path

from registry.digests import Digest

_LIMIT = 1024


class Stamps:
    """One small file per blob, in a folder of their own."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def fits(self, digest: Digest, status: os.stat_result) -> bool:
        """Whether the file is the same as when it was stamped, as far as the file system tells."""
        try:
            with open(self._folder / digest.file_name, "rb") as file:
                return bool(json.loads(file.read(_LIMIT)) == list(stamp_of(status)))
        except (OSError, ValueError):
            return False

    def put(self, digest: Digest, status: os.stat_result) -> None:
        """Note that a file with this status has just hashed right."""
        with suppress(OSError):
            self._folder.mkdir(parents=True, exist_ok=True)
            (self._folder / digest.file_name).write_text(json.dumps(stamp_of(status)))

    def forget(self, digest: Digest) -> None:
        """Remove a stamp; missing is fine."""
        with suppress(OSError):
            (self._folder / digest.file_name).unlink(missing_ok=True)


def stamp_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file is written to."""
    # The change time can't be set from outside, so a file rewritten under its old date is noticed too.
    return (status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino)
