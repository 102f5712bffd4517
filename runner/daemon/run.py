"""The life of a daemon that has its store and its sockets: it serves until it is told to end, and then ends in order:
take nobody in, let requests finish for a while, end the workers.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from socket import socket

from registry.store import Store
from runner.api.server import serve
from runner.config.live import Live
from runner.daemon.announcement import announced, say_ready, standing
from runner.daemon.build import Daemon, build
from runner.daemon.signals import GRACE, end_on_signals, leave, reload_on_signal
from runner.inference.names_file import NamesFile
from runner.service.notify import Supervisor

_log = logging.getLogger("runner.daemon")

_JOBS_GRACE = 3.0  # seconds for pulls to leave what they have in good order
_FAREWELL = 20.0  # seconds that the end takes at most, workers and all


async def run(live: Live, store: Store, sockets: Sequence[socket]) -> int:
    """Serve until a signal or a request ends it; then the exit status."""
    settings, stop, supervisor = live.settings, asyncio.Event(), Supervisor()
    threads = ThreadPoolExecutor(4, "store")
    asyncio.get_running_loop().set_default_executor(threads)
    daemon = build(live, store, threads, stop.set)
    received = end_on_signals(stop, daemon.workers)
    watching = asyncio.create_task(live.watch())
    reload_on_signal(live, stop, supervisor)
    closing = asyncio.create_task(_close_when(stop, daemon, supervisor))
    attending = asyncio.create_task(supervisor.attend(lambda: standing(settings, daemon.scheduler)))
    daemon.inventory.start()
    NamesFile(store, settings.folders.cache / "names", threads.submit).keep()
    keeping = asyncio.create_task(daemon.pins.keep())
    try:
        with announced(settings):
            await serve(
                daemon.app,
                settings.host,
                stop=stop,
                on_ready=lambda: say_ready(settings, supervisor),
                grace=GRACE,
                sockets=sockets,
            )
    finally:
        stop.set()
        keeping.cancel()
        watching.cancel()
        await closing
        daemon.scheduler.abort()
        await daemon.workers.gone()
        await daemon.inventory.close()
        if not await daemon.jobs.close(_JOBS_GRACE):
            _log.warning("a pull did not end in time and is cut off; what it has fetched is kept")
            leave(_status(received))
        daemon.sources.close()
        attending.cancel()  # the last: a supervisor may want signs of life until then
        supervisor.close()
    _log.info("ended")
    return _status(received)


async def _close_when(stop: asyncio.Event, daemon: Daemon, supervisor: Supervisor) -> None:
    await stop.wait()
    supervisor.stopping(_FAREWELL)
    daemon.jobs.stop()  # what they have done stays; requests for answers may finish
    daemon.scheduler.close(lambda: None)


def _status(received: Sequence[int]) -> int:
    return 128 + received[0] if received else 0
