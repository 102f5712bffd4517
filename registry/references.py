"""References: blobs that lie in another tool's place. Here is only a note of where, whose, and how the file looked.

The files themselves are never opened for writing, renamed, re-moded or removed. Knows nothing of models.
"""

from __future__ import annotations

import json
import logging
import os
import re
import stat
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from registry.digests import Digest
from registry.disk import Disk, is_exhausted, read_file, storage
from registry.ingest import Ingest
from registry.stamps import stamp_of

log = logging.getLogger(__name__)

_NAME = re.compile(r"sha256-([0-9a-f]{64})")
_LIMIT = 64 << 10
_FLEETING = ("/tmp", "/var/tmp", "/dev/shm", "/run")
_SOMEBODY = "another program"


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Where a blob lies: an absolute path without links in it, and how the file looked when its hash was last right.

    `owner` is whose it is, in words. `wrong` is the stamp of other bytes that were found there since.
    """

    path: Path
    size: int
    mtime_ns: int
    inode: int
    owner: str = _SOMEBODY
    wrong: tuple[int, ...] = ()

    @classmethod
    def to(cls, path: Path, status: os.stat_result, owner: str) -> Reference:
        """A reference to a file that has just hashed right."""
        return cls(
            path=path,
            size=status.st_size,
            mtime_ns=status.st_mtime_ns,
            inode=status.st_ino,
            owner=owner or _SOMEBODY,
        )

    def describes(self, status: os.stat_result) -> bool:
        """Whether the file still looks as it did."""
        return (status.st_size, status.st_mtime_ns, status.st_ino) == (self.size, self.mtime_ns, self.inode)


class References:
    """Small JSON files named as blobs are, in a folder of their own. Safe to use from several threads."""

    def __init__(self, root: Path, disk: Disk) -> None:
        self._root = root
        self._folder = root / "references"
        self._ingest = root / "ingest"
        self._disk = disk
        self._lock = threading.RLock()
        self._changes = 0  # of our own: the folder's date may be too coarse to tell two apart
        self._seen: tuple[int, int] | None = None  # the state that was read last
        self._known: dict[Digest, Reference] = {}
        self._unread: set[Digest] = set()  # the disk failed for these: they are tried again at every look
        self._changed: list[Digest] = []  # in the order of the changes

    def get(self, digest: Digest) -> Reference | None:
        """The reference of a blob, if there is one that can be read. Raises a StorageFault."""
        with self._lock:
            self._look()
            return self._known.get(digest)

    def digests(self) -> tuple[Digest, ...]:
        """The blobs that have a reference that can be read. Raises a StorageFault."""
        with self._lock:
            self._look()
            return tuple(self._known)

    def changed(self, since: int) -> tuple[int, frozenset[Digest]]:
        """The blobs whose reference was added, changed or removed since a moment, and what the moment is now.

        The first moment is 0. Raises a StorageFault.
        """
        with self._lock:
            self._look()
            return len(self._changed), frozenset(self._changed[since:])

    def files(self) -> Iterator[tuple[Digest, os.stat_result]]:
        """Every reference, readable or not, with the status of its own small file."""
        with suppress(FileNotFoundError), os.scandir(self._folder) as entries:
            for entry in entries:
                named = _NAME.fullmatch(entry.name)
                with suppress(FileNotFoundError):
                    if named is not None:
                        yield Digest(named[1]), entry.stat(follow_symlinks=False)

    def put(self, digest: Digest, reference: Reference) -> None:
        """Note where a blob lies; durable when this returns. Raises a StorageFault."""
        target = self._folder / digest.file_name
        with storage("noting where a blob lies", target):
            self._disk.make_dir(self._folder)
            self._disk.make_dir(self._ingest)
        ingest = Ingest.create(self._disk, self._ingest / f"{uuid4().hex}.part")
        try:
            ingest.write(_to_json(reference))
            ingest.seal()
            with storage("noting where a blob lies", target):
                known = self.get(digest) is not None
                with self._changing(digest, reference):
                    self._disk.rename(ingest.path, target)
                try:
                    self._disk.sync_dir(self._folder)
                except BaseException:
                    if not known:
                        with suppress(OSError):  # a note that may not last is worse than none
                            self.remove(digest)
                    raise
        except BaseException:
            ingest.abandon()
            raise

    def remove(self, digest: Digest) -> None:
        """Forget where a blob lies; missing is fine. The file that it leads to stays as it is."""
        if os.path.lexists(self._folder / digest.file_name):
            with self._changing(digest, None):
                self._disk.remove(self._folder / digest.file_name)

    def status(self, digest: Digest) -> os.stat_result | None:
        """The file that a reference leads to: regular, of the right length, and not known to have other bytes."""
        reference = self.get(digest)
        if reference is None:
            return None
        found = _regular(reference.path)
        if found is None or found.st_size != reference.size or stamp_of(found) == reference.wrong:
            return None
        return found

    def trouble(self, digest: Digest) -> str | None:
        """What is wrong with a reference's file, in words that name it and its owner; None if there is no reference."""
        reference = self.get(digest)
        if reference is None:
            return None
        found = _regular(reference.path)
        if found is None:
            what = "is gone"
        elif found.st_size != reference.size:
            what = f"has {found.st_size} bytes now instead of {reference.size}"
        else:
            what = "has other bytes now, or can't be read"
        return (
            f"blob {digest} is a file of {reference.owner}, {reference.path}, which {what}; "
            "put it back, or pull or adopt the model again; `runner verify --repair` fetches what came from a source"
        )

    def may_lead_to(self, path: Path) -> bool:
        """Whether a file will last as long as the store does: not where temporary files are swept away."""
        return not _is_fleeting(path) or _is_fleeting(self._root)

    @contextmanager
    def _changing(self, digest: Digest, reference: Reference | None) -> Iterator[None]:
        """Around the one step that changes a reference: what is known of all others need not be read again."""
        with self._lock:
            was_current = self._seen == self._state()
            self._changes += 1
            yield  # a failure leaves the state unlike the one seen, so that everything is read again
            if was_current:
                self._know(digest, reference)
                self._unread.discard(digest)
                self._seen = self._state()

    def _know(self, digest: Digest, reference: Reference | None) -> None:
        if self._known.get(digest) == reference:
            return
        self._changed.append(digest)
        if reference is None:
            del self._known[digest]
        else:
            self._known[digest] = reference

    def _state(self) -> tuple[int, int]:
        """Differs once any reference has been added, changed or removed."""
        try:
            return self._changes, os.stat(self._folder).st_mtime_ns
        except OSError:
            return self._changes, 0

    def _look(self) -> None:
        """Read what has changed. A failure leaves what was known, and the next look tries again."""
        state = self._state()
        if self._seen == state and not self._unread:
            return
        with storage("reading where blobs lie", self._folder):
            if self._seen == state:
                named = set(self._unread)
            else:
                named = {digest for digest, _ in self.files()}
                for gone in self._known.keys() - named:
                    self._know(gone, None)
            for digest in named:
                self._read(digest)
            self._unread &= named
        self._seen = state

    def _read(self, digest: Digest) -> None:
        path = self._folder / digest.file_name
        try:
            self._know(digest, _of_json(read_file(self._disk, path, _LIMIT)[0]))
            self._unread.discard(digest)
        except (OSError, ValueError, KeyError, TypeError) as error:
            if is_exhausted(error):
                raise
            if digest not in self._unread:
                log.warning("%s can't be read (%s); pull or adopt its model again", path, error)
            if isinstance(error, OSError) and not isinstance(error, FileNotFoundError):
                self._unread.add(digest)  # it may be the cable: what was known of it may hold
            else:
                self._unread.discard(digest)
                self._know(digest, None)


