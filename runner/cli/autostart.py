"""The daemon's process: the command that runs it, and starting it in the background when nobody answers.

Knows how to launch it and how to tell that it is ready or dead; knows nothing of what the daemon does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import runner
from runner.cli.failures import Exit, Failure, Unavailable
from runner.config import PORT, Address, ConfigError, Settings, load
from runner.log.places import daemon_file, early_file

_READY = 60.0  # seconds until a daemon that lives must answer
_OTHER = 15.0  # seconds until the daemon that ours gave way to must answer
_POLL = 0.05  # seconds
_ANY = ("0.0.0.0", "::")
_TAIL = 10  # lines of the log to show
_TAIL_BYTES = 8192
_MOST = 2**20  # bytes of what daemons said beside their log
# Other users can read a process's arguments, so this one travels in the environment.
_SECRET = "api_key"


def command(flags: Mapping[str, str]) -> list[str]:
    """The argv of a daemon with these settings given as flags."""
    given = [f"--{name.replace('_', '-')}={value}" for name, value in flags.items() if name != _SECRET]
    return [sys.executable, "-m", "runner.daemon", *given]


def environment(flags: Mapping[str, str], environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The environment for `command`: Runner is imported from where it is now, and nothing from the current folder."""
    ours = dict(environ)
    if _SECRET in flags:
        ours[f"RUNNER_{_SECRET.upper()}"] = flags[_SECRET]
    # `python -m` looks for modules in the current folder first, which may hold anybody's `runner` or `json`.
    ours["PYTHONSAFEPATH"] = "1"
    root = Path(runner.__file__).resolve().parent.parent
    if root.name not in ("site-packages", "dist-packages"):
        ours["PYTHONPATH"] = os.pathsep.join(filter(None, (str(root), environ.get("PYTHONPATH"))))
    return ours


def log_file(settings: Settings) -> Path:
    """Where the daemon writes what it has to say, once it has the store."""
    return daemon_file(settings.folders.state)


def start(settings: Settings, argv: list[str], is_ready: Callable[[], bool], say: Callable[[str], None]) -> None:
    """Run `argv` as a daemon of its own session and return when `is_ready`.

    Raises Unavailable with its last words when it dies, or when nothing is ready in time.
    """
    early = early_file(settings.folders.state)
    say(f"Starting the Runner daemon in the background; its log is {log_file(settings)}")
    try:
        early.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        early.touch(mode=0o600)
        if early.stat().st_size > _MOST:
            early.replace(early.with_name(f"{early.name}.1"))
            early.touch(mode=0o600)
        with early.open("ab") as output:
            begin = output.tell()
            process = _launch(argv, output)
    except OSError as error:
        raise Failure(f"cannot start the daemon: {error}", Exit.IO) from None
    try:
        problem, code = _wait(process, is_ready, settings.host.url)
    finally:
        if process.returncode is None:
            process.returncode = 0  # it is meant to outlive us, of which subprocess would warn
    if problem:
        raise Unavailable(problem, _tail(early, begin), code)


def by_service(settings: Settings, is_ready: Callable[[], bool], say: Callable[[str], None]) -> bool:
    """Start the service, where one is installed for this user and for these folders; True once its daemon is ready.

    Where that fails, a daemon of our own is as good, and the service's state says what is wrong.
    """
    from runner.service import steps
    from runner.service.choice import of_this_machine

    try:
        system = of_this_machine(machine=False, environ=os.environ, home=Path.home())
        if not system.unit.exists() or not _is_for(system.unit, os.environ.get("RUNNER_HOME")):
            return False
        system.check(steps.run)
        say(f"Starting Runner's service ({system.name})")
        steps.carry_out(system.start(), steps.run)
    except steps.Refused as refused:
        say(f"Warning: the service doesn't start: {refused.message}")
        return False
    deadline = time.monotonic() + _OTHER
    while not is_ready():
        if time.monotonic() > deadline:
            say(f"Warning: the service runs, and does not answer at {settings.host.url}")
            return False
        time.sleep(_POLL)
    return True


def leave_to_machine(settings: Settings) -> None:
    """Raise Unavailable where the machine's service has this address and doesn't run: a daemon of our own would keep it
    from its port, and only root may start it."""
    from runner.service import steps
    from runner.service.choice import of_this_machine

    try:
        system = of_this_machine(machine=True, environ=os.environ, home=Path.home())
    except steps.Refused:
        return
    if not system.unit.exists():
        return
    theirs = _of_machine()
    at = theirs.host if theirs.host not in _ANY else settings.host.host
    if (at, theirs.port) != (settings.host.host, settings.host.port) or system.ask(steps.run).active == "running":
        return  # one that runs and doesn't answer here was told another address, where only root can read it
    raise Unavailable(
        f"no Runner daemon answers at {settings.host.url}, which is the place of the machine's service",
        "Start it: sudo runner service start --system\n"
        "A daemon of your own beside it takes another port: RUNNER_HOST=127.0.0.1:11500",
    )


def _of_machine() -> Address:
    """Where the machine's service listens, as far as whoever asks may read that."""
    from runner.service import carried, installation

    told: dict[str, str] = {}
    with suppress(OSError, UnicodeDecodeError):
        told = carried.read(installation.SYSTEM_ENVIRONMENT)
    try:
        return load(environ={"RUNNER_HOME": str(installation.SYSTEM_HOME)} | told).host
    except (ConfigError, OSError):
        return Address("127.0.0.1", PORT)


def _is_for(unit: Path, home: str | None) -> bool:
    """Whether the service has the folders that this command has."""
    try:
        text = unit.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return False
    return str(Path(home).expanduser().absolute()) in text if home else "RUNNER_HOME" not in text


def _wait(process: subprocess.Popen[bytes], is_ready: Callable[[], bool], url: str) -> tuple[str, Exit]:
    """Nothing once a daemon is ready, and otherwise what is wrong and how to end."""
    gave_way = False
    deadline = time.monotonic() + _READY
    while not is_ready():
        status = process.poll()
        if status == Exit.BUSY and not gave_way:
            # Somebody else's daemon, started a moment before ours, holds the store: it is as good.
            gave_way = True
            deadline = min(deadline, time.monotonic() + _OTHER)
        elif status is not None and status != Exit.BUSY:
            return f"the daemon {_ending(status)}", Exit.UNAVAILABLE
        if time.monotonic() > deadline:
            # The one that ours gave way to serves somewhere else: the store is in use, as the log says.
            return f"no daemon is ready at {url}", Exit.BUSY if gave_way else Exit.UNAVAILABLE
        time.sleep(_POLL)
    return "", Exit.OK


def _ending(status: int) -> str:
    return f"was killed by signal {-status}" if status < 0 else f"ended at once with status {status}"


def _launch(argv: list[str], output: IO[bytes]) -> subprocess.Popen[bytes]:
    options: dict[str, Any] = {"start_new_session": True}
    if sys.platform == "win32":
        options = {"creationflags": subprocess.DETACHED_PROCESS | subprocess.CREATE_NEW_PROCESS_GROUP}
    return subprocess.Popen(
        argv, stdin=subprocess.DEVNULL, stdout=output, stderr=output, env=environment({}), **options
    )


def _tail(path: Path, begin: int) -> str:
    """The last lines that were written to a file since it was `begin` bytes long."""
    try:
        with path.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(begin, end - _TAIL_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(f"  {line}" for line in lines[-_TAIL:])
