"""Log files that are written while they are read: their lines from the end, and those that come, whichever file they
come into. Bytes become lines here; what a line says isn't known.
"""

from __future__ import annotations

import os
import re
import select
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import BinaryIO, Self

_BLOCK = 64 * 1024
_POLL = 0.2  # seconds between two looks


class Log:
    """A log: the file at `path`, and the older ones beside it, which are `path.1` and on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None  # the one being followed
        self._position = 0  # in it, up to which it was read
        self._rest = b""  # of a line that isn't ended yet

    @property
    def exists(self) -> bool:
        """True when there is a file, be it an older one."""
        return bool(self._files())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Let the file go that is followed."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def last_first(self) -> Iterator[str]:
        """All lines there are, the last one first. What is written from now on is what `more` gives."""
        with ExitStack() as stack:
            # All are opened before one is read: what is moved meanwhile is still read, and once.
            files: list[BinaryIO] = []
            for path in self._files():
                with suppress(FileNotFoundError):
                    file: BinaryIO = stack.enter_context(path.open("rb"))
                    if not any(os.path.samestat(os.fstat(file.fileno()), os.fstat(each.fileno())) for each in files):
                        files.append(file)
            ends = [file.seek(0, os.SEEK_END) for file in files]
            if files:
                self._follow(files[0], ends[0])
            for file, end in zip(files, ends, strict=True):
                yield from _backwards(file, end)

    def begin_at_end(self) -> None:
        """What is written from now on is what `more` gives."""
        for _ in self.last_first():
            return

    def more(self) -> list[str]:
        """The lines that were written since the last look, also where another file has taken the place."""
        lines: list[str] = []
        if self._file is not None:
            lines += self._read()
            for path in self._after():
                self._open(path)
                lines += self._read()
        elif self.path.exists():
            self._open(self.path)
            lines += self._read()
        return lines

    def _files(self) -> list[Path]:
        """The files there are, the newest first."""
        old: list[tuple[int, Path]] = []
        with suppress(FileNotFoundError):
            for each in self.path.parent.iterdir():
                end = each.name.removeprefix(f"{self.path.name}.")
                if end != each.name and re.fullmatch("[1-9][0-9]{0,5}", end):
                    old.append((int(end), each))
        return [*([self.path] if self.path.exists() else []), *(path for _, path in sorted(old))]

    def _after(self) -> list[Path]:
        """The files that were begun after the one that is followed, the oldest first."""
        assert self._file is not None
        ours = os.fstat(self._file.fileno())
        with suppress(FileNotFoundError):
            if os.path.samestat(ours, os.stat(self.path)):
                return []
        newer: list[Path] = []
        for path in self._files():
            with suppress(FileNotFoundError):
                if os.path.samestat(ours, os.stat(path)):
                    return newer[::-1]
            newer.append(path)
        return [self.path] if self.path.exists() else []  # ours was moved elsewhere or removed

    def _follow(self, file: BinaryIO, end: int) -> None:
        self.close()
        self._file = os.fdopen(os.dup(file.fileno()), "rb", buffering=0)
        self._position = end
        self._rest = b""

    def _open(self, path: Path) -> None:
        with suppress(FileNotFoundError):
            file = path.open("rb", buffering=0)
            self.close()
            self._file, self._position, self._rest = file, 0, b""

    def _read(self) -> list[str]:
        if self._file is None:
            return []
        if os.fstat(self._file.fileno()).st_size < self._position:  # emptied in its place
            self._position, self._rest = 0, b""
        content = self._rest
        # The place is told each time: the file may share its position with one that is read from its end.
        self._file.seek(self._position)
        while block := self._file.read(_BLOCK):
            content += block
            self._position += len(block)
        whole, _, self._rest = content.rpartition(b"\n")
        return _text(whole).split("\n") if whole else []


def _backwards(file: BinaryIO, end: int) -> Iterator[str]:
    rest = b""
    is_last = True
    while end > 0:
        size = min(_BLOCK, end)
        end -= size
        file.seek(end)
        rest, *lines = (file.read(size) + rest).split(b"\n")
        if is_last and lines and lines[-1] == b"":
            lines.pop()  # behind the last line break is no line
        is_last = False
        yield from (_text(line) for line in reversed(lines))
    if rest:
        yield _text(rest)


def _text(content: bytes) -> str:
    return content.decode("utf-8", "replace")


def wait() -> None:
    """Let some time pass. Raises BrokenPipeError as soon as nobody reads standard output any more."""
    if sys.platform == "win32":
        time.sleep(_POLL)
        return
    watch = select.poll()
    with suppress(OSError, ValueError):  # standard output may be no file at all
        mode = os.fstat(sys.stdout.fileno()).st_mode
        if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode):  # others can't be watched everywhere
            watch.register(sys.stdout.fileno(), 0)
    if any(event & (select.POLLERR | select.POLLHUP) for _, event in watch.poll(_POLL * 1000)):
        raise BrokenPipeError
