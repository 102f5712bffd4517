"""What a supervisor is told while the daemon runs, as systemd has it: datagrams to the socket that NOTIFY_SOCKET names.

The watchdog's word comes from the event loop itself, so a loop that hangs falls silent. Without a supervisor nothing
happens. Knows nothing of what the daemon does.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import Callable, Mapping

log = logging.getLogger(__name__)
_STATUS = 10.0  # seconds between two looks at the status where there is no watchdog


class Supervisor:
    """Whoever started the daemon and wants to hear of it. `pulse` is how often it wants a sign of life, in seconds, 0
    for never."""

    def __init__(self, environ: Mapping[str, str] = os.environ) -> None:
        self.pulse = 0.0
        self._socket: socket.socket | None = None
        self._status = ""
        where = environ.get("NOTIFY_SOCKET", "")
        if where[:1] not in ("/", "@") or not hasattr(socket, "AF_UNIX"):
            return
        made = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        made.setblocking(False)
        try:
            made.connect("\0" + where[1:] if where[0] == "@" else where)
        except OSError as error:
            made.close()
            log.warning("the supervisor can't be told anything: %s", error.strerror or error)
            return
        self._socket = made
        self.pulse = _pulse(environ)

    @property
    def listens(self) -> bool:
        """Whether anybody wants to hear."""
        return self._socket is not None

    def ready(self, status: str) -> None:
        """Connections are accepted."""
        self._status = status
        self._tell("READY=1", _status(status))

    def reloading(self) -> None:
        """The settings are being read again; `ready` says that it is over."""
        self._tell("RELOADING=1", f"MONOTONIC_USEC={time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000}")

    def stopping(self, seconds: float) -> None:
        """The end has begun, and takes that long at most."""
        self._tell("STOPPING=1", _status("ending"), f"EXTEND_TIMEOUT_USEC={int(seconds * 1e6)}")

    async def attend(self, status: Callable[[], str]) -> None:
        """For as long as this isn't cancelled: be alive in time, and say how things stand when that changes."""
        if self._socket is None:
            return
        pause = self.pulse / 3 if self.pulse else _STATUS  # one that is lost or late is no reason to be ended
        while True:
            now = status()
            changed = (_status(now),) if now != self._status else ()
            self._status = now
            self._tell(*(("WATCHDOG=1",) if self.pulse else ()), *changed)
            await asyncio.sleep(pause)

    def close(self) -> None:
        """Say nothing more."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _tell(self, *lines: str) -> None:
        if self._socket is None or not lines:
            return
        try:
            self._socket.send("\n".join(lines).encode("utf-8", "replace"))
        except OSError as error:  # its queue is full, or it is gone: it isn't worth a daemon
            log.debug("the supervisor was not told %s: %s", lines[0], error)


def _pulse(environ: Mapping[str, str]) -> float:
    """Seconds after which it is taken for dead."""
    meant = environ.get("WATCHDOG_PID")
    if meant and meant != str(os.getpid()):
        return 0.0
    microseconds = environ.get("WATCHDOG_USEC", "")
    return int(microseconds) / 1e6 if microseconds.isascii() and microseconds.isdigit() else 0.0


def _status(text: str) -> str:
    return f"STATUS={' '.join(text.split())}"
