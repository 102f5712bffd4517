"""What signals do: INT and TERM end the daemon, a second one at once; HUP has it read its settings, reopen its log."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress

from runner import log
from runner.config import ConfigError
from runner.config.live import Live
from runner.scheduler.workers import Workers
from runner.service.notify import Supervisor

_log = logging.getLogger("runner.daemon")

GRACE = 5.0  # seconds for requests to finish once the daemon is told to end


def end_on_signals(stop: asyncio.Event, workers: Workers) -> list[int]:
    """Set `stop` on the first SIGINT or SIGTERM, end at once on the second. The list will hold what was received."""
    received: list[int] = []
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        received.append(number)
        if len(received) > 1:
            workers.kill()
            leave(128 + number)
        _log.info("%s: ending; requests have %.0f s to finish", signal.Signals(number).name, GRACE)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, on_signal, number)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda number, _: loop.call_soon_threadsafe(on_signal, number))
    return received


def reload_on_signal(live: Live, stop: asyncio.Event, supervisor: Supervisor) -> None:
    """SIGHUP reads the settings again; unless it says that the terminal is gone in which the daemon was started."""
    if not hasattr(signal, "SIGHUP"):
        return
    attended = os.isatty(2)
    tasks: set[asyncio.Task[None]] = set()

    async def reload() -> None:
        supervisor.reloading()
        with suppress(ConfigError):  # it is logged
            await live.reload()
        supervisor.ready(f"listening on {live.settings.host.url}")

    def on_hangup() -> None:
        log.reopen()
        if attended and not os.isatty(2):
            stop.set()
            return
        task = asyncio.ensure_future(reload())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, on_hangup)


def leave(status: int) -> None:
    """End the process without waiting for threads; the kernel drops the store's lock."""
    logging.shutdown()
    os._exit(status)
