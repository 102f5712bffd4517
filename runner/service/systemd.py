"""systemd: a unit of a user's manager or of the machine's. Knows systemctl's words; starts nothing but that."""

from __future__ import annotations

import os
import pwd
from collections.abc import Iterator, Mapping
from pathlib import Path

from runner.service import units
from runner.service.installation import Installation
from runner.service.steps import Command, Folder, Refused, Remove, Run, Step, Write
from runner.service.system import Active, Standing, lines

UNIT = "runner.service"
_BOOTED = Path("/run/systemd/system")
_ASKED = ("LoadState", "UnitFileState", "ActiveState", "SubState", "MainPID", "StatusText", "Result", "NRestarts")
_ACTIVE: Mapping[str, Active] = {
    "active": "running", "reloading": "running", "activating": "starting", "deactivating": "stopping",
    "inactive": "stopped", "failed": "failed",
}  # fmt: skip
_BY_HAND = "`runner serve` runs it in the foreground, and every command starts it when it is needed"
_RESULTS = {
    "watchdog": "its loop hung, so systemd ended it",
    "oom-kill": "the kernel ended it: memory was short",
    "timeout": "it took too long",
    "start-limit-hit": "it failed too often in a row",
    "exit-code": "it ended with an error",
    "signal": "it was killed",
    "core-dump": "it crashed",
}


class Systemd:
    """`machine` for the machine's services, which root changes; else those of the user who asks."""

    def __init__(
        self, *, machine: bool, environ: Mapping[str, str], home: Path, booted: Path = _BOOTED, uid: int | None = None
    ) -> None:
        self._machine = machine
        self._environ = environ
        self._booted = booted
        self._uid = os.getuid() if uid is None else uid
        config = Path(environ.get("XDG_CONFIG_HOME") or "")
        folder = (config if config.is_absolute() else home / ".config") / "systemd" / "user"
        self.name = "systemd" if machine else "systemd (user)"
        self.unit = (Path("/etc/systemd/system") if machine else folder) / UNIT
        self.logs = f"journalctl {'' if machine else '--user '}-u runner"

    def check(self, run: Run) -> None:
        """Raises Refused where systemd doesn't run, not for this user, or not for them to change."""
        if run(("systemctl", "--version")).status == 127:
            raise Refused("this system has no systemd, so there is nothing to install a service with", _BY_HAND)
        if not self._booted.is_dir():
            raise Refused(
                "systemd is installed but doesn't run here: this is a container, or WSL without it",
                f"In WSL, put `systemd=true` under `[boot]` into /etc/wsl.conf, then `wsl --shutdown`.\n"
                f"In a container, {_BY_HAND}; see docs/containers.md.",
            )
        if self._machine:
            if self._uid != 0:
                raise Refused(
                    "the machine's services are root's to change: sudo runner service ... --system", denied=True
                )
            return
        runtime = Path(self._environ.get("XDG_RUNTIME_DIR") or f"/run/user/{self._uid}")
        if not any((runtime / each).exists() for each in ("systemd/private", "bus")):
            raise Refused(
                f"no service manager runs for {self._user}: there is no login session",
                f"Start one, now and at every boot: sudo loginctl enable-linger {self._user}\n"
                "Then log in again (ssh, not su or sudo), and repeat the command.",
            )
        if run(self._words("show-environment")).status:
            raise Refused(
                f"the service manager of {self._user} doesn't answer",
                f"Log in as {self._user} itself (ssh, not su or sudo). XDG_RUNTIME_DIR has to be {runtime}.",
            )

    def install(self, of: Installation) -> tuple[Step, ...]:
        """Unit and folders; it starts at the login, or with the machine."""
        text = units.systemd_system(of) if self._machine else units.systemd_user(of)
        return (
            *((Folder(folder) for folder in of.folders) if not self._machine else ()),
            Write(self.unit, text),
            Command(self._words("daemon-reload")),
            Command(self._words("enable", UNIT)),
        )

    def start(self) -> tuple[Step, ...]:
        """Ready when this is done. Failures of before don't count."""
        return (Command(self._words("reset-failed", UNIT), may_fail=True), Command(self._words("start", UNIT)))

    def restart(self) -> tuple[Step, ...]:
        """Ended in order, and ready again when this is done."""
        return (Command(self._words("reset-failed", UNIT), may_fail=True), Command(self._words("restart", UNIT)))

    def stop(self) -> tuple[Step, ...]:
        """Ended when this is done."""
        return (Command(self._words("stop", UNIT)),)

    def uninstall(self) -> tuple[Step, ...]:
        """As if it had never been there."""
        return (
            Command(self._words("disable", "--now", UNIT), may_fail=True),
            Remove(self.unit),
            Command(self._words("daemon-reload")),
            Command(self._words("reset-failed", UNIT), may_fail=True),
        )

    def ask(self, run: Run) -> Standing:
        """What the manager knows; the file alone where it can't be asked."""
        there = self.unit.exists()
        done = run(self._words("show", UNIT, f"--property={','.join(_ASKED)}"))
        if done.status:
            return Standing(there, active="unknown", said="its manager can't be asked")
        told = dict(lines(done.out))
        loaded = told.get("LoadState") == "loaded"
        active = _ACTIVE.get(told.get("ActiveState", ""), "unknown")
        if told.get("ActiveState") == "activating" and told.get("SubState") == "auto-restart":
            active = "failed"
        pid = int(told.get("MainPID") or 0)
        said = _RESULTS.get(told.get("Result", ""), "") if active == "failed" else told.get("StatusText", "")
        return Standing(
            there or loaded,
            told.get("UnitFileState") == "enabled",
            active,
            pid or None,
            "" if active == "stopped" else said,  # the last word of one that ran before
            int(told.get("NRestarts") or 0),
        )

    def notes(self, run: Run) -> Iterator[str]:
        """Whether it outlives the login session."""
        if self._machine:
            return
        done = run(("loginctl", "show-user", self._user, "--property=Linger"))
        if not done.status and dict(lines(done.out)).get("Linger") == "no":
            yield (
                "it runs while you are logged in; to have it run from boot on: "
                f"sudo loginctl enable-linger {self._user}"
            )

    @property
    def _user(self) -> str:
        try:
            return pwd.getpwuid(self._uid).pw_name
        except KeyError:
            return str(self._uid)

    def _words(self, *words: str) -> tuple[str, ...]:
        return ("systemctl", *(() if self._machine else ("--user",)), *words)
