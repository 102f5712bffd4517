"""From a command's flags to the daemon it talks to. The one place where a command meets the settings."""

from __future__ import annotations

from runner.cli.client import Client
from runner.cli.failures import Exit, Failure, Unavailable
from runner.cli.output import on_one_line, say
from runner.config import ConfigError, Settings, load, load_usable


def settings(host: str | None) -> Settings:
    """The settings, with `--host` as a flag. Raises Failure when one cannot be used."""
    try:
        found = load({"host": host})
    except ConfigError as error:
        raise Failure(str(error), Exit.USAGE) from None
    _check(found)
    return found


def usable_settings(host: str | None) -> tuple[Settings, str | None]:
    """The same as far as the settings file can be used, and what is wrong with it. Raises Failure for the rest."""
    try:
        found, problem = load_usable({"host": host})
    except ConfigError as error:
        raise Failure(str(error), Exit.USAGE) from None
    _check(found)
    return found, problem


def daemon(host: str | None, autostart: bool = True, warns: bool = True) -> Client:
    """The daemon at `--host`; with `autostart` it is started when it doesn't answer and may run on this machine.

    A settings file that can't be used changes nothing for a daemon that runs, so it doesn't keep commands from it:
    they go on with what can be used of it, and say so where `warns`.
    """
    found, problem = usable_settings(host)
    if problem is not None and warns:
        say(f"Warning: {on_one_line(problem)}")
    if not autostart:
        return Client(found.host, found.api_key)
    return Client(found.host, found.api_key, lambda: _start(found, host, problem))


def _check(found: Settings) -> None:
    if not found.host.port:
        raise Failure(f"host ({found.sources['host']}) names port 0, where nothing can be called", Exit.USAGE)


def is_local(client: Client) -> bool:
    """True when the daemon opens files on this machine, so that a path says enough."""
    return client.address.is_loopback


def _start(found: Settings, host: str | None, problem: str | None) -> None:
    probe = Client(found.host, found.api_key)
    if not is_local(probe):
        raise Unavailable(f"no Runner daemon answers at {found.host.url}")
    flags = {} if host is None else {"host": host}
    if not found.autostart:
        typed = " ".join(("runner serve", *(f"--{name} {value}" for name, value in flags.items())))
        raise Unavailable(f"no Runner daemon answers at {found.host.url}; start one with: {typed}")
    if problem is not None:  # it would end with the same words
        raise Failure(problem, Exit.USAGE)
    from runner.cli import autostart  # on use: most commands find a daemon

    if host is None and autostart.by_service(found, probe.is_ready, say):
        return
    autostart.leave_to_machine(found)
    autostart.start(found, autostart.command(flags), probe.is_ready, say)
