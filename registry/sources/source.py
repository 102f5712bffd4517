"""What every source of models offers: a look at what there is, and the bytes of a file from any place on.

Values and a contract; each kind of source is a module beside this one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

from registry.digests import Digest
from registry.disk import Disk
from registry.transfer.download import Opener

TextKind = Literal["template", "system", "params", "messages", "license", "config"]
"""What a small file of a model sets: an instruction of its Modelfile, or `config`, the config of a model that Runner
published."""


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


@dataclass(frozen=True, slots=True)
class Text:
    """A small file of a model, and what it sets."""

    kind: TextKind
    file: RemoteFile


@dataclass(frozen=True, slots=True)
class Build:
    """One of the things that a repository offers: the tag to pull it by, its quantization, and its GGUF files."""

    tag: str
    quantization: str
    files: tuple[RemoteFile, ...]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(each.size for each in self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """What a name stands for at its source, at one fixed revision.

    `origin` is where that is, for people; `revision` is the commit or the manifest's digest. `weights` are the model's
    shards in order, `projectors`, `adapters` and `draft` what goes with them as GGUF, `texts` what the author meant as
    Modelfile instructions. `why` says in words how the build was chosen, where the name left that open. `licence` is
    as the source tells it. `renderer`, `parser` and `requires` are those instructions, where the author gave them.
    """

    origin: str
    revision: str
    quantization: str
    weights: tuple[RemoteFile, ...]
    projectors: tuple[RemoteFile, ...] = ()
    adapters: tuple[RemoteFile, ...] = ()
    draft: tuple[RemoteFile, ...] = ()
    texts: tuple[Text, ...] = ()
    created: datetime | None = None
    licence: str = ""
    why: str = ""
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None

    @property
    def files(self) -> tuple[RemoteFile, ...]:
        """All GGUF files."""
        return (*self.weights, *self.projectors, *self.adapters, *self.draft)

    @property
    def size(self) -> int:
        """Bytes of all GGUF files."""
        return sum(each.size for each in self.files)


HUB_CACHE = "Hugging Face's cache"
"""Whose the hub's files are, in words."""

Nearby = Callable[[Digest], Iterable[tuple[str, Path]]]
"""Tells which other tools on this machine say that they have a file: whose it is in words, and where. Nothing is sure
of it before it has been hashed."""


class SharedCache(Protocol):
    """A cache of the source's that other programs use as well. Methods raise nothing."""

    def find(self, file: RemoteFile) -> Path | None:
        """The file, whoever put it there."""

    def share(self, file: RemoteFile, blob: Path, disk: Disk) -> bool:
        """Give a blob of ours its names there; False where that can't be."""


class Source(Protocol):
    """One repository somewhere. Methods raise Unreachable, Denied, NotFound or UnknownTag."""

    @property
    def cache(self) -> SharedCache | None:
        """The cache that goes with this source, if there is one."""

    def look(self, memory: int | None = None, revision: str | None = None) -> Offer:
        """What it offers under the wanted tag; with the tag `latest`, the best that fits `memory` bytes.

        Comes first: it fixes the revision that everything else is read from. With `revision`, what stood there then.
        """

    def builds(self) -> tuple[Build, ...]:
        """All that could be pulled from here; nothing where the source can't say. Comes after `look`."""

    def open_at(self, file: RemoteFile) -> Opener:
        """A function that opens a file's bytes from an offset on, up to another offset or the end."""
