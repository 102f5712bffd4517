"""Garbage: what no manifest and no lease needs, found by marking and removed by sweeping.

Decides from what it is given; the store holds its lock meanwhile. Never touches a leased or a young file.
Whether a model is loaded doesn't matter here: a worker has its files open or mapped, and on POSIX such a file lives on
without a name until the last of them lets go. Windows refuses to remove it, and it stays for the next sweep.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from registry.blobs import Blobs
from registry.digests import Digest
from registry.disk import Disk
from registry.errors import Unwritable
from registry.quarantine import NOTE, entries_of, size_of

log = logging.getLogger(__name__)

_REFERENCE = re.compile(rb"sha256:([0-9a-f]{64})")
_PART_NAME = re.compile(r"sha256-([0-9a-f]{64})\.part(?:\..*)?")

KEEP_SECONDS = 7 * 24 * 3600.0
"""How long an unfinished download, or bytes in quarantine, are kept for another try or a look."""

Kind = Literal["blob", "reference", "unfinished", "quarantined", "stamp"]


@dataclass(frozen=True, slots=True)
class Garbage:
    """One file or folder that may go. `shared` if other programs hold the file by a name of their own."""

    kind: Kind
    path: Path
    size: int
    shared: bool = False
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a sweep removed, or would: blobs and unfinished files, and the bytes that the disk has back.

    `shared` is bytes of removed files that other programs still hold by a name of their own. `references` are notes of
    files in another tool's place; those files stay as they are, and don't count anywhere. `removed` tells each.
    """

    count: int
    bytes: int
    shared: int = 0
    references: int = 0
    removed: tuple[Garbage, ...] = ()

    @classmethod
    def of(cls, removed: Iterable[Garbage]) -> Pruned:
        """Added up. Stamps and notes are no files to anybody, so they don't count."""
        told = tuple(each for each in removed if each.kind != "stamp")
        files = [each for each in told if each.kind != "reference"]
        return cls(
            len(files),
            sum(each.size for each in files if not each.shared),
            sum(each.size for each in files if each.shared),
            len(told) - len(files),
            told,
        )


class Age:
    """How old files are, whatever happens to the clock on the wall.

    Two readings are taken: the wall's, and where the wall's would be had it run evenly since this was made. A file is
    only as old as the younger of the two says, so that a clock set forward or back makes no file old at a stroke.
    """

    def __init__(self, wall: Callable[[], float] = time.time, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()

    def older(self, status: os.stat_result, seconds: float) -> bool:
        """Whether a file has had its name for so long."""
        # The change time tells when a name was given: a hard link keeps the other times of its file. A time in
        # the future means that the clock was set back: far ahead counts as old, or it would be kept for ever.
        readings = (self._wall(), self._monotonic() + self._offset)
        return min(abs(now - status.st_ctime) for now in readings) >= seconds


def marked(manifests: Iterable[bytes]) -> set[Digest]:
    """Every digest that occurs in the manifests' bytes: those of a manifest that can't be parsed count too."""
    return {Digest(found.decode()) for data in manifests for found in _REFERENCE.findall(data)}


def unneeded(
    blobs: Blobs, keep: Collection[Digest], grace: float, age: Age, only: Collection[Digest] | None = None
) -> Iterator[Garbage]:
    """Blobs outside `keep`, and inside `only` if that is given, that are older than `grace` seconds."""

    def is_unneeded(digest: Digest, status: os.stat_result) -> bool:
        return digest not in keep and (only is None or digest in only) and age.older(status, grace)

    own = set()
    for digest, status in list(blobs.own()):
        own.add(digest)
        if is_unneeded(digest, status):
            yield Garbage("blob", blobs.path(digest), status.st_size, status.st_nlink > 1, digest)
    for digest, status in list(blobs.references.files()):
        if digest not in own and is_unneeded(digest, status):
            yield Garbage("reference", blobs.path(digest), 0, digest=digest)


def stray_stamps(blobs: Blobs, grace: float, age: Age) -> Iterator[Garbage]:
    """Stamps of blobs that are gone."""
    for digest, status in blobs.stray_stamps():
        if age.older(status, grace):
            yield Garbage("stamp", blobs.path(digest), 0, digest=digest)


def unfinished(
    ingest: Path, leased: Collection[Digest], seconds: float, age: Age, all_others: bool
) -> Iterator[Garbage]:
    """Downloads unfinished for so long that nobody leases; with `all_others`, every other file too.

    Other files belong to threads of this process, or to a process that is gone: only an opening store knows.
    """
    for path, status in entries_of(ingest):
        named = _PART_NAME.fullmatch(path.name)
        if named is None and not all_others:
            continue
        if named is not None and (Digest(named[1]) in leased or not age.older(status, seconds)):
            continue
        yield Garbage("unfinished", path, size_of(path, status), status.st_nlink > 1 and stat.S_ISREG(status.st_mode))


def outstayed(quarantine: Path, seconds: float, age: Age) -> Iterator[Garbage]:
    """What has been in quarantine for so long; each with its note."""
    for path, status in entries_of(quarantine):
        if age.older(status, seconds):
            kind: Kind = "stamp" if path.name.endswith(NOTE) else "quarantined"
            yield Garbage(kind, path, size_of(path, status), status.st_nlink > 1 and stat.S_ISREG(status.st_mode))


def discard(garbage: Iterable[Garbage], blobs: Blobs, disk: Disk) -> tuple[Garbage, ...]:
    """Remove each; what went."""
    gone = []
    for each in garbage:
        if each.digest is None:
            if each.path.is_dir() and not each.path.is_symlink():
                disk.remove_tree(each.path)
            else:
                disk.remove(each.path)
        elif each.kind == "stamp":
            blobs.forget(each.digest)
        else:
            try:
                blobs.remove(each.digest)
            except Unwritable:
                if os.name != "nt":
                    raise
                log.info("%s is in use, and stays for now", each.path)
                continue
        gone.append(each)
    return tuple(gone)
