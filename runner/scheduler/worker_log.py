"""Where a model's worker writes: one file per model, bounded in size, with the last lines at hand.

Bytes are kept as they come: native libraries write what they like, and a flood costs no more than the two files.
"""

from __future__ import annotations

import logging
import os
from pathlib import Path

log = logging.getLogger(__name__)
LIMIT = 4 * 2**20  # bytes of a file; the one before it is kept too
_TAIL = 4096


class WorkerLog:
    """An open log. A disk that takes no more costs the rest of the log, with one warning, and nothing else."""

    def __init__(self, path: Path, limit: int = LIMIT) -> None:
        self._path = path
        self._limit = limit
        self._tail = b""
        self._file: int | None = None
        self._size = 0
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._open(os.O_APPEND)
        except OSError as error:
            self._give_up(error)

    @property
    def tail(self) -> str:
        """The end of what was written since `begin_tail`, from the beginning of a line where there is one."""
        text = self._tail.decode("utf-8", "replace")
        return (text.partition("\n")[2] if len(self._tail) == _TAIL and "\n" in text else text).strip()

    def write(self, data: bytes) -> None:
        """Append, beginning a new file when this one is full."""
        self._tail = (self._tail + data)[-_TAIL:]
        if self._file is None:
            return
        try:
            for start in range(0, len(data), self._limit):
                self._append(data[start : start + self._limit])
        except OSError as error:
            self._give_up(error)

    def begin_tail(self) -> None:
        """What was written so far explains nothing that comes from now on: `tail` begins here. The file goes on."""
        self._tail = b""

    def close(self) -> None:
        """Close the file; `tail` stays readable."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _append(self, data: bytes) -> None:
        if self._size and self._size + len(data) > self._limit:
            self.close()
            self._path.replace(self._path.with_suffix(".log.1"))
            self._open(os.O_TRUNC)
        if self._file is not None:
            self._size += os.write(self._file, data)

    def _open(self, how: int) -> None:
        self._file = os.open(self._path, os.O_WRONLY | os.O_CREAT | how, 0o600)
        self._size = os.fstat(self._file).st_size

    def _give_up(self, error: OSError) -> None:
        log.warning("%s cannot be written: %s", self._path, error)
        self.close()
