"""A disk that fails, fills up or dies at its Nth change.

Everything else it does for real, but for waiting for the medium: a sync changes nothing that a test could see.
"""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from registry.disk import Disk

CHANGES = (
    "make_dir", "create", "reopen", "write", "write_at", "truncate", "sync", "close", "protect", "rename", "link",
    "clone", "symlink", "remove", "remove_dir", "sync_dir",
)  # fmt: skip
READS = ("open", "read_into")


class Killed(BaseException):
    """The process is gone: nothing that follows has any effect."""


class Step(NamedTuple):
    """One operation and the path that it was about, or its file's."""

    name: str
    path: Path

    @property
    def is_optional(self) -> bool:
        """Whether the store does without it: stamps, notes and the lock's text only save work or tell people."""
        return "stamps" in self.path.parts or "quarantine" in self.path.parts or self.path.name == "lock"


class FaultyDisk(Disk):
    """Counts changes. At change `at` it raises `error` once, or, with `error` None, dies and stays dead.

    `torn` lets half of the write happen that it dies in. With `reads` readings count too, and with `short` the read
    that would fail ends early instead, as if the file did. `steps` tells what was done.
    """

    def __init__(
        self,
        at: int | None = None,
        error: OSError | None = None,
        torn: bool = False,
        reads: bool = False,
        short: bool = False,
    ) -> None:
        self.at = at
        self.error = error
        self.torn = torn
        self.reads = reads
        self.short = short
        self.count = 0
        self._counting = threading.Lock()
        self.dead = False
        self.free_bytes: int | None = None
        self.steps: list[Step] = []
        self._paths: dict[int, Path] = {}

    def free(self, path: Path) -> int:
        """As told, else the truth."""
        return super().free(path) if self.free_bytes is None else self.free_bytes

    def do(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """One operation: counted, and done unless this is where it ends."""
        if self.dead:
            raise Killed
        if name in READS and not self.reads:
            return self._really(name, arguments)
        with self._counting:  # files may be fetched side by side
            self.count += 1
            count = self.count
            self.steps.append(Step(name, self._about(arguments)))
        if count != self.at:
            return self._really(name, arguments)
        if self.short and name == "read_into":
            return 0
        if self.error is not None:
            if name == "close":
                os.close(arguments[0])  # it is closed, whatever it says
            raise self.error
        self.dead = True
        if self.torn and name == "write":
            fd, data = arguments
            os.write(fd, bytes(data)[: len(data) // 2])
        if self.torn and name == "write_at":
            fd, offset, data = arguments
            os.pwrite(fd, bytes(data)[: len(data) // 2], offset)
        raise Killed

    def _really(self, name: str, arguments: tuple[Any, ...]) -> Any:
        if name in ("sync", "sync_dir"):
            return None
        done = getattr(Disk, name)(self, *arguments)
        if name in ("create", "reopen", "open"):
            self._paths[done] = arguments[0]
        return done

    def _about(self, arguments: tuple[Any, ...]) -> Path:
        last = arguments[-1] if isinstance(arguments[-1], Path) else arguments[0]
        return last if isinstance(last, Path) else self._paths.get(last, Path("?"))


class ReadOnlyDisk(FaultyDisk):
    """A disk that was mounted so that nothing on it can be changed."""

    def do(self, name: str, arguments: tuple[Any, ...]) -> Any:
        """Reading goes, and making a folder that is there."""
        if name in READS or name == "close" or (name == "make_dir" and arguments[0].is_dir()):
            return self._really(name, arguments)
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))


def _counted(name: str) -> Callable[..., Any]:
    return lambda self, *arguments: self.do(name, arguments)


for _name in (*CHANGES, *READS):
    setattr(FaultyDisk, _name, _counted(_name))
