"""The digest: how content is named. One type, one accepted form, one way to a file name.

Knows nothing of where content lies.
"""

from __future__ import annotations

import hashlib
import io
import os
import re
from collections.abc import Callable
from dataclasses import dataclass

from registry.errors import BadDigest, Cancelled

CHUNK = 1 << 20
"""Bytes read or written at a time: large enough to be quick, small enough to cancel within milliseconds."""

# Used with fullmatch only: `$` would let a trailing newline through.
_FORM = re.compile(r"sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True, order=True)
class Digest:
    """A SHA-256 of some bytes. Make one with `parse` or `digest_of`."""

    hex: str

    @classmethod
    def parse(cls, text: str) -> Digest:
        """Read `sha256:<64 lower-case hex digits>`; anything else raises BadDigest."""
        found = _FORM.fullmatch(text)
        if found is None:
            raise BadDigest(f"invalid digest {text[:100]!r}: it must be sha256: and 64 lower-case hex digits")
        return cls(found[1])

    @property
    def file_name(self) -> str:
        """`sha256-<hex>`, which every file system accepts."""
        return f"sha256-{self.hex}"

    @property
    def short(self) -> str:
        """The first twelve digits, as shown to people."""
        return self.hex[:12]

    def __str__(self) -> str:
        return f"sha256:{self.hex}"


def digest_of(data: bytes | bytearray | memoryview) -> Digest:
    """The digest of bytes at hand."""
    return Digest(hashlib.sha256(data).hexdigest())


def git_hash(data: bytes) -> str:
    """What git calls a file with these bytes, in hex: how hubs name small files, which they give no SHA-256."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


def _read_into(fd: int, view: memoryview) -> int:
    return io.FileIO(fd, "rb", closefd=False).readinto(view) or 0


def hash_fd(
    fd: int,
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
    read_into: Callable[[int, memoryview], int] = _read_into,
) -> tuple[Digest, int]:
    """Hash an open file from its start; returns the digest and the number of bytes read.

    `progress` is told the bytes hashed so far. `cancelled` is asked between chunks; raises Cancelled. `read_into`
    reads on from the file's position into a buffer, and says how many bytes came.
    """
    state = hashlib.sha256()
    buffer = bytearray(CHUNK)
    view = memoryview(buffer)
    done = 0
    os.lseek(fd, 0, os.SEEK_SET)
    while count := read_into(fd, view):
        state.update(view[:count])
        done += count
        if progress is not None:
            progress(done)
        if cancelled is not None and cancelled():
            raise Cancelled("cancelled while hashing")
    return Digest(state.hexdigest()), done


def hash_file(
    path: str | os.PathLike[str],
    progress: Callable[[int], None] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> Digest:
    """The digest of a file's bytes; see `hash_fd`."""
    fd = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
    try:
        return hash_fd(fd, progress, cancelled)[0]
    finally:
        os.close(fd)
