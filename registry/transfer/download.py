"""One download: from wherever its bytes can be had, from where it stopped, until all are there or it is hopeless.

A large file comes in parts over several connections, with a journal of what has arrived; what is there is hashed
meanwhile. Knows neither URLs nor hashes. The source opens streams; whether the bytes are right, the blobs decide.
"""

from __future__ import annotations

import threading
import time
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from registry.errors import Cancelled, StorageFault, Unreachable
from registry.ingest import Ingest
from registry.progress import Cancel
from registry.transfer.calls import Calls, Left
from registry.transfer.frontier import Frontier
from registry.transfer.incoming import Incoming as Incoming
from registry.transfer.incoming import Opener as Opener
from registry.transfer.journal import Journal, mark
from registry.transfer.leftovers import first_lost, found
from registry.transfer.manner import Manner as Manner
from registry.transfer.pace import WAITS as WAITS
from registry.transfer.pace import Patience
from registry.transfer.parts import Extent, Part, Parts, Shape
from registry.transfer.syncs import Syncs

_SLICE = 0.05  # seconds between looks at whether to go on
_SLOWEST = 1024  # bytes a second: a connection with less is given up for another
_LEAVING = 0.05  # seconds for connections to end that were hung up

Told = Callable[[int], None]


def download(
    open_at: Opener,
    ingest: Ingest,
    size: int,
    arrived: Told,
    cancelled: Cancel,
    manner: Manner | None = None,
    *,
    journal: Path | None = None,
    grown: Told | None = None,
    certain: bool = True,
) -> None:
    """Fill `ingest` to `size` bytes, hashed. `arrived` is told how many there are, `grown` how many without a gap.

    Both are called on the download's threads, one at a time; what they raise ends it. `journal` is where to note what
    has arrived of a file that comes in parts; it is left there. A file isn't `certain` where nobody knows its hash
    beforehand: then bytes belong together only by the sender's word for the file's version. Raises Unreachable when
    the waits are used up, Cancelled, or a StorageFault, and ValueError for a `size` below 0. What has arrived stays in
    the ingest.
    """
    if size < 0:
        raise ValueError(f"no file has {size} bytes")
    manner = manner or Manner()
    parts, log, version = found(ingest, size, journal, manner.shape or Shape.of(size), cancelled, certain)
    if not parts.done:
        ingest.resumed = 0
    _Download(open_at, ingest, parts, log, version, arrived, grown, cancelled, manner, certain).run()


class _Slow(Unreachable):
    """A connection that brings next to nothing."""


