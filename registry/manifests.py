"""The folder of manifests: one small file per model name, found whatever the case, replaced in one step.

Knows names and bytes; what a manifest says is for others.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from uuid import uuid4

from registry.disk import Disk, read_file, storage
from registry.errors import BadManifest, BadName, StorageFault
from registry.manifest import SIZE_LIMIT
from registry.names import Name

Stamp = tuple[int, int, int, int]


class Manifests:
    """Files at `manifests/<host>/<namespace>/<model>/<tag>`. One writer at a time: the store sees to that."""

    def __init__(self, root: Path, disk: Disk) -> None:
        self._folder = root / "manifests"
        self._ingest = root / "ingest"
        self._quarantine = root / "quarantine"
        self._disk = disk
        # Folders whose names this process has made durable. One that died may have left others behind.
        self._settled: set[Path] = set()

    def all(self) -> Iterator[tuple[Name, Path]]:
        """Every name with its file. Files whose path is no name aren't ours, and are left out."""
        for host in _folders(self._folder):
            for namespace in _folders(host.path):
                for model in _folders(namespace.path):
                    for tag in _entries(model.path):
                        with suppress(BadName):
                            name = Name.from_parts(host.name, namespace.name, model.name, tag.name)
                            yield name, Path(tag.path)

    def find(self, name: Name) -> tuple[Name, Path] | None:
        """The name as it is written in the store, and its file; case doesn't count. None if there is none."""
        at = self._folder
        spelled = []
        for part in name.parts:
            found = _spelling(at, part)
            if found is None:
                return None
            spelled.append(found)
            at = at / found
        try:
            return Name.from_parts(*spelled), at
        except BadName:
            return None

    def read(self, path: Path) -> tuple[bytes, os.stat_result]:
        """A manifest's bytes and status; raises BadManifest if there are too many, or OSError."""
        data, status = read_file(self._disk, _followed(path), SIZE_LIMIT + 1)
        if len(data) > SIZE_LIMIT:
            raise BadManifest(f"manifest: it has more than the {SIZE_LIMIT} bytes allowed")
        return data, status

    def contents(self, path: Path) -> bytes:
        """All bytes of a manifest, whatever they are; none if it is gone. Raises OSError if it can't be read."""
        with suppress(FileNotFoundError):
            return read_file(self._disk, _followed(path), sys.maxsize)[0] if path.is_file() else b""
        return b""

    def put(self, name: Name, data: bytes) -> Path:
        """Write a manifest, durable when this returns; an existing one is replaced in one step."""
        target = self._folder.joinpath(*name.parts)
        aside = self._ingest / f"{uuid4().hex}.part"
        with storage("writing a manifest", target):
            self._disk.make_dir(target.parent)
            self._disk.make_dir(self._ingest)
            self._make_way(target)
            try:
                fd = self._disk.create(aside)
                try:
                    self._disk.write(fd, data)
                    self._disk.sync(fd)
                finally:
                    self._disk.close(fd)
                self._disk.rename(aside, target)
            except BaseException:
                with suppress(OSError):
                    self._disk.remove(aside)
                self._remove_empty(target.parent)
                raise
            self._settled.discard(target.parent)
            self._settle(target.parent)
        return target

    def settle(self, path: Path) -> None:
        """Make sure that a manifest which is there is durable, whoever wrote it."""
        with storage("making a manifest durable", path):
            self._settle(path.parent)

    def settle_all(self) -> None:
        """Make sure that a power failure brings back no manifest that is gone; costs something once per process."""
        with storage("making manifests durable", self._folder):
            for host in _folders(self._folder):
                for namespace in _folders(host.path):
                    for model in _folders(namespace.path):
                        self._settle(Path(model.path))
            self._settle(self._folder)

    def remove(self, path: Path) -> None:
        """Remove a manifest for good, and the folders that it leaves empty."""
        with storage("removing a manifest", path):
            if path.is_dir() and not path.is_symlink():
                self._disk.remove_tree(path)
            else:
                self._disk.remove(path)
            self._settled.discard(path.parent)
            self._settle(path.parent)
        self._remove_empty(path.parent)

    def _remove_empty(self, folder: Path) -> None:
        with suppress(OSError):  # an empty folder does no harm
            while folder != self._folder and self._disk.remove_dir(folder):
                self._settled.discard(folder)
                folder = folder.parent

    def _settle(self, folder: Path) -> None:
        """Sync a folder, and those above it up to the store's own, unless this process has done so since a change."""
        chain = []
        while folder not in self._settled:
            chain.append(folder)
            if folder == self._folder:
                break
            folder = folder.parent
        for each in reversed(chain):
            self._disk.sync_dir(each)
            self._settled.add(each)

    def _make_way(self, target: Path) -> None:
        """A manifest can't replace a folder: whatever it is, it is put aside."""
        if target.is_dir() and not target.is_symlink():
            self._disk.make_dir(self._quarantine)
            self._disk.rename(target, self._quarantine / f"manifest.{uuid4().hex[:8]}")


def stamp_of(status: os.stat_result) -> Stamp:
    """What changes when a manifest does."""
    return status.st_mtime_ns, status.st_size, status.st_ino, status.st_ctime_ns


def _entries(folder: str | Path) -> list[os.DirEntry[str]]:
    """Raises a StorageFault where the folder can't be read."""
    try:
        with storage("reading the store", Path(folder)), os.scandir(folder) as entries:
            return sorted((each for each in entries if not each.name.startswith(".")), key=lambda each: each.name)
    except StorageFault as error:
        if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
            return []
        raise


def _folders(folder: str | Path) -> list[os.DirEntry[str]]:
    with storage("reading the store", Path(folder)):
        return [each for each in _entries(folder) if each.is_dir()]


def _followed(path: Path) -> Path:
    """The file that a manifest is by a link, which people make; nothing else of the store is reached by one."""
    return Path(os.path.realpath(path)) if path.is_symlink() else path


def _spelling(folder: Path, part: str) -> str | None:
    """How `part` is written in the folder: exactly, or in another case."""
    wanted = part.lower()
    found = [each.name for each in _entries(folder) if each.name.lower() == wanted]
    return part if part in found else (found[0] if found else None)
