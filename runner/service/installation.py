"""What a service is made of on this machine: the program, what it is told, what it may write. From settings and paths
to plain values. Writes nothing, and knows no unit's format.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import runner
from runner.config import Folders, Settings

SYSTEM_HOME = Path("/var/lib/runner")
"""Where the machine's service keeps everything; systemd makes it."""
SYSTEM_ENVIRONMENT = Path("/etc/runner/service.env")
_INSTALLED = ("site-packages", "dist-packages")


@dataclass(frozen=True, slots=True)
class Installation:
    """`environment` is for everybody to read; secrets are in `environment_file`, which has 0600. `folders` are those
    that the service writes to, `home` one that it may write to as a whole, `user` and `groups` whose it is where that
    isn't the user who installs it."""

    program: tuple[str, ...]
    environment_file: Path
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    folders: tuple[Path, ...] = ()
    home: Path | None = None
    user: str | None = None
    groups: tuple[str, ...] = ()
    in_home: bool = False  # whether the program itself lies in somebody's home


def environment_file(folders: Folders) -> Path:
    """The file of a user's service that holds keys and tokens."""
    return folders.config / "service.env"


def program(models: tuple[str, ...] = ()) -> tuple[str, ...]:
    """The daemon's argv. With `models`, those are pulled and kept loaded once it runs."""
    if models:
        return (sys.executable, "-m", "runner.service.begin", *models)
    return (sys.executable, "-m", "runner.daemon")


def _python() -> dict[str, str]:
    """What this Python is told. A stuck loop says where it is stuck before the watchdog ends it."""
    told = {"PYTHONSAFEPATH": "1", "PYTHONFAULTHANDLER": "1", "PYTHONUNBUFFERED": "1"}
    root = Path(runner.__file__).resolve().parents[1]
    return told if root.name in _INSTALLED else told | {"PYTHONPATH": str(root)}


def of_user(settings: Settings, environ: Mapping[str, str], home: Path, models: tuple[str, ...] = ()) -> Installation:
    """The service of the user who asks. `environ` says whether RUNNER_HOME is set."""
    folders = settings.folders
    own = {folders.data, folders.state, folders.cache, folders.config, settings.models}
    told = _python() | ({"RUNNER_HOME": str(_root(folders))} if environ.get("RUNNER_HOME") else {})
    return Installation(
        program=program(models),
        environment_file=environment_file(folders),
        log=folders.state / "logs" / "service.log",
        environment=told,
        folders=tuple(sorted(own | ({folders.runtime} if environ.get("RUNNER_HOME") else set()))),
        # Files of other tools are shared by hard links, which hold within one mount only, and each path that is made
        # writable by itself is a mount of its own.
        home=home if settings.adopt_from else None,
    )


def of_machine(models: Path | None = None, user: str | None = None, groups: tuple[str, ...] = ()) -> Installation:
    """The machine's service, under `user`, or one that systemd makes up. `models` is a store elsewhere."""
    told = _python() | {"RUNNER_HOME": str(SYSTEM_HOME), "HOME": str(SYSTEM_HOME)}
    if models is not None:
        told["RUNNER_MODELS"] = str(models)
    return Installation(
        program=program(),
        environment_file=SYSTEM_ENVIRONMENT,
        log=SYSTEM_HOME / "state" / "logs" / "service.log",
        environment=told,
        folders=() if models is None else (models,),
        user=user,
        groups=groups,
        in_home=any(is_in_a_home(part) for part in parts()),
    )


def parts() -> tuple[Path, ...]:
    """Where this Runner and its Python lie: a virtual environment's Python lies elsewhere."""
    return Path(sys.prefix), Path(sys.base_prefix), Path(runner.__file__).resolve().parent


def is_in_a_home(path: Path) -> bool:
    """Whether ProtectHome=yes would hide it."""
    return any(path.is_relative_to(root) for root in ("/home", "/root", "/run/user"))


def hidden_part(path: Path) -> Path | None:
    """The first folder on the way to `path` that only its owner may enter, if there is one."""
    for folder in (*reversed(path.parents), path):
        try:
            if not os.stat(folder).st_mode & 0o001:
                return folder
        except OSError:
            return folder
    return None


def _root(folders: Folders) -> Path:
    """RUNNER_HOME: all of them lie in it."""
    return folders.data.parent
