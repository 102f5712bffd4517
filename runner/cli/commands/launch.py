"""`runner launch`: point a coding assistant at Runner, and start it."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from runner.assistants.acting import carry_out, read, restore
from runner.assistants.errors import Trouble, Unknown
from runner.assistants.fill import Target
from runner.assistants.knowledge import Assistant, load, names
from runner.assistants.ledger import Ledger
from runner.assistants.masking import HIDDEN
from runner.assistants.paths import Machine, this_machine
from runner.assistants.plan import Plan, Write, plan
from runner.cli import launching, output
from runner.cli.arguments import AsJson, Host
from runner.cli.client import Client, Json
from runner.cli.connect import daemon, usable_settings
from runner.cli.failures import Exit, Failure

EXAMPLES = """
runner launch
runner launch claude --model qwen3:8b
runner launch codex -- exec "explain this repository"
runner launch opencode --dry-run
runner launch continue --config
runner launch continue --restore
"""


def command(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME]", help="The assistant; without it they are listed.")
    ] = None,
    arguments: Annotated[
        list[str] | None, typer.Argument(metavar="[-- ARGS]...", help="What to hand on to the assistant.")
    ] = None,
    model: Annotated[str | None, typer.Option("--model", "-m", metavar="MODEL", help="The model it is to use.")] = None,
    config: Annotated[
        bool, typer.Option("--config", help="Only write its settings, so that it uses Runner by default.")
    ] = False,
    undo: Annotated[bool, typer.Option("--restore", help="Put its settings back as they were.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="With --restore: also where a file was changed since; that change stays.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be written and run.")] = False,
    as_json: AsJson = False,
    host: Host = None,
) -> None:
    """Point a coding assistant at Runner, and start it.

    A launch leaves what is yours as it is: Runner's model is added beside others, and the assistant is told to use it
    this once. With --config it becomes the default, and nothing is started. What was changed can be put back with
    --restore. Without --model the assistant gets the model that it used last, else one that is here and can call tools.
    """
    if sum((config, undo, dry_run and undo)) > 1 or (force and not undo):
        raise Failure("--config, --restore and --dry-run don't go together so; --force goes with --restore", Exit.USAGE)
    found, _ = usable_settings(host)
    machine = this_machine(found.folders.state)
    if name is None:
        if model or config or undo or dry_run or arguments:
            raise Failure("which assistant? `runner launch` lists them", Exit.USAGE)
        _list(machine, as_json)
        return
    with _troubles():
        assistant, ledger = load(name), Ledger(machine.state / name)
        if undo:
            _restore(assistant, ledger, machine, force, as_json)
            return
        if not (config or dry_run) and machine.program(assistant.commands, assistant.paths) is None:
            raise _missing(assistant)
        needs = launching.Needs(assistant.title, assistant.tools, assistant.context)
        target = _target(host, needs, model, ledger.read().model, dry_run)
        todo = plan(assistant, target, machine, read, ledger.read(), arguments or (), config=config)
        if dry_run:
            _show(todo, name, target, config, as_json)
            return
        carry_out(todo.writes, ledger, target.model, config)
    if config:
        _configured(assistant, todo, target, machine, as_json)
        return
    for write in _theirs(todo, machine):
        if write.is_change:
            output.say(f"Wrote {write.path}; `runner launch {name} --restore` puts it back")
    if assistant.note:
        output.say(f"{assistant.title}: {assistant.note}")
    _start(todo)


def _target(host: str | None, needs: launching.Needs, model: str | None, last: str, dry_run: bool) -> Target:
    """What the assistant is pointed at, and what to know of it on standard error. A dry run starts no daemon."""
    found, _ = usable_settings(host)
    client = daemon(host, autostart=not dry_run)
    if dry_run and not client.is_listening():
        output.say("No daemon answers, and a dry run starts none: the model and its context are assumed")
        return launching.assumed(found, needs, model, last)
    if dry_run and model is not None and not _is_here(client, model):
        output.say(f"{model!r} isn't here, and a dry run pulls nothing: its context is assumed")
        return launching.assumed(found, needs, model, last)
    try:
        target = launching.target(client, found, needs, model, last)
    except Failure as failure:
        if not dry_run:
            raise
        output.say(failure.message)
        return launching.assumed(found, needs, model, "")
    for words in launching.warnings(target, needs, launching.trained(client, target.model)):
        output.say(f"Warning: {words}")
    return target


def _is_here(client: Client, model: str) -> bool:
    try:
        client.post("/api/show", {"model": model})
    except Failure:
        return False
    return True


@contextmanager
def _troubles() -> Iterator[None]:
    try:
        yield
    except Trouble as trouble:
        raise Failure(str(trouble), Exit.USAGE if isinstance(trouble, Unknown) else Exit.FAILED) from None


def _missing(assistant: Assistant) -> Failure:
    how = assistant.install if assistant.install.startswith("see ") else f"install it with: {assistant.install}"
    return Failure(f"{assistant.title} isn't installed: there is no {assistant.commands[0]!r} on PATH; {how}")


def _list(machine: Machine, as_json: bool) -> None:
    rows: list[Json] = []
    for name in names():
        assistant = load(name)
        with _troubles():
            manifest = Ledger(machine.state / name).read()
        rows.append(
            {
                "name": name,
                "title": assistant.title,
                "installed": machine.program(assistant.commands, assistant.paths),
                "configured": manifest.configured and bool(manifest.files),
                "changed": [
                    record.path for record in manifest.files if not Path(record.path).is_relative_to(machine.state)
                ],
                "model": manifest.model or None,
                "context": assistant.context,
                "tools": assistant.tools,
                "unverified": assistant.unverified or None,
            }
        )
    if as_json:
        output.data(rows)
        return
    heads = ("NAME", "ASSISTANT", "INSTALLED", "CONFIGURED", "MODEL")
    output.table(
        heads,
        (
            (
                row["name"],
                row["title"],
                "yes" if row["installed"] else "no",
                "yes" if row["configured"] else "no",
                row["model"] or "",
            )
            for row in rows
        ),
    )


def _show(todo: Plan, name: str, target: Target, config: bool, as_json: bool) -> None:
    """The plan, with the API key and the secrets of others left out."""

    def hidden(text: str) -> str:
        return text.replace(target.key, HIDDEN) if target.key else text

    environment = {key: hidden(value) for key, value in todo.environment.items()}
    if as_json:
        output.data(
            {
                "assistant": name,
                "model": target.model,
                "files": [
                    {
                        "path": str(write.path),
                        "new": write.before is None,
                        "changes": write.is_change,
                        "content": hidden(write.content()),
                    }
                    for write in todo.writes
                ],
                "environment": {} if config else environment,
                "unset": [] if config else list(todo.unset),
                "command": None if config else list(todo.argv),
            }
        )
        return
    for write in todo.writes:
        output.line(_would_write(write))
        output.write(hidden(write.difference()))
        output.line("")
    if config:
        return
    if environment:
        output.line("Would set")
        output.line("".join(f"  {key}={shlex.quote(value)}\n" for key, value in environment.items()))
    if todo.unset:
        output.line("Would unset")
        output.line("".join(f"  {key}\n" for key in todo.unset))
    output.line(f"Would run\n  {shlex.join(todo.argv)}")


def _would_write(write: Write) -> str:
    if not write.is_change:
        return f"Would leave {write.path} as it is"
    mode = ", for you alone to read (0600)" if write.is_private else ""
    return f"Would {'create' if write.before is None else 'change'} {write.path}{mode}"


def _theirs(todo: Plan, machine: Machine) -> list[Write]:
    """The files that are the assistant's, and not Runner's own."""
    return [write for write in todo.writes if not write.path.is_relative_to(machine.state)]


def _configured(assistant: Assistant, todo: Plan, target: Target, machine: Machine, as_json: bool) -> None:
    """What `--config` did; for an assistant that keeps nothing in files, what to set for it."""
    if as_json:
        output.data({"model": target.model, "files": [str(write.path) for write in todo.writes]})
    for write in _theirs(todo, machine):
        output.say(f"{'Wrote' if write.is_change else 'Unchanged:'} {write.path}")
    if not todo.writes and not as_json:
        output.say(f"{assistant.title} keeps this in no file; set it where you start it:")
        output.write("".join(_exports(todo)))
    if not as_json:
        if todo.writes:
            output.say(f"{assistant.title} uses {target.model} from now on")
        if machine.program(assistant.commands, assistant.paths) is None:
            output.say(f"Note: {_missing(assistant).message}")
    if assistant.config_note:
        output.say(f"{assistant.title}: {assistant.config_note}")


def _exports(todo: Plan) -> Iterator[str]:
    """Lines for a shell. The API key is named, not shown."""
    is_windows = sys.platform == "win32"
    for name, value in todo.environment.items():
        if name in todo.secrets:
            yield f"$env:{name} = $env:RUNNER_API_KEY\n" if is_windows else f'export {name}="$RUNNER_API_KEY"\n'
        elif is_windows:
            yield f"$env:{name} = '{value.replace(chr(39), chr(39) * 2)}'\n"
        else:
            yield f"export {name}={shlex.quote(value)}\n"


_WAYS = {
    "exact": "{path} is as it was",
    "removed": "Removed {path}, which Runner had made",
    "taken out": "{path} has nothing of Runner's any more; what was changed since stays",
    "unchanged": "{path} was as before already",
}


def _restore(assistant: Assistant, ledger: Ledger, machine: Machine, force: bool, as_json: bool) -> None:
    done = [each for each in restore(ledger, force) if not Path(each.path).is_relative_to(machine.state)]
    if as_json:
        output.data([{"path": each.path, "how": each.how} for each in done])
    elif not done:
        output.say(f"{assistant.title} has nothing of Runner's: there is nothing to put back")
    for each in () if as_json else done:
        output.line(_WAYS[each.how].format(path=each.path))


def _start(todo: Plan) -> NoReturn:
    """The assistant takes this process's place; where that can't be, its exit code is ours."""
    environment = {name: value for name, value in os.environ.items() if name not in todo.unset} | todo.environment
    sys.stdout.flush()
    sys.stderr.flush()
    if sys.platform != "win32":
        try:
            os.execve(todo.argv[0], todo.argv, environment)
        except OSError as error:
            raise Failure(f"{todo.argv[0]} doesn't start: {error.strerror}", Exit.IO) from None
    raise typer.Exit(_waited(todo.argv, environment))


def _waited(argv: Sequence[str], environment: dict[str, str]) -> int:
    """Run to the end; Ctrl-C is the assistant's to deal with."""
    process = subprocess.Popen(argv, env=environment)
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
