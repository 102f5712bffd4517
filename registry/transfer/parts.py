"""The parts of a file under way: which bytes are there, which are being fetched, which come next.

Pure state under its owner's lock: touches no file, no network and no clock.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field

MIB = 1 << 20
_SMALLEST = 16 * MIB
_LARGEST = 128 * MIB
_MANY = 256  # more parts than this gain nothing: rather larger ones
_BLOCKS = 64  # notes for each part


@dataclass(frozen=True, slots=True)
class Shape:
    """Into what a file is cut: parts, each fetched by one request, and blocks, each noted in the journal."""

    part: int
    block: int

    @classmethod
    def of(cls, size: int) -> Shape:
        """The shape for a file of `size` bytes: one part up to 32 MiB, then parts of 16 to 128 MiB."""
        if size <= 2 * _SMALLEST:
            return cls.cut(max(size, 1))
        part = _SMALLEST
        while part < _LARGEST and part * _MANY < size:
            part *= 2
        return cls.cut(part)

    @classmethod
    def cut(cls, part: int) -> Shape:
        """Parts of so many bytes."""
        return cls(part, max(part // _BLOCKS, 1))


@dataclass(frozen=True, slots=True)
class Extent:
    """Bytes from `start` up to `stop`; with the CRC-32 that they must have, where an earlier try wrote them."""

    start: int
    stop: int
    crc: int | None = None


@dataclass(slots=True)
class Part:
    """Bytes from `start` up to `stop`, of which those up to `upto` are there. `busy` while somebody fetches it.

    `noted` is up to where the journal knows, `crc` that of what came since. `unsure` are blocks of an earlier try that
    nobody has compared with their CRC yet.
    """

    start: int
    stop: int
    upto: int
    noted: int
    crc: int = 0
    busy: bool = False
    unsure: deque[Extent] = field(default_factory=deque)

    @property
    def is_whole(self) -> bool:
        """Whether all of it is there."""
        return self.upto == self.stop


class Parts:
    """All parts of one file. `done` is how many bytes are there, `prefix` how many of them before the first gap."""

    def __init__(self, size: int, shape: Shape) -> None:
        self.size = size
        self.shape = shape
        self.done = 0
        self._parts = [Part(start, min(start + shape.part, size), start, start) for start in range(0, size, shape.part)]
        self._front = 0

    def __iter__(self) -> Iterator[Part]:
        return iter(self._parts)

    def __len__(self) -> int:
        return len(self._parts)

    @property
    def prefix(self) -> int:
        """Bytes from the start of the file up to the first gap."""
        front = self._first_gap()
        return self.size if front == len(self._parts) else self._parts[front].upto

    @property
    def free(self) -> int:
        """How many parts are neither whole nor being fetched."""
        return sum(not each.busy and not each.is_whole for each in self._parts[self._first_gap() :])

    def take(self) -> Part | None:
        """The first part that nobody is fetching, now the caller's; None if there is none."""
        for part in self._parts[self._first_gap() :]:
            if not part.busy and not part.is_whole:
                part.busy = True
                return part
        return None

    def gaps(self, start: int, stop: int) -> list[tuple[Part, int, int]]:
        """What is missing between two offsets: the part, and from where to where in the file."""
        found = []
        for part in self._parts[start // self.shape.part : -(-stop // self.shape.part)]:
            begin, end = max(part.upto, start), min(part.stop, stop)
            # A part grows at its end only: bytes further on must come again.
            if begin == part.upto and begin < end:
                found.append((part, begin, end))
        return found

    def arrived(self, part: Part, start: int, stop: int) -> bool:
        """Note bytes at the end of what a part has; False if that isn't where they belong any more."""
        if part.upto != start:
            return False
        part.upto = stop
        self.done += stop - start
        return True

    def known(self, extent: Extent) -> None:
        """Take over what a journal says; a later word about the same place counts more than an earlier one."""
        if not 0 <= extent.start < extent.stop <= self.size:
            return
        part = self._parts[extent.start // self.shape.part]
        if extent.start > part.upto or extent.stop > part.stop:
            return
        if extent.start < part.upto:
            self.forget(part, extent.start)
            if part.upto != extent.start:
                return
        part.upto = part.noted = extent.stop
        self.done += extent.stop - extent.start
        if extent.crc is not None:
            part.unsure.append(extent)

    def forget(self, part: Part, start: int) -> None:
        """Give up what a part has from `start` on, and the block that `start` lies in."""
        while part.unsure and part.unsure[-1].stop > start:
            start = min(start, part.unsure.pop().start)
        self.done -= part.upto - start
        part.upto = part.noted = start
        part.crc = 0
        self._front = min(self._front, part.start // self.shape.part)

    def readable(self, start: int, most: int) -> Extent | None:
        """The next bytes from `start` on that are there: a block to be compared, or at most `most` plain bytes."""
        if start >= self.size:
            return None
        part = self._parts[start // self.shape.part]
        if part.unsure and part.unsure[0].start == start:
            return part.unsure[0]
        stop = min(part.upto, start + most)
        return Extent(start, stop) if start < stop else None

    def compared(self, extent: Extent, is_right: bool) -> None:
        """Say what became of a block from `readable`."""
        part = self._parts[extent.start // self.shape.part]
        if not part.unsure or part.unsure[0] != extent:
            return
        if is_right:
            part.unsure.popleft()
        else:
            self.forget(part, extent.start)

    def _first_gap(self) -> int:
        """The first part that isn't whole; what stands whole before it isn't looked at again."""
        while self._front < len(self._parts) and self._parts[self._front].is_whole:
            self._front += 1
        return self._front
