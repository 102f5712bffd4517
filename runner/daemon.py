"""The daemon: the only place that constructs and wires. `python -m runner.daemon`, or what `runner serve` becomes.

Start: settings, store, sockets, then the parts from the scheduler up to the application. End: take nobody in, let
requests finish for a while, end the workers, close the store.
"""

from __future__ import annotations

import argparse
import asyncio
import errno
import json
import logging
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from socket import socket

from aiohttp import web

from registry.embedded import ensure_demo
from registry.errors import Locked, RegistryError, StorageFault
from registry.store import Store
from runner import __version__, config, log
from runner.api.app import Services, build_app
from runner.api.openai.responses.store import ResponseStore
from runner.api.remote import Remote
from runner.api.server import listen, serve
from runner.config import ConfigError, Settings
from runner.inference.adoptions import Adoptions
from runner.inference.aliases import Aliases
from runner.inference.contexts import DEFAULT_CONTEXT
from runner.inference.discovery import Discovery
from runner.inference.jobs import Jobs
from runner.inference.models import Models
from runner.inference.plans import Plans
from runner.inference.prefixes import PrefixFolders
from runner.inference.resolve import Resolver
from runner.inference.service import Service
from runner.inference.sources import Sources, SourceSettings
from runner.inference.updates import Updates
from runner.scheduler import machine
from runner.scheduler.lessons import Lessons
from runner.scheduler.loop import Limits, Scheduler
from runner.scheduler.memory import CPU_DEVICE, HOST
from runner.scheduler.outlook import Outlook, outlook
from runner.scheduler.workers import Workers

_log = logging.getLogger("runner.daemon")

GRACE = 5.0  # seconds for requests to finish once the daemon is told to end
_JOBS_GRACE = 3.0  # seconds for pulls to leave what they have in good order
_MODELS = 3  # loaded at once, where the setting leaves it to us
_USAGE, _IO, _BUSY, _NOT_ALLOWED = 2, 74, 75, 77  # exit codes


@dataclass(frozen=True, slots=True)
class Daemon:
    """The parts that have a beginning and an end, and the application over them."""

    app: web.Application
    scheduler: Scheduler
    workers: Workers
    jobs: Jobs
    sources: Sources


def build(settings: Settings, store: Store, threads: ThreadPoolExecutor, shutdown: Callable[[], None]) -> Daemon:
    """Construct everything. `threads` is for what reads the store; `shutdown` asks the process to end."""
    workers = Workers(settings.folders.state / "logs", settings.load_timeout, time.monotonic)
    limits = Limits(
        models=settings.max_loaded_models or _MODELS,
        queue=settings.max_queue,
        keep_alive=settings.keep_alive,
        offloads=machine.may_offload(),
    )
    lessons = Lessons(settings.folders.state / "memory.json", threads.submit)
    scheduler = Scheduler(limits, workers, time.monotonic, machine.available_memory, lessons.loaded)

    def look() -> Outlook:
        return outlook((CPU_DEVICE,), {HOST: machine.available_memory()}, scheduler.residents())

    prefixes = PrefixFolders(settings.folders.cache / "prefixes", settings.prefix_ram, settings.prefix_disk)
    aliases = Aliases(settings.aliases)
    resolver = Resolver(
        store,
        context_length=settings.context_length,
        num_parallel=settings.num_parallel,
        prefixes=prefixes,
        aliases=aliases,
        lessons=lessons,
        look=look,
    )
    fetch = Remote(settings.image_urls).fetch if settings.image_urls else None
    service = Service(scheduler, resolver, threads, fetch=fetch)
    models = Models(store, threads, service.unload, prefixes, aliases)

    sources = Sources(
        store,
        SourceSettings(
            registries=settings.registries,
            connections=settings.download_connections,
            rate=settings.download_rate,
            adopt_from=settings.adopt_from,
            context=settings.context_length or DEFAULT_CONTEXT,
        ),
        machine.available_memory,
    )
    jobs = Jobs(store, sources.pull, sources.push, ThreadPoolExecutor(8, "job"))
    updates = Updates(store, sources.know, sources.compare)
    adoptions = Adoptions(store, jobs, threads, ThreadPoolExecutor(4, "adopt"))
    discovery = Discovery(sources.look, sources.search)
    responses = ResponseStore(settings.stored_responses, settings.stored_responses_size)
    app = build_app(
        Services(
            service, models, jobs, responses, settings, shutdown, updates, adoptions, discovery, Plans(resolver, look)
        )
    )
    return Daemon(app, scheduler, workers, jobs, sources)


