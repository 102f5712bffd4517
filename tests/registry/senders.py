"""Senders of a file's bytes that live in memory, and the disks that they are written to."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from registry.disk import Disk
from registry.errors import Unreachable
from registry.transfer.incoming import Incoming

CHUNK = 1024


@dataclass
class Sender:
    """Sends `data` in chunks; `asked` is its log, `spans` the bytes that each answer brought.

    `ranges` False sends everything to everybody. `before` is called with the offset of each chunk ahead of sending it,
    and may raise. `answer` changes what an answer says of itself.
    """

    data: bytes
    version: str = "v1"
    ranges: bool = True
    before: Callable[[int], None] = lambda at: None
    answer: Callable[[Incoming], Incoming] = lambda incoming: incoming
    asked: list[tuple[int, int | None]] = field(default_factory=list)
    spans: list[list[int]] = field(default_factory=list)

    @property
    def sent(self) -> int:
        """Bytes that have left."""
        return sum(stop - start for start, stop in self.spans)

    @contextmanager
    def open_at(self, start: int, stop: int | None) -> Iterator[Incoming]:
        """An Opener."""
        self.asked.append((start, stop))
        dropped = threading.Event()
        ranged = self.ranges and (start, stop) != (0, None)
        first, last = (start, len(self.data) if stop is None else stop) if ranged else (0, len(self.data))

        def chunks() -> Iterator[bytes]:
            span = [first, first]
            self.spans.append(span)
            for at in range(first, last, CHUNK):
                self.before(at)
                if dropped.is_set():
                    raise ConnectionAbortedError("hung up")
                piece = self.data[at : min(at + CHUNK, last)]
                span[1] = at + len(piece)
                yield piece

        end, total = (last, len(self.data)) if ranged else (None, None)
        try:
            yield self.answer(Incoming(first, chunks(), self.version, end, total, dropped.set))
        except ConnectionError as error:  # as for HTTP: whoever reads the chunks gets it raw
            raise Unreachable(str(error)) from error

    def sent_twice(self) -> int:
        """Bytes that left more than once."""
        seen = bytearray(len(self.data))
        twice = 0
        for start, stop in self.spans:
            twice += sum(seen[start:stop])
            seen[start:stop] = b"\1" * (stop - start)
        return twice


class LosingDisk(Disk):
    """A disk whose power can be cut: what wasn't synced by then is there, or zeros, or not there, as chance has it.

    Each write since a file's last sync is kept or lost by itself, as pages are; a lost one leaves zeros where a later
    one was kept. Names are kept once their folder is synced.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._names: dict[int, Path] = {}
        self._durable: dict[Path, bytes] = {}
        self._pending: dict[Path, list[tuple[int, bytes]]] = {}
        self._unnamed: set[Path] = set()
        self.syncs = 0

    def create(self, path: Path) -> int:
        fd = super().create(path)
        self._opened(fd, path, True)
        return fd

    def reopen(self, path: Path) -> int:
        new = not path.exists()
        fd = super().reopen(path)
        self._opened(fd, path, new)
        return fd

    def _opened(self, fd: int, path: Path, new: bool) -> None:
        with self._lock:
            self._names[fd] = path
            if new:
                self._unnamed.add(path)
            self._durable[path] = path.read_bytes()
            self._pending[path] = []

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        import os

        at = os.lseek(fd, 0, os.SEEK_CUR)
        super().write(fd, data)
        with self._lock:
            self._pending[self._names[fd]].append((at, bytes(data)))

    def write_at(self, fd: int, offset: int, data: bytes | bytearray | memoryview) -> None:
        super().write_at(fd, offset, data)
        with self._lock:
            self._pending[self._names[fd]].append((offset, bytes(data)))

    def truncate(self, fd: int, size: int) -> None:
        super().truncate(fd, size)
        with self._lock:
            path = self._names[fd]
            self._durable[path] = self._durable[path][:size].ljust(size, b"\0")
            self._pending[path] = []

    def sync(self, fd: int) -> None:
        with self._lock:
            path = self._names[fd]
            pending, self._pending[path] = self._pending[path], []
            self._durable[path] = _applied(self._durable[path], pending)
            self.syncs += 1

    def sync_dir(self, path: Path) -> None:
        with self._lock:
            self._unnamed = {each for each in self._unnamed if each.parent != path}

    def cut_power(self, chance: random.Random) -> None:
        """Leave on the real disk what a power cut would."""
        with self._lock:
            for path, durable in self._durable.items():
                if path in self._unnamed and chance.random() < 0.5:
                    path.unlink(missing_ok=True)
                elif path.exists():
                    kept = [each for each in self._pending[path] if chance.random() < 0.5]
                    path.write_bytes(_applied(durable, kept))


def _applied(data: bytes, writes: list[tuple[int, bytes]]) -> bytes:
    made = bytearray(data)
    for at, piece in writes:
        if len(made) < at:
            made.extend(bytes(at - len(made)))
        made[at : at + len(piece)] = piece
    return bytes(made)
