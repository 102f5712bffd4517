"""launchd: an agent of one user on macOS. Knows launchctl's words; starts nothing but that."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from runner.service import units
from runner.service.installation import Installation
from runner.service.steps import Command, Folder, Refused, Remove, Run, Step, Write
from runner.service.system import Active, Standing, lines

_STATES: dict[str, Active] = {"running": "running", "spawn scheduled": "starting", "not running": "stopped"}


class Launchd:
    """The agent of the user who asks. It counts as loaded while it is started; stopping it unloads it, because the
    daemon's end by a signal would have it started again."""

    name = "launchd"

    def __init__(self, home: Path, uid: int | None = None) -> None:
        self.unit = home / "Library" / "LaunchAgents" / f"{units.LABEL}.plist"
        self.logs = "runner logs"
        number = uid if uid is not None else os.getuid()
        self._domain = f"gui/{number}"
        self._target = f"{self._domain}/{units.LABEL}"

    def check(self, run: Run) -> None:
        """Raises Refused without a session on the screen: only there are agents."""
        if run(("launchctl", "print", self._domain)).status:
            raise Refused(
                "launchd has no session for you here",
                "Log in on the Mac itself (not only by ssh), and repeat the command there.",
            )

    def install(self, of: Installation) -> tuple[Step, ...]:
        """The property list; launchd looks at its folder at each login."""
        return (
            *(Folder(folder) for folder in (*of.folders, of.log.parent)),
            Write(self.unit, units.plist(of), 0o600),
            Command(("launchctl", "enable", self._target)),
        )

    def start(self) -> tuple[Step, ...]:
        """Loaded and started; `kickstart` does nothing to one that runs."""
        return (
            Command(("launchctl", "bootstrap", self._domain, str(self.unit)), may_fail=True),
            Command(("launchctl", "kickstart", self._target)),
        )

    def restart(self) -> tuple[Step, ...]:
        """Unloaded first, so that a changed list counts."""
        return (*self.stop(), *self.start())

    def stop(self) -> tuple[Step, ...]:
        """Unloaded until the next start or login."""
        return (Command(("launchctl", "bootout", self._target), may_fail=True),)

    def uninstall(self) -> tuple[Step, ...]:
        """As if it had never been there."""
        return (*self.stop(), Remove(self.unit))

    def ask(self, run: Run) -> Standing:
        """As `launchctl print` tells it, which isn't made for programs: what isn't understood is unknown."""
        there = self.unit.exists()
        done = run(("launchctl", "print", self._target))
        if done.status:
            return Standing(there, enabled=there)
        told: dict[str, str] = {}
        for name, value in lines(done.out, " = "):
            told.setdefault(name, value)
        pid = told.get("pid", "")
        return Standing(
            there, there, _STATES.get(told.get("state", ""), "unknown"), int(pid) if pid.isdigit() else None
        )

    def notes(self, run: Run) -> Iterator[str]:
        """It is an agent."""
        yield "it runs while you are logged in on this Mac"
