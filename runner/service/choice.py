"""Which service manager this machine has. Loads no other system's module."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path

from runner.service.steps import Refused
from runner.service.system import System


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
