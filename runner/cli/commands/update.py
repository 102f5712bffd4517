"""`runner update`: pull what is outdated, and keep the lock file in step."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelfiles import lockfile
from modelfiles.lockfile import Lock
from runner.cli import output, wording
from runner.cli.arguments import Host, Insecure, LockFile, OptionalModels
from runner.cli.cards.provenance import ask, ask_all
from runner.cli.client import Client, Json
from runner.cli.connect import daemon
from runner.cli.each import each
from runner.cli.failures import Failure
from runner.cli.locking import pull_at, pulled_entry, read_lock, write_lock
from runner.cli.standing import look

EXAMPLES = """
runner update
runner update qwen3:0.6b
runner update --lock
"""


def command(
    models: OptionalModels = None,
    file: LockFile = lockfile.FILE,
    write: Annotated[bool, typer.Option("--lock", help="Write the lock file even if there is none yet.")] = False,
    insecure: Insecure = False,
    host: Host = None,
) -> None:
    """Pull what is outdated, and keep the lock in step.

    A model stays at the build that it has, at the revision that its source has now. Where there is a lock file, the
    entries of updated models are written anew.
    """
    path = Path(file)
    lock = read_lock(path)
    client = daemon(host)
    found = {str(told["name"]): told for told in look(client, models, insecure)}
    outdated = [name for name, told in found.items() if told["status"] == "outdated"]
    updated: list[str] = []

    def bring(name: str) -> None:
        _update(client, found[name], insecure)
        updated.append(name)

    try:
        each(outdated, bring)
    finally:
        if updated:
            _note_stale(client, updated)
        if (updated and lock is not None) or write:
            _lock(client, path, lock or Lock(), list(found) if write else updated, write)
    _report(found, updated)


def _update(client: Client, told: Json, insecure: bool) -> None:
    name, before, after = str(told["name"]), str(told["revision"]), str(told["latest"])
    digests = {str(file["title"]): str(file["digest"]) for file in told["files"]}
    pull_at(client, name, str(told["reference"]), after, digests, len(told["files"]), more={"insecure": insecure})
    output.line(f"{name}: {wording.short_digest(before)} -> {wording.short_digest(after)}")


def _lock(client: Client, path: Path, lock: Lock, names: list[str], also_new: bool) -> None:
    """Write the entries of these models anew; with `also_new`, of those as well that the lock hasn't yet."""
    wanted = [name for name in names if also_new or lock.find(name) is not None]
    entries = {}
    for meant in ask(client, wanted).values():
        try:
            entries[meant.name] = pulled_entry(meant)
        except Failure as failure:
            output.say(f"left out: {failure.message}")
    if entries:
        write_lock(path, lock.with_entries(entries))
        output.say(f"{path}: {len(entries)} {'entry' if len(entries) == 1 else 'entries'} written")


def _note_stale(client: Client, updated: list[str]) -> None:
    """Say which models were created from one that is another now."""
    now = {meant.name: meant.held for meant in ask_all(client)}
    for name, held in now.items():
        base = now.get(held.base) if held is not None and held.base in updated else None
        if held is not None and base is not None and base.digest != held.base_digest:
            output.say(f"{name} was created from {held.base} as it was: `runner up` or `runner create` makes it anew")


def _report(found: dict[str, Json], updated: list[str]) -> None:
    lost = [told for told in found.values() if told["status"] in ("gone", "unreachable")]
    for told in found.values():
        if told["status"] == "local":
            output.say(f"{told['name']} has no source to update from")
    for told in lost:
        output.say(f"{told['name']}: {output.on_one_line(str(told['problem']))}")
    if not updated and not lost and any(told["status"] == "current" for told in found.values()):
        output.line("everything is up to date")
    if lost:
        raise Failure(f"{len(lost)} of {len(found)} models could not be looked at")
