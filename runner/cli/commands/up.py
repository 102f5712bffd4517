"""`runner up`: bring the store to what the project file declares."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from modelfiles import lockfile, project
from modelfiles.lockfile import Lock, LockedCreate
from modelfiles.project import Created, Pulled
from modelfiles.render import render
from runner.cli import output, projects
from runner.cli.arguments import AsJson, Host, Insecure
from runner.cli.cards.provenance import Meant, ask
from runner.cli.client import Client, Json
from runner.cli.connect import daemon
from runner.cli.failures import Exit, Failure, Unavailable
from runner.cli.locking import pull_locked, read_lock
from runner.cli.progress import follow
from runner.cli.projects import Plan, Step, Target
from runner.cli.recipe import make
from runner.cli.transfer import is_last

EXAMPLES = """
runner up
runner up --check
runner up --locked
runner up -f models/runner.yaml --json
"""
_DONE = {"none": "unchanged", "pull": "pulled", "create": "created"}


def command(
    file: Annotated[str, typer.Option("--file", "-f", metavar="FILE", help="The project file.")] = project.FILE,
    locked: Annotated[
        bool, typer.Option("--locked", help="Fail unless the lock file beside it has every model, as declared.")
    ] = False,
    check: Annotated[bool, typer.Option("--check", help="Change nothing; exit 1 if something has to be done.")] = False,
    insecure: Insecure = False,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """Pull and create what runner.yaml declares.

    What is right already is left alone. With a runner.lock.yaml beside it, models are pulled exactly as they are
    there. Models that the file doesn't declare stay as they are.
    """
    path = Path(file)
    lock = read_lock(path.with_name(lockfile.FILE))
    client = daemon(host)
    plan = projects.read(client, path)
    if plan is None:
        raise Failure(f"there is no {file} here; it declares the models that a project needs, -f FILE names another")
    meant = ask(client, plan.names())
    _compare_with_lock(plan, meant, lock, locked)
    if check:
        _check(plan, meant, lock, as_json)
        return
    work = _Work(client, plan, lock, locked, insecure)
    try:
        work.run()
    finally:
        _show(work.done, as_json)
    if work.failed:
        raise work.failed[-1]


def _compare_with_lock(plan: Plan, meant: Mapping[str, Meant], lock: Lock | None, strict: bool) -> None:
    """Say where the lock isn't about what is declared; with `strict`, that is a Failure before anything is done."""
    if lock is None:
        if strict:
            raise Failure(f"there is no {plan.path.with_name(lockfile.FILE)}; `runner up` and `runner lock` make one")
        return
    found = [(each.name, projects.disagreement(each, meant, lock)) for each in plan.targets]
    lines = [f"{name} {what}" for name, what in found if what]
    if strict and lines:
        detail = "\n".join(f"  {each}" for each in lines)
        raise Failure(f"{plan.path} and its lock don't agree; `runner lock` writes it anew", detail=detail)
    for each in lines:
        output.say(f"note: {each}; `runner lock` writes it anew")


def _check(plan: Plan, meant: Mapping[str, Meant], lock: Lock | None, as_json: bool) -> None:
    changing: set[str] = set()
    rows: list[Json] = []
    for target in plan.targets:
        step = projects.step(target, meant, lock)
        base = meant[target.recipe.base].name if target.recipe is not None and target.recipe.base else ""
        if step.action == "none" and lockfile.folded(base) in changing:
            step = Step("create", f"{base} changes")
        if step.action != "none":
            changing.add(lockfile.folded(target.name))
        rows.append({"name": target.name, "action": step.action, "why": step.why})
    if as_json:
        output.data(rows)
    else:
        words = {"none": "nothing", "pull": "pull", "create": "create"}
        output.table(("NAME", "TO DO", "WHY"), ((each["name"], words[each["action"]], each["why"]) for each in rows))
    if changing:
        raise typer.Exit(Exit.FAILED)


