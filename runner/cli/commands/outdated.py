"""`runner outdated`: what the sources of models have now."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelfiles import lockfile
from modelfiles.lockfile import Lock, LockedPull
from runner.cli import output, wording
from runner.cli.arguments import AsJson, Host, Insecure, LockFile, OptionalModels
from runner.cli.client import Json
from runner.cli.connect import daemon
from runner.cli.failures import Exit
from runner.cli.locking import read_lock
from runner.cli.standing import look

EXAMPLES = """
runner outdated
runner outdated --json | jq -r '.[] | select(.status == "outdated").name'
runner outdated --exit-code
"""


def command(
    models: OptionalModels = None,
    file: LockFile = lockfile.FILE,
    exit_code: Annotated[bool, typer.Option("--exit-code", help="Exit 1 if any model is outdated.")] = False,
    insecure: Insecure = False,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """Show what the sources of pulled models have now. Fetches nothing; `runner update` does.

    A newer revision with the same files isn't an update.
    """
    lock = read_lock(Path(file))
    found = [_row(each, lock) for each in look(daemon(host), models, insecure)]
    if as_json:
        output.data(found)
    else:
        _print(found, lock is not None)
    if exit_code and any(each["status"] == "outdated" for each in found):
        raise typer.Exit(Exit.FAILED)


def _print(found: list[Json], with_lock: bool) -> None:
    heads = ["NAME", "STATUS", "REVISION", "LATEST", "FETCH"]
    if with_lock:
        heads.append("LOCKED")
    output.table(heads, (_cells(each, with_lock) for each in found))
    for each in found:
        if each["problem"]:
            output.say(f"{each['name']}: {output.on_one_line(str(each['problem']))}")


def _cells(row: Json, with_lock: bool) -> list[str]:
    cells = [
        str(row["name"]),
        str(row["status"]),
        wording.short_digest(str(row["revision"])) or "-",
        wording.short_digest(str(row["latest"])) or "-",
        wording.size(row["size"]) if row["status"] == "outdated" else "-",
    ]
    if not with_lock:
        return cells
    return [*cells, "yes" if row["locked"] else "another" if row["locked_revision"] else "no"]


def _row(told: Json, lock: Lock | None) -> Json:
    """With `locked`, whether the lock has this very revision, and `locked_revision`, the one that it has; null where it
    hasn't the model."""
    entry = lock.find(str(told["name"])) if lock is not None else None
    pulled = entry[1] if entry is not None and isinstance(entry[1], LockedPull) else None
    revision = pulled.revision if pulled is not None else None
    return {**told, "locked": revision is not None and revision == told["revision"], "locked_revision": revision}
