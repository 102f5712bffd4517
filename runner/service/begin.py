"""The beginning of a daemon whose supervisor can tell it little: `python -m runner.service.begin [MODEL...]`.

Reads keys from files, has the named models pulled and kept loaded once the daemon answers, and becomes the daemon: the
same process, so that signals and a supervisor's words reach it. For containers, launchd and Windows.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from runner.config import ConfigError, load
from runner.service import carried

KEY_FILE = "RUNNER_API_KEY_FILE"
_KEY = "RUNNER_API_KEY"
_USAGE, _IO, _NOT_ALLOWED = 2, 74, 77  # exit codes, as the daemon has them
_OF_THE_SUPERVISOR = ("NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID")


class Wrong(Exception):
    """It can't begin: the words, and the exit status."""

    def __init__(self, message: str, status: int) -> None:
        super().__init__(message)
        self.status = status


def environment(environ: Mapping[str, str], file: str | None, given: Sequence[str]) -> dict[str, str]:
    """The daemon's environment: what is set weighs more than the file, and `given` more than both. Raises Wrong."""
    ours = dict(environ)
    try:
        if file:
            ours = carried.read(Path(file)) | ours
        for each in given:
            name, sign, value = each.partition("=")
            if not sign:
                raise Wrong(f"--set takes NAME=VALUE, not {each!r}", _USAGE)
            ours[name] = value
        key_file = ours.pop(KEY_FILE, "")
        if key_file and not ours.get(_KEY):
            key = Path(key_file).read_text(encoding="utf-8").strip()
            if not key:
                raise Wrong(f"{KEY_FILE}: {key_file} is empty", _USAGE)
            ours[_KEY] = key
    except (OSError, UnicodeDecodeError) as error:
        raise Wrong(f"a file with keys cannot be read: {error}", _IO) from None
    return ours


def refuse_the_open(environ: Mapping[str, str]) -> None:
    """Raises Wrong where the daemon would be open to everybody, in the words of whoever starts a container."""
    try:
        settings = load(environ=environ)
    except ConfigError as error:
        raise Wrong(str(error), _USAGE) from None
    if not settings.host.is_loopback and settings.api_key is None:
        raise Wrong(
            f"refusing to listen on {settings.host} without an API key: whoever reaches it could use Runner.\n"
            f"  Give it one: -e {_KEY}=..., or -e {KEY_FILE}=/run/secrets/... with a secret.\n"
            "  Clients send it as `Authorization: Bearer ...`, the runner command from RUNNER_API_KEY.",
            _NOT_ALLOWED,
        )


def main(argv: Sequence[str] | None = None) -> int:
    """Become the daemon; returns only where that can't be."""
    given = _arguments(argv)
    try:
        ours = environment(os.environ, given.environment, given.set)
        refuse_the_open(ours)
    except Wrong as wrong:
        sys.stderr.write(f"runner: {wrong}\n")
        return wrong.status
    if given.models:
        _have(given.models, ours)
    program = [sys.executable, "-m", "runner.daemon"]
    if sys.platform == "win32":  # where exec gives the new program another process id, and the task loses it
        raise SystemExit(subprocess.run(program, env=ours, check=False).returncode)
    return os.execve(program[0], program, ours)


def _have(models: Sequence[str], environ: Mapping[str, str]) -> None:
    """Start the process that sees to the models. It leaves at once for a child of its own, which isn't the daemon's,
    and ends with this process, which becomes the daemon."""
    theirs = {name: value for name, value in environ.items() if name not in _OF_THE_SUPERVISOR}
    command = [sys.executable, "-m", "runner.service.have", f"--of={os.getpid()}", "--", *models]
    process = subprocess.Popen(command, env=theirs)
    if sys.platform != "win32":  # where nothing forks, it stays
        process.wait()


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        "python -m runner.service.begin", description="Become the Runner daemon, with these models loaded."
    )
    parser.add_argument("--environment", metavar="FILE", help="NAME=value lines; what is set already weighs more")
    parser.add_argument("--set", action="append", default=[], metavar="NAME=VALUE", help="set a variable")
    parser.add_argument("models", nargs="*", metavar="MODEL", help="pulled where missing, and kept loaded")
    return parser.parse_args(argv)


if __name__ == "__main__":
    sys.exit(main())
