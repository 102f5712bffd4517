"""/v1/messages and the counting of its tokens, the list of models for Anthropic's clients, and what they probe for."""

from __future__ import annotations

from functools import partial

from aiohttp import web

from registry.errors import RegistryError
from runner.api import streams
from runner.api.anthropic import read, wire, write
from runner.api.body import json_response, meant, to_json
from runner.api.body import read as read_body
from runner.api.inflight import note_model
from runner.errors import InvalidRequest
from runner.inference.aliases import known_as
from runner.inference.models import Models
from runner.inference.requests import Preview
from runner.inference.service import Service

_PAGE, _LONGEST_PAGE = 20, 1000  # models


class Anthropic:
    """Messages, their tokens, and models as Anthropic lists them."""

    def __init__(self, service: Service, models: Models) -> None:
        self._service = service
        self._models = models

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers, but for the models: that path belongs to two dialects, and the application joins them."""
        return (
            web.post("/v1/messages", self.messages),
            web.post("/v1/messages/count_tokens", self.count_tokens),
            web.get("/api/hello", self.hello),
        )

    async def messages(self, request: web.Request) -> web.StreamResponse:
        """Answer a conversation."""
        body = await read_body(request, wire.MessagesRequest)
        asked = await meant(request, partial(read.messages, can_think=await self._can_think(body)), body)
        note_model(request, asked.model)
        parts = streams.answer(self._service.generate(asked), request)
        said = write.Asked(asked.model, body.stop_sequences or (), read.hides_thoughts(body))
        if body.stream:
            return await streams.send(request, write.events(said, parts), write.SSE)
        return json_response(await write.message(said, parts))

    async def count_tokens(self, request: web.Request) -> web.Response:
        """How long a prompt would be."""
        body = await read_body(request, wire.CountRequest)
        asked = await meant(request, partial(read.prompt, can_think=await self._can_think(body)), body)
        note_model(request, asked.model)
        told = await self._service.tell(Preview(asked))
        return json_response(to_json(wire.Count(len(told.tokens))))

    async def models(self, request: web.Request) -> web.Response:
        """A page of the stored models, the newest first, and of the names that stand for some."""
        stored = sorted(await self._models.list(), key=lambda each: each.modified_at, reverse=True)
        named = [(str(each.name), each) for each in stored] + list(await self._models.aliases())
        places = {name: place for place, (name, _) in enumerate(named)}
        limit = _limit(request.query.get("limit"))
        after, before = (_place(request, name, places) for name in ("after_id", "before_id"))
        if before is not None:
            first = max(0, before - limit)
            return json_response(write.models(named[first:before], has_more=first > 0))
        first = 0 if after is None else after + 1
        return json_response(write.models(named[first : first + limit], has_more=len(named) > first + limit))

    async def model(self, request: web.Request) -> web.Response:
        """One stored model."""
        asked = request.match_info["name"]
        stored = await self._models.show(asked)
        return json_response(write.model(known_as(asked, stored), stored))

    async def hello(self, request: web.Request) -> web.Response:
        """What Claude Code asks, to see whether somebody is there."""
        return json_response(to_json({"message": "hello"}))

    async def _can_think(self, body: wire.CountRequest) -> bool:
        """Whether the model can think, where that decides something. A model that isn't there is found out later."""
        if not body.model or not read.is_up_to_the_model(body):
            return False
        try:
            return "thinking" in (await self._models.asked(body.model)).config.capabilities
        except RegistryError:
            return False


def _limit(given: str | None) -> int:
    if given is None:
        return _PAGE
    if not given.isascii() or not given.isdecimal() or len(given) > 9 or not 1 <= int(given) <= _LONGEST_PAGE:
        raise InvalidRequest(f"limit must be between 1 and {_LONGEST_PAGE}", field="limit")
    return int(given)


def _place(request: web.Request, field: str, places: dict[str, int]) -> int | None:
    name = request.query.get(field)
    if name is None:
        return None
    if name not in places:
        raise InvalidRequest(f"{field} must be the id of a model", field=field)
    return places[name]
