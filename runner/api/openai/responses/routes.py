"""The endpoints under /v1/responses: one handler each, from body to answer."""

from __future__ import annotations

from aiohttp import web

from runner.api import streams
from runner.api.body import json_response, to_json
from runner.api.body import read as read_body
from runner.api.inflight import note_model
from runner.api.openai.responses import events, wire
from runner.api.openai.responses.read import Asked, read
from runner.api.openai.responses.store import Kept, Record, ResponseStore
from runner.api.openai.responses.write import Writing
from runner.errors import InvalidRequest
from runner.inference.requests import Preview
from runner.inference.service import Service

_MOST_LISTED = 100
_LISTED = 20


class Responses:
    """Answers, and those that are kept."""

    def __init__(self, service: Service, store: ResponseStore) -> None:
        self._service = service
        self._store = store

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (
            web.post("/v1/responses", self.create),
            web.post("/v1/responses/input_tokens", self.input_tokens),
            web.get("/v1/responses/{id}", self.show),
            web.delete("/v1/responses/{id}", self.delete),
            web.post("/v1/responses/{id}/cancel", self.cancel),
            web.get("/v1/responses/{id}/input_items", self.input_items),
        )

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Answer."""
        body = await read_body(request, wire.ResponseRequest)
        asked = read(body, self._store)
        note_model(request, asked.chat.model)
        writing = Writing(asked, body, lambda response: self._keep(asked, response))
        parts = streams.answer(self._service.generate(asked.chat), request)
        if body.stream:
            frames = writing.stream(parts, request.app[streams.PATIENCE])
            return await streams.send(request, frames, writing.framing)
        return json_response(await writing.whole(parts))

    async def input_tokens(self, request: web.Request) -> web.Response:
        """Count the tokens that a request would put before its model."""
        asked = read(await read_body(request, wire.CountRequest), self._store)
        note_model(request, asked.chat.model)
        told = await self._service.tell(Preview(asked.chat))
        return json_response(to_json(events.InputTokens(input_tokens=len(told.tokens))))

    async def show(self, request: web.Request) -> web.Response:
        """A response that is kept."""
        if request.query.get("stream", "false") not in ("false", "0", ""):
            raise InvalidRequest("stream: a response that is kept is given whole", field="stream")
        return json_response(self._record(request).response)

    async def delete(self, request: web.Request) -> web.Response:
        """Forget a response."""
        self._record(request)
        name = request.match_info["id"]
        self._store.drop(name)
        return json_response(to_json(events.Deleted(id=name)))

    async def cancel(self, request: web.Request) -> web.Response:
        """No response runs in the background, so there is none to cancel."""
        self._record(request)
        raise InvalidRequest("this response is complete; one that is not is cancelled by closing its connection")

    async def input_items(self, request: web.Request) -> web.Response:
        """What a response was the answer to, page by page; the newest first, unless asked otherwise."""
        items = list(self._record(request).asked)
        query = request.query
        order = query.get("order", "desc")
        if order not in ("asc", "desc"):
            raise InvalidRequest("order must be asc or desc", field="order")
        if order == "desc":
            items.reverse()
        if after := query.get("after"):
            places = [place for place, item in enumerate(items) if item.id == after]
            if not places:
                raise InvalidRequest(f"after: there is no item {after[:100]!r}", field="after")
            items = items[places[0] + 1 :]
        limit = query.get("limit", str(_LISTED))
        if not limit.isascii() or not limit.isdigit() or len(limit) > 9 or not 1 <= int(limit) <= _MOST_LISTED:
            raise InvalidRequest(f"limit must be between 1 and {_MOST_LISTED}", field="limit")
        return json_response(_page(items[: int(limit)], has_more=len(items) > int(limit)))

    def _record(self, request: web.Request) -> Record:
        name = request.match_info["id"]
        record = self._store.find(name)
        if record is None:
            text = f"there is no response {name[:100]!r}: it wasn't stored, or it has been forgotten since"
            raise web.HTTPNotFound(text=text)
        return record

    def _keep(self, asked: Asked, response: events.Response) -> None:
        if asked.store:
            output = tuple(Kept(item.id, to_json(item)) for item in response.output)
            self._store.keep(response.id, Record(to_json(response), asked.before + asked.items, output))


def _page(items: list[Kept], *, has_more: bool) -> bytes:
    """A list of items, which are JSON already."""
    edges = to_json({"first_id": items[0].id if items else None, "last_id": items[-1].id if items else None})
    more = b"true" if has_more else b"false"
    data = b",".join(item.json for item in items)
    return b'{"object":"list","data":[' + data + b'],"has_more":' + more + b"," + edges[1:]
