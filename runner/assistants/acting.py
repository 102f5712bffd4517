"""The doing: a plan's files are written, and put back. All is read and decided before the first byte is written."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from runner.assistants.editing import decoded, undone
from runner.assistants.errors import Changed, Trouble
from runner.assistants.ledger import Ledger, Manifest, Record, digest, mode_of, without
from runner.assistants.plan import Write
from runner.assistants.writing import write

_SECRET = 0o600


def read(path: Path) -> bytes | None:
    """A file's bytes, None where there is none. Raises OSError for one that can't be read."""
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None


def carry_out(writes: Sequence[Write], ledger: Ledger, model: str, configured: bool) -> None:
    """Write the files, with backups and a record first, so that whatever happens can be taken back. Raises OSError."""
    manifest = ledger.read()
    records = manifest.files
    for each in writes:
        old = manifest.record(each.path)
        if old is not None and each.before is not None and digest(each.before) == old.after:
            backup, mode = old.backup, old.mode  # it is as Runner left it: what was there before stays what to put back
        else:
            backup = None if each.baseline is None else ledger.keep(each.path, each.baseline)
            mode = mode_of(each.path) if old is None else old.mode
        if old is None and not each.is_change:
            continue  # the user wrote the same: there is nothing to take back
        record = Record(str(each.path), each.file.format, digest(each.after), each.changes, backup, mode)
        records = [*without(records, record.path), record]
    ledger.write(Manifest(records, model, manifest.configured or configured))
    for each in writes:
        if each.is_change:
            if each.is_private:
                Path(os.path.realpath(each.path)).parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            write(each.path, each.after, _SECRET if each.is_private else None)


@dataclass(frozen=True, slots=True)
class Restored:
    """A file that was put back. `how` is exact, removed (there was none before) or taken out (of what others wrote)."""

    path: str
    how: str


def restore(ledger: Ledger, force: bool = False) -> list[Restored]:
    """Put every file back as it was, byte for byte.

    One that was changed since raises Changed and nothing is touched; with `force` only what Runner set is taken out of
    such a file. Raises Trouble and OSError.
    """
    manifest = ledger.read()
    todo = [_undoing(ledger, record, force) for record in manifest.files]
    done = []
    for record, content, how in todo:
        path = Path(record.path)
        if content is None:
            Path(os.path.realpath(path)).unlink(missing_ok=True)
        elif how != "unchanged":
            write(path, content, record.mode)
        done.append(Restored(record.path, how))
    ledger.write(Manifest([], manifest.model))
    return done


def _undoing(ledger: Ledger, record: Record, force: bool) -> tuple[Record, bytes | None, str]:
    """What a file is to hold again (None: it goes), and how that is called."""
    path = Path(record.path)
    now = read(path)
    if ledger.owns(path):  # whatever the assistant made of it
        return record, None, "removed"
    before = None if record.backup is None else ledger.kept(record.backup)
    if now == before:
        return record, before, "unchanged"
    if now is not None and digest(now) == record.after:
        return record, before, "removed" if before is None else "exact"
    if now is None:
        if not force:
            raise Changed(f"{path} is gone since Runner wrote it; --force forgets it")
        return record, None, "removed"
    if not force:
        raise Changed(f"{path} was changed since Runner wrote it; --force takes only Runner's settings out of it")
    try:
        return record, undone(decoded(now), record.format, record.changes).encode(), "taken out"
    except Trouble as error:
        raise type(error)(f"{path}: {error}") from None
