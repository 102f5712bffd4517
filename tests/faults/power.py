"""What a power failure may leave of a store: every operation is recorded, and states are rebuilt that the syncs allow.

The model is harsher than file systems are. What was written since a file's last sync may be there, be missing, be
torn, or read as zeros. A change of names in a folder counts only once the folder was synced after it; until then each
may have happened or not, by itself, whatever came before or after. Only a rename stays one step: its target is never
lost between the two names.
"""

import os
import random
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from registry.disk import Disk
from tests.registry.faulty_disk import FaultyDisk

Kind = Literal["mkdir", "rmdir", "enter", "leave", "write", "truncate", "sync", "sync_dir", "acknowledged"]


@dataclass(frozen=True)
class Op:
    """One thing that happened. `path` is absolute, `node` a file's number; `at` and `data` are a write's.

    `enter` gives a node a name, `leave` takes one away; `origin` is the name that a rename took away with it.
    """

    kind: Kind
    path: Path = Path()
    node: int = -1
    at: int = 0
    data: bytes = b""
    origin: Path | None = None


@dataclass
class Node:
    """A file: its bytes, or where it leads if it is a link."""

    data: bytes = b""
    link: str | None = None


@dataclass
class State:
    """A file system: folders, names of files, and files."""

    folders: set[Path] = field(default_factory=set)
    names: dict[Path, int] = field(default_factory=dict)
    nodes: dict[int, Node] = field(default_factory=dict)

    def copy(self) -> "State":
        return State(
            set(self.folders), dict(self.names), {key: Node(each.data, each.link) for key, each in self.nodes.items()}
        )

    def build(self, base: Path, target: Path) -> None:
        """Make it real, below `target` in place of `base`. What lies in a folder that isn't there is lost."""
        there = {target}
        target.mkdir()
        for folder in sorted(self.folders):
            if folder == base:
                continue
            place = target / folder.relative_to(base)
            if place.parent in there:
                place.mkdir()
                there.add(place)
        first: dict[int, Path] = {}
        for path, number in sorted(self.names.items()):
            place = target / path.relative_to(base)
            if place.parent not in there:
                continue
            node = self.nodes[number]
            if node.link is not None:
                os.symlink(node.link, place)
            elif number in first:
                os.link(first[number], place)
            else:
                place.write_bytes(node.data)
                first[number] = place


class RecordingDisk(FaultyDisk):
    """Does what it is told and writes it down. What is below `base` at the start counts as durable.

    It may be made to die like its parent; `revive` lets another process go on with the same disk.
    """

    def __init__(self, base: Path, at: int | None = None) -> None:
        super().__init__(at)
        self.base = base
        self.ops: list[Op] = []
        self.start = State({base})
        self._fds: dict[int, int] = {}
        self._names: dict[Path, int] = {}
        self._numbers = 0
        nodes: dict[tuple[int, int], int] = {}
        for path in sorted(base.rglob("*")):
            status = path.lstat()
            if path.is_dir() and not path.is_symlink():
                self.start.folders.add(path)
                continue
            number = nodes.setdefault((status.st_dev, status.st_ino), self._new())
            self.start.names[path] = self._names[path] = number
            link = os.readlink(path) if path.is_symlink() else None
            self.start.nodes[number] = Node(b"" if link is not None else path.read_bytes(), link)

    def revive(self, at: int | None = None) -> None:
        """The next process, which may die too, so many steps from now."""
        self.dead = False
        self.at = None if at is None else self.count + at

    def acknowledge(self) -> None:
        """The command has said that it is done."""
        self.ops.append(Op("acknowledged"))

    def _new(self) -> int:
        self._numbers += 1
        return self._numbers

    def _really(self, name: str, arguments: tuple[Any, ...]) -> Any:
        record = getattr(self, f"_on_{name}", None)
        return record(*arguments) if record is not None else super()._really(name, arguments)

    def _on_make_dir(self, path: Path) -> None:
        if path.is_dir():
            return
        if path.parent != path:
            self.make_dir(path.parent)
        os.mkdir(path)
        self.ops.append(Op("mkdir", path))
        self.sync_dir(path.parent)

    def _on_create(self, path: Path) -> int:
        fd = Disk.create(self, path)
        self._enter(path, self._new())
        self._fds[fd] = self._names[path]
        self._paths[fd] = path
        return fd

    def _on_reopen(self, path: Path) -> int:
        known = self._names.get(path) if os.path.lexists(path) else None
        fd = Disk.reopen(self, path)
        if known is None:
            self._enter(path, self._new())
        self._fds[fd] = self._names[path]
        self._paths[fd] = path
        return fd

    def _on_open(self, path: Path) -> int:
        fd = Disk.open(self, path)
        if path in self._names:
            self._fds[fd] = self._names[path]
        return fd

    def _on_write(self, fd: int, data: bytes | bytearray | memoryview) -> None:
        at = os.lseek(fd, 0, os.SEEK_CUR)
        Disk.write(self, fd, data)
        self.ops.append(Op("write", node=self._fds[fd], at=at, data=bytes(data)))

    def _on_write_at(self, fd: int, offset: int, data: bytes | bytearray | memoryview) -> None:
        Disk.write_at(self, fd, offset, data)
        self.ops.append(Op("write", node=self._fds[fd], at=offset, data=bytes(data)))

    def _on_truncate(self, fd: int, size: int) -> None:
        Disk.truncate(self, fd, size)
        self.ops.append(Op("truncate", node=self._fds[fd], at=size))

    def _on_sync(self, fd: int) -> None:
        self.ops.append(Op("sync", node=self._fds[fd]))

    def _on_sync_dir(self, path: Path) -> None:
        self.ops.append(Op("sync_dir", path))

    def _on_rename(self, source: Path, target: Path) -> None:
        Disk.rename(self, source, target)
        if target.is_dir() and not target.is_symlink():
            raise AssertionError("folders aren't renamed in these scenes")
        number = self._names.pop(source)
        self._names[target] = number
        self.ops.append(Op("enter", target, number, origin=source))

    def _on_link(self, source: Path, target: Path) -> bool:
        done = Disk.link(self, source, target)
        if done:
            self._enter(target, self._names[source])
        return done

    def _on_clone(self, source_fd: int, target_fd: int) -> bool:
        return False  # so that every byte is written down

    def _on_symlink(self, target: str, path: Path) -> None:
        Disk.symlink(self, target, path)
        number = self._new()
        self.start.nodes[number] = Node(link=target)
        self._enter(path, number)

    def _on_remove(self, path: Path) -> None:
        was = os.path.lexists(path)
        Disk.remove(self, path)
        if was:
            self.ops.append(Op("leave", path, self._names.pop(path)))

    def _on_remove_dir(self, path: Path) -> bool:
        done = Disk.remove_dir(self, path)
        if done:
            self.ops.append(Op("rmdir", path))
        return done

    def _enter(self, path: Path, number: int) -> None:
        self._names[path] = number
        self.start.nodes.setdefault(number, Node())
        self.ops.append(Op("enter", path, number))


