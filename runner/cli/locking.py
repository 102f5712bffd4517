"""Lock files on disk, and models pulled as one says.

Knows the file's place and the daemon's words; what the file means, `modelfiles.lockfile` knows.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from modelfiles import lockfile
from modelfiles.embedded import DEMO
from modelfiles.errors import FileError
from modelfiles.lockfile import Lock, LockedFile, LockedPull
from runner.cli.cards.provenance import Meant
from runner.cli.client import Client, Json
from runner.cli.failures import Exit, Failure
from runner.cli.progress import follow
from runner.cli.transfer import is_last


def read_text(path: Path) -> str | None:
    """The text of a file that people may write; None where there is none. Raises Failure."""
    try:
        return path.read_text("utf-8-sig")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError:
        raise Failure(f"{path} is not UTF-8 text") from None
    except OSError as error:
        raise Failure(f"cannot read {path}: {error.strerror}", Exit.IO) from None


def read_lock(path: Path) -> Lock | None:
    """The lock at `path`; None where there is none. Raises Failure with line and field."""
    text = read_text(path)
    if text is None:
        return None
    try:
        return lockfile.read(str(path), text)
    except FileError as error:
        raise Failure(str(error)) from None


def required_lock(path: Path) -> Lock:
    """As `read_lock`, where there has to be one."""
    lock = read_lock(path)
    if lock is None:
        raise Failure(f"there is no {path}; `runner lock` writes one, -f FILE names another")
    return lock


def write_lock(path: Path, lock: Lock) -> None:
    """Put a lock at `path`, all of it or nothing. Raises Failure."""
    aside = path.with_name(f"{path.name}.part")
    try:
        with aside.open("w", encoding="utf-8", newline="\n") as file:
            file.write(lockfile.write(lock))
            file.flush()
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError as error:
        with suppress(OSError):
            aside.unlink()
        raise Failure(f"cannot write {path}: {error.strerror}", Exit.IO) from None


def is_demo(name: str) -> bool:
    """Whether this is the model that comes with Runner, which no lock needs."""
    return lockfile.folded(name) == lockfile.folded(DEMO)


def pulled_entry(meant: Meant) -> LockedPull:
    """What a lock says of a model that was pulled. Raises Failure for any other."""
    held = meant.held
    if held is None:
        raise Failure(meant.problem or f"model '{meant.name}' isn't here; pull it first")
    if is_demo(meant.name):
        raise Failure(f"{meant.name} comes with Runner; there is nothing to lock")
    if not (held.reference and held.origin and held.revision):
        made = f"was created here{f' from {held.base}' if held.base else ''}: declare it in runner.yaml, then lock that"
        raise Failure(f"{meant.name} {made if held.modelfile else 'has no source; pull it again, or declare it'}")
    files = tuple(LockedFile(str(each["title"]), str(each["digest"]), int(each["size"])) for each in held.files)
    return LockedPull(
        reference=held.reference, source=held.origin, revision=held.revision, digest=held.digest, files=files
    )


def pull_locked(client: Client, name: str, entry: LockedPull, as_json: bool = False, more: Json | None = None) -> None:
    """Have the daemon pull exactly what an entry says, under its name. `more` are further fields of the request. Raises
    Failure."""
    digests = {each.title: each.digest for each in entry.files}
    pull_at(client, name, entry.reference, entry.revision, digests, len(entry.files), entry.digest, as_json, more)


def pull_at(
    client: Client,
    name: str,
    reference: str,
    revision: str,
    digests: dict[str, str],
    count: int,
    digest: str | None = None,
    as_json: bool = False,
    more: Json | None = None,
) -> None:
    """Pull a reference at one revision; `digests` are those of its `count` files. Raises Failure."""
    body: Json = {"model": reference, "as": name, "revision": revision, "insecure": False, "stream": True}
    body |= more or {}
    if digest:
        body["digest"] = digest
    if len(digests) == count and all(digests.values()) and all(digests):  # else titles don't tell files apart
        body["digests"] = digests
    with client.stream("/api/pull", body, is_last) as updates:
        follow(updates, as_json)
