"""`runner lock`: write down exactly which files the models are made of."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from modelfiles import lockfile, project
from modelfiles.lockfile import Lock, Locked, LockedPull
from runner.cli import output, projects
from runner.cli.arguments import Host, LockFile, OptionalModels
from runner.cli.cards.provenance import ask, ask_all
from runner.cli.client import Client
from runner.cli.connect import daemon
from runner.cli.failures import Failure
from runner.cli.locking import pulled_entry, read_lock, write_lock

EXAMPLES = """
runner lock
runner lock qwen3:0.6b
runner lock --check
runner pull --locked
"""


def command(
    models: OptionalModels = None,
    file: LockFile = lockfile.FILE,
    check: Annotated[bool, typer.Option("--check", help="Write nothing; exit 1 if the file isn't up to date.")] = False,
    host: Host = None,
) -> None:
    """Write down which files the models are made of.

    `runner pull --locked` brings exactly those to another machine. Without names: the models of the runner.yaml beside
    the file, or else all that were pulled. With names, their entries are written anew, and the others stay.
    """
    path = Path(file)
    before = read_lock(path)
    client = daemon(host)
    if models:
        after = (before or Lock()).with_entries(_named(client, path, models))
    else:
        after = Lock(_of_project(client, path) or _of_store(client))
    changes = lockfile.differences(before or Lock(), after)
    if check:
        if before is None or changes:
            detail = "\n".join(f"  {output.on_one_line(each)}" for each in changes)
            raise Failure(f"{path} {'is not there' if before is None else 'is not up to date'}", detail=detail)
        output.line(f"{path} is up to date")
        return
    if before is not None and not changes:
        output.line(f"{path}: nothing has changed")
        return
    for name, entry in after.models.items():
        if isinstance(entry, LockedPull) and "?" in entry.reference:
            output.say(f"note: {name} has a URL that is written down as it was typed, with what follows the '?'")
    write_lock(path, after)
    count = len(after.models)
    output.line(f"{path}: {count} {'model' if count == 1 else 'models'}")


def _of_project(client: Client, lock: Path) -> dict[str, Locked] | None:
    plan = projects.read(client, lock.with_name(project.FILE))
    return projects.entries(plan, ask(client, plan.names())) if plan is not None else None


def _of_store(client: Client) -> dict[str, Locked]:
    """Every model that was pulled; of the others it is said that they aren't in it."""
    found: dict[str, Locked] = {}
    for meant in ask_all(client):
        try:
            found[meant.name] = pulled_entry(meant)
        except Failure as failure:
            output.say(f"left out: {failure.message}")
    if not found:
        raise Failure("no model here was pulled, so there is nothing to lock")
    return found


def _named(client: Client, lock: Path, models: list[str]) -> dict[str, Locked]:
    plan = projects.read(client, lock.with_name(project.FILE))
    declared = {target.name: target for target in plan.targets} if plan is not None else {}
    found: dict[str, Locked] = {}
    for meant in ask(client, models).values():
        target = declared.get(meant.name)
        if plan is not None and target is not None and target.recipe is not None:
            found.update(projects.entries(plan, ask(client, plan.names()), target))
        else:
            found[meant.name] = pulled_entry(meant)
    return found
