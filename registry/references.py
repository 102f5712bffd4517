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
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from registry.digests import Digest
from registry.disk import Disk, storage
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
        self._lock = threading.Lock()
        self._changes = 0  # of our own: the folder's date may be too coarse to tell two apart
        self._seen: tuple[int, int] | None = None  # the state that was read last
        self._known: dict[Digest, Reference] = {}

    @property
    def state(self) -> tuple[int, int]:
        """Differs once any reference has been added, changed or removed."""
        try:
            return self._changes, os.stat(self._folder).st_mtime_ns
        except OSError:
            return self._changes, 0

    def get(self, digest: Digest) -> Reference | None:
        """The reference of a blob, if there is one that can be read."""
        return self._all().get(digest)

    def digests(self) -> tuple[Digest, ...]:
        """The blobs that have a reference that can be read."""
        return tuple(self._all())

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
                self._disk.rename(ingest.path, target)
                self._disk.sync_dir(self._folder)
        except BaseException:
            ingest.abandon()
            raise
        finally:
            self._changes += 1

    def remove(self, digest: Digest) -> None:
        """Forget where a blob lies; missing is fine. The file that it leads to stays as it is."""
        if os.path.lexists(self._folder / digest.file_name):
            try:
                self._disk.remove(self._folder / digest.file_name)
            finally:
                self._changes += 1

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
            what = "has other bytes now"
        return (
            f"blob {digest} is a file of {reference.owner}, {reference.path}, which {what}; "
            "put it back, or pull or adopt the model again"
        )

    def may_lead_to(self, path: Path) -> bool:
        """Whether a file will last as long as the store does: not where temporary files are swept away."""
        return not _is_fleeting(path) or _is_fleeting(self._root)

    def _all(self) -> dict[Digest, Reference]:
        state = self.state
        with self._lock:
            if self._seen != state:
                self._known = dict(self._read())
                self._seen = state
            return self._known

    def _read(self) -> Iterator[tuple[Digest, Reference]]:
        for digest, _ in self.files():
            path = self._folder / digest.file_name
            try:
                with open(path, "rb") as file:
                    yield digest, _of_json(file.read(_LIMIT))
            except (OSError, ValueError, KeyError, TypeError) as error:
                log.warning("%s can't be read (%s); pull or adopt its model again", path, error)


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
