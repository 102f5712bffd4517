"""Models that stay in memory: /runner/pin and /runner/unpin.

What is pinned this way is so until the daemon ends; the setting `pin` holds from its start on.
"""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
from aiohttp import web

from runner.api import values
from runner.api.body import json_response, read, to_json
from runner.api.fields import Answers, Fields
from runner.errors import RunnerError
from runner.inference.service import Service


class PinRequest(msgspec.Struct, kw_only=True):
    model: str | None = None


class Pinned(msgspec.Struct, kw_only=True):
    """All models that are pinned now, by their full names. `changed` says whether that was this request's doing."""

    pinned: list[str]
    changed: bool


FIELDS: Mapping[str, Fields] = {"/runner/pin": Fields(PinRequest), "/runner/unpin": Fields(PinRequest)}
"""What becomes of each field."""

ANSWERS: Mapping[str, Answers] = {"/runner/pin": Answers(Pinned), "/runner/unpin": Answers(Pinned)}
"""What comes back, endpoint by endpoint."""


class Pinning:
    """The endpoints that say which models stay."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (web.post("/runner/pin", self.pin), web.post("/runner/unpin", self.unpin))

    async def pin(self, request: web.Request) -> web.Response:
        """Load a model and keep it in memory. One that can't be loaded isn't pinned."""
        model = values.required((await read(request, PinRequest)).model, "model")
        before = self._service.pinned()
        try:
            await self._service.pin(model)
        except RunnerError:
            if self._service.pinned() != before:
                self._service.unpin(model)
            raise
        return self._answer(before)

    async def unpin(self, request: web.Request) -> web.Response:
        """Let a model go when its time is over or others need its room."""
        model = values.required((await read(request, PinRequest)).model, "model")
        before = self._service.pinned()
        self._service.unpin(model)
        return self._answer(before)

    def _answer(self, before: frozenset[str]) -> web.Response:
        pinned = self._service.pinned()
        return json_response(to_json(Pinned(pinned=sorted(pinned), changed=pinned != before)))
