"""Blobs: files named by the hash of their bytes. The only way to a blob's path, and the only way in.

Every blob is written aside, hashed on the way, compared, made durable, and only then given its name; what
doesn't match goes to quarantine. Knows nothing of models: which blobs are needed is the store's affair.
"""

from __future__ import annotations

import io
import logging
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Literal
from uuid import uuid4

from registry.digests import CHUNK, Digest, digest_of, hash_file
from registry.disk import Disk, storage
from registry.errors import Cancelled, Corrupt, HashMismatch
from registry.foreign import take_in
from registry.ingest import Ingest
from registry.manifest import SIZE_LIMIT, to_canonical
from registry.stamps import Stamps

log = logging.getLogger(__name__)

_BLOB_NAME = re.compile(r"sha256-([0-9a-f]{64})")

Progress = Callable[[int], None]
Cancel = Callable[[], bool]


class Blobs:
    """The blobs under one root. Safe to use from several threads; `exclusive` keeps them off one digest."""

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self._folder = root / "blobs"
        self._ingest = root / "ingest"
        self._quarantine = root / "quarantine"
        self._disk = disk or Disk()
        self._stamps = Stamps(root / "stamps")
        self._turn = threading.Condition()
        self._flights: dict[Digest, _Flight] = {}

    def path(self, digest: Digest) -> Path:
        """Where a blob lies, or would lie. A Digest can't be anything but 64 hex digits: no path escapes."""
        return self._folder / digest.file_name

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether the blob is there as a regular file, and of `size` bytes if that is given."""
        found = self.size_if_there(digest)
        return found is not None and size in (None, found)

    def size(self, digest: Digest) -> int:
        """The blob's bytes; raises Corrupt if it isn't there."""
        found = self.size_if_there(digest)
        if found is None:
            raise Corrupt(f"blob {digest} is missing from {self._folder}; pull or create the model again")
        return found

    def size_if_there(self, digest: Digest) -> int | None:
        """The blob's bytes, or None."""
        found = self._status(digest)
        return None if found is None else found.st_size

    def read(self, digest: Digest) -> bytes:
        """A small blob's bytes, checked against its digest; raises Corrupt."""
        if self.size(digest) > SIZE_LIMIT:
            raise Corrupt(f"blob {digest} is too large for a text layer")
        data = self.path(digest).read_bytes()
        if digest_of(data) != digest:
            raise Corrupt(f"blob {digest} in {self._folder} has other bytes; pull or create the model again")
        return data

    def write(
        self,
        source: bytes | BinaryIO,
        expected: Digest | None = None,
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
    ) -> Digest:
        """Take in bytes or a stream; returns the digest once the blob is durable.

        Raises HashMismatch if `expected` is given and differs, Cancelled, or a StorageFault; then the store
        is as before. `progress` is told the bytes taken in so far.
        """
        if expected is not None and self._sound(expected, cancelled):
            return expected
        ingest = self.begin()
        try:
            stream = io.BytesIO(source) if isinstance(source, bytes) else source
            while chunk := stream.read(CHUNK):
                ingest.write(chunk)
                if progress is not None:
                    progress(ingest.size)
                if cancelled is not None and cancelled():
                    raise Cancelled("cancelled while taking in a blob")
            return self.commit(ingest, expected)
        except BaseException:
            ingest.abandon()
            raise

    def adopt(
        self,
        path: Path,
        expected: Digest | None = None,
        mode: Literal["link", "copy"] = "link",
        progress: Progress | None = None,
        cancelled: Cancel | None = None,
        hold: Callable[[Digest], None] | None = None,
    ) -> Digest:
        """Take in a local file: by shared blocks if the file system has them, else by hard link, else by copy.

        mode `copy` rules out the hard link, after which file and blob are one. The file itself is never
        changed. `hold` is told the digest before the blob can be seen, so that a lease can't come too late.
        Raises BadSource, HashMismatch, Cancelled or a StorageFault; then the store is as before.
        """
        if expected is not None and self._sound(expected, cancelled):
            return expected
        self._prepare()
        ingest, how = take_in(
            self._disk, path, self._ingest / f"{uuid4().hex}.part", mode == "link", progress, cancelled
        )
        try:
            if hold is not None:
                hold(ingest.digest())
            return self.commit(ingest, expected, own=how != "linked")
        except BaseException:
            ingest.abandon()
            raise

    def begin(self, digest: Digest | None = None) -> Ingest:
        """A file to write into, to be given to `commit` or abandoned.

        With a digest, a download that can be gone on with later: call inside `exclusive`. What it has is yet to be
        hashed.
        """
        self._prepare()
        if digest is not None:
            return Ingest.resume(self._disk, self.part(digest))
        return Ingest.create(self._disk, self._ingest / f"{uuid4().hex}.part")

    def part(self, digest: Digest) -> Path:
        """Where the bytes of an unfinished download lie."""
        return self._ingest / f"{digest.file_name}.part"

    def journal(self, digest: Digest) -> Path:
        """Where a download notes which of its bytes have arrived."""
        return self._ingest / f"{digest.file_name}.part.journal"

    def fetched(self, digest: Digest) -> int:
        """How many bytes of an unfinished download the disk holds, about."""
        try:
            found = os.lstat(self.part(digest))
        except FileNotFoundError:
            return 0
        blocks: int | None = getattr(found, "st_blocks", None)  # a file with holes takes less than its length
        return found.st_size if blocks is None else min(found.st_size, blocks * 512)

    def commit(
        self, ingest: Ingest, expected: Digest | None = None, size: int | None = None, own: bool = True
    ) -> Digest:
        """Give a complete ingest its name. Raises HashMismatch after putting wrong bytes in quarantine."""
        actual = ingest.digest()
        if expected not in (None, actual) or size not in (None, ingest.size):
            ingest.keep()
            wrong = f"{expected or actual}" + (f" of {size} bytes" if size is not None else "")
            kept = self.quarantine(ingest.path, wrong, f"{actual} of {ingest.size} bytes")
            raise HashMismatch(wrong, f"{actual} of {ingest.size} bytes", kept)
        ingest.seal(own)
        target = self.path(actual)
        with storage("publishing a blob", target):
            if self.has(actual, ingest.size) and self._sound(actual):
                self._disk.remove(ingest.path)
            else:
                self._clear(actual)
                self._disk.rename(ingest.path, target)
                try:
                    self._disk.sync_dir(self._folder)
                except BaseException:
                    with suppress(OSError):  # a name that may not last is worse than none
                        self._disk.remove(target)
                    raise
        self.stamp(actual)
        return actual

    def stamp(self, digest: Digest) -> None:
        """Note that the blob as it lies there now is known to be right."""
        found = self._status(digest)
        if found is not None:
            self._stamps.put(digest, found)

    def ensure_intact(self, digest: Digest, progress: Progress | None = None, cancelled: Cancel | None = None) -> None:
        """Make sure of a blob: hash it if its stamp is missing or differs, else do nothing.

        A blob with other bytes goes to quarantine, and Corrupt says so.
        """
        self.size(digest)
        path = self.path(digest)
        before = os.lstat(path)
        if self._stamps.fits(digest, before):
            return
        with storage("reading a blob", path):
            actual = hash_file(path, progress, cancelled)
        if actual != digest:
            kept = self.quarantine(path, str(digest), str(actual))
            self._stamps.forget(digest)
            raise Corrupt(
                f"blob {digest} has other bytes than when it was stored; they were put aside in {kept}. "
                "Pull or create the model again."
            )
        self._stamps.put(digest, before)

    def quarantine(self, path: Path, expected: str, actual: str) -> Path | None:
        """Move bytes that can't be trusted out of the way, with a note; None if the disk refuses."""
        kept = self._quarantine / f"{path.name.removesuffix('.part')}.{uuid4().hex[:8]}"
        note = {"expected": expected, "actual": actual, "when": int(time.time())}
        try:
            self._disk.make_dir(self._quarantine)
            self._disk.rename(path, kept)
            with suppress(OSError):  # the note is a kindness; the bytes are out of the way without it
                fd = self._disk.create(kept.with_name(kept.name + ".json"))
                try:
                    self._disk.write(fd, to_canonical(note))
                finally:
                    self._disk.close(fd)
        except OSError:
            with suppress(OSError):
                self._disk.remove(path)
            return None
        return kept

    def all(self) -> Iterator[tuple[Digest, os.stat_result]]:
        """Every blob with its status. Other files in the folder aren't ours to name, so they are left out."""
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                named = _BLOB_NAME.fullmatch(entry.name)
                if named is None:
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if stat.S_ISREG(status.st_mode):
                        yield Digest(named[1]), status

    def remove(self, digest: Digest) -> None:
        """Remove a blob; missing is fine. Whether anyone needs it is the caller's question."""
        with storage("removing a blob", self.path(digest)):
            self._disk.remove(self.path(digest))
        self._stamps.forget(digest)

    @contextmanager
    def exclusive(
        self, digest: Digest, cancelled: Cancel | None = None, heard: Progress | None = None
    ) -> Iterator[Progress]:
        """Hold a digest against other threads while fetching it; raises Cancelled while waiting.

        Whoever holds it tells the function that this gives how many bytes are there; `heard` is told so while waiting.
        """
        flight = _Flight()
        told = -1
        while True:
            with self._turn:
                first = self._flights.setdefault(digest, flight)
                if first is flight:
                    break
                self._turn.wait(0.05)
            if cancelled is not None and cancelled():
                raise Cancelled(f"cancelled while waiting for another fetch of {digest}")
            if heard is not None and first.done > told:
                told = first.done
                heard(told)
        try:
            yield flight.tell
        finally:
            with self._turn:
                del self._flights[digest]
                self._turn.notify_all()

    def _sound(self, digest: Digest, cancelled: Cancel | None = None) -> bool:
        """Whether the blob is there with the right bytes; wrong ones are out of the way then."""
        if not self.has(digest):
            return False
        try:
            self.ensure_intact(digest, cancelled=cancelled)
        except Corrupt as error:
            log.warning("%s It is being replaced.", error)
            return False
        return True

    def _status(self, digest: Digest) -> os.stat_result | None:
        try:
            found = os.lstat(self.path(digest))
        except FileNotFoundError:
            return None
        return found if stat.S_ISREG(found.st_mode) else None

    def _clear(self, digest: Digest) -> None:
        """Put aside what stands where a blob must go: a folder, a link, or a file of the wrong length."""
        if os.path.lexists(self.path(digest)):
            self.quarantine(self.path(digest), str(digest), "another kind of file, or another length")

    def _prepare(self) -> None:
        with storage("making the store's folders", self._folder):
            self._disk.make_dir(self._folder)
            self._disk.make_dir(self._ingest)


class _Flight:
    """A fetch under way: how far it is, for those who wait for it."""

    def __init__(self) -> None:
        self.done = 0

    def tell(self, done: int) -> None:
        """Say how many bytes are there."""
        self.done = done