def after_power_loss(start: State, ops: list[Op], dice: random.Random) -> State:
    """One of the states that these operations, and a power failure right after them, may leave."""
    state = start.copy()
    synced_nodes = _last(ops, "sync", lambda op: op.node)
    synced_folders = _last(ops, "sync_dir", lambda op: op.path)
    mood = dice.choice(("lose", "keep", "mix", "mix"))

    def kept(durable: bool) -> bool:
        return durable or mood == "keep" or (mood == "mix" and dice.random() < 0.5)

    for index, op in enumerate(ops):
        if op.kind == "mkdir":
            if kept(synced_folders.get(op.path.parent, -1) > index):
                state.folders.add(op.path)
        elif op.kind == "rmdir":
            if kept(synced_folders.get(op.path.parent, -1) > index):
                state.folders.discard(op.path)
                state.names = {path: node for path, node in state.names.items() if op.path not in path.parents}
        elif op.kind == "enter":
            if kept(synced_folders.get(op.path.parent, -1) > index):
                state.names[op.path] = op.node
                if op.origin is not None and kept(synced_folders.get(op.origin.parent, -1) > index):
                    _drop(state, op.origin, op.node)
        elif op.kind == "leave":
            if kept(synced_folders.get(op.path.parent, -1) > index):
                _drop(state, op.path, op.node)
        elif op.kind in ("write", "truncate"):
            _change(state.nodes[op.node], op, synced_nodes.get(op.node, -1) > index, kept, dice)
    return state


def _drop(state: State, path: Path, number: int) -> None:
    if state.names.get(path) == number:
        del state.names[path]


def _change(node: Node, op: Op, durable: bool, kept: Any, dice: random.Random) -> None:
    if op.kind == "truncate":
        if kept(durable):
            node.data = node.data[: op.at].ljust(op.at, b"\0")
        return
    data = op.data
    if not durable:
        fate = dice.choice(("lost", "torn", "zeros")) if not kept(False) else "whole"
        if fate == "lost":
            return
        data = {"whole": data, "torn": data[: dice.randrange(len(data) + 1)], "zeros": b"\0" * len(data)}[fate]
    node.data = node.data[: op.at].ljust(op.at, b"\0") + data + node.data[op.at + len(data) :]


def _last(ops: list[Op], kind: Kind, key: Any) -> dict[Any, int]:
    return {key(op): index for index, op in enumerate(ops) if op.kind == kind}


def cuts(ops: list[Op], dice: random.Random, count: int) -> Iterator[int]:
    """Where to cut the power: after every operation if there is time for that, else after so many of them."""
    every = range(1, len(ops) + 1)
    yield from every if len(ops) <= count else sorted(dice.sample(every, count))


def rebuilt(state: State, base: Path, target: Path) -> Path:
    """The state as a folder of its own."""
    shutil.rmtree(target, ignore_errors=True)
    state.build(base, target)
    return target
