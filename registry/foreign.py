"""Files that aren't ours, taken in without copying where that is possible.

Never changes, re-modes or removes the file it is given. Knows nothing of blobs' names.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from registry.digests import CHUNK, Digest, hash_fd
from registry.disk import Disk, is_exhausted, open_regular, storage
from registry.errors import BadSource, Cancelled, NoSpace, StorageFault
from registry.ingest import Ingest

How = Literal["cloned", "linked", "referred", "copied"]


@dataclass(frozen=True, slots=True)
class Taken:
    """A file's bytes, hashed, and how they come in. `ingest` waits to be committed; a referred file has none.

    `path` is the file without links on the way, `status` how it looked before and after.
    """

    how: How
    digest: Digest
    ingest: Ingest | None
    path: Path
    status: os.stat_result


def take_in(
    disk: Disk,
    source: Path,
    target: Path,
    share_inode: bool,
    refer: bool = False,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Taken:
    """Bring a file's bytes to `target`, hashed: by shared blocks, else by a hard link, else by a copy.

    `share_inode` permits the hard link, after which target and source are one file; `refer` has the file stay where
    it is rather than be copied. `progress` is told the bytes done. Raises BadSource if the file can't be
    read or changes meanwhile, Cancelled, or a StorageFault of our own disk; then nothing is left at `target`.
    """
    fd, before = open_regular(source)
    path = Path(os.path.realpath(source))
    ingest: Ingest | None = None
    try:
        ingest, how = _begin(disk, source, fd, before, target, share_inode, refer)
        if ingest is None:
            with _reading(source):
                digest, size = hash_fd(fd, progress, cancelled, disk.read_into)
        else:
            with _reading(source):
                _fill(disk, ingest, fd if how == "copied" else ingest.fd, how == "copied", progress, cancelled)
            digest, size = ingest.digest(), ingest.size
        after = os.fstat(fd)
        if _look(after) != _look(before) or size != before.st_size or (ingest is None and not _is(path, after)):
            raise BadSource(f"{source}: it changed while it was being read; try again")
    except BaseException:
        if ingest is not None:
            ingest.abandon()
        raise
    finally:
        os.close(fd)
    return Taken(how, digest, ingest, path, after)


def _begin(
    disk: Disk, source: Path, fd: int, status: os.stat_result, target: Path, share_inode: bool, refer: bool
) -> tuple[Ingest | None, How]:
    ingest = Ingest.create(disk, target)
    try:
        with storage("taking in a file", target):
            if disk.clone(fd, ingest.fd):
                return ingest, "cloned"
            if share_inode and _link_over(disk, source, status, target):
                ingest.keep()
                return Ingest(disk, target, disk.open(target)), "linked"
            if refer:
                ingest.keep()
                disk.remove(target)
                return None, "referred"
            free = disk.free(target.parent)
        if free < status.st_size:
            raise NoSpace(target, status.st_size, free)
    except BaseException:
        ingest.abandon()
        raise
    return ingest, "copied"


def _link_over(disk: Disk, source: Path, status: os.stat_result, target: Path) -> bool:
    """Put a hard link to `source` in the place of `target`; False, and nothing changed, where that can't be."""
    aside = target.with_name(f"{target.name}.link")
    if not disk.link(Path(os.path.realpath(source)), aside):
        return False
    try:
        # The name may have been given to another file since we opened it.
        same = _is(aside, status)
        if same:
            disk.rename(aside, target)
    except BaseException:
        with suppress(OSError):
            disk.remove(aside)
        raise
    if not same:
        disk.remove(aside)
    return same


def _fill(
    disk: Disk,
    ingest: Ingest,
    fd: int,
    copy: bool,
    progress: Callable[[int], None] | None,
    cancelled: Callable[[], bool] | None,
) -> None:
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    os.lseek(fd, 0, os.SEEK_SET)
    while got := disk.read_into(fd, view):
        if copy:
            ingest.write(view[:got])
        else:
            ingest.count(view[:got])
        if progress is not None:
            progress(ingest.size)
        if cancelled is not None and cancelled():
            raise Cancelled("cancelled while reading a file")


@contextmanager
def _reading(source: Path) -> Iterator[None]:
    """Blame a file that can't be read, its blocks or links included, and not our disk: another may have the bytes."""
    try:
        yield
    except OSError as error:
        if is_exhausted(error):
            raise StorageFault(f"{source}: can't be read: {error.strerror}", source) from error
        raise BadSource(f"{source}: can't be read: {error.strerror or error}") from error


def _is(path: Path, status: os.stat_result) -> bool:
    """Whether the name is still that file's."""
    try:
        found = os.lstat(path)
    except FileNotFoundError:
        return False
    return (found.st_dev, found.st_ino) == (status.st_dev, status.st_ino)


def _look(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ino
