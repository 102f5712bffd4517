"""One process at a time per store: a lock that the kernel drops when its holder dies, however it dies.

Knows nothing of what it guards.
"""

from __future__ import annotations

import errno
import json
import logging
import os
import socket
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from registry.disk import Disk
from registry.errors import Locked

log = logging.getLogger(__name__)

_HELD = {errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK}
_NO_LOCKS = {errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS}
_WORD_LIMIT = 4096


class StoreLock:
    """Held from `acquire` to `release`. The file's text only tells people who holds it."""

    def __init__(self, fd: int | None, disk: Disk) -> None:
        self._fd = fd
        self._disk = disk

    @classmethod
    def acquire(cls, path: Path, guarded: Path, disk: Disk | None = None) -> StoreLock:
        """Take the lock file at `path` for the store `guarded`; raises Locked at once if another has it.

        On a read-only file system, or one without locks, nobody is kept out, and the log says so.
        """
        disk = disk or Disk()
        try:
            fd = _open(path, disk)
        except OSError as error:
            if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise
            log.warning("the store %s can't be locked: %s", guarded, error.strerror)
            return cls(None, disk)
        try:
            _take(fd)
        except OSError as error:
            word = _read(fd)
            os.close(fd)
            if error.errno in _HELD:
                raise Locked(guarded, *word) from error
            if error.errno in _NO_LOCKS:
                log.warning("the file system of %s has no locks; don't open it twice", guarded)
                return cls(None, disk)
            raise
        try:
            _sign(fd, disk)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, disk)

    def release(self) -> None:
        """Let the next one in. Calling it twice is fine."""
        if self._fd is not None:
            fd, self._fd = self._fd, None
            # The file stays: removing it would let two openers hold locks on two files of one name.
            try:
                with suppress(OSError):
                    self._disk.truncate(fd, 0)
            finally:
                os.close(fd)


def _open(path: Path, disk: Disk) -> int:
    try:
        return disk.reopen(path)
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES):
            raise
        # A reader's lock file can still be locked: flock asks for no write permission.
        return disk.open(path)


def _take(fd: int) -> None:
    if sys.platform == "win32":
        import msvcrt

        # Locked bytes can't be read by others on Windows, so lock one far behind the text.
        os.lseek(fd, 1 << 30, os.SEEK_SET)
        msvcrt.locking(fd, msvcrt.LK_NBLCK, 1)
    else:
        import fcntl

        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _sign(fd: int, disk: Disk) -> None:
    word = {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }
    # A full or read-only disk mustn't keep us from our own store: the lock holds without the text.
    with suppress(OSError):
        disk.truncate(fd, 0)
        disk.write(fd, json.dumps(word).encode())


def _read(fd: int) -> tuple[int, str, str]:
    """The holder's pid, host and time; zero and empty texts where it left none."""
    try:
        os.lseek(fd, 0, os.SEEK_SET)
        word = json.loads(os.read(fd, _WORD_LIMIT))
        return int(word["pid"]), str(word["host"])[:255], str(word["since"])[:64]
    except (OSError, ValueError, TypeError, KeyError):
        return 0, "", ""
