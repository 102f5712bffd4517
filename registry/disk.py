"""Every operation that changes the store or reads a file of it, in one small object.

Tests put an object in its place that fails, fills up or dies at the Nth call; nothing else in the
registry writes, links, renames or removes. Knows nothing of blobs and manifests.
"""

from __future__ import annotations

import errno
import io
import os
import shutil
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from registry.errors import BadSource, NoSpace, StorageFault, Unreadable, Unwritable

_BINARY = getattr(os, "O_BINARY", 0) | getattr(os, "O_CLOEXEC", 0)
_FICLONE = 0x40049409
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_REFUSED = {errno.EROFS, errno.EACCES, errno.EPERM}
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM})
"""What says that this process or machine has run out of something, and nothing about the file."""
# What link() and FICLONE answer where the file system, its type or its rules don't allow them.
_CANNOT_SHARE = {
    errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.EOPNOTSUPP, errno.ENOTSUP,
    errno.EINVAL, errno.ENOTTY, errno.ENOSYS, errno.EISDIR, errno.EBADF, errno.ETXTBSY,
}  # fmt: skip


_POSITION = threading.Lock()


class Disk:
    """The real file system. Methods raise OSError as the system does."""

    def make_dir(self, path: Path) -> None:
        """Make a folder and its parents; each is durable in its parent when this returns."""
        if path.is_dir():
            return
        if path.parent != path:
            self.make_dir(path.parent)
        try:
            os.mkdir(path, 0o755)
        except FileExistsError:
            if not path.is_dir():
                raise
        self.sync_dir(path.parent)

    def open(self, path: Path) -> int:
        """Open an existing file for reading. A link in its place is refused, and a FIFO isn't waited for."""
        return os.open(path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | _BINARY)

    def read_into(self, fd: int, view: memoryview) -> int:
        """Read on from the file's position; the bytes that came, which may be fewer than fit, or 0 at its end."""
        return io.FileIO(fd, "rb", closefd=False).readinto(view) or 0

    def create(self, path: Path) -> int:
        """Open a file that doesn't exist yet for writing and reading."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _BINARY, 0o644)

    def reopen(self, path: Path) -> int:
        """Open a file for writing on, made if it is missing. A link in its place is refused."""
        return os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | _BINARY, 0o644)

    def write(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` at the file's position."""
        view = memoryview(data)
        while view:
            view = view[os.write(fd, view) :]

    def write_at(self, fd: int, offset: int, data: bytes | bytearray | memoryview) -> None:
        """Write all of `data` from `offset` on; several threads may do so at once."""
        view = memoryview(data)
        if sys.platform == "win32":  # it has no such call, and a position of its own for each open file
            with _POSITION:
                os.lseek(fd, offset, os.SEEK_SET)
                self.write(fd, view)
            return
        while view:
            written = os.pwrite(fd, view, offset)
            view = view[written:]
            offset += written

    def truncate(self, fd: int, size: int) -> None:
        """Cut or extend the file and put the position at its end."""
        os.ftruncate(fd, size)
        os.lseek(fd, size, os.SEEK_SET)

    def sync(self, fd: int) -> None:
        """Return once the bytes are on the medium. After an error the file counts as lost: never retry."""
        if sys.platform == "darwin":
            import fcntl

            fcntl.fcntl(fd, fcntl.F_FULLFSYNC)
        else:
            os.fsync(fd)

    def close(self, fd: int) -> None:
        """Close; an error here is a failed write like any other."""
        os.close(fd)

    def protect(self, path: Path) -> None:
        """Make one of our own files read-only."""
        os.chmod(path, 0o444)

    def rename(self, source: Path, target: Path) -> None:
        """Put `source` in the place of `target`, in one step, on the same file system."""
        os.replace(source, target)

    def link(self, source: Path, target: Path) -> bool:
        """Give the file a second name; False where the file system or its rules don't allow it."""
        if sys.platform == "win32":  # neither name could be given or taken while either is open
            return False
        return _shared(lambda: os.link(source, target))

    def clone(self, source_fd: int, target_fd: int) -> bool:
        """Share the blocks of one file with another, copy-on-write; False where that can't be."""
        if sys.platform != "linux":
            return False
        import fcntl

        return _shared(lambda: fcntl.ioctl(target_fd, _FICLONE, source_fd))

    def symlink(self, target: str, path: Path) -> None:
        """Make a symbolic link at `path`."""
        os.symlink(target, path)

    def remove(self, path: Path) -> None:
        """Remove one name; missing is fine."""
        try:
            os.unlink(path)
        except FileNotFoundError:
            return
        except PermissionError:
            if sys.platform == "win32" and os.lstat(path).st_nlink == 1:  # it refuses to remove a read-only file
                os.chmod(path, 0o644)
                os.unlink(path)
                return
            raise

    def remove_dir(self, path: Path) -> bool:
        """Remove a folder if it is empty; False if it isn't."""
        try:
            os.rmdir(path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                return False
            raise
        return True

    def remove_tree(self, path: Path) -> None:
        """Remove a folder with all that is in it; links are removed, never followed."""
        with os.scandir(path) as entries:
            found = list(entries)
        for each in found:
            if each.is_dir(follow_symlinks=False):
                self.remove_tree(Path(each.path))
            else:
                self.remove(Path(each.path))
        self.remove_dir(path)

    def sync_dir(self, path: Path) -> None:
        """Make the names in a folder durable."""
        if sys.platform == "win32":
            return  # Windows has no such call; NTFS journals names itself.
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some network file systems have no such call either
                raise
        finally:
            os.close(fd)

    def free(self, path: Path) -> int:
        """Bytes that we could still write on the file system of an existing path."""
        return shutil.disk_usage(path).free


def _shared(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except OSError as error:
        if error.errno in _CANNOT_SHARE:
            return False
        raise
    return True


def read_file(disk: Disk, path: Path, limit: int) -> tuple[bytes, os.stat_result]:
    """The first `limit` bytes of a small file, and its status. Raises OSError, also where it ends before its length."""
    fd = disk.open(path)
    try:
        status = os.fstat(fd)
        data = bytearray()
        buffer = memoryview(bytearray(min(64 << 10, limit)))
        while len(data) < limit and (got := disk.read_into(fd, buffer[: limit - len(data)])):
            data += buffer[:got]
    finally:
        os.close(fd)
    if len(data) < min(limit, status.st_size):
        raise OSError(errno.EIO, "the file ended early", str(path))
    return bytes(data), status


def is_exhausted(error: BaseException) -> bool:
    """Whether an OSError, or a StorageFault that came of one, says nothing about the file: see EXHAUSTED."""
    cause = error.__cause__ if isinstance(error, StorageFault) else error
    return isinstance(cause, OSError) and cause.errno in EXHAUSTED


def open_regular(path: Path) -> tuple[int, os.stat_result]:
    """Open an existing regular file for reading; links are followed.

    Raises BadSource for anything else. Never waits, whatever the path is: a FIFO without a writer, say.
    """
    try:
        fd = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    except FileNotFoundError as error:
        raise Unreadable(f"{path}: no such file") from error
    except PermissionError as error:
        raise Unreadable(f"{path}: can't be opened: {error.strerror}") from error
    except (OSError, ValueError) as error:
        if isinstance(error, OSError) and error.errno in EXHAUSTED:
            raise StorageFault(f"{path}: can't be opened: {error.strerror}", path) from error
        raise BadSource(f"{path}: can't be opened: {getattr(error, 'strerror', None) or error}") from error
    status = os.fstat(fd)
    if not stat.S_ISREG(status.st_mode):
        os.close(fd)
        raise BadSource(f"{path}: not a regular file")
    return fd, status


@contextmanager
def storage(doing: str, path: Path) -> Iterator[None]:
    """Turn an OSError of the block into a StorageFault that says what was being done, and where."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            free = None
            with suppress(OSError):
                free = shutil.disk_usage(path if path.is_dir() else path.parent).free
            raise NoSpace(path, free=free) from error
        text = error.strerror or str(error)
        if error.errno in _REFUSED:
            raise Unwritable(f"not allowed while {doing} ({path}): {text}", path) from error
        raise StorageFault(f"the disk failed while {doing} ({path}): {text}", path) from error
