"""`runner service`: have the system start Runner by itself. From flags to `runner.service`, and its words to people."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

import typer

from runner.cli import output, servicecard
from runner.cli.arguments import AsJson
from runner.cli.client import Client
from runner.cli.commands.shutdown import end
from runner.cli.failures import Exit, Failure
from runner.config import Address, ConfigError, Settings, folders, load, parse_address
from runner.service import carried, steps
from runner.service.choice import of_this_machine
from runner.service.installation import (
    SYSTEM_ENVIRONMENT,
    SYSTEM_HOME,
    Installation,
    environment_file,
    hidden_part,
    of_machine,
    of_user,
    parts,
)
from runner.service.steps import Refused, Remove, Step, Write
from runner.service.system import Standing, System

EXAMPLES = """
runner service install
runner service status
sudo runner service install --system
runner service install --dry-run
runner service uninstall
"""
_ACTIONS = ("install", "start", "stop", "restart", "status", "uninstall")
_USERS_OWN = ("RUNNER_MODELS", "HF_HOME", "HF_HUB_CACHE", "HF_TOKEN_PATH", "OLLAMA_MODELS", "DOCKER_CONFIG")
_GPU_GROUPS = ("render", "video")
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


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
            _status(_Place.of(machine, account), as_json)
            return
        if not machine and not user and sys.platform != "win32" and os.geteuid() == 0 and not dry_run:
            raise Failure(
                "as root, this would be a service of root's own",
                Exit.DENIED,
                "For the whole machine: runner service ... --system\n"
                "For yourself: the same command without sudo. If root is meant: --user",
            )
        place = _Place.of(machine, account, fresh)
        _DO[action](place, dry_run)
    except Refused as refused:
        raise Failure(refused.message, Exit.DENIED if refused.denied else Exit.FAILED, refused.detail) from None
    except PermissionError as error:
        words = "; the machine's services need root" if machine else ""
        raise Failure(f"{error.filename} cannot be written: {error.strerror}{words}", Exit.DENIED) from None


@dataclass(frozen=True, slots=True)
class _Place:
    """The service that is meant, and everything that it is made of. `client` calls where it listens."""

    machine: bool
    account: str | None
    system: System
    settings: Settings
    told: dict[str, str]  # what goes into the environment file
    kept: tuple[str, ...]  # the names of those that are in it from before, and not set in the shell
    forgotten: tuple[str, ...]  # the names that were in it, and no longer are
    installation: Installation
    client: Client

    @classmethod
    def of(cls, machine: bool, account: str | None, fresh: bool = False) -> _Place:
        """Raises Failure for settings that can't be used, Refused where this system has no such service."""
        system = of_this_machine(machine=machine, environ=os.environ, home=Path.home())
        file = SYSTEM_ENVIRONMENT if machine else environment_file(folders())
        before: dict[str, str] = {}
        with suppress(PermissionError):  # root's, and somebody else only asks how it stands
            before = carried.read(file)
        now = carried.of_shell(os.environ)
        told = now if fresh else before | now
        environ = dict(os.environ) | told
        if machine:
            told = {name: value for name, value in told.items() if name not in _USERS_OWN}
            environ = {"RUNNER_HOME": str(SYSTEM_HOME)} | told
        try:
            settings = load(environ=environ)
        except ConfigError as error:
            raise Failure(str(error), Exit.USAGE) from None
        made = _of_machine(account) if machine else of_user(settings, os.environ, Path.home())
        client = Client(_callable(settings.host), settings.api_key)
        kept = tuple(sorted(told.keys() - now.keys()))
        forgotten = tuple(sorted(before.keys() - told.keys()))
        return cls(machine, account, system, settings, told, kept, forgotten, made, client)

    @property
    def flag(self) -> str:
        return " --system" if self.machine else ""

    def steps(self) -> tuple[Step, ...]:
        """What makes an installation."""
        file = self.installation.environment_file
        secrets: tuple[Step, ...] = (Remove(file),) if self.forgotten else ()
        try:
            if self.told:
                secrets = (Write(file, carried.written(self.told), 0o600, secret=True),)
        except ValueError as error:
            raise Failure(str(error), Exit.USAGE) from None
        return (*secrets, *self.system.install(self.installation))


def _of_machine(account: str | None) -> Installation:
    named = os.environ.get("RUNNER_MODELS")
    models = Path(named).expanduser().absolute() if named else None
    if models is not None and account is None:
        raise Refused(
            f"RUNNER_MODELS is {models}, which a user that systemd makes up can't own",
            "Name the user who owns that folder: --as USER. Or leave RUNNER_MODELS out; models are in "
            f"{SYSTEM_HOME}/models then.",
        )
    return of_machine(models, account, _gpu_groups())


def _gpu_groups() -> tuple[str, ...]:
    """Those of this machine that may use a GPU; a unit that names another one doesn't start."""
    try:
        import grp
    except ImportError:
        return ()
    known = {each.gr_name for each in grp.getgrall()}
    return tuple(name for name in _GPU_GROUPS if name in known)


