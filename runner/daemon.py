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
from registry.quantize import Order, Planned, Watch
from registry.store import Store
from runner import __version__, config, log
from runner.api.app import Services, build_app
from runner.api.openai.responses.store import ResponseStore
from runner.api.remote import fetching
from runner.api.server import listen, serve
from runner.config import ConfigError, Settings
from runner.config.live import Live
from runner.inference import tuning
from runner.inference.adoptions import Adoptions
from runner.inference.aliases import Aliases
from runner.inference.checkup import Checkup
from runner.inference.discovery import Discovery
from runner.inference.jobs import Jobs
from runner.inference.ledger import Ledger
from runner.inference.models import Models
from runner.inference.names_file import NamesFile
from runner.inference.pins import Pins
from runner.inference.plans import Plans
from runner.inference.prefixes import PrefixFolders
from runner.inference.quantizer import quantize
from runner.inference.residents import Pool, Surroundings
from runner.inference.resolve import Resolver
from runner.inference.service import Service
from runner.inference.sources import Sources
from runner.inference.updates import Updates
from runner.page.routes import Page
from runner.protocol.devices import HOST
from runner.scheduler import machine
from runner.scheduler.devices import Inventory
from runner.scheduler.lessons import Lessons
from runner.scheduler.loop import Scheduler
from runner.scheduler.offer import Offer, offer
from runner.scheduler.workers import Workers
from runner.service.notify import Supervisor

_log = logging.getLogger("runner.daemon")

GRACE = 5.0  # seconds for requests to finish once the daemon is told to end
_JOBS_GRACE = 3.0  # seconds for pulls to leave what they have in good order
_FAREWELL = 20.0  # seconds that the end takes at most, workers and all
_USAGE, _IO, _BUSY, _NOT_ALLOWED = 2, 74, 75, 77  # exit codes


@dataclass(frozen=True, slots=True)
class Daemon:
    """The parts that have a beginning and an end, and the application over them."""

    app: web.Application
    scheduler: Scheduler
    inventory: Inventory
    workers: Workers
    jobs: Jobs
    sources: Sources
    pins: Pins


def build(live: Live, store: Store, threads: ThreadPoolExecutor, shutdown: Callable[[], None]) -> Daemon:
    """Construct everything. `threads` is for what reads the store; `shutdown` asks the process to end."""
    settings, limits = live.settings, tuning.limits_of(live.settings)
    workers = Workers(
        log.folder(settings.folders.state), settings.load_timeout, time.monotonic, has_spare=settings.spare_worker
    )
    inventory = Inventory(most=lambda: live.settings.max_memory)
    lessons = Lessons(settings.folders.state / "memory.json", threads.submit)
    scheduler = Scheduler(limits, workers, time.monotonic, inventory, lessons.loaded)
    inventory.listen(scheduler.tick)

    def look() -> Offer:
        return offer(inventory.devices(), inventory.room(), scheduler.view.residents())

    prefixes = PrefixFolders(settings.folders.cache / "prefixes", settings.prefix_ram, settings.prefix_disk)
    aliases = Aliases(settings.aliases)
    resolver = Resolver(
        store,
        prefixes=prefixes,
        aliases=aliases,
        survey=inventory.survey,
        defaults=tuning.defaults_of(settings),
        lessons=lessons,
        look=look,
    )
    service = Service(
        scheduler,
        resolver,
        threads,
        fetch=fetching(settings.image_urls),
        around=_surroundings(live, workers, inventory, look),
        inventory=inventory,
    )
    models = Models(store, threads, service.unload, prefixes, aliases)

    sources = Sources(store, tuning.sources_of(settings), machine.available_memory)

    def quantizer(order: Order, planned: Planned, watch: Watch) -> None:
        quantize(order, planned, watch, live.settings.sandbox)

    jobs = Jobs(store, sources.pull, sources.push, ThreadPoolExecutor(8, "job"), quantizer)
    updates = Updates(store, sources.know, sources.compare)
    adoptions = Adoptions(store, jobs, threads, ThreadPoolExecutor(4, "adopt"))
    discovery = Discovery(sources.look, sources.search)
    responses = ResponseStore(settings.stored_responses, settings.stored_responses_size)
    pins = Pins(service, scheduler, tuning.pinned_by(settings))
    checkup = Checkup(
        store,
        service,
        live,
        log.folder(settings.folders.state),
        lambda: _free(live, inventory, look)[HOST],
        inventory.devices,
        inventory.problems,
    )
    services = Services(
        service,
        models,
        jobs,
        responses,
        settings,
        shutdown,
        updates,
        adoptions,
        discovery,
        Plans(resolver, scheduler.view, inventory.devices, inventory.read),
        live,
        checkup,
        Ledger(settings.request_log, bodies=settings.request_bodies, watcher=scheduler.view),
    )
    app = build_app(services, front=Page())
    live.tell(tuning.Parts(scheduler, workers, service, resolver, prefixes, aliases, sources, pins).take)
    return Daemon(app, scheduler, inventory, workers, jobs, sources, pins)