@dataclass(slots=True)
class _Work:
    """One `up` under way. `done` are rows for people and programs, `failed` what went wrong with single models."""

    client: Client
    plan: Plan
    lock: Lock | None
    strict: bool
    insecure: bool
    done: list[Json] = field(default_factory=list)
    failed: list[Failure] = field(default_factory=list)

    def run(self) -> None:
        """Every target in its turn; one that fails keeps back only what is made from it."""
        lost: set[str] = set()
        for target in self.plan.targets:
            try:
                self._check_base(target, lost)
                self._bring(target)
            except Unavailable:
                raise  # the others would fail alike
            except Failure as failure:
                lost.add(lockfile.folded(target.name))
                if self.failed:
                    output.report(self.failed[-1])
                self.failed.append(failure)
                self.done.append({"name": target.name, "action": "failed", "why": failure.message, "digest": None})

    def _check_base(self, target: Target, lost: set[str]) -> None:
        if target.recipe is None or not target.recipe.base or not lost:
            return
        base = ask(self.client, [target.recipe.base])[target.recipe.base].name
        if lockfile.folded(base) in lost:
            raise Failure(f"{target.name} is made from {base}, which isn't right")

    def _bring(self, target: Target) -> None:
        meant = ask(self.client, self._texts(target))  # anew: what it is made from may have changed just now
        step = projects.step(target, meant, self.lock)
        if step.action == "pull":
            self._pull(target, meant)
        elif step.action == "create":
            self._create(target)
        held = ask(self.client, [target.name])[target.name].held if step.action != "none" else meant[target.name].held
        digest = held.digest if held is not None else None
        if step.action == "create":
            self._check_created(target, str(digest))
        self.done.append({"name": target.name, "action": _DONE[step.action], "why": step.why, "digest": digest})

    def _texts(self, target: Target) -> list[str]:
        texts = [target.name]
        if isinstance(target.declared, Pulled):
            texts.append(target.declared.reference)
        return [*texts, target.recipe.base] if target.recipe is not None and target.recipe.base else texts

    def _pull(self, target: Target, meant: Mapping[str, Meant]) -> None:
        assert isinstance(target.declared, Pulled)
        entry = projects.locked_pull(target, meant, self.lock)
        output.say(f"{target.name}{f' at {entry.revision}' if entry else ''}")
        if entry is not None:
            pull_locked(self.client, target.name, entry, more={"insecure": self.insecure})
            return
        body = {
            "model": target.declared.reference,
            "as": target.name,
            "insecure": self.insecure,
            "stream": True,
        }
        with self.client.stream("/api/pull", body, is_last) as updates:
            follow(updates)

    def _create(self, target: Target) -> None:
        assert isinstance(target.declared, Created)
        assert target.recipe is not None
        output.say(target.name)
        recipe = target.recipe
        request: Json = {"model": target.name, "modelfile": render(recipe.modelfile), "stream": True}
        if target.declared.quantize:
            request["quantize"] = target.declared.quantize
        make(self.client, request, recipe.modelfile, recipe.folder, False)

    def _check_created(self, target: Target, digest: str) -> None:
        entry = self.lock.find(target.name) if self.lock is not None else None
        if entry is None or not isinstance(entry[1], LockedCreate) or entry[1].digest in ("", digest):
            return
        if self.strict:
            said = f"{target.name} came out as {digest}, the lock says {entry[1].digest}"
            raise Failure(f"{said}. Another version of Runner may have written it; `runner lock` writes it anew")
        output.say(f"note: {target.name} isn't what the lock says any more; `runner lock` writes it anew")


def _show(done: list[Json], as_json: bool) -> None:
    if as_json:
        output.data(done)
        return
    for each in done:
        if each["action"] != "failed":
            output.line(f"{each['name']}: {each['action']}")
    if done and all(each["action"] == "unchanged" for each in done):
        output.say("nothing to do")
