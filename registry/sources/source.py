"""What every source of models offers: a look at what there is, and the bytes of a file from any place on.

Values and a contract; each kind of source is a module beside this one.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from registry.digests import Digest
from registry.transfer.download import Incoming


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file at its source. `digest` is its SHA-256 where the source tells it beforehand.

    `git_hash` is what git calls small files that have no other hash.
    """

    path: str
    size: int
    digest: Digest | None = None
    git_hash: str = ""

    @property
    def title(self) -> str:
        """The file name alone."""
        return self.path.rpartition("/")[2]


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a name stands for at its source, at one fixed revision.

    `weights` are the model's shards in order, `extras` what goes with them as GGUF (a projector).
    `overrides` are small files that the author meant as Modelfile instructions, by what they set.
    """

    origin: str
    quantization: str
    weights: tuple[RemoteFile, ...]
    extras: tuple[RemoteFile, ...] = ()
    overrides: dict[str, RemoteFile] = field(default_factory=dict)
    created: datetime | None = None

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """All GGUF files."""
        return (*self.weights, *self.extras)

    @property
    def size(self) -> int:
        """Bytes of all GGUF files."""
        return sum(each.size for each in self.files)


class Source(Protocol):
    """One repository somewhere. Methods raise Unreachable, Denied, NotFound or UnknownTag."""

    def look(self, tag: str, memory: int | None) -> Offer:
        """What it offers under a tag; with the tag `latest`, the best that fits `memory` bytes.

        Comes first: it fixes the revision that everything else is read from.
        """

    def open_at(self, file: RemoteFile) -> Callable[[int], AbstractContextManager[Incoming]]:
        """A function that opens the file's bytes from an offset on."""
