"""Models that stay in memory: loaded when the daemon begins, and again when their worker has died.

Which of them are pinned is the scheduler's to remember; here is only the task that brings back what is missing.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from contextlib import suppress

from registry.errors import RegistryError
from runner.errors import RunnerError
from runner.inference.service import Service
from runner.scheduler.loop import Scheduler

log = logging.getLogger(__name__)
_AGAIN = 10.0  # seconds until a load that failed is tried again; doubles each time
_LATEST = 300.0


class Pins:
    """`names` are those of the settings, as people write them."""

    def __init__(self, service: Service, scheduler: Scheduler, names: Sequence[str]) -> None:
        self._service = service
        self._names = frozenset(names)
        self._led: dict[str, str] = {}  # by name: the full name of the model that it has pinned
        self._missing: dict[str, float] = dict.fromkeys(names, _AGAIN)  # by name: how long to wait after a failure
        self._changed = asyncio.Event()
        scheduler.on_lost = self._lost

    async def keep(self) -> None:
        """Load what is missing, for as long as this isn't cancelled. A failure is logged, and tried again later."""
        while True:
            self._changed.clear()
            for name in list(self._missing):
                await self._load(name)
            pause = min(self._missing.values(), default=None)
            try:
                async with asyncio.timeout(pause):
                    await self._changed.wait()
            except TimeoutError:
                self._missing = {name: min(_LATEST, 2 * wait) for name, wait in self._missing.items()}

    def take(self, names: Sequence[str]) -> None:
        """The settings name others now: those that are new are loaded, those that are gone may be unloaded."""
        still = {self._led.get(name, name) for name in names}
        for name in self._names.difference(names):
            self._missing.pop(name, None)
            model = self._led.pop(name, name)  # an alias may lead elsewhere by now
            if model not in still:
                self._missing.pop(model, None)
                with suppress(RunnerError):  # it was never a name
                    self._service.unpin(model)
        self._missing |= dict.fromkeys(frozenset(names) - self._names, _AGAIN)
        self._names = frozenset(names)
        self._changed.set()

    def _lost(self, model: str) -> None:
        if model not in self._missing:  # else it is being tried already
            self._missing[model] = _AGAIN
            self._changed.set()

    async def _load(self, name: str) -> None:
        if name not in self._names and name not in self._service.pinned():
            self._missing.pop(name, None)  # it was lost, and isn't pinned any more
            return
        try:
            self._led[name] = await self._service.pin(name)
        except (RunnerError, RegistryError) as error:
            log.warning('the pinned model "%s" is not loaded: %s', name, error)
        else:
            self._missing.pop(name, None)
