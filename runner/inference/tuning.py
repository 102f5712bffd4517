"""From settings to what each part is given, at the start and whenever they change while the daemon runs.

Has only those models loaded anew whose load would be another one. What concerns HTTP alone is in `api/app`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial

from registry.errors import RegistryError
from runner.config import Settings
from runner.errors import RunnerError
from runner.inference.aliases import Aliases
from runner.inference.contexts import DEFAULT_CONTEXT
from runner.inference.defaults import Defaults
from runner.inference.pins import Pins
from runner.inference.prefixes import PrefixFolders
from runner.inference.resolve import Resolver
from runner.inference.service import Service
from runner.inference.sources import Sources, SourceSettings
from runner.log import settle
from runner.protocol.commands import Load
from runner.protocol.sandbox import Sandbox
from runner.scheduler.loop import Limits, Scheduler
from runner.scheduler.workers import Workers

log = logging.getLogger(__name__)
_MODELS = 3  # loaded at once, where the setting leaves it to us


def limits_of(settings: Settings) -> Limits:
    """The scheduler's."""
    return Limits(
        models=settings.max_loaded_models or _MODELS,
        queue=settings.max_queue,
        keep_alive=settings.keep_alive,
        queue_timeout=settings.queue_timeout,
    )


def pinned_by(settings: Settings) -> tuple[str, ...]:
    """Models that stay in memory, as people write their names."""
    return (*settings.pin, *(name for name, own in settings.per_model.items() if own.pin))


def defaults_of(settings: Settings) -> Defaults:
    """Of what a model is loaded and asked with."""
    blobs, drivers = settings.models / "blobs", settings.folders.cache / "drivers"
    return Defaults(
        settings.context_length,
        settings.num_parallel,
        settings.options,
        settings.per_model,
        Sandbox(settings.sandbox, (str(blobs),), str(drivers)),
    )


def sources_of(settings: Settings) -> SourceSettings:
    """Of what comes from elsewhere."""
    return SourceSettings(
        registries=settings.registries,
        connections=settings.download_connections,
        rate=settings.download_rate,
        adopt_from=settings.adopt_from,
        context=settings.context_length or DEFAULT_CONTEXT,
    )


@dataclass(frozen=True, slots=True)
class Parts:
    """Those that take other values while they run."""

    scheduler: Scheduler
    workers: Workers
    service: Service
    resolver: Resolver
    prefixes: PrefixFolders
    aliases: Aliases
    sources: Sources
    pins: Pins

    async def take(self, old: Settings, new: Settings) -> None:
        """Go on with new settings. Streams under way survive; a model whose load differs ends when they have."""
        settle(new.log_level, new.log_size, new.log_files, new.log_format)
        self.sources.take(sources_of(new))
        self.workers.patience(new.load_timeout)
        if old.aliases != new.aliases:
            self.aliases.table = new.aliases
        before = await self._loads()
        generation = self.resolver.defaults.generation + 1
        self.resolver.defaults = replace(defaults_of(new), generation=generation)
        self.prefixes.ram, self.prefixes.disk = new.prefix_ram, new.prefix_disk
        self.scheduler.relimit(limits_of(new))
        self.pins.take(pinned_by(new))
        after = await self._loads()
        for name, load in after.items():
            if name in before and before[name] != load:
                log.info('"%s" is loaded anew at its next request: the settings of its load have changed', name)
                self.scheduler.change(name, generation)

    async def _loads(self) -> Mapping[str, Load]:
        """How each model that is loaded, or is waited for, would be loaded now, by a request that asks for nothing in
        particular."""
        loop = asyncio.get_running_loop()
        found: dict[str, Load] = {}
        for name in {each.name for each in self.service.overview().residents}:
            ask = partial(self.resolver.load, name, {}, None)
            try:
                found[name] = (await loop.run_in_executor(None, ask)).load
            except (RunnerError, RegistryError, OSError):  # it has gone meanwhile, and so will its worker
                continue
        return found
