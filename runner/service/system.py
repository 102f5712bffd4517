"""What every system's service manager can be asked and told, and which one this machine has."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol

from runner.service.installation import Installation
from runner.service.steps import Refused, Run, Step

Active = Literal["running", "starting", "stopping", "stopped", "failed", "unknown"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How the service stands. `enabled`: it starts by itself. `said` is what the daemon or the system says of it."""

    installed: bool
    enabled: bool = False
    active: Active = "stopped"
    pid: int | None = None
    said: str = ""
    restarts: int = 0


class System(Protocol):
    """A service manager, for one user or for the machine. Steps are values: `steps.carry_out` does them."""

    name: str
    unit: Path
    logs: str  # the command that shows what the daemon says

    def check(self, run: Run) -> None:
        """Raises Refused, with what to do, where there is no such manager for whoever asks."""

    def install(self, of: Installation) -> tuple[Step, ...]:
        """Unit and folders in place, and started by itself from now on; not started yet."""

    def start(self) -> tuple[Step, ...]:
        """Started, and ready where the manager can tell."""

    def restart(self) -> tuple[Step, ...]:
        """Started anew, with the unit as it is now."""

    def stop(self) -> tuple[Step, ...]:
        """Ended in order, until the next start."""

    def uninstall(self) -> tuple[Step, ...]:
        """Ended, and nothing of the unit left."""

    def ask(self, run: Run) -> Standing:
        """How it stands. A manager that can't be asked gives `unknown`."""

    def notes(self, run: Run) -> Iterable[str]:
        """What a person should know of this service here, each with what to do."""


def of_this_machine(*, machine: bool, environ: Mapping[str, str], home: Path) -> System:
    """The manager of this system; `machine` for the one that starts services at boot. Raises Refused."""
    if sys.platform == "darwin":
        from runner.service.launchd import Launchd

        _users_only(machine, "launchd")
        return Launchd(home)
    if sys.platform == "win32":
        from runner.service.tasks import Tasks

        _users_only(machine, "the Task Scheduler")
        return Tasks(home, environ)
    from runner.service.systemd import Systemd

    return Systemd(machine=machine, environ=environ, home=home)


def _users_only(machine: bool, name: str) -> None:
    if machine:
        raise Refused(f"with {name}, Runner is a service of one user; leave --system out")


def lines(text: str, sign: str = "=") -> Iterator[tuple[str, str]]:
    """`NAME=value` lines as pairs."""
    for line in text.splitlines():
        name, found, value = line.partition(sign)
        if found:
            yield name.strip(), value.strip()
