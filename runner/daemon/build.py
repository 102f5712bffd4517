"""The only place that constructs and wires: from the settings and the store to the application over them."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from aiohttp import web

from registry.quantize import Order, Planned, Watch
from registry.store import Store
from runner import log
from runner.api.app import Services, build_app
from runner.api.openai.responses.store import ResponseStore
from runner.api.remote import fetching
from runner.config.live import Live
from runner.inference import tuning
from runner.inference.adoptions import Adoptions
from runner.inference.aliases import Aliases
from runner.inference.checkup import Checkup
from runner.inference.discovery import Discovery
from runner.inference.jobs import Jobs
from runner.inference.ledger import Ledger
from runner.inference.models import Models
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
