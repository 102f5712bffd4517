"""`runner service`: have the system start Runner by itself. From flags to `runner.service`, and its words to people."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from typing import Annotated

import typer

from runner.cli import output
from runner.cli.arguments import AsJson
from runner.cli.cards.service import Card
from runner.cli.ending import end
from runner.cli.failures import Exit, Failure
from runner.cli.service.place import Place, check_program
from runner.cli.service.takeover import take_over
from runner.service import steps
from runner.service.steps import Refused, Remove, Step
from runner.service.system import Standing

EXAMPLES = """
runner service install
runner service status
sudo runner service install --system
runner service install --dry-run
runner service uninstall
"""
_ACTIONS = ("install", "start", "stop", "restart", "status", "uninstall")


def command(
    action: Annotated[
        str, typer.Argument(metavar="[" + "|".join(_ACTIONS) + "]", help="What to do; status without one.")
    ] = "status",
    machine: Annotated[
        bool, typer.Option("--system", help="The machine's service, which starts at boot; needs root.")
    ] = False,
    user: Annotated[
        bool, typer.Option("--user", help="The service of this user, as without it; root has to say so.")
    ] = False,
    account: Annotated[
        str | None, typer.Option("--as", metavar="USER", help="With --system: run as this user, not as one made up.")
    ] = None,
    as_json: AsJson = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print files and commands, and do nothing.")] = False,
    fresh: Annotated[
        bool, typer.Option("--fresh", help="With install: forget what was taken along before, and isn't set now.")
    ] = False,
) -> None:
    """Have this system start Runner by itself, and watch over it.

    systemd on Linux, launchd on macOS, the Task Scheduler on Windows. What is set in the shell (RUNNER_*, HF_TOKEN,
    proxies) is taken along into a file that only its owner reads. status ends with 0 if it runs, else with 1.
    """
    if action not in _ACTIONS:
        raise Failure(f"service takes {', '.join(_ACTIONS)}, not {action!r}", Exit.USAGE)
    if machine and user:
        raise Failure("--system and --user exclude each other", Exit.USAGE)
    if account and not machine:
        raise Failure("--as goes with --system", Exit.USAGE)
    if as_json and action != "status":
        raise Failure("--json goes with status", Exit.USAGE)
    if fresh and action != "install":
        raise Failure("--fresh goes with install", Exit.USAGE)
    try:
        if action == "status":
            _status(Place.of(machine, account), as_json)
            return
        if not machine and not user and sys.platform != "win32" and os.geteuid() == 0 and not dry_run:
            raise Failure(
                "as root, this would be a service of root's own",
                Exit.DENIED,
                "For the whole machine: runner service ... --system\n"
                "For yourself: the same command without sudo. If root is meant: --user",
            )
        place = Place.of(machine, account, fresh)
        _DO[action](place, dry_run)
    except Refused as refused:
        raise Failure(refused.message, Exit.DENIED if refused.denied else Exit.FAILED, refused.detail) from None
    except PermissionError as error:
        words = "; the machine's services need root" if machine else ""
        raise Failure(f"{error.filename} cannot be written: {error.strerror}{words}", Exit.DENIED) from None


def _install(place: Place, dry_run: bool) -> None:
    if dry_run:
        for said in _carried(place):
            output.line(f"# {said}")
        _show((*place.steps(), *place.system.start()))
        try:
            _check(place)
        except Refused as refused:
            output.say(f"Note: here this would fail: {refused.message}")
        return
    _check(place)
    before = place.system.ask(steps.run)
    changed = steps.carry_out(place.steps(), steps.run)
    take_over(place, before)
    runs = before.active == "running"
    if not runs or changed:
        _begin(place, place.system.restart() if runs else place.system.start())
    again = "again, with what has changed" if before.installed and changed else "now"
    if runs and not changed:
        output.line("Runner is installed as a service and runs; nothing has changed")
    else:
        output.line(f"Runner is installed as a service and runs {again}, at {place.client.address.url}")
    _tell(place)


def _check(place: Place) -> None:
    """Raises Refused for what keeps this machine from having the service."""
    place.system.check(steps.run)
    check_program(place)


def _tell(place: Place) -> None:
    output.line(f"  unit:  {place.system.unit}")
    for said in _carried(place):
        output.line(f"  {said}")
    output.line(f"  logs:  {place.system.logs}")
    for note in place.system.notes(steps.run):
        output.line(f"  note:  {note}")


def _carried(place: Place) -> Iterator[str]:
    """What the service is told beside its unit, and since when: it outweighs config.yaml."""
    file = place.installation.environment_file
    if now := sorted(place.told.keys() - set(place.kept)):
        yield f"taken along: {', '.join(now)}, in {file}"
    if place.kept:
        yield f"kept from before: {', '.join(place.kept)}, in {file}; remove a line there, or `install --fresh`"
    if place.forgotten:
        yield f"forgotten: {', '.join(place.forgotten)}"


def _begin(place: Place, done: Iterable[Step]) -> None:
    """Start, and say where to look when that fails."""
    try:
        steps.carry_out(done, steps.run)
    except Refused as refused:
        log = steps.run((*place.system.logs.split(), "-n", "5", "--no-pager", "-o", "cat")).out.strip()
        words = "\n".join(filter(None, (log or refused.detail, f"More: {place.system.logs}")))
        raise Refused("the service did not start", words) from None


def _start(place: Place, dry_run: bool) -> None:
    if dry_run:
        _show(place.system.start())
        return
    before = _installed(place)
    if before.active == "running":
        output.line(f"The service runs already, at {place.client.address.url}")
        return
    take_over(place, before)
    _begin(place, place.system.start())
    output.line(f"The service runs, at {place.client.address.url}")


def _restart(place: Place, dry_run: bool) -> None:
    if dry_run:
        _show(place.system.restart())
        return
    take_over(place, _installed(place))
    _begin(place, place.system.restart())
    output.line(f"The service runs anew, at {place.client.address.url}")


def _stop(place: Place, dry_run: bool) -> None:
    if dry_run:
        _show(place.system.stop())
        return
    before = _installed(place)
    if before.active in ("stopped", "failed"):
        output.line("The service doesn't run")
        if place.client.is_listening():
            output.line(f"What answers at {place.client.address.url} was not started by it: runner shutdown")
        return
    _end_where_nobody_else_does(place)
    steps.carry_out(place.system.stop(), steps.run)
    output.line(f"The service has ended; it starts again with: runner service start{place.flag}")


def _uninstall(place: Place, dry_run: bool) -> None:
    file = Remove(place.installation.environment_file)
    if dry_run:
        _show((*place.system.uninstall(), file))
        return
    there = place.system.unit.exists()
    if there:
        with suppress(Refused):  # without its manager there is still the file to remove
            place.system.check(steps.run)
            _end_where_nobody_else_does(place)
        try:
            steps.carry_out(place.system.uninstall(), steps.run)
        except Refused:
            place.system.unit.unlink(missing_ok=True)
    file.path.unlink(missing_ok=True)
    output.line("The service is uninstalled" if there else "No service was installed")
    home = place.settings.folders
    for name, path in (
        ("models", place.settings.models),
        ("logs", home.state / "logs"),
        ("settings", home.config / "config.yaml"),
    ):
        if path.exists():
            output.line(f"  {name} stay in {path}")
    if place.machine and file.path.parent.is_dir() and not any(file.path.parent.iterdir()):
        file.path.parent.rmdir()


def _end_where_nobody_else_does(place: Place) -> None:
    """The Task Scheduler knows only how to kill."""
    if sys.platform == "win32" and place.client.is_listening():
        end(place.client)


def _installed(place: Place) -> Standing:
    place.system.check(steps.run)
    standing = place.system.ask(steps.run)
    if not standing.installed:
        raise Refused(f"the service is not installed; install it with: runner service install{place.flag}")
    return standing


def _status(place: Place, as_json: bool) -> None:
    problem = ""
    try:
        if not place.machine:
            place.system.check(steps.run)
        standing = place.system.ask(steps.run)
    except Refused as refused:
        standing, problem = Standing(place.system.unit.exists(), active="unknown"), refused.message
    answers = place.client.is_listening()
    active = standing.active
    if active == "unknown" and not problem and standing.installed:  # Windows' tells nothing that a program understands
        active = "running" if answers else "stopped"
    card = Card(place.system, place.machine, place.client.address, standing, active, answers, problem)
    if as_json:
        output.data(card.data())
    else:
        card.tell(place.system.notes(steps.run))
    if active != "running":
        raise typer.Exit(Exit.FAILED)


def _show(what: Iterable[Step]) -> None:
    for line in steps.shown(what):
        output.line(line)


_DO = {"install": _install, "start": _start, "stop": _stop, "restart": _restart, "uninstall": _uninstall}
