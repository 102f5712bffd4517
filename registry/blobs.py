"""Blobs: files named by the hash of their bytes. The only way to a blob's path, and the only way in.

A blob may lie in another tool's place instead, with a reference here; a file of our own counts before a reference.
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
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from dataclasses import replace
from pathlib import Path
from typing import BinaryIO, Literal
from uuid import uuid4

from registry.digests import CHUNK, Digest, digest_of, hash_fd
from registry.disk import Disk, storage
from registry.errors import BadBlob, Cancelled, Corrupt, HashMismatch, StorageFault
from registry.flights import Flights
from registry.foreign import Taken, take_in
from registry.ingest import Ingest
from registry.manifest import SIZE_LIMIT
from registry.quarantine import Quarantine
from registry.references import Reference, References
from registry.stamps import Stamps, stamp_of

log = logging.getLogger(__name__)

_BLOB_NAME = re.compile(r"sha256-([0-9a-f]{64})")
_KINDS = {stat.S_IFDIR: "a folder", stat.S_IFLNK: "a link", stat.S_IFIFO: "a pipe", stat.S_IFSOCK: "a socket"}

_OTHER_BYTES = "has other bytes than when it was stored"

HEALS = "`runner verify --repair` brings it back if it came from a source; else pull or create the model again"
"""What to do about a blob that isn't there, or isn't right."""

Progress = Callable[[int], None]
Cancel = Callable[[], bool]


class Blobs:
    """The blobs under one root. Safe to use from several threads; `exclusive` keeps them off one digest."""

    def __init__(self, root: Path, disk: Disk | None = None) -> None:
        self._folder = root / "blobs"
        self._ingest = root / "ingest"
        self._disk = disk or Disk()
        self.quarantine = Quarantine(root / "quarantine", self._disk)
        self._stamps = Stamps(root / "stamps", self._disk)
        self.references = References(root, self._disk)
        self._publishing = threading.RLock()  # around looks at a blob's place and what follows from them
        self._flights = Flights()

    def path(self, digest: Digest) -> Path:
        """Where a blob lies, or would lie. A Digest can't be anything but 64 hex digits: no path escapes."""
        reference = self.references.get(digest)
        if reference is not None and self._own_status(digest) is None:
            return reference.path
        return self._own(digest)

    def has(self, digest: Digest, size: int | None = None) -> bool:
        """Whether the blob is there as a regular file, and of `size` bytes if that is given."""
        found = self.size_if_there(digest)
        return found is not None and size in (None, found)

    def size(self, digest: Digest) -> int:
        """The blob's bytes; raises Corrupt if it isn't there."""
        found = self.size_if_there(digest)
        if found is None:
            raise Corrupt(self.why_missing(digest))
        return found

    def why_missing(self, digest: Digest) -> str:
        """What to tell of a blob that isn't there."""
        trouble = self.references.trouble(digest)
        return trouble or f"blob {digest} is missing from {self._folder}; {HEALS}"

    def size_if_there(self, digest: Digest) -> int | None:
        """The blob's bytes, or None."""
        found = self._status(digest)
        return None if found is None else found.st_size

    def read(self, digest: Digest) -> bytes:
        """A small blob's bytes, checked against its digest; raises Corrupt."""
        if self.size(digest) > SIZE_LIMIT:
            raise Corrupt(f"blob {digest} is too large for a text layer")
        path = self.path(digest)
        data = bytearray()
        with storage("reading a blob", path):
            fd = self._disk.open(path)
            try:
                buffer = memoryview(bytearray(64 << 10))
                while got := self._disk.read_into(fd, buffer):
                    data += buffer[:got]
            finally:
                os.close(fd)
        if digest_of(data) != digest:
            raise Corrupt(f"blob {digest} in {self._folder} has other bytes; {HEALS}")
        return bytes(data)

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
        owner: str = "",
    ) -> Digest:
        """Take in a local file: by shared blocks if the file system has them, else by hard link, else by reference.

        A reference leaves the file where it is; only a temporary place is copied from instead. mode `copy` rules out
        the hard link, after which file and blob are one, and the reference. The file itself is never changed. `hold`
        is told the digest before the blob can be seen, so that a lease can't come too late. `owner` is whose the file
        is, in words. Raises BadSource, HashMismatch, Cancelled or a StorageFault; then the store is as before.
        """
        if expected is not None and self._sound(expected, cancelled):
            return expected
        shared = mode == "link"
        if shared and expected is None and (known := self._known_file(path)) is not None:
            if hold is not None:
                hold(known)
            if self._sound(known, cancelled):
                return known
        self._prepare()
        refer = shared and self.may_refer_to(path)
        aside = self._ingest / f"{uuid4().hex}.part"
        taken = take_in(self._disk, path, aside, shared, refer, progress, cancelled)
        try:
            if hold is not None:
                hold(taken.digest)
            if taken.ingest is None:
                return self._refer(taken, expected, owner)
            return self.commit(taken.ingest, expected, linked=taken.how == "linked", owned=True)
        except BaseException:
            if taken.ingest is not None:
                taken.ingest.abandon()
            raise

    def keep(self, digest: Digest, cancelled: Cancel | None = None) -> bool:
        """Have a file of our own where there is only a reference, for whoever may open no other; True if one was made.

        Raises as `adopt` does; then the reference stays.
        """
        reference = self.references.get(digest)
        if reference is None or self._own_status(digest) is not None:
            return False
        self._prepare()
        aside = self._ingest / f"{uuid4().hex}.part"
        taken = take_in(self._disk, reference.path, aside, share_inode=True, cancelled=cancelled)
        assert taken.ingest is not None  # nothing is referred to unless that is asked for
        try:
            self.commit(taken.ingest, digest, linked=taken.how == "linked", owned=True)
        except BaseException:
            taken.ingest.abandon()
            raise
        return True

    def may_refer_to(self, path: Path) -> bool:
        """Whether a file may stay where it is: it will last, and isn't the store's own."""
        inside = Path(os.path.realpath(self._folder.parent)) in Path(os.path.realpath(path)).parents
        return not inside and self.references.may_lead_to(path)

    def is_ours_alone(self, digest: Digest) -> bool:
        """Whether the blob is a file here that no other program has under a name of its own."""
        own = self._own_status(digest)
        return own is not None and own.st_nlink == 1

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
        self,
        ingest: Ingest,
        expected: Digest | None = None,
        size: int | None = None,
        linked: bool = False,
        owned: bool = False,
    ) -> Digest:
        """Give a complete ingest its name. Raises HashMismatch after putting wrong bytes in quarantine.

        `linked`: the file is somebody else's too. `owned`: somebody has the bytes, so wrong ones needn't be kept.
        """
        actual = ingest.digest()
        if expected not in (None, actual) or size not in (None, ingest.size):
            ingest.keep()
            wrong = f"{expected or actual}" + (f" of {size} bytes" if size is not None else "")
            if owned:
                ingest.abandon()
                raise HashMismatch(wrong, f"{actual} of {ingest.size} bytes", None)
            kept = self.quarantine.take(ingest.path, wrong, f"{actual} of {ingest.size} bytes")
            raise HashMismatch(wrong, f"{actual} of {ingest.size} bytes", kept)
        ingest.seal(own=not linked)
        if self._own_status(actual) is not None:
            self._sound(actual)  # what may take long is done before the others have to wait
        target = self._own(actual)
        with self._publishing, storage("publishing a blob", target):
            if self._own_status(actual) is not None and self._sound(actual):
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
            self.references.remove(actual)
            if linked:
                self._part_from_others(actual)
            self.stamp(actual)
        return actual

    def _part_from_others(self, digest: Digest) -> None:
        """Put aside other names of a file that has just hashed as this blob: it was rewritten since it got those."""
        mine = self._own_status(digest)
        for other, found in self.own():
            if mine is not None and other != digest and (found.st_dev, found.st_ino) == (mine.st_dev, mine.st_ino):
                log.warning("%s", self._put_aside(other, _OTHER_BYTES, found, str(digest)))

    def stamp(self, digest: Digest) -> None:
        """Note that the blob as it lies there now is known to be right."""
        found = self._status(digest)
        if found is not None:
            self._stamps.put(digest, found)

    def ensure_intact(self, digest: Digest, progress: Progress | None = None, cancelled: Cancel | None = None) -> None:
        """Make sure of a blob: hash it if its stamp is missing or differs, else do nothing.

        A blob with other bytes goes to quarantine, and BadBlob says so. Raises Corrupt if it isn't there, and a
        StorageFault if it can't be read.
        """
        self.size(digest)
        if not self._stamps.fits(digest, os.lstat(self.path(digest))):
            self.rehash(digest, progress, cancelled)

    def rehash(self, digest: Digest, progress: Progress | None = None, cancelled: Cancel | None = None) -> None:
        """As `ensure_intact`, whatever the stamp says."""
        path = self.path(digest)
        try:
            with storage("reading a blob", path):
                fd = self._disk.open(path)
                try:
                    before = os.fstat(fd)
                    actual, count = hash_fd(fd, progress, cancelled, self._disk.read_into)
                    after = os.fstat(fd)
                finally:
                    os.close(fd)
        except StorageFault as error:
            if isinstance(error.__cause__, FileNotFoundError):
                self.size(digest)
            raise
        if count != after.st_size:
            raise StorageFault(f"only {count} of {after.st_size} bytes of {path} could be read", path)
        if actual != digest:
            if path == self._own(digest):
                raise self._put_aside(digest, _OTHER_BYTES, before, str(actual))
            raise self._disown(digest, path, before, str(actual))
        with self._publishing:
            self._stamps.put(digest, before)
            reference = self.references.get(digest)
            if reference is not None and reference.path == path and not reference.describes(before):
                with suppress(StorageFault):  # the stamp says the same, as long as it lasts
                    self.references.put(digest, Reference.to(path, before, reference.owner))

    def odd(self, digest: Digest) -> str:
        """What is wrong with the thing at a blob's place as a file, or nothing: asks for no bytes of it."""
        found = self._look(digest)
        if found is None:
            if self.references.get(digest) is None:
                return "is missing"
            there = self.references.status(digest) is not None
            return "" if there else self.why_missing(digest).removeprefix(f"blob {digest} ")
        if not stat.S_ISREG(found.st_mode):
            return f"is {_KINDS.get(stat.S_IFMT(found.st_mode), 'a device')} in place of a file"
        if os.name == "posix" and not found.st_mode & 0o444:
            return f"may not be read by anybody (mode {stat.S_IMODE(found.st_mode):03o})"
        return ""

    def mend(self, digest: Digest) -> bool:
        """Give an own file that nobody may read its mode back; True if that was what it needed."""
        found = self._own_status(digest)
        if found is None or found.st_nlink > 1 or found.st_mode & 0o444:
            return False
        with storage("making a blob readable", self._own(digest)):
            self._disk.protect(self._own(digest))
        return True

    def condemn(self, digest: Digest, reason: str) -> BadBlob | None:
        """Put aside what stands at a blob's place here, whatever it is; the error to report, None if nothing does.

        Where another tool's file stands for the blob, it stays as it is, and doesn't count as long as it looks so.
        """
        found = self._look(digest)
        if found is not None:
            return self._put_aside(digest, reason, found, None)
        reference, there = self.references.get(digest), self.references.status(digest)
        if reference is None or there is None:
            return None
        return self._disown(digest, reference.path, there, None)

    def _disown(self, digest: Digest, path: Path, seen: os.stat_result, actual: str | None) -> BadBlob:
        """Have another tool's file count as this blob no more."""
        owner = "another program"
        with self._publishing:
            reference = self.references.get(digest)
            if reference is not None and reference.path == path:
                owner = reference.owner
                with suppress(StorageFault):  # then it is hashed again the next time
                    self.references.put(digest, replace(reference, wrong=stamp_of(seen)))
            self._stamps.forget(digest)
        what = "has other bytes now" if actual is not None else "can't be read"
        return BadBlob(path, str(digest), f"is a file of {owner}, which {what}", actual, None, stays=True)

    def _put_aside(self, digest: Digest, reason: str, seen: os.stat_result, actual: str | None) -> BadBlob:
        path, kept = self._own(digest), None
        with self._publishing, storage("putting a blob aside", path):
            now = self._look(digest)
            # Somebody may have put a good one there since: only what was looked at goes.
            if now is not None and (now.st_dev, now.st_ino) == (seen.st_dev, seen.st_ino):
                kept = self.quarantine.take(path, str(digest), actual or reason, or_remove=actual is not None)
                self._stamps.forget(digest)
        return BadBlob(path, str(digest), reason, actual, kept)

    def all(self) -> Iterator[tuple[Digest, os.stat_result]]:
        """Every blob with the status of its file, wherever it lies."""
        seen = set()
        for digest, status in self.own():
            seen.add(digest)
            yield digest, status
        for digest in self.references.digests():
            found = None if digest in seen else self.references.status(digest)
            if found is not None:
                yield digest, found

    def own(self, odd: bool = False) -> Iterator[tuple[Digest, os.stat_result]]:
        """Every blob that has a file here. Other files in the folder aren't ours to name, so they are left out.

        With `odd`, whatever has a blob's name: folders, links and pipes as well. Raises a StorageFault.
        """
        found = []
        with (
            storage("reading the store", self._folder),
            suppress(FileNotFoundError),
            os.scandir(self._folder) as entries,
        ):
            for entry in entries:
                named = _BLOB_NAME.fullmatch(entry.name)
                if named is None:
                    continue
                with suppress(FileNotFoundError):
                    status = entry.stat(follow_symlinks=False)
                    if odd or stat.S_ISREG(status.st_mode):
                        found.append((Digest(named[1]), status))
        return iter(found)

    def remove(self, digest: Digest) -> None:
        """Remove a blob, or the reference to it; missing is fine. Whether anyone needs it is the caller's question."""
        with self._publishing, storage("removing a blob", self._own(digest)):
            self._disk.remove(self._own(digest))
            self.references.remove(digest)
            self._stamps.forget(digest)

    def stray_stamps(self) -> list[tuple[Digest, os.stat_result]]:
        """Stamps whose blob is gone."""
        named = ((_BLOB_NAME.fullmatch(name), status) for name, status in self._stamps.all())
        found = ((Digest(name[1]), status) for name, status in named if name is not None)
        return [(digest, status) for digest, status in found if not os.path.lexists(self.path(digest))]

    def forget(self, digest: Digest) -> None:
        """Remove a blob's stamp."""
        self._stamps.forget(digest)

    def exclusive(
        self, digest: Digest, cancelled: Cancel | None = None, heard: Progress | None = None
    ) -> AbstractContextManager[Progress]:
        """Hold a digest against other threads while fetching it: see `Flights.exclusive`."""
        return self._flights.exclusive(digest, cancelled, heard)

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

    def _refer(self, taken: Taken, expected: Digest | None, owner: str) -> Digest:
        """Note where a file lies that has just been hashed. Raises HashMismatch; nothing is put aside then."""
        if expected not in (None, taken.digest):
            raise HashMismatch(str(expected), f"{taken.digest} of {taken.status.st_size} bytes", None)
        if self._own_status(taken.digest) is not None:
            self._sound(taken.digest)
        with self._publishing:
            if self._own_status(taken.digest) is None or not self._sound(taken.digest):
                self.references.put(taken.digest, Reference.to(taken.path, taken.status, owner))
                self._stamps.put(taken.digest, taken.status)
        return taken.digest

    def _known_file(self, path: Path) -> Digest | None:
        """The digest of a file that is a blob already, under its own name or another, and hasn't changed."""
        try:
            status = os.stat(path)
        except (OSError, ValueError):
            return None
        for digest, found in self.all():
            if (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino) and self._stamps.fits(digest, status):
                return digest
        return None

    def _own(self, digest: Digest) -> Path:
        return self._folder / digest.file_name

    def _status(self, digest: Digest) -> os.stat_result | None:
        return self._own_status(digest) or self.references.status(digest)

    def _own_status(self, digest: Digest) -> os.stat_result | None:
        found = self._look(digest)
        return found if found is not None and stat.S_ISREG(found.st_mode) else None

    def _look(self, digest: Digest) -> os.stat_result | None:
        """Whatever stands at a blob's own place."""
        path = self._own(digest)
        try:
            return os.lstat(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            with storage("looking at a blob", path):
                raise error

    def _clear(self, digest: Digest) -> None:
        """Put aside what stands where a blob must go: a folder, a link, or a file of the wrong length."""
        if os.path.lexists(self._own(digest)):
            self.quarantine.take(self._own(digest), str(digest), "another kind of file, or another length")

    def _prepare(self) -> None:
        with storage("making the store's folders", self._folder):
            self._disk.make_dir(self._folder)
            self._disk.make_dir(self._ingest)
