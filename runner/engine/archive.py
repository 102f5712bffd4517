"""Files of saved states: one for each, named after its tokens, in a folder for one model, type of cache and build.

What is read is checked to the last byte before anybody sees it, since llama.cpp would believe it: a file that is cut,
changed or foreign is removed and counts as not there. They hold what users wrote, so nobody else may read them.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import struct
import sys
import time
from array import array
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

import msgspec
import numpy as np

from runner.llama.state import Data
from runner.protocol.commands import Adapters

SUFFIX = ".kv"
_MAGIC = b"RUNNERKV"
_LENGTH = struct.Struct("<I")
_MOST_HEAD = 4096
_MOST_TOKENS = 1 << 24
_DIGEST = 32
_STALE = 600.0  # seconds after which an unfinished file is nobody's any more


class Head(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a file says of itself. `digest` is of the state; that of everything before it follows the tokens."""

    key: str
    tokens: int
    size: int
    digest: bytes
    adapters: Adapters = ()


class Archive:
    """The files in `folder`, all written for `key`. Those of all models, below `root`, take at most `limit` bytes."""

    def __init__(self, root: Path, folder: Path, key: str, limit: int) -> None:
        self._root = root
        self._folder = folder
        self._key = key
        self._limit = limit

    def listed(self) -> Iterator[tuple[str, array[int], Adapters]]:
        """Every file's name, tokens and adapters, the one used last first. The states aren't looked at yet."""
        found: list[tuple[float, str]] = []
        with suppress(OSError), os.scandir(self._folder) as entries:
            for entry in entries:
                with suppress(OSError):
                    changed = entry.stat(follow_symlinks=False).st_mtime
                    if entry.name.endswith(SUFFIX):
                        found.append((changed, entry.name))
                    elif time.time() - changed > _STALE:
                        os.unlink(entry.path)
        for _, name in sorted(found, reverse=True):
            with suppress(OSError), (self._folder / name).open("rb") as file:
                opened = self._open(file)
                if opened is not None:
                    yield name, opened[1], opened[0].adapters

    def read(self, name: str, tokens: array[int], adapters: Adapters = ()) -> Data | None:
        """The state in a file, if it is whole and of these tokens and adapters. Otherwise the file is removed."""
        path = self._folder / name
        try:
            with path.open("rb") as file:
                opened = self._open(file)
                if opened is not None and opened[1] == tokens and opened[0].adapters == adapters:
                    data = np.empty(opened[0].size, np.uint8)
                    whole = file.readinto(data.data) == data.nbytes and not file.read(1)
                    if whole and _digest(data) == opened[0].digest:
                        os.utime(path)
                        return data
            path.unlink()
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                _complain(f"{path} cannot be read: {error.strerror}")
        return None

    def write(self, tokens: array[int], data: Data, adapters: Adapters = ()) -> str | None:
        """Keep a state, and remove the files used longest ago where there are too many. None when it can't be kept."""
        spelled = _bytes_of(tokens)
        computed_with = msgspec.msgpack.encode(adapters) if adapters else b""
        name = hashlib.blake2b(spelled + computed_with, digest_size=16).hexdigest() + SUFFIX
        aside = self._folder / f"{name}.{os.getpid()}.part"
        packed = msgspec.msgpack.encode(Head(self._key, len(tokens), data.nbytes, _digest(data), adapters))
        if len(packed) > _MOST_HEAD:
            return None
        opening = b"".join((_MAGIC, _LENGTH.pack(len(packed)), packed, spelled))
        size = len(opening) + _DIGEST + data.nbytes
        if size > self._limit:
            return None
        try:
            self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for folder in (self._root, self._folder.parent, self._folder):
                folder.chmod(0o700)  # `mode` is for the last of them only
            self._trim(self._limit - size)
            if shutil.disk_usage(self._folder).free < 2 * size:
                return None
            with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(opening)
                file.write(hashlib.blake2b(opening, digest_size=_DIGEST).digest())
                file.write(data.data)
            aside.replace(self._folder / name)
        except OSError as error:
            _complain(f"a prefix could not be written to {self._folder}: {error.strerror}")
            with suppress(OSError):
                aside.unlink()
            return None
        return name

    def drop(self, name: str) -> None:
        """Remove a file that another one replaces."""
        with suppress(OSError):
            (self._folder / name).unlink()

    def room(self) -> int:
        """Bytes that files may take: the limit, since older ones make way, or half of what is free on the disk.

        The folder need not be there yet.
        """
        place = next((each for each in (self._folder, *self._folder.parents) if each.exists()), None)
        try:
            free = shutil.disk_usage(place).free if place is not None else 0
        except OSError:
            return 0
        return min(self._limit, free // 2)

    def _open(self, file: BinaryIO) -> tuple[Head, array[int]] | None:
        """Head and tokens of a file, read up to its state. None when they are not what was written for this key."""
        opening = file.read(len(_MAGIC) + _LENGTH.size)
        if len(opening) < len(_MAGIC) + _LENGTH.size or not opening.startswith(_MAGIC):
            return None
        (length,) = _LENGTH.unpack_from(opening, len(_MAGIC))
        packed = file.read(min(length, _MOST_HEAD))
        try:
            head = msgspec.msgpack.decode(packed, type=Head)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None
        if head.key != self._key or not 0 < head.tokens <= _MOST_TOKENS:
            return None
        spelled = file.read(4 * head.tokens)
        digest = hashlib.blake2b(opening + packed + spelled, digest_size=_DIGEST).digest()
        if file.read(_DIGEST) != digest or os.fstat(file.fileno()).st_size != file.tell() + head.size:
            return None
        return head, array("i", np.frombuffer(spelled, "<i4").tolist())

    def _trim(self, limit: int) -> None:
        """Remove the files used longest ago, of whichever model, until the rest takes at most `limit` bytes."""
        files: list[tuple[float, int, Path]] = []
        for path in self._root.glob(f"*/*/*{SUFFIX}"):
            with suppress(OSError):
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        total = sum(size for _, size, _ in files)
        for _, size, path in sorted(files):
            if total <= limit:
                return
            with suppress(OSError):
                path.unlink()
            total -= size


def _digest(data: Data) -> bytes:
    return hashlib.blake2b(data.data, digest_size=_DIGEST).digest()


def _bytes_of(tokens: array[int]) -> bytes:
    return np.asarray(tokens, "<i4").tobytes()


def _complain(message: str) -> None:
    sys.stderr.write(f"{message}\n")