def _to_json(reference: Reference) -> bytes:
    value = {
        "path": str(reference.path),
        "size": reference.size,
        "mtime_ns": reference.mtime_ns,
        "inode": reference.inode,
        "owner": reference.owner,
    }
    if reference.wrong:
        value["wrong"] = list(reference.wrong)
    return json.dumps(value, sort_keys=True).encode("utf-8", "surrogatepass")


def _of_json(data: bytes) -> Reference:
    value = json.loads(data)
    path = Path(value["path"])
    numbers = (value["size"], value["mtime_ns"], value["inode"], *value.get("wrong", ()))
    if not path.is_absolute() or any(type(each) is not int for each in numbers):
        raise ValueError("not a reference")
    return Reference(
        path=path,
        size=value["size"],
        mtime_ns=value["mtime_ns"],
        inode=value["inode"],
        owner=str(value["owner"]),
        wrong=tuple(value.get("wrong", ())),
    )


def _regular(path: Path) -> os.stat_result | None:
    try:
        found = os.lstat(path)
    except (OSError, ValueError):
        return None
    return found if stat.S_ISREG(found.st_mode) else None


def _is_fleeting(path: Path) -> bool:
    whole = Path(os.path.realpath(path))
    return any(Path(os.path.realpath(each)) in whole.parents for each in (*_FLEETING, tempfile.gettempdir()))
