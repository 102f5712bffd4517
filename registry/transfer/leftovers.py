"""What an earlier try left of a download: which bytes can be gone on from, and the journal to go on with."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path

from registry.digests import CHUNK
from registry.disk import storage
from registry.errors import Cancelled
from registry.ingest import Ingest
from registry.progress import Cancel
from registry.transfer.journal import Journal
from registry.transfer.parts import Extent, Parts, Shape


def found(
    ingest: Ingest, size: int, path: Path | None, shape: Shape, cancelled: Cancel, certain: bool = True
) -> tuple[Parts, Journal | None, str | None]:
    """The parts, the journal, and the mark of the file's version, of an ingest that shall have `size` bytes.

    A small file has no journal: then what is there counts as its beginning, unless the file isn't `certain`: nothing
    would tell then if it were of another. Raises Cancelled or a StorageFault.
    """
    if ingest.resumed > size or not (certain or (path is not None and path.exists())):
        ingest.restart()
    there = ingest.resumed
    if path is None or (shape.part >= size and not path.exists()):
        parts = Parts(size, Shape.cut(max(size, 1)))
        parts.known(Extent(0, there))
        return parts, None, None
    if there and path.exists():
        resumed = Journal.resume(ingest.disk, path, size)
        if resumed is not None and resumed[1] is None and not certain:
            resumed[0].close()
        elif resumed is not None:
            log, version, extents = resumed
            parts = Parts(size, log.shape)
            for each in extents:
                if each.stop <= there:  # no journal is believed beyond what the file holds
                    parts.known(each)
            return parts, log, version
        # Which bytes of a file with holes are there, only a journal can tell.
        ingest.restart()
        there = 0
    log = Journal.begin(ingest.disk, path, size, shape)
    parts = Parts(size, shape)
    try:
        for each in _checked(ingest, there, shape, cancelled):
            log.note(each)
            parts.known(each)
    except BaseException:
        log.close()
        raise
    return parts, log, None


def _checked(ingest: Ingest, there: int, shape: Shape, cancelled: Cancel) -> Iterator[Extent]:
    """The blocks of a file that an earlier version of Runner fetched from its start on, without a journal."""
    with ingest.path.open("rb", 0) as file:
        start = 0
        while start < there:
            block = file.read(min(shape.block, CHUNK, there - start, shape.part - start % shape.part))
            if not block:
                return
            yield Extent(start, start + len(block), zlib.crc32(block))
            start += len(block)
            if cancelled():
                raise Cancelled("cancelled while reading what an earlier try fetched")


def first_lost(path: Path, blocks: Sequence[Extent]) -> Extent | None:
    """The first of these blocks that hasn't the bytes that its CRC is of. Raises a StorageFault."""
    if not blocks:
        return None
    with storage("reading what has arrived", path), path.open("rb", 0) as file:
        for each in blocks:
            file.seek(each.start)
            if zlib.crc32(file.read(each.stop - each.start)) != each.crc:
                return each
    return None
