"""What `runner doctor` says of the service: installed or not, and where it is, whether it does what it should."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path

from runner.config import SETTINGS, ConfigError, config_file, folders, load
from runner.protocol.checkup import Finding
from runner.service import carried
from runner.service.choice import of_this_machine
from runner.service.installation import SYSTEM_ENVIRONMENT, SYSTEM_HOME, environment_file
from runner.service.steps import Refused, Run
from runner.service.system import System

_CHECK = "service"
_RESTARTS = 3


def checkup(environ: Mapping[str, str], home: Path, run: Run) -> tuple[Finding, ...]:
    """The user's service and the machine's, where one is installed; one `ok` where none is. Changes nothing."""
    found: list[Finding] = []
    for machine in (False, True):
        try:
            system = of_this_machine(machine=machine, environ=environ, home=home)
        except Refused:
            continue  # this system knows no such service
        if system.unit.exists():
            found += _of(system, machine, run)
            found += _outweighed(machine, environ)
    if found:
        return tuple(found)
    try:
        of_this_machine(machine=False, environ=environ, home=home).check(run)
    except Refused as refused:
        return (Finding(_CHECK, "ok", f"not installed: {refused.message}"),)
    return (Finding(_CHECK, "ok", "not installed; `runner service install` has Runner start by itself"),)


def _of(system: System, machine: bool, run: Run) -> Iterator[Finding]:
    flag = " --system" if machine else ""
    if not machine:
        try:
            system.check(run)
        except Refused as refused:
            advice = refused.detail.splitlines()[0] if refused.detail else f"remove {system.unit}"
            yield Finding(_CHECK, "warn", f"installed in {system.unit}, but {refused.message}", advice)
            return
    standing = system.ask(run)
    said = f"{system.name}: {standing.active}" + (f", {standing.said}" if standing.said else "")
    if standing.active == "failed":
        yield Finding(_CHECK, "fail", said, f"`{system.logs}` says why; then `runner service start{flag}`")
    elif standing.active == "stopped":
        yield Finding(_CHECK, "warn", said, f"`runner service start{flag}`")
    elif not standing.enabled and standing.active != "unknown":
        yield Finding(_CHECK, "warn", f"{said}; it doesn't start by itself", f"`runner service install{flag}`")
    elif standing.restarts >= _RESTARTS:
        yield Finding(_CHECK, "warn", f"{said}; restarted {standing.restarts} times", f"`{system.logs}` says why")
    else:
        yield Finding(_CHECK, "ok", said)


def _outweighed(machine: bool, environ: Mapping[str, str]) -> Iterator[Finding]:
    """What was taken along once, and since then keeps config.yaml from counting."""
    set_there = environ.get("RUNNER_HOME")
    home = {"RUNNER_HOME": str(SYSTEM_HOME)} if machine else {"RUNNER_HOME": set_there} if set_there else {}
    with suppress(OSError, UnicodeDecodeError, ConfigError):  # root's to read, or what others tell of
        where = folders(home)
        file = SYSTEM_ENVIRONMENT if machine else environment_file(where)
        told = carried.read(file)
        written, counting = load(environ=home), load(environ=home | told)
        names = [
            row.env
            for row in SETTINGS
            if row.env in told
            and written.sources[row.name].startswith("file")
            and getattr(written, row.name) != getattr(counting, row.name)
        ]
        if names:
            said = f"{', '.join(names)} in {file} outweighs what {config_file(where)} says"
            advice = f"remove the line there, then `runner service restart{' --system' if machine else ''}`"
            yield Finding(_CHECK, "warn", said, advice)
