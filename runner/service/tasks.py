"""Windows: a task of the Task Scheduler that begins when its user logs on. Knows schtasks' words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.service import units
from runner.service.installation import Installation
from runner.service.steps import Command, Folder, Refused, Remove, Run, Step, Write
from runner.service.system import Standing


class Tasks:
    """The task of the user who asks. Ending it ends the process at once, so the daemon is to be shut down before."""

    name = "the Task Scheduler"

    def __init__(self, home: Path, environ: Mapping[str, str]) -> None:
        local = environ.get("LOCALAPPDATA")
        self.unit = (Path(local) if local else home / "AppData" / "Local") / "runner" / "runner-task.xml"
        self.logs = "runner logs"
        domain, name = environ.get("USERDOMAIN", ""), environ.get("USERNAME", "")
        self._user = f"{domain}\\{name}" if domain else name

    def check(self, run: Run) -> None:
        """Raises Refused without the program, or a user to run it for."""
        if run(("schtasks", "/Query", "/FO", "CSV", "/NH")).status == 127:
            raise Refused("the Task Scheduler's program schtasks is not on the PATH")
        if not self._user:
            raise Refused("USERNAME isn't set, so there is nobody to install a task for")

    def install(self, of: Installation) -> tuple[Step, ...]:
        """The task, from its description, which stays beside the settings."""
        return (
            *(Folder(folder) for folder in of.folders),
            Write(self.unit, units.task(of, self._user), 0o600, encoding="utf-16"),
            Command(("schtasks", "/Create", "/TN", units.TASK, "/XML", str(self.unit), "/F")),
        )

    def start(self) -> tuple[Step, ...]:
        """Begun; a second one is ignored."""
        return (Command(("schtasks", "/Run", "/TN", units.TASK)),)

    def restart(self) -> tuple[Step, ...]:
        """Ended and begun."""
        return (*self.stop(), *self.start())

    def stop(self) -> tuple[Step, ...]:
        """Ended."""
        return (Command(("schtasks", "/End", "/TN", units.TASK), may_fail=True),)

    def uninstall(self) -> tuple[Step, ...]:
        """As if it had never been there."""
        return (
            *self.stop(),
            Command(("schtasks", "/Delete", "/TN", units.TASK, "/F"), may_fail=True),
            Remove(self.unit),
        )

    def ask(self, run: Run) -> Standing:
        """Whether it is there. Whether it runs is told in the system's language, so the daemon has to be asked."""
        there = run(("schtasks", "/Query", "/TN", units.TASK)).status == 0
        return Standing(there, enabled=there, active="unknown" if there else "stopped")

    def notes(self, run: Run) -> Iterator[str]:
        """It is a task of a session."""
        yield "it runs while you are logged on"
