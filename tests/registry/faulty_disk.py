"""A disk that fails, fills up or dies at its Nth change. Everything else it does for real."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from registry.disk import Disk

CHANGES = (
    "make_dir", "create", "reopen", "write", "write_at", "truncate", "sync", "close", "protect", "rename", "link",
    "clone", "symlink", "remove", "remove_dir", "sync_dir",
)  # fmt: skip


class Killed(BaseException):
    """The process is gone: nothing that follows has any effect."""


class FaultyDisk(Disk):
    """Counts changes. At change `at` it raises `error` once, or, with `error` None, dies and stays dead.

    `torn` lets half of the write happen that it dies in.
    """

    def __init__(self, at: int | None = None, error: OSError | None = None, torn: bool = False) -> None:
        self.at = at
        self.error = error
        self.torn = torn
        self.count = 0
        self.dead = False
        self.free_bytes: int | None = None

    def free(self, path: Path) -> int:
        """As told, else the truth."""
        return super().free(path) if self.free_bytes is None else self.free_bytes

    def _step(self, call: Callable[[], Any], tear: Callable[[], Any] | None) -> Any:
        if self.dead:
            raise Killed
        self.count += 1
        if self.count != self.at:
            return call()
        if self.error is not None:
            raise self.error
        self.dead = True
        if self.torn and tear is not None:
            tear()
        raise Killed


def _counted(name: str) -> Callable[..., Any]:
    real = getattr(Disk, name)

    def step(self: FaultyDisk, *arguments: Any) -> Any:
        tear = None
        if name == "write":
            fd, data = arguments
            tear = lambda: os.write(fd, bytes(data)[: len(data) // 2])  # noqa: E731
        if name == "write_at":
            fd, offset, data = arguments
            tear = lambda: os.pwrite(fd, bytes(data)[: len(data) // 2], offset)  # noqa: E731
        return self._step(lambda: real(self, *arguments), tear)

    return step


for _name in CHANGES:
    setattr(FaultyDisk, _name, _counted(_name))
