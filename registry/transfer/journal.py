"""The journal of a download: an append-only file beside the bytes that says which of them have arrived.

Each note carries the CRC-32 of the bytes that it is about, so that bytes which never reached the disk are noticed, and
one of its own, so that a note which did not is passed over. Knows nothing of networks.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Self

from registry.disk import Disk, storage
from registry.transfer.parts import Extent, Shape

_MAGIC = b"RUNNERJ1"
_HEAD = struct.Struct("<8sQQI")  # magic, the file's bytes, bytes of a part, CRC of these
_NOTE = struct.Struct("<QQII")  # start, bytes, their CRC, CRC of these
_VERSION = 2**64 - 1  # a start that no byte has: this note is about the sender's word for the file's version


class Journal:
    """Owned by one download; calls come one at a time, but for `sync`. `shape` is what its file is cut into."""

    def __init__(self, disk: Disk, path: Path, fd: int, size: int, shape: Shape) -> None:
        self.path = path
        self.shape = shape
        self._disk = disk
        self._fd = fd
        self._size = size
        self._end = _HEAD.size

    @classmethod
    def begin(cls, disk: Disk, path: Path, size: int, shape: Shape) -> Self:
        """A new journal in the place of any old one; durable, name and all, when this returns."""
        with storage("beginning a journal", path):
            disk.remove(path)
            journal = cls(disk, path, disk.create(path), size, shape)
            try:
                journal._write_head()
                disk.sync(journal._fd)
                disk.sync_dir(path.parent)
            except BaseException:
                journal.close()
                raise
        return journal

    @classmethod
    def resume(cls, disk: Disk, path: Path, size: int) -> tuple[Self, str | None, list[Extent]] | None:
        """Go on with a journal: itself, the mark of the version noted last, and what has arrived by its word.

        None if there is none, or none that can be trusted for a file of `size` bytes.
        """
        with storage("reading a journal", path):
            fd = disk.reopen(path)
            try:
                data = _read(fd)
                shape = _head(data, size)
                if shape is None:
                    disk.close(fd)
                    return None
                whole = (len(data) - _HEAD.size) // _NOTE.size * _NOTE.size + _HEAD.size
                disk.truncate(fd, whole)  # a note that was cut short would put all later ones out of step
            except BaseException:
                with suppress(OSError):
                    os.close(fd)
                raise
        journal = cls(disk, path, fd, size, shape)
        journal._end = whole
        version: str | None = None
        extents: list[Extent] = []
        for start, length, crc in _notes(data[_HEAD.size : whole]):
            if start == _VERSION:
                version = f"{crc:08x}"
            elif length <= shape.part:
                extents.append(Extent(start, start + length, crc))
        return journal, version, extents

    def note(self, extent: Extent) -> None:
        """Write down that these bytes have been written."""
        self._append(extent.start, extent.stop - extent.start, extent.crc or 0)

    def note_version(self, version: str) -> None:
        """Write down what the sender calls this state of the file."""
        self._append(_VERSION, 0, zlib.crc32(version.encode()))

    def restart(self) -> None:
        """Forget everything."""
        with storage("beginning a journal again", self.path):
            self._disk.truncate(self._fd, 0)
            self._write_head()
        self._end = _HEAD.size

    def sync(self) -> None:
        """Return once all notes are durable."""
        with storage("making a journal durable", self.path):
            self._disk.sync(self._fd)

    def close(self) -> None:
        """Close the file and leave it there."""
        fd, self._fd = self._fd, -1
        if fd >= 0:
            with suppress(OSError):
                self._disk.close(fd)

    def _write_head(self) -> None:
        head = _HEAD.pack(_MAGIC, self._size, self.shape.part, 0)[:-4]
        self._disk.write(self._fd, head + struct.pack("<I", zlib.crc32(head)))

    def _append(self, start: int, length: int, crc: int) -> None:
        note = _NOTE.pack(start, length, crc, 0)[:-4]
        with storage("writing a journal", self.path):
            try:
                self._disk.write(self._fd, note + struct.pack("<I", zlib.crc32(note)))
            except OSError:
                with suppress(OSError):  # half a note would put those after it out of step
                    self._disk.truncate(self._fd, self._end)
                raise
        self._end += _NOTE.size


def mark(version: str) -> str:
    """How a version is told from another in a journal."""
    return f"{zlib.crc32(version.encode()):08x}"


def _read(fd: int) -> bytes:
    os.lseek(fd, 0, os.SEEK_SET)
    with open(fd, "rb", closefd=False) as file:
        return file.read()


def _head(data: bytes, size: int) -> Shape | None:
    if len(data) < _HEAD.size:
        return None
    magic, told, part, crc = _HEAD.unpack_from(data)
    if magic != _MAGIC or told != size or not part or crc != zlib.crc32(data[: _HEAD.size - 4]):
        return None
    return Shape.cut(part)


def _notes(data: bytes) -> Iterator[tuple[int, int, int]]:
    for at in range(0, len(data), _NOTE.size):
        start, length, crc, check = _NOTE.unpack_from(data, at)
        if check == zlib.crc32(data[at : at + _NOTE.size - 4]):
            yield start, length, crc
