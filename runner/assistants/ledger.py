"""What Runner did to an assistant's files: one manifest and at most five backups for each assistant, in Runner's state
folder. The only one to write there. Knows bytes and places, not why anything was changed.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from runner.assistants.editing import Change
from runner.assistants.errors import Unreadable
from runner.assistants.knowledge import Format
from runner.assistants.writing import write

_MOST = 5  # backups of one assistant; those that a restore needs are kept beyond it
_MANIFEST = "manifest.json"


class Record(msgspec.Struct, frozen=True):
    """A file that Runner changed. `after` is the digest of what it wrote; `backup` is the name of what to put back,
    None where there was no file. `mode` is the file's from before."""

    path: str
    format: Format
    after: str
    changes: list[Change]
    backup: str | None = None
    mode: int | None = None


class Manifest(msgspec.Struct, frozen=True):
    """What is known of one assistant: its files that stand changed, and the model that it used last."""

    files: list[Record] = []
    model: str = ""
    configured: bool = False

    def record(self, path: Path) -> Record | None:
        """That of one file."""
        return next((record for record in self.files if record.path == str(path)), None)


class Ledger:
    """The folder of one assistant below launch's state folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._backups = folder / "backups"

    def owns(self, path: Path) -> bool:
        """True for a file of Runner's own, which lies in the folder, and which nobody else had."""
        return path.is_relative_to(self._folder)

    def read(self) -> Manifest:
        """What was noted down, or an empty manifest. Raises Unreadable."""
        path = self._folder / _MANIFEST
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            return Manifest()
        try:
            return msgspec.json.decode(content, type=Manifest)
        except msgspec.DecodeError as error:
            raise Unreadable(f"{path} is no record of Runner's any more: {error}") from None

    def write(self, manifest: Manifest) -> None:
        """Note it down, and drop the oldest backups that no restore needs."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # What files held may be keys.
        write(self._folder / _MANIFEST, msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n", 0o600)
        needed = {record.backup for record in manifest.files}
        kept = sorted(self._backups.iterdir()) if self._backups.is_dir() else []
        for old in kept[: max(0, len(kept) - _MOST)]:
            if old.name not in needed:
                old.unlink(missing_ok=True)

    def keep(self, path: Path, content: bytes) -> str:
        """Put a file's bytes aside, and return the name to find them by."""
        self._backups.mkdir(parents=True, exist_ok=True, mode=0o700)
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S%f")
        name = f"{stamp}-{digest(content)[:8]}-{path.name}"
        write(self._backups / name, content, 0o600)
        return name

    def kept(self, name: str) -> bytes:
        """The bytes under a name. Raises Unreadable when they are gone."""
        try:
            return (self._backups / name).read_bytes()
        except FileNotFoundError:
            raise Unreadable(f"the backup {self._backups / name} is gone") from None


def digest(content: bytes) -> str:
    """What tells one content from another, in hex."""
    return hashlib.sha256(content).hexdigest()


def mode_of(path: Path) -> int | None:
    """The permissions of a file, None when it isn't there."""
    try:
        return os.stat(path).st_mode & 0o7777
    except FileNotFoundError:
        return None


def without(records: Sequence[Record], path: str) -> list[Record]:
    """The records of all other files."""
    return [record for record in records if record.path != path]
