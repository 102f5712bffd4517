"""Garbage: what no manifest and no lease needs, found by marking and removed by sweeping.

Decides from what it is given; the store holds its lock meanwhile. Never touches a leased or a young file.
"""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Collection, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from registry.blobs import Blobs
from registry.digests import Digest
from registry.disk import Disk

_REFERENCE = re.compile(rb"sha256:([0-9a-f]{64})")
_PART_NAME = re.compile(r"sha256-([0-9a-f]{64})\.part(?:\..*)?")

KEEP_SECONDS = 7 * 24 * 3600.0
"""How long an unfinished download, or bytes in quarantine, are kept for another try or a look."""


@dataclass(frozen=True, slots=True)
class Pruned:
    """What a sweep removed: blobs and unfinished files, and the bytes that the disk has back.

    `shared` is bytes of removed files that other programs still hold by a name of their own.
    """

    count: int
    bytes: int
    shared: int = 0


def marked(manifests: Iterable[bytes]) -> set[Digest]:
    """Every digest that occurs in the manifests' bytes: those of a manifest that can't be parsed count too."""
    return {Digest(found.decode()) for data in manifests for found in _REFERENCE.findall(data)}


def sweep(blobs: Blobs, keep: Collection[Digest], grace: float, only: Collection[Digest] | None = None) -> Pruned:
    """Remove blobs outside `keep`, and inside `only` if that is given, that are older than `grace` seconds."""
    now = time.time()
    count = freed = shared = 0
    for digest, status in list(blobs.all()):
        if digest in keep or (only is not None and digest not in only) or not _older(status, grace, now):
            continue
        blobs.remove(digest)
        count += 1
        if status.st_nlink > 1:
            shared += status.st_size
        else:
            freed += status.st_size
    return Pruned(count, freed, shared)


def sweep_unfinished(ingest: Path, disk: Disk, leased: Collection[Digest], age: float, all_others: bool) -> Pruned:
    """Remove downloads unfinished for `age` seconds that nobody leases; with `all_others`, every other file too.

    Other files belong to threads of this process, or to a process that is gone: only an opening store knows.
    """
    now = time.time()
    count = freed = 0
    for path, status in _files(ingest):
        named = _PART_NAME.fullmatch(path.name)
        if named is None and not all_others:
            continue
        if named is not None and (Digest(named[1]) in leased or not _older(status, age, now)):
            continue
        disk.remove(path)
        count += 1
        freed += status.st_size if status.st_nlink == 1 else 0
    return Pruned(count, freed)


def sweep_quarantine(quarantine: Path, disk: Disk, age: float) -> Pruned:
    """Remove what has been in quarantine for `age` seconds."""
    now = time.time()
    count = freed = 0
    with suppress(FileNotFoundError), os.scandir(quarantine) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if not _older(status, age, now):
                continue
            if entry.is_dir(follow_symlinks=False):
                shutil.rmtree(entry.path, ignore_errors=True)
            else:
                disk.remove(Path(entry.path))
            count += 1
            freed += status.st_size if status.st_nlink == 1 else 0
    return Pruned(count, freed)


def _files(folder: Path) -> list[tuple[Path, os.stat_result]]:
    found = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                found.append((Path(entry.path), entry.stat(follow_symlinks=False)))
    return found


def _older(status: os.stat_result, seconds: float, now: float) -> bool:
    # The change time tells when a name was given: a hard link keeps the other times of its file. A time in
    # the future means that the clock was set back: far ahead counts as old, or it would be kept for ever.
    return abs(now - status.st_ctime) >= seconds