def _pools(live: Live, inventory: Inventory, look: Callable[[], Offer]) -> tuple[Pool, ...]:
    """What there is of each pool of memory."""
    whole = {device.pool: device.total for device in inventory.devices()} | {HOST: machine.total_memory()}
    return tuple(Pool(name, free, whole[name]) for name, free in _free(live, inventory, look).items())


def _free(live: Live, inventory: Inventory, look: Callable[[], Offer]) -> dict[str, int]:
    """Bytes free by pool. Under a limit that is what it leaves beside all that loaded models need."""
    room = inventory.room()
    if live.settings.max_memory:
        room[HOST] = min(room[HOST], look().free[HOST])
    return room


def _surroundings(live: Live, workers: Workers, inventory: Inventory, look: Callable[[], Offer]) -> Surroundings:
    """What those who look see of the machine."""
    logs = log.folder(live.settings.folders.state)
    return Surroundings(
        pid=workers.pid,
        pools=lambda: _pools(live, inventory, look),
        devices=inventory.devices,
        problems=inventory.problems,
        log_of=lambda model: log.worker_file(logs, model),
        most_loaded=lambda: tuning.limits_of(live.settings).models,
        most_queued=lambda: tuning.limits_of(live.settings).queue,
    )


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

            return asyncio.run(_run(Live(listening, read, _check_exposure), store, sockets))
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


async def _run(live: Live, store: Store, sockets: Sequence[socket]) -> int:
    """Serve until a signal or a request ends it; then the exit status."""
    settings, stop, supervisor = live.settings, asyncio.Event(), Supervisor()
    threads = ThreadPoolExecutor(4, "store")
    asyncio.get_running_loop().set_default_executor(threads)
    daemon = build(live, store, threads, stop.set)
    received = _end_on_signals(stop, daemon.workers)
    watching = asyncio.create_task(live.watch())
    _reload_on_signal(live, stop, supervisor)
    closing = asyncio.create_task(_close_when(stop, daemon, supervisor))
    attending = asyncio.create_task(supervisor.attend(lambda: _standing(settings, daemon.scheduler)))
    daemon.inventory.start()
    NamesFile(store, settings.folders.cache / "names", threads.submit).keep()
    keeping = asyncio.create_task(daemon.pins.keep())
    try:
        with _announced(settings):
            await serve(
                daemon.app,
                settings.host,
                stop=stop,
                on_ready=lambda: _say_ready(settings, supervisor),
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
            _leave(_status(received))
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


def _reload_on_signal(live: Live, stop: asyncio.Event, supervisor: Supervisor) -> None:
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


def _standing(settings: Settings, scheduler: Scheduler) -> str:
    """In a line, for whoever asks the supervisor."""
    members = scheduler.view.residents()
    loaded, busy = sum(member.state == "ready" for member in members), sum(len(member.inside) for member in members)
    models = "1 model" if loaded == 1 else f"{loaded} models"
    requests = "1 request" if busy == 1 else f"{busy} requests"
    return f"listening on {settings.host.url}; {models} loaded, {requests} under way"


def _say_ready(settings: Settings, supervisor: Supervisor) -> None:
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
    supervisor.ready(f"listening on {settings.host.url}")


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
