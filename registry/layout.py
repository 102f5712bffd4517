"""How a store's folder is laid out, and which version of that layout it has.

A store of a later version is refused untouched, an older one is brought up to date step by step. Knows no models.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

from registry.blobs import Blobs
from registry.collect import KEEP_SECONDS, Age, discard, unfinished
from registry.disk import Disk, storage
from registry.errors import BadManifest, StoreTooNew, Unwritable

log = logging.getLogger(__name__)

FORMAT_VERSION: Final = 1
MIGRATIONS: Mapping[int, Callable[[Path, Disk], None]] = {}
"""For each older version what makes it the next one. A step may be cut off anywhere: it is done again then."""
_WORD = "store.json"


def check_format(root: Path) -> int:
    """The version of a store, or ours where there is none yet. Raises StoreTooNew before anything in it is touched."""
    try:
        text = (root / _WORD).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return FORMAT_VERSION
    try:
        version = json.loads(text)["format_version"]
    except (ValueError, TypeError, KeyError) as error:
        raise BadManifest(f"{root / _WORD} can't be read; is {root} a store of Runner?") from error
    if not isinstance(version, int) or isinstance(version, bool) or version > FORMAT_VERSION:
        raise StoreTooNew(
            f"the store {root} has format {version}, and this version of Runner knows {FORMAT_VERSION}; "
            "update Runner, or use another store"
        )
    return version


def tidy(root: Path, disk: Disk, age: Age) -> None:
    """Lay the store out, bring it up to date, and remove what a process that is gone left unfinished."""
    try:
        with storage("opening the store", root):
            _migrate(root, disk)
            _lay_out(root, disk)
            # A process that died between giving a blob its name and making that durable left it to us; or a reference.
            disk.sync_dir(root / "blobs")
            if (root / "references").is_dir():
                disk.sync_dir(root / "references")
                disk.sync_dir(root)
            leftovers = unfinished(root / "ingest", (), KEEP_SECONDS, age, all_others=True)
            discard(leftovers, Blobs(root, disk), disk)
    except Unwritable as error:
        if not (root / "manifests").is_dir():
            raise
        log.warning("the store %s is read-only: %s", root, error)


def _migrate(root: Path, disk: Disk) -> None:
    version = check_format(root)
    while version < FORMAT_VERSION:
        if version not in MIGRATIONS:
            raise BadManifest(f"the store {root} has format {version}, which never was one")
        MIGRATIONS[version](root, disk)
        version += 1
        _sign(root, disk, version)


def _lay_out(root: Path, disk: Disk) -> None:
    for folder in ("blobs", "manifests", "ingest"):
        disk.make_dir(root / folder)
    if not (root / _WORD).exists():
        _sign(root, disk, FORMAT_VERSION)


def _sign(root: Path, disk: Disk, version: int) -> None:
    aside = root / "ingest" / f"{_WORD}.part"
    disk.make_dir(aside.parent)
    with suppress(OSError):
        disk.remove(aside)
    fd = disk.create(aside)
    try:
        disk.write(fd, json.dumps({"format_version": version}).encode())
        disk.sync(fd)
    finally:
        disk.close(fd)
    disk.rename(aside, root / _WORD)
    disk.sync_dir(root)