class _Download:
    """A download under way. The caller's thread employs and decides; others fetch parts; one hashes.

    All state is under `changed`, `parts` and the journal too. `turn` counts how often the file was begun anew: a thread
    of an earlier turn, or of a download that is over, is left to itself and changes nothing any more.
    """

    def __init__(
        self,
        open_at: Opener,
        ingest: Ingest,
        parts: Parts,
        journal: Journal | None,
        version: str | None,
        arrived: Told,
        grown: Told | None,
        cancelled: Cancel,
        manner: Manner,
        certain: bool,
    ) -> None:
        self._open_at = open_at
        self._ingest = ingest
        self._parts = parts
        self._journal = journal
        self._version = version
        self._arrived = arrived
        self._grown = grown
        self._cancelled = cancelled
        self._manner = manner
        self._certain = certain
        self._changed = threading.Condition()
        self._telling = threading.Lock()
        self._ending = threading.Event()
        self._patience = Patience(manner.waits)
        self._patience.began_with(parts.done)
        self._frontier = Frontier(ingest, parts, self._changed, self._fail)
        self._failure: BaseException | None = None
        self._threads: list[threading.Thread] = []
        self._calls = Calls()
        self._turn = 0
        self._over = False
        self._active = 0
        self._busy = 0  # threads that touch the file or the caller's functions just now
        self._limit = manner.connections
        self._ranged = False  # the sender has shown that it knows ranges
        self._one_stream = False  # it has shown that it doesn't
        self._stale = ""  # what it calls the file now, after it called it otherwise
        self._syncs = Syncs(ingest, journal, parts.shape.part, self._changed) if journal is not None else None

    def run(self) -> None:
        """Go on until everything is there and hashed."""
        self._frontier.start()
        try:
            self._arrived(self._parts.done)
            while True:
                with self._changed:
                    if self._failure is not None:
                        raise self._failure
                    if self._ingest.size == self._parts.size:
                        return
                    if self._stale:
                        self._begin_anew()
                    self._employ()
                    self._changed.wait(_SLICE)
                self._check_cancelled()
        finally:
            self._end()

    def _employ(self) -> None:
        """Have as many connections as are useful. Under the lock."""
        wanted = self._limit if self._ranged and not self._one_stream else 1
        while self._active < wanted and self._failure is None and self._patience.wait == 0.0:
            part = self._parts.take()
            if part is None:
                return
            self._active += 1
            thread = threading.Thread(target=self._work, args=(part, self._turn), name="fetch", daemon=True)
            self._threads = [each for each in self._threads if each.is_alive()] + [thread]
            thread.start()

    def _begin_anew(self) -> None:
        """The file has changed at its source: what is there is of another. Under the lock."""
        # The first time costs no try: what there was may be an earlier try's.
        if self._turn and not self._patience.failed(self._patience.round, self._parts.done, slow=True):
            raise Unreachable("the file changes at its source while it is being fetched")
        self._turn += 1
        self._calls.hang_up()
        while self._busy:
            self._changed.wait()
        self._frontier.hold()
        self._ingest.restart()
        if self._journal is not None:
            self._journal.restart()
            self._journal.note_version(self._stale)
        for part in self._parts:
            part.busy = False
            self._parts.forget(part, part.start)
        self._version, self._stale = mark(self._stale), ""
        self._active = 0
        self._frontier.go_on()

    def _end(self) -> None:
        """Leave the file alone, with all that has arrived in the journal."""
        with self._changed:
            self._over = True
            self._calls.hang_up()
        self._ending.set()
        self._frontier.stop()
        with self._changed:
            while self._busy:
                self._changed.wait()
            if self._journal is not None:
                with suppress(StorageFault):
                    for part in self._parts:
                        self._note(part)
                self._journal.close()
        until = time.monotonic() + _LEAVING
        for thread in self._threads:  # who is still on the phone is left behind, and finds nothing to do
            thread.join(max(until - time.monotonic(), 0.0))

    def _fail(self, error: BaseException) -> None:
        """Note what ends the download. Under the lock."""
        if not self._over:
            self._failure = self._failure or error
            self._changed.notify_all()

    def _check_cancelled(self) -> None:
        if self._cancelled():
            raise Cancelled("cancelled while downloading; what has arrived is kept for the next try")

    # What follows runs on the threads of the connections.

    def _work(self, first: Part, turn: int) -> None:
        part: Part | None = first
        began = 0
        try:
            while part is not None:
                began = self._patience.round
                self._fetch(part, turn)
                part = self._next(part, turn)
        except Left:
            pass
        except Unreachable as error:
            with self._changed:
                if turn == self._turn and not self._over:
                    self._on_trouble(error, began)
        except BaseException as error:  # noqa: BLE001  # raised by whoever waits for the download
            with self._changed:
                if turn == self._turn:
                    self._fail(error)
        finally:
            with self._changed:
                if turn == self._turn:
                    self._active -= 1
                    if part is not None:
                        part.busy = False
                    self._changed.notify_all()

    def _next(self, part: Part, turn: int) -> Part | None:
        """What to fetch after a part: what is still missing of it, or another."""
        with self._changed:
            self._check_wanted(turn)
            if not part.is_whole:
                return part
            part.busy = False
            wanted = self._limit if not self._one_stream else 1
            return self._parts.take() if self._active <= wanted and self._patience.wait == 0.0 else None

    def _on_trouble(self, error: Unreachable, began: int) -> None:
        if self._calls.one_brings_all:
            return  # one that came too late: another brings all there is
        if error.after is not None and self._active > 1:
            self._limit = max(self._active - 1, 1)  # it has told us that we are too many
        if not self._patience.failed(began, self._parts.done, error.after, isinstance(error, _Slow)):
            self._fail(error)

    def _fetch(self, part: Part, turn: int) -> None:
        self._compare(part, turn)
        whole = len(self._parts) == 1 or self._one_stream
        start = part.upto
        with self._open_at(start, None if whole else part.stop) as incoming, self._call(incoming, turn):
            at, stop = self._accepted(incoming, start, self._parts.size if whole else part.stop, turn)
            self._receive(incoming, at, stop, turn)

    def _compare(self, part: Part, turn: int) -> None:
        """Make sure of what an earlier try wrote of a part before more is added to it, which would be lost with it."""
        with self._changed:
            self._check_wanted(turn)
            unsure = list(part.unsure)
        lost = first_lost(self._ingest.path, unsure)
        if lost is not None:
            with self._changed:
                self._check_wanted(turn)
                if lost in part.unsure:
                    self._parts.forget(part, lost.start)

    @contextmanager
    def _call(self, incoming: Incoming, turn: int) -> Iterator[None]:
        with self._changed:
            self._check_wanted(turn)
            self._calls.add(incoming)
        try:
            yield
        finally:
            with self._changed:
                self._calls.remove(incoming)

    def _accepted(self, incoming: Incoming, start: int, stop: int, turn: int) -> tuple[int, int]:
        """From where to where an answer's bytes are to be read. Raises Unreachable for one that makes no sense."""
        size = self._parts.size
        if incoming.total is not None and incoming.total != size:
            raise Unreachable(f"the file has {incoming.total} bytes where it lies, and should have {size}")
        with self._changed:
            self._check_wanted(turn)
            self._check_version(incoming.version)
            if incoming.end is None:
                # A server that ignores ranges begins at the beginning; anything else is beyond repair.
                if incoming.start != 0:
                    raise Unreachable(f"asked for bytes from {start} on, got them from {incoming.start} on")
                if self._calls.one_brings_all:
                    raise Left  # another brings it all
                if len(self._parts) > 1:
                    self._one_stream = True
                    self._calls.spare(incoming)
                return 0, size
            if incoming.start != start or not start < incoming.end <= stop:
                raise Unreachable(
                    f"asked for bytes {start} to {stop - 1}, got bytes {incoming.start} to {incoming.end - 1}"
                )
            if not self._ranged:
                self._ranged = True
                self._changed.notify_all()
            return start, incoming.end

    def _check_version(self, version: str) -> None:
        if not version and not self._certain:
            version = uuid4().hex  # no two answers are known to be of the same bytes
        if not version or mark(version) == self._version:
            return
        if self._version is not None and self._parts.done:
            self._stale = version
            self._changed.notify_all()
            raise Left
        self._version = mark(version)
        if self._journal is not None:
            self._journal.note_version(version)

    def _receive(self, incoming: Incoming, at: int, stop: int, turn: int) -> None:
        spent = 0.0
        got = 0
        while at < stop:
            began = time.monotonic()
            chunk = self._calls.next_of(incoming)
            spent += time.monotonic() - began
            if chunk is None:
                raise Unreachable(f"the connection ended after {at} of {self._parts.size} bytes")
            got += len(chunk)
            if spent > self._manner.patience:
                if got < spent * _SLOWEST:
                    raise _Slow(f"only {got} bytes came in {spent:.0f} seconds")
                spent, got = 0.0, 0
            at = self._take_in(at, memoryview(chunk)[: stop - at], turn)
            pause = max((pace.take(len(chunk)) for pace in self._manner.paces), default=0.0)
            if pause:
                self._ending.wait(pause)
        if incoming.end == stop:
            self._calls.next_of(incoming)  # the end of the answer: the connection can be used again

    def _take_in(self, at: int, data: memoryview, turn: int) -> int:
        """Write what is new of some bytes and tell of it; the offset after them."""
        end = at + len(data)
        with self._changed:
            self._check_wanted(turn)
            gaps = self._parts.gaps(at, end)
            if not self._one_stream and len(self._parts) > 1 and (not gaps or gaps[0][1] != at):
                raise Left  # a block before this turned out to be lost: the part goes on from there
            self._busy += 1
        try:
            for part, start, stop in gaps:
                self._write(part, start, data[start - at : stop - at])
            self._tell()
        finally:
            with self._changed:
                self._busy -= 1
                if not self._busy and (self._over or self._stale):
                    self._changed.notify_all()
        self._check_cancelled()
        return end

    def _write(self, part: Part, start: int, data: memoryview) -> None:
        crc = zlib.crc32(data, part.crc) if self._journal is not None else 0
        self._ingest.write_at(start, data)
        with self._changed:
            if not self._parts.arrived(part, start, start + len(data)):
                return
            part.crc = crc
            if part.is_whole or part.upto - part.noted >= self._parts.shape.block:
                self._note(part)
            if self._frontier.wants():
                self._changed.notify_all()
            is_time = self._syncs is not None and self._syncs.is_time(len(data), lambda: self._over)
        if self._syncs is not None and is_time:
            self._syncs.run()

    def _note(self, part: Part) -> None:
        if self._journal is not None and part.upto > part.noted:
            self._journal.note(Extent(part.noted, part.upto, part.crc))
            part.noted, part.crc = part.upto, 0

    def _tell(self) -> None:
        with self._telling:
            with self._changed:
                done, prefix = self._parts.done, self._parts.prefix
            self._arrived(done)
            if self._grown is not None:
                self._grown(prefix)

    def _check_wanted(self, turn: int) -> None:
        if self._over or self._stale or turn != self._turn or self._failure is not None:
            raise Left
