"""Signs of life, the line at `/`, and what the command line needs to know of the daemon itself."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from runner import __version__
from runner.api.body import json_response, to_json
from runner.api.failures import shutting_down
from runner.api.fields import Answers
from runner.api.inflight import IN_FLIGHT
from runner.config import SETTINGS, Address, Places, Settings
from runner.inference.models import Models

_SECRETS = frozenset({"api_key"})


class Status(msgspec.Struct, kw_only=True):
    """One word."""

    status: str


class Stopping(msgspec.Struct, kw_only=True):
    """`pid` is whose end to wait for."""

    status: str
    pid: int


class Set(msgspec.Struct, kw_only=True):
    """A setting; `source` is where its value came from."""

    name: str
    value: Any
    source: str


class Configuration(msgspec.Struct, kw_only=True):
    runner: str
    pid: int
    settings: list[Set]


ANSWERS: Mapping[str, Answers] = {
    "/": Answers("text/plain"),
    "/livez": Answers(Status),
    "/health": Answers(Status),
    "/readyz": Answers(Status),
    "/runner/shutdown": Answers(Stopping),
    "/runner/config": Answers(Configuration),
}
"""What comes back, endpoint by endpoint."""


class Own:
    """Everything outside `/api` and `/v1`."""

    def __init__(self, models: Models, settings: Settings, shutdown: Callable[[], None]) -> None:
        self._models = models
        self._settings = settings
        self._shutdown = shutdown

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (
            web.get("/", self.root),
            web.get("/livez", self.alive),
            web.get("/health", self.alive),
            web.get("/readyz", self.ready),
            web.post("/runner/shutdown", self.shutdown),
            web.get("/runner/config", self.config),
        )

    async def root(self, request: web.Request) -> web.Response:
        """What people and probes see first."""
        return web.Response(text="Runner is running")

    async def alive(self, request: web.Request) -> web.Response:
        """The event loop turns."""
        return json_response(to_json(Status(status="ok")))

    async def ready(self, request: web.Request) -> web.Response:
        """The store can be read, and requests are taken."""
        if request.app[IN_FLIGHT].closing:
            raise shutting_down()
        await self._models.list()
        return json_response(to_json(Status(status="ready")))

    async def shutdown(self, request: web.Request) -> web.Response:
        """End the daemon; this answer still goes out. `pid` is whose end to wait for."""
        self._shutdown()
        return json_response(to_json(Stopping(status="stopping", pid=os.getpid())))

    async def config(self, request: web.Request) -> web.Response:
        """Every setting, its value and where that came from; secrets only as set or not."""
        rows = [
            Set(
                name=row.name,
                value=_shown(row.name, getattr(self._settings, row.name)),
                source=self._settings.sources.get(row.name, "default"),
            )
            for row in SETTINGS
        ]
        return json_response(to_json(Configuration(runner=__version__, pid=os.getpid(), settings=rows)))


def _shown(name: str, value: Any) -> Any:
    if name in _SECRETS:
        return "(set)" if value else None
    if value == float("inf"):
        return -1  # as the settings themselves write "for ever"
    return str(value) if isinstance(value, Address | Path | Places) else value
