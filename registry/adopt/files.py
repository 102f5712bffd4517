"""Strangers' files, looked at with care: no links out of their tree, nothing but regular files, nothing large read.

Knows no tool's layout.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from registry.adopt.found import FoundFile
from registry.digests import Digest
from registry.disk import open_regular
from registry.errors import BadSource
from registry.manifest import SIZE_LIMIT, read_object

MOST_ENTRIES = 100_000
"""Names that one look takes in: a whole disk given by mistake must not take for ever."""
DEPTH = 8


def found_file(
    path: Path, root: Path, title: str = "", digest: Digest | None = None, size: int | None = None
) -> FoundFile:
    """A file inside `root`, links resolved. Raises BadSource for anything but a regular file of `size` bytes in it."""
    real = inside(path, root)
    try:
        status = os.lstat(real)
    except OSError as error:
        raise BadSource(f"{path}: {error.strerror}") from error
    if not stat.S_ISREG(status.st_mode):
        raise BadSource(f"{path}: not a regular file")
    if not os.access(real, os.R_OK):
        raise BadSource(f"{path}: not ours to read")
    if size is not None and status.st_size != size:
        raise BadSource(f"{path}: it has {status.st_size} of {size} bytes")
    return FoundFile(real, title or path.name, status.st_size, digest)


def inside(path: Path, root: Path) -> Path:
    """The path without links. Raises BadSource if that leads out of `root`."""
    real = Path(os.path.realpath(path))
    if Path(os.path.realpath(root)) not in real.parents:
        raise BadSource(f"{path}: a link that leads out of {root}")
    return real


def read_small(path: Path) -> bytes:
    """A small file's bytes; raises BadSource for anything else, and OSError."""
    fd, status = open_regular(path)
    with open(fd, "rb") as file:
        if status.st_size > SIZE_LIMIT:
            raise BadSource(f"{path}: {status.st_size} bytes are too many for a small file")
        return file.read(SIZE_LIMIT)


def read_json(path: Path) -> dict[str, Any]:
    """A small file's JSON object; raises BadSource, BadManifest or OSError."""
    return read_object(read_small(path), str(path))


def entries(folder: Path) -> list[os.DirEntry[str]]:
    """What is in a folder, by name; nothing if it isn't one. Raises OSError where it may not be read."""
    try:
        with os.scandir(folder) as found:
            return sorted(found, key=lambda each: each.name)
    except (FileNotFoundError, NotADirectoryError):
        return []


def folders(folder: Path) -> list[Path]:
    """The folders in a folder, hidden ones and links apart."""
    return [
        Path(each.path)
        for each in entries(folder)
        if not each.name.startswith(".") and each.is_dir(follow_symlinks=False)
    ]


def tree(root: Path) -> Iterator[Path]:
    """Every name below a folder that isn't a folder, in order; hidden ones, and what lies too deep, left out.

    Links to folders are not followed. Raises OSError where a folder may not be read, BadSource for too many names.
    """
    count = 0
    waiting = [(root, 0)]
    while waiting:
        folder, depth = waiting.pop()
        deeper = []
        for each in entries(folder):
            count += 1
            if count > MOST_ENTRIES:
                raise BadSource(f"{root}: more than {MOST_ENTRIES} files; name a smaller folder")
            if each.name.startswith("."):
                continue
            if not each.is_dir(follow_symlinks=False):
                yield Path(each.path)
            elif depth < DEPTH:
                deeper.append((Path(each.path), depth + 1))
        waiting += reversed(deeper)
