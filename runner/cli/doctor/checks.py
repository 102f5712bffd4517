"""What `runner doctor` looks at itself: the settings, who answers at the address, and without a daemon what a process
beside it would find. Each check gives a finding with the next step, and changes nothing.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import msgspec
import psutil

from runner import __version__
from runner.cli import autostart, wording
from runner.cli.client import Client
from runner.cli.failures import Failure, Refused
from runner.config import Address, Settings
from runner.log.places import folder
from runner.protocol.checkup import MODULE, SECONDS, Finding, of_disk, of_process
from runner.service import steps
from runner.service.checkup import checkup

_EXAMINED = SECONDS + 15  # seconds: the daemon runs that process too
_LITTLE_MEMORY = 1 << 30
_LOCK = "lock"


def with_daemon(client: Client) -> Iterator[Finding] | None:
    """What the daemon at the address finds, or why it can't be asked. None when nobody listens there."""
    if not client.is_listening():
        return None
    return _asked(client)


def _asked(client: Client) -> Iterator[Finding]:
    url = client.address.url
    try:
        theirs = client.get("/api/version").get("runner")
        if not isinstance(theirs, str):
            yield _stranger(client.address, "it is no Runner")
            return
        if theirs == __version__:
            yield Finding("daemon", "ok", f"Runner {theirs} answers at {url}")
        else:
            said = f"the daemon at {url} is Runner {theirs}, and this command is {__version__}"
            yield Finding("daemon", "warn", said, "`runner shutdown`; the next command starts the new one")
        for row in client.get("/runner/doctor", timeout=_EXAMINED).get("findings", []):
            yield msgspec.convert(row, Finding)
        if client.address.is_loopback:
            yield from _service()
    except Refused as refusal:
        if refusal.status in (401, 403):
            said = f"the daemon at {url} refuses this command: {refusal.message}"
            yield Finding("daemon", "fail", said, "set RUNNER_API_KEY to its key")
        elif refusal.status == 404:
            yield Finding("daemon", "warn", f"the daemon at {url} can't examine itself", "`runner shutdown`, and again")
        else:
            yield Finding("daemon", "fail", refusal.message, "`runner shutdown`, and again; the daemon's log says more")
    except Failure as failure:
        yield _stranger(client.address, failure.message)
    except msgspec.ValidationError as error:
        yield _stranger(client.address, str(error))


def _stranger(address: Address, why: str) -> Finding:
    who = (holder_of(address.port) if address.is_loopback else "") or "something"
    said = f"{who} answers at {address.url}, but {why}"
    return Finding("daemon", "fail", said, "end it, or set RUNNER_HOST to another port")


def holder_of(port: int) -> str:
    """The process that listens on a port of this machine; empty where the system doesn't tell."""
    with suppress(psutil.Error, OSError):
        for each in psutil.net_connections("tcp"):
            if each.status == psutil.CONN_LISTEN and each.laddr and each.laddr.port == port and each.pid:
                return f"{psutil.Process(each.pid).name()} (process {each.pid})"
    return ""


def without_daemon(settings: Settings) -> Iterator[Finding]:
    """What can be found where no daemon runs."""
    none = f"none runs at {settings.host.url}"
    if not settings.host.is_loopback:
        yield Finding("daemon", "fail", none, "start Runner on that machine, or set RUNNER_HOST")
        return
    if settings.autostart:
        yield Finding("daemon", "ok", f"{none}; the first command starts one")
    else:
        yield Finding("daemon", "warn", f"{none}, and autostart is off", "`runner serve`")
    yield from _store(settings.models)
    yield from _logs(folder(settings.folders.state))
    available = psutil.virtual_memory().available
    said = f"{wording.size(available)} are free"
    if available < _LITTLE_MEMORY:
        yield Finding("memory", "warn", said, "close other programs, or take a smaller model (`runner search`)")
    else:
        yield Finding("memory", "ok", said)
    yield from _tried_out(settings.sandbox)
    yield from _service()


def _service() -> tuple[Finding, ...]:
    return checkup(os.environ, Path.home(), steps.run)


def _store(root: Path) -> Iterator[Finding]:
    there = next(each for each in (root, *root.parents) if each.exists())
    try:
        yield of_disk(str(root), os.access(there, os.W_OK), shutil.disk_usage(there).free)
    except OSError as error:
        yield Finding(
            "store", "fail", f"{root} cannot be read: {error.strerror}", "look at the disk, or at RUNNER_MODELS"
        )
    if holder := _holder(root / _LOCK):
        said = f"another process has the store {root}: {holder}"
        yield Finding("store", "warn", said, "set RUNNER_HOST to where it listens, or end it")


def _holder(lock: Path) -> str:
    """What is written in a lock that somebody holds; empty for one that nobody does."""
    if sys.platform == "win32":
        return ""
    import fcntl

    with suppress(OSError), lock.open("rb") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return file.read(500).decode("utf-8", "replace").strip() or "nobody knows which"
    return ""


def _logs(folder: Path) -> Iterator[Finding]:
    there = next(each for each in (folder, *folder.parents) if each.exists())
    if not os.access(there, os.W_OK):
        yield Finding("logs", "warn", f"{folder} cannot be written: nothing is logged", f"make {there} writable")


def _tried_out(mode: str) -> tuple[Finding, ...]:
    environment = autostart.environment({}) | {"OPENBLAS_NUM_THREADS": "1"}
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", MODULE, mode],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return of_process(None, b"", b"")
    return of_process(done.returncode, done.stdout, done.stderr)
