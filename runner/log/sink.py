"""Where all records of a process go: standard error, and a file where one is kept. Each is written once.

Standard error that is a file among the logs themselves gets only what comes before and after the log.
"""

from __future__ import annotations

import logging
import os
import sys
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

from runner.log.file import File
from runner.log.lines import JournalLine, JsonLine, Line, ZonedLine, request_id
from runner.log.repeats import Repeats


@dataclass(frozen=True, slots=True)
class Keeping:
    """What is kept: files of up to `size` bytes (0 keeps none), `files` before the present one, as `json` or `text`."""

    path: Path
    size: int
    files: int
    form: str


class Sink(logging.Handler):
    """The one handler of a process."""

    def __init__(self) -> None:
        super().__init__()
        self.keeping: Keeping | None = None
        self._stderr: TextIO = sys.stderr
        self._line: Line = JournalLine() if _is_journal(sys.stderr) else Line()
        self._file_line: Line = JsonLine()
        self._file: File | None = None
        self._repeats = Repeats(time.monotonic)

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, and the counts of those that ended with it."""
        try:
            record.request = getattr(record, "request", None) or request_id.get()
            for each in self._repeats.admitted(record):
                self._write(each)
        except Exception:  # noqa: BLE001 -- a record whose arguments don't fit its text; never the business of who logs
            self.handleError(record)

    def keep(self, keeping: Keeping) -> None:
        """Write to a file from now on, in this way; to none where its size is 0."""
        with self._held():
            before, self.keeping = self.keeping, keeping
            self._file_line = JsonLine() if keeping.form == "json" else ZonedLine()
            if self._file is not None and before is not None and before.path == keeping.path and keeping.size:
                self._file.size, self._file.files = keeping.size, keeping.files
                return
            if self._file is not None:
                self._file.close()
            self._file = None
            if keeping.size:
                self._file = File(keeping.path, keeping.size, keeping.files, self._warn, self._note)
                self._file.open()

    def reopen(self) -> None:
        with self._held():
            if self._file is not None:
                self._file.reopen()

    def close(self) -> None:
        with self._held():
            for record in self._repeats.rest():
                self._write(record)
            if self._file is not None:
                self._file.close()
        super().close()

    def _held(self) -> AbstractContextManager[object]:
        assert self.lock is not None
        return self.lock

    def _write(self, record: logging.LogRecord) -> None:
        if self._file is not None:
            self._file.write(_encoded(self._file_line.format(record)))
        if self._file is None or not self._file.is_open or not self._is_among_logs():
            self._say(record)

    def _say(self, record: logging.LogRecord) -> None:
        with suppress(OSError, ValueError):  # nobody reads it any more
            self._stderr.write(self._line.format(record) + "\n")
            self._stderr.flush()

    def _is_among_logs(self) -> bool:
        """True where standard error is a file beside the log, or the log itself."""
        assert self.keeping is not None
        with suppress(OSError, ValueError):
            status = os.fstat(self._stderr.fileno())
            for path in (self.keeping.path, self.keeping.path.with_suffix(".err")):
                with suppress(OSError):
                    if os.path.samestat(status, os.stat(path)):
                        return True
        return False

    def _warn(self, words: str) -> None:
        self._say(_own(logging.WARNING, words))

    def _note(self, words: str) -> bytes:
        return _encoded(self._file_line.format(_own(logging.WARNING, words)))


def _own(level: int, words: str) -> logging.LogRecord:
    return logging.LogRecord("runner.log", level, "", 0, words, None, None)


def _encoded(line: str) -> bytes:
    return (line + "\n").encode("utf-8", "backslashreplace")


def _is_journal(stream: TextIO) -> bool:
    """True where systemd's journal reads the stream: it says so by device and inode."""
    with suppress(OSError, ValueError):
        status = os.fstat(stream.fileno())
        return os.environ.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
    return False
