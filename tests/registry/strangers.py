"""Trees that belong to others: how they look down to modes and dates, and disks that share nothing with them."""

import hashlib
import os
import stat
from pathlib import Path

from registry.disk import Disk


class Linking(Disk):
    """A disk that can't share blocks, so that the order of the other ways is seen on any file system."""

    def clone(self, source_fd: int, target_fd: int) -> bool:
        return False


class Apart(Linking):
    """Nor can it link: as where the files lie on another file system."""

    def link(self, source: Path, target: Path) -> bool:
        return False


def look(folder: Path) -> dict[str, tuple[object, ...]]:
    """Everything under a folder: kinds, modes, owners, dates, inodes and bytes. A further hard link doesn't show."""
    found: dict[str, tuple[object, ...]] = {}
    for path in sorted([folder, *folder.rglob("*")]):
        status = path.lstat()
        what: object = ""
        if stat.S_ISLNK(status.st_mode):
            what = os.readlink(path)
        elif stat.S_ISREG(status.st_mode):
            what = hashlib.sha256(path.read_bytes()).hexdigest()
        found[str(path.relative_to(folder))] = (
            status.st_mode, status.st_uid, status.st_gid, status.st_mtime_ns, status.st_ino, status.st_size, what,
        )  # fmt: skip
    return found


def make_read_only(folder: Path) -> None:
    """Take the write permission from all of it."""
    for path in sorted([folder, *folder.rglob("*")], reverse=True):
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)


def make_writable(folder: Path) -> None:
    """Give it back, so that the test's folder can be cleared away."""
    for path in [folder, *folder.rglob("*")]:
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)
