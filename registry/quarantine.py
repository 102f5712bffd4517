"""The quarantine: bytes that aren't what they should be, out of the way, each with a note of what was expected.

Knows nothing of how one finds that out, nor when it may go.
"""

from __future__ import annotations

import json
import os
import stat
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from registry.disk import Disk, is_exhausted, read_file
from registry.manifest import to_canonical

NOTE = ".json"
"""What the name of a note adds to that of the quarantined file that it is about."""

_NOTE_LIMIT = 64 << 10


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Bytes that were put aside. `expected` and `actual` are as the note beside them tells, empty where none does."""

    path: Path
    size: int
    expected: str = ""
    actual: str = ""
    when: int = 0


class Quarantine:
    """One folder for all that was put aside."""

    def __init__(self, folder: Path, disk: Disk) -> None:
        self._folder = folder
        self._disk = disk

    def take(self, path: Path, expected: str, actual: str, or_remove: bool = True) -> Path | None:
        """Move bytes that can't be trusted out of the way, with a note; None if the disk refuses.

        Then they are removed, as far as that can be, or with `or_remove` False left where they are.
        """
        kept = self._folder / f"{path.name.removesuffix('.part')}.{uuid4().hex[:8]}"
        note = {"expected": expected, "actual": actual, "when": int(time.time())}
        try:
            self._disk.make_dir(self._folder)
            self._disk.rename(path, kept)
            with suppress(OSError):  # the note is a kindness; the bytes are out of the way without it
                fd = self._disk.create(kept.with_name(kept.name + NOTE))
                try:
                    self._disk.write(fd, to_canonical(note))
                finally:
                    self._disk.close(fd)
        except OSError:
            if or_remove:
                with suppress(OSError):
                    self._disk.remove(path)
            return None
        return kept


def quarantined(folder: Path, disk: Disk) -> tuple[Quarantined, ...]:
    """All that was put aside, the latest last. Raises OSError."""
    found = []
    for path, status in entries_of(folder):
        if path.name.endswith(NOTE):
            continue
        note = _note(disk, path.with_name(path.name + NOTE))
        found.append(Quarantined(path, size_of(path, status), *note))
    return tuple(sorted(found, key=lambda each: (each.when, each.path)))


def entries_of(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """What a folder holds, if it is there. Raises OSError."""
    found = []
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):
                found.append((Path(entry.path), entry.stat(follow_symlinks=False)))
    return found


def size_of(path: Path, status: os.stat_result) -> int:
    """Bytes of a file, or of all that a folder holds."""
    if not stat.S_ISDIR(status.st_mode):
        return status.st_size
    return sum(size_of(each, inner) for each, inner in entries_of(path))


def _note(disk: Disk, path: Path) -> tuple[str, str, int]:
    try:
        told = json.loads(read_file(disk, path, _NOTE_LIMIT)[0])
        return str(told["expected"]), str(told["actual"]), int(told["when"])
    except (OSError, ValueError, TypeError, KeyError) as error:
        if is_exhausted(error):
            raise
        return "", "", 0
