"""What a look into another tool's place brings: models with their files, and what was passed over, with the reason.

Values and a contract; each kind of place is a module beside this one.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Protocol

from registry.digests import Digest
from registry.errors import RegistryError
from registry.names import Name
from registry.sources.local import readable
from registry.sources.source import TextKind

YOURS = "yours"
"""The owner of files that no tool put where they are."""


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A file that a model consists of. `digest` is what its place calls it by: a claim, until the file is hashed.

    `path` has no links in it. `title` is the file name that it had where it came from.
    """

    path: Path
    title: str
    size: int
    digest: Digest | None = None


@dataclass(frozen=True, slots=True)
class FoundText:
    """A small file of a model, and what it sets."""

    kind: TextKind
    file: FoundFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A model in another tool's place, and the name that it would get here.

    `known_as` is what it is called there, as far as that differs. `files` are its GGUFs: shards in order and a
    projector perhaps, in any mixture. `reference`, `origin` and `revision` are as a pull from its source would note
    them; empty where nothing tells.
    """

    name: Name
    owner: str
    files: tuple[FoundFile, ...]
    adapters: tuple[FoundFile, ...] = ()
    draft: tuple[FoundFile, ...] = ()
    texts: tuple[FoundText, ...] = ()
    known_as: tuple[str, ...] = ()
    quantization: str = ""
    created: datetime | None = None
    reference: str = ""
    origin: str = ""
    revision: str = ""
    renderer: str | None = None
    parser: str | None = None
    requires: str | None = None

    @property
    def all_files(self) -> tuple[FoundFile, ...]:
        """Everything that would have to be hashed."""
        return (*self.files, *self.adapters, *self.draft)

    @property
    def size(self) -> int:
        """Bytes of all GGUF files."""
        return sum(each.size for each in self.all_files)

    @property
    def key(self) -> tuple[object, ...]:
        """What makes two finds the same: the name, and the files."""
        return (self.name.key, *(each.path for each in self.all_files))


@dataclass(frozen=True, slots=True)
class PassedOver:
    """Something that looks like a model and can't be adopted: what, and why."""

    what: str
    reason: str


@dataclass(slots=True)
class Look:
    """What one look brought, and the folders and files that it went to, there or not. Grows while looking."""

    models: list[Found] = field(default_factory=list)
    passed_over: list[PassedOver] = field(default_factory=list)
    places: list[Path] = field(default_factory=list)

    def add(self, other: Look) -> None:
        """Take over what another look brought."""
        self.models += other.models
        self.passed_over += other.passed_over
        self.places += other.places

    def leave(self, what: object, reason: str) -> None:
        """Note what isn't taken, and why."""
        self.passed_over.append(PassedOver(readable(str(what)[:1000]), readable(reason)))

    @contextmanager
    def passing_over(self, what: object) -> Iterator[None]:
        """Let the look go on if the block meets something bad, which is noted as being `what`."""
        try:
            yield
        except RegistryError as error:
            self.leave(what, readable(str(error)).removeprefix(f"{readable(str(what))}: "))
        except OSError as error:
            self.leave(what, error.strerror or str(error))


class Place(Protocol):
    """One folder of another tool's. Its methods open small files only, and change nothing."""

    @property
    def root(self) -> Path:
        """Where it lies."""

    @property
    def owner(self) -> str:
        """Whose it is, in words."""

    def look(self) -> Look:
        """All models in it."""

    def find(self, digest: Digest) -> Path | None:
        """The file that the place calls by this digest. Raises nothing."""