def _install(place: _Place, dry_run: bool) -> None:
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
    _take_over(place, before)
    runs = before.active == "running"
    if not runs or changed:
        _begin(place, place.system.restart() if runs else place.system.start())
    again = "again, with what has changed" if before.installed and changed else "now"
    if runs and not changed:
        output.line("Runner is installed as a service and runs; nothing has changed")
    else:
        output.line(f"Runner is installed as a service and runs {again}, at {place.client.address.url}")
    _tell(place)


def _check(place: _Place) -> None:
    """Raises Refused for what keeps this machine from having the service."""
    place.system.check(steps.run)
    _check_program(place)


def _tell(place: _Place) -> None:
    output.line(f"  unit:  {place.system.unit}")
    for said in _carried(place):
        output.line(f"  {said}")
    output.line(f"  logs:  {place.system.logs}")
    for note in place.system.notes(steps.run):
        output.line(f"  note:  {note}")


def _carried(place: _Place) -> Iterator[str]:
    """What the service is told beside its unit, and since when: it outweighs config.yaml."""
    file = place.installation.environment_file
    if now := sorted(place.told.keys() - set(place.kept)):
        yield f"taken along: {', '.join(now)}, in {file}"
    if place.kept:
        yield f"kept from before: {', '.join(place.kept)}, in {file}; remove a line there, or `install --fresh`"
    if place.forgotten:
        yield f"forgotten: {', '.join(place.forgotten)}"


def _check_program(place: _Place) -> None:
    """The machine's service runs as somebody who has to be able to read this very program."""
    if not place.machine:
        return
    if any(path.is_relative_to(each) for path in parts() for each in ("/tmp", "/var/tmp")):
        raise Refused(
            f"the machine's service has a /tmp of its own, where this Runner isn't: {sys.prefix}",
            "Install Runner in a place that stays, such as /opt/runner.",
        )
    for path in () if place.account else parts():
        if hidden := hidden_part(path):
            raise Refused(
                f"the service's own user couldn't read this Runner: only its owner may enter {hidden}",
                "Install Runner where everybody may read it, such as /opt/runner, or name a user who may: --as USER",
            )


def _take_over(place: _Place, before: Standing) -> None:
    """A daemon that runs at the service's address, or elsewhere with its store, and isn't the service's own is ended in
    order."""
    if before.active in ("running", "starting"):
        return
    for client in (place.client, *_announced(place)):
        if client.is_listening():
            _end_stranger(client)


def _announced(place: _Place) -> Iterator[Client]:
    """The daemon that says where it is, if that is another address: it holds the store too."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        about = json.loads((place.settings.folders.runtime / "daemon.json").read_text(encoding="utf-8"))
        client = Client(_callable(parse_address(about["address"])), place.settings.api_key)
        if client.address != place.client.address:
            yield client


def _callable(address: Address) -> Address:
    """All of this machine's addresses are no place to call."""
    return replace(address, host=_ANY.get(address.host, address.host))


def _end_stranger(client: Client) -> None:
    url = client.address.url
    try:
        theirs = client.get("/api/version").get("runner")
    except Failure as failure:
        raise Failure(f"something answers at {url} that can't be ended: {failure.message}", failure.code) from None
    if not isinstance(theirs, str):
        raise Failure(
            f"something else than Runner answers at {url}",
            Exit.BUSY,
            "End it, or give Runner another port: RUNNER_HOST=127.0.0.1:11500 runner service install",
        )
    output.say(f"A Runner daemon that no service started runs at {url}; ending it, so that the service takes its place")
    end(client)


def _begin(place: _Place, done: Iterable[Step]) -> None:
    """Start, and say where to look when that fails."""
    try:
        steps.carry_out(done, steps.run)
    except Refused as refused:
        log = steps.run((*place.system.logs.split(), "-n", "5", "--no-pager", "-o", "cat")).out.strip()
        words = "\n".join(filter(None, (log or refused.detail, f"More: {place.system.logs}")))
        raise Refused("the service did not start", words) from None


def _start(place: _Place, dry_run: bool) -> None:
    if dry_run:
        _show(place.system.start())
        return
    before = _installed(place)
    if before.active == "running":
        output.line(f"The service runs already, at {place.client.address.url}")
        return
    _take_over(place, before)
    _begin(place, place.system.start())
    output.line(f"The service runs, at {place.client.address.url}")


def _restart(place: _Place, dry_run: bool) -> None:
    if dry_run:
        _show(place.system.restart())
        return
    _take_over(place, _installed(place))
    _begin(place, place.system.restart())
    output.line(f"The service runs anew, at {place.client.address.url}")


def _stop(place: _Place, dry_run: bool) -> None:
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


def _uninstall(place: _Place, dry_run: bool) -> None:
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


def _end_where_nobody_else_does(place: _Place) -> None:
    """The Task Scheduler knows only how to kill."""
    if sys.platform == "win32" and place.client.is_listening():
        end(place.client)


def _installed(place: _Place) -> Standing:
    place.system.check(steps.run)
    standing = place.system.ask(steps.run)
    if not standing.installed:
        raise Refused(f"the service is not installed; install it with: runner service install{place.flag}")
    return standing


def _status(place: _Place, as_json: bool) -> None:
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
    card = servicecard.Card(place.system, place.machine, place.client.address, standing, active, answers, problem)
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