def main(argv: Sequence[str] | None = None) -> int:
    """Run until told to end. Returns the exit status of the contract."""
    try:
        settings = config.load(_flags(argv))
    except ConfigError as error:
        return _refuse(str(error), _USAGE)
    log.set_up(settings.log_level)
    if not settings.host.is_loopback and settings.api_key is None:
        return _refuse(
            f"refusing to listen on {settings.host} without an API key: whoever reaches it could use it. Set "
            "RUNNER_API_KEY, or listen on 127.0.0.1",
            _NOT_ALLOWED,
        )
    try:
        with Store.open(settings.models) as store:
            sockets = listen(settings.host)
            _put_in_demo(store)
            return asyncio.run(_run(_with_port_of(settings, sockets), store, sockets))
    except Locked as error:
        return _refuse(str(error), _BUSY)
    except StorageFault as error:
        return _refuse(str(error), _IO)
    except RegistryError as error:
        return _refuse(str(error), 1)
    except OSError as error:
        codes = {errno.EADDRINUSE: _BUSY, errno.EACCES: _NOT_ALLOWED}
        return _refuse(error.strerror or str(error), codes.get(error.errno or 0, _IO))


async def _run(settings: Settings, store: Store, sockets: Sequence[socket]) -> int:
    """Serve until a signal or a request ends it; then the exit status."""
    stop = asyncio.Event()
    threads = ThreadPoolExecutor(4, "store")
    asyncio.get_running_loop().set_default_executor(threads)
    daemon = build(settings, store, threads, stop.set)
    received = _end_on_signals(stop, daemon.workers)
    closing = asyncio.create_task(_close_when(stop, daemon))
    try:
        with _announced(settings):
            await serve(
                daemon.app,
                settings.host,
                stop=stop,
                on_ready=lambda: _say_ready(settings),
                grace=GRACE,
                sockets=sockets,
            )
    finally:
        stop.set()
        await closing
        daemon.scheduler.abort()
        await daemon.workers.gone()
        if not await daemon.jobs.close(_JOBS_GRACE):
            _log.warning("a pull did not end in time and is cut off; what it has fetched is kept")
            _leave(_status(received))
        daemon.sources.close()
    _log.info("ended")
    return _status(received)


async def _close_when(stop: asyncio.Event, daemon: Daemon) -> None:
    await stop.wait()
    daemon.jobs.stop()  # what they have done stays; requests for answers may finish
    daemon.scheduler.close(lambda: None)


def _end_on_signals(stop: asyncio.Event, workers: Workers) -> list[int]:
    """Set `stop` on the first SIGINT or SIGTERM, end at once on the second. The list will hold what was received."""
    received: list[int] = []
    loop = asyncio.get_running_loop()

    def on_signal(number: int) -> None:
        received.append(number)
        if len(received) > 1:
            workers.kill()
            _leave(128 + number)
        _log.info("%s: ending; requests have %.0f s to finish", signal.Signals(number).name, GRACE)
        stop.set()

    for number in (signal.SIGINT, signal.SIGTERM):
        try:
            loop.add_signal_handler(number, on_signal, number)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda number, _: loop.call_soon_threadsafe(on_signal, number))
    return received


def _status(received: Sequence[int]) -> int:
    return 128 + received[0] if received else 0


def _leave(status: int) -> None:
    """End the process without waiting for threads; the kernel drops the store's lock."""
    logging.shutdown()
    os._exit(status)


@contextmanager
def _announced(settings: Settings) -> Iterator[None]:
    """`daemon.json` in the runtime folder is removed at the end, whoever wrote it last: only one holds the store."""
    try:
        yield
    finally:
        with suppress(OSError):
            _announcement(settings).unlink()


def _say_ready(settings: Settings) -> None:
    """Tell people and programs where the daemon is."""
    about = {
        "pid": os.getpid(),
        "address": str(settings.host),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "version": __version__,
    }
    path = _announcement(settings)
    aside = path.with_suffix(".json.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(about, file)
        aside.replace(path)
    except OSError as error:
        _log.warning("%s cannot be written: %s", path, error.strerror)
    _log.info("Runner %s is listening on %s; models are in %s", __version__, settings.host.url, settings.models)


def _announcement(settings: Settings) -> Path:
    return settings.folders.runtime / "daemon.json"


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
