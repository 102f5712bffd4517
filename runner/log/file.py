"""The daemon's log file: appended to, begun anew when it is full or was moved away, with some of those before it kept.

A disk that takes no more costs lines, with one warning, and nothing else. Knows bytes, not records.
"""

from __future__ import annotations

import errno
import os
import re
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

_LOOK = 1.0  # seconds between two looks whether the file is still the one at its path
_PAUSE = 5.0  # seconds until a file that couldn't be written is tried again


class File:
    """`size` is in bytes, `files` how many old ones are kept. `trouble` is told, once, why lines are being lost, and
    `note` gives the line that says how many were. One thread at a time."""

    def __init__(
        self,
        path: Path,
        size: int,
        files: int,
        trouble: Callable[[str], None],
        note: Callable[[str], bytes],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.path = path
        self.size = size
        self.files = files
        self._trouble = trouble
        self._note = note
        self._clock = clock
        self._file: int | None = None
        self._length = 0
        self._looked = 0.0
        self._again = float("-inf")  # when to try again
        self._lost = 0

    @property
    def is_open(self) -> bool:
        """True once something was written, and until something couldn't be."""
        return self._file is not None

    def write(self, line: bytes) -> None:
        """Append a whole line, or lose it. Raises nothing."""
        now = self._clock()
        if self._file is None and now < self._again:
            self._lost += 1
            return
        try:
            self._ready(now)
            if self._lost:
                self._append(self._note(f"{self._lost} lines before this one are lost: the file could not be written"))
                self._lost = 0
            self._append(line)
        except OSError as error:
            self.close()
            self._lost += 1
            self._again = now + _PAUSE
            if self._lost == 1:
                self._trouble(f"{self.path} cannot be written, log lines are lost: {error.strerror or error}")

    def open(self) -> bool:
        """Have the file there before its first line. False when it can't be."""
        with suppress(OSError):
            self._ready(self._clock())
        return self.is_open

    def reopen(self) -> None:
        """Go on in the file at the path, whether that is still the same one or not."""
        self.close()
        self._again = float("-inf")

    def close(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _ready(self, now: float) -> None:
        """Have the right file open."""
        if self._file is not None and now - self._looked >= _LOOK:
            self._looked = now
            here = os.fstat(self._file)
            self._length = here.st_size
            try:
                is_same = os.path.samestat(here, os.stat(self.path))
            except FileNotFoundError:
                is_same = False
            if not is_same:
                self.close()
        if self._file is None:
            self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
            self._length = os.fstat(self._file).st_size
            self._looked = now

    def _append(self, line: bytes) -> None:
        if self._length and self._length + len(line) > self.size:
            self._rotate()
        assert self._file is not None
        written = os.write(self._file, line)
        if written < len(line):  # half a line is worse than none
            os.ftruncate(self._file, self._length)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._length += written

    def _rotate(self) -> None:
        self.close()
        for number in range(self.files - 1, 0, -1):
            with suppress(FileNotFoundError):
                self._old(number).replace(self._old(number + 1))
        with suppress(FileNotFoundError):
            if self.files:
                self.path.replace(self._old(1))
            else:
                self.path.unlink()
        for each in self.path.parent.glob(f"{self.path.name}.*"):
            end = each.name.removeprefix(f"{self.path.name}.")
            if re.fullmatch("[1-9][0-9]{0,5}", end) and int(end) > self.files:
                with suppress(OSError):
                    each.unlink()
        self._ready(self._clock())

    def _old(self, number: int) -> Path:
        return self.path.with_name(f"{self.path.name}.{number}")
