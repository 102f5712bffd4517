"""`python -m runner.daemon`, which `runner serve` becomes: settings, store, sockets, or one line that says why not."""

from __future__ import annotations

import argparse
import asyncio
import errno
import logging
import sys
from collections.abc import Sequence
from dataclasses import replace
from socket import socket

from registry.embedded import ensure_demo
from registry.errors import Locked, RegistryError, StorageFault
from registry.store import Store
from runner import config, log
from runner.api.server import listen
from runner.config import ConfigError, Settings
from runner.config.live import Live
from runner.daemon.run import run

_log = logging.getLogger("runner.daemon")

_USAGE, _IO, _BUSY, _NOT_ALLOWED = 2, 74, 75, 77  # exit codes


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to end. Returns the exit status of the contract."""
    try:
        flags = _flags(argv)
        settings = config.load(flags)
    except ConfigError as error:
        return _refuse(str(error), _USAGE)
    log.set_up(settings.log_level)
    try:
        _check_exposure(settings)
    except ConfigError as error:
        return _refuse(f"refusing to listen on {settings.host}: {error}", _NOT_ALLOWED)
    try:
        with Store.open(settings.models) as store:
            # Not before: whoever has the store has the log.
            file = log.daemon_file(settings.folders.state)
            log.keep(log.Keeping(file, settings.log_size, settings.log_files, settings.log_format))
            sockets = listen(settings.host)
            _put_in_demo(store)
            listening = _with_port_of(settings, sockets)

            def read() -> Settings:
                found = config.load(flags)
                return replace(found, host=listening.host) if found.host == settings.host else found

            return asyncio.run(run(Live(listening, read, _check_exposure), store, sockets))
    except Locked as error:
        return _refuse(str(error), _BUSY)
    except StorageFault as error:
        return _refuse(str(error), _IO)
    except RegistryError as error:
        return _refuse(str(error), 1)
    except OSError as error:
        codes = {errno.EADDRINUSE: _BUSY, errno.EACCES: _NOT_ALLOWED}
        return _refuse(error.strerror or str(error), codes.get(error.errno or 0, _IO))


def _check_exposure(settings: Settings) -> None:
    """Whoever reaches the daemon may use it. Raises ConfigError."""
    if not settings.host.is_loopback and settings.api_key is None:
        raise ConfigError(
            f"host {settings.host} needs an API key: whoever reaches it could use Runner. Set RUNNER_API_KEY, or "
            "listen on 127.0.0.1"
        )


def _put_in_demo(store: Store) -> None:
    try:
        ensure_demo(store)
    except RegistryError as error:  # a read-only store serves what it has
        _log.warning("the demo model is not in the store: %s", error)


def _with_port_of(settings: Settings, sockets: Sequence[socket]) -> Settings:
    """Port 0 has become a real one."""
    return replace(settings, host=replace(settings.host, port=sockets[0].getsockname()[1]))


def _flags(argv: Sequence[str] | None) -> dict[str, object]:
    parser = argparse.ArgumentParser("python -m runner.daemon", description="The Runner daemon, in the foreground.")
    for setting in config.SETTINGS:
        flag = f"--{setting.name.replace('_', '-')}"
        parser.add_argument(flag, dest=setting.name, metavar="VALUE", help=setting.help)
    return vars(parser.parse_args(argv))


def _refuse(message: str, status: int) -> int:
    sys.stderr.write(f"runner: {message}\n")
    return status


if __name__ == "__main__":
    sys.exit(main())
