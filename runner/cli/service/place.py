"""The service that is meant on this machine, and everything that it is made of. Changes nothing."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from runner.cli.client import Client
from runner.cli.failures import Exit, Failure
from runner.config import Address, ConfigError, Settings, folders, load
from runner.service import carried
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
from runner.service.system import System

_USERS_OWN = ("RUNNER_MODELS", "HF_HOME", "HF_HUB_CACHE", "HF_TOKEN_PATH", "OLLAMA_MODELS", "DOCKER_CONFIG")
_GPU_GROUPS = ("render", "video")
_ANY = {"0.0.0.0": "127.0.0.1", "::": "::1"}


@dataclass(frozen=True, slots=True)
class Place:
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
    def of(cls, machine: bool, account: str | None, fresh: bool = False) -> Place:
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
        client = Client(callable_address(settings.host), settings.api_key)
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


def check_program(place: Place) -> None:
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


def callable_address(address: Address) -> Address:
    """All of this machine's addresses are no place to call."""
    return replace(address, host=_ANY.get(address.host, address.host))
