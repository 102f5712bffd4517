"""Signs of life, the line at `/`, and what the command line needs to know of the daemon itself."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
from aiohttp import web

from runner import __version__
from runner.api.body import json_response, to_json
from runner.api.fields import Answers
from runner.api.inflight import IN_FLIGHT, shutting_down
from runner.config import SETTINGS, Address, Applies, ConfigError, ModelSettings, Places
from runner.config.live import Live
from runner.errors import InvalidRequest
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
    """A setting; `source` is where its value came from, `applies` when another one would count. `waiting` is a value
    that is written and counts from the daemon's next start on."""

    name: str
    value: Any
    source: str
    applies: Applies
    waiting: Any = None


class Configuration(msgspec.Struct, kw_only=True):
    """`refused` is why what is written now isn't in force."""

    runner: str
    pid: int
    settings: list[Set]
    refused: str | None = None


class Reloaded(msgspec.Struct, kw_only=True):
    """The settings that have changed: those in force, those in force for which loaded models are loaded anew where it
    concerns them, and those that wait until the daemon is started again."""

    now: tuple[str, ...]
    load: tuple[str, ...]
    start: tuple[str, ...]


ANSWERS: Mapping[str, Answers] = {
    "/": Answers("text/plain"),
    "/livez": Answers(Status),
    "/health": Answers(Status),
    "/readyz": Answers(Status),
    "/runner/shutdown": Answers(Stopping),
    "/runner/config": Answers(Configuration),
    "/runner/config/reload": Answers(Reloaded),
}
"""What comes back, endpoint by endpoint."""


class Own:
    """Everything outside `/api` and `/v1`."""

    def __init__(
        self,
        models: Models,
        live: Live,
        shutdown: Callable[[], None],
        front: Callable[[web.Request], Awaitable[web.StreamResponse]] | None = None,
    ) -> None:
        self._models = models
        self._live = live
        self._shutdown = shutdown
        self._front = front

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (
            web.get("/", self.root),
            web.get("/livez", self.alive),
            web.get("/health", self.alive),
            web.get("/readyz", self.ready),
            web.post("/runner/shutdown", self.shutdown),
            web.get("/runner/config", self.config),
            web.post("/runner/config/reload", self.reload),
        )

    async def root(self, request: web.Request) -> web.StreamResponse:
        """What people and probes see first: a line of text, and for browsers the page."""
        is_browser = "text/html" in request.headers.get("Accept", "")
        if self._front is None or not is_browser:
            response: web.StreamResponse = web.Response(text="Runner is running")
        else:
            response = await self._front(request)
        response.headers["Vary"] = "Accept"
        return response

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
        live = self._live
        rows = [
            Set(
                name=row.name,
                value=_shown(row.name, getattr(live.settings, row.name)),
                source=live.settings.sources.get(row.name, "default"),
                applies=row.applies,
                waiting=_shown(row.name, getattr(live.wanted, row.name)) if row.name in live.waiting else None,
            )
            for row in SETTINGS
        ]
        body = Configuration(runner=__version__, pid=os.getpid(), settings=rows, refused=live.refused)
        return json_response(to_json(body))

    async def reload(self, request: web.Request) -> web.Response:
        """Read the settings again; what can't be used changes nothing and is named."""
        try:
            change = await self._live.reload()
        except ConfigError as error:
            raise InvalidRequest(f"the settings stay as they are: {error}", field="config.yaml") from None
        # What has changed since the file was last looked at may be nothing, and yet something waits.
        return json_response(to_json(Reloaded(now=change.now, load=change.load, start=self._live.waiting)))


def _shown(name: str, value: Any) -> Any:
    if name in _SECRETS:
        return "(set)" if value else None
    if name == "per_model":
        return {model: _entry(entry) for model, entry in value.items()}
    if value == float("inf"):
        return -1  # as the settings themselves write "for ever"
    return str(value) if isinstance(value, Address | Path | Places) else value


def _entry(entry: ModelSettings) -> dict[str, Any]:
    return {"options": entry.options, "keep_alive": _shown("keep_alive", entry.keep_alive), "pin": entry.pin}
