"""Ending a daemon, and waiting until it is gone."""

from __future__ import annotations

import time

import psutil

from runner.cli.client import Client
from runner.cli.connect import is_local
from runner.cli.failures import Exit, Failure

_GONE = 60.0  # seconds
_POLL = 0.05  # seconds


def end(client: Client) -> None:
    """End the daemon that answers there, and wait until it is gone. Raises Failure."""
    pid = client.post("/runner/shutdown", {}).get("pid")
    deadline = time.monotonic() + _GONE
    while client.is_listening() or (isinstance(pid, int) and is_local(client) and is_alive(pid)):
        if time.monotonic() > deadline:
            raise Failure(f"the daemon at {client.address.url} has not ended after {_GONE:.0f} seconds", Exit.BUSY)
        time.sleep(_POLL)


def is_alive(pid: int) -> bool:
    """True while the process runs. A zombie doesn't: it waits for its parent only, who may never ask."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False
    except psutil.AccessDenied:
        return True
