"""Importance matrices: what was measured of a model for its quantizer, as GGUF or in the older form without a header.

Only looks at where numbers lie, never at the numbers: whoever quantizes reads them. Every length is checked first.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from registry.disk import open_regular
from registry.errors import BadGGUF, BadSource, Truncated
from registry.gguf import format as gguf
from registry.gguf.arrays import Array
from registry.gguf.reader import Header, TensorInfo, read_header

_SUMS, _COUNTS = ".in_sum2", ".counts"
_MOST_ENTRIES = 65_536
_LONGEST_NAME = 255
_LONGEST_DATASET = 4096
_I32 = struct.Struct("<i")
_FLOAT = 4


@dataclass(frozen=True, slots=True)
class Importance:
    """What is known of one tensor's inputs: `count` sums of squares (4-byte floats) from byte `at` of the file.

    They are to be divided by how often was measured: by `counts` floats from byte `counts_at`, of which each stands
    for as many sums as the next, or by `calls` where there are none.
    """

    name: str
    at: int
    count: int
    counts_at: int = 0
    counts: int = 0
    calls: int = 1


@dataclass(frozen=True, slots=True)
class Imatrix:
    """An importance matrix. `datasets` names what was read for it, in `chunks` pieces (0 if unsaid)."""

    path: Path
    entries: tuple[Importance, ...]
    datasets: tuple[str, ...]
    chunks: int


def read_imatrix(path: Path, title: str = "") -> Imatrix:
    """Find the numbers of an importance matrix. Raises BadSource, by its title, for any other file."""
    shown = title or path.name
    fd, status = open_regular(path)
    with open(fd, "rb") as file:
        magic = file.read(4)
        file.seek(0)
        try:
            if magic == gguf.MAGIC:
                return _of_gguf(path, read_header(file.fileno()))
            return _Older(path, file, status.st_size).imatrix()
        except (BadGGUF, struct.error) as error:
            reason = error.reason if isinstance(error, BadGGUF) else "it is cut short"
            raise BadSource(f"{shown}: not an importance matrix: {reason}") from error


def _of_gguf(path: Path, header: Header) -> Imatrix:
    data = header.metadata
    datasets, chunks = data.get("imatrix.datasets"), data.get("imatrix.chunk_count")
    if not isinstance(datasets, Array) or datasets.kind != gguf.STRING or type(chunks) is not int:
        raise BadGGUF("imatrix.datasets or imatrix.chunk_count is missing")
    sums = {each.name.removesuffix(_SUMS): each for each in header.tensors if each.name.endswith(_SUMS)}
    counts = {each.name.removesuffix(_COUNTS): each for each in header.tensors if each.name.endswith(_COUNTS)}
    if not sums or sums.keys() != counts.keys():
        raise BadGGUF("its sums and counts don't belong together")
    entries = tuple(_entry(header, name, each, counts[name]) for name, each in sums.items())
    return Imatrix(path, entries, tuple(str(each) for each in datasets[:16]), max(0, chunks))


def _entry(header: Header, name: str, sums: TensorInfo, counts: TensorInfo) -> Importance:
    if sums.type.name != "F32" or counts.type.name != "F32":
        raise BadGGUF(f"{name}: sums and counts must be F32")
    if sums.count % counts.count:
        raise BadGGUF(f"{name}: {sums.count} sums can't be shared by {counts.count} counts")
    return Importance(
        name, header.data_offset + sums.offset, sums.count, header.data_offset + counts.offset, counts.count
    )


class _Older:
    """The form without a header: per tensor its name, how often it was measured, and as many means as it has columns,
    multiplied by that."""

    def __init__(self, path: Path, file: BinaryIO, size: int) -> None:
        self._path = path
        self._file = file
        self._size = size

    def imatrix(self) -> Imatrix:
        count = self._number(1, _MOST_ENTRIES, "entries")
        entries = tuple(self._entry() for _ in range(count))
        if self._file.tell() == self._size:
            return Imatrix(self._path, entries, (), 0)
        chunks = self._number(0, 2**31 - 1, "chunks")
        if self._file.tell() == self._size:
            return Imatrix(self._path, entries, (), chunks)
        length = self._number(0, _LONGEST_DATASET, "characters of a data set's name")
        dataset = self._file.read(length).decode("utf-8", "replace")
        return Imatrix(self._path, entries, (dataset,) if dataset else (), chunks)

    def _entry(self) -> Importance:
        length = self._number(1, _LONGEST_NAME, "characters of a name")
        name = self._file.read(length)
        if len(name) < length or not name.isascii() or not name.decode("ascii").isprintable():
            raise BadGGUF(f"a tensor's name reads {name[:20]!r}")
        calls = self._number(0, 2**31 - 1, "calls")
        count = self._number(1, (self._size - self._file.tell()) // _FLOAT, "values")
        at = self._file.tell()
        self._file.seek(at + count * _FLOAT, os.SEEK_SET)
        return Importance(name.decode("ascii"), at, count, calls=calls or 1)

    def _number(self, least: int, most: int, what: str) -> int:
        data = self._file.read(_I32.size)
        if len(data) < _I32.size:
            raise Truncated(f"it ends after {self._size} bytes, in the middle of an entry")
        value = int(_I32.unpack(data)[0])
        if not least <= value <= most:
            raise BadGGUF(f"{value} {what}")
        return value
