"""/tokenize, /detokenize, /apply-template and /infill: one handler each, from body to answer."""

from __future__ import annotations

from aiohttp import web

from registry.names import Name
from runner.api import streams
from runner.api.body import json_response
from runner.api.body import read as read_body
from runner.api.inflight import note_model
from runner.api.llamacpp import read, wire, write
from runner.errors import InvalidRequest
from runner.inference.models import Models
from runner.inference.requests import Detokenize, Preview, Tokenize, Told
from runner.inference.service import Service


class Llamacpp:
    """What clients of llama-server know, beside the endpoints of OpenAI's dialect."""

    def __init__(self, service: Service, models: Models) -> None:
        self._service = service
        self._models = models

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (
            web.post("/tokenize", self.tokenize),
            web.post("/detokenize", self.detokenize),
            web.post("/apply-template", self.template),
            web.post("/infill", self.infill),
        )

    async def tokenize(self, request: web.Request) -> web.Response:
        """The tokens of a text, or of a conversation."""
        body = await read_body(request, wire.TokenizeRequest)
        model = self._meant(body.model)
        told = await self._tell(request, model, read.tokenize(body, model))
        if body.content is not None:
            return json_response(write.tokens(told, bool(body.with_pieces)))
        return json_response(write.count(told, await self._context_length(model), bool(body.return_token_strs)))

    async def detokenize(self, request: web.Request) -> web.Response:
        """The text of tokens."""
        body = await read_body(request, wire.DetokenizeRequest)
        model = self._meant(body.model)
        return json_response(write.text(await self._tell(request, model, read.detokenize(body, model))))

    async def template(self, request: web.Request) -> web.Response:
        """A conversation as the chat template renders it; nothing is computed."""
        body = await read_body(request, wire.TemplateRequest)
        model = self._meant(body.model)
        return json_response(write.rendered(await self._tell(request, model, read.template(body, model))))

    async def infill(self, request: web.Request) -> web.StreamResponse:
        """The text for a gap, in a model that knows how to fill one."""
        body = await read_body(request, wire.InfillRequest)
        asked = read.infill(body, self._meant(body.model))
        note_model(request, asked.model)
        wanted = write.Wanted(read.settings(body), body.response_fields)
        parts = streams.answer(self._service.generate(asked), request)
        if body.stream:
            return await streams.send(request, write.infill_events(asked, parts, wanted), write.SSE)
        return json_response(write.infilled(asked, (await streams.collect((parts,)))[0], wanted))

    async def _tell(self, request: web.Request, model: str, question: Tokenize | Detokenize | Preview) -> Told:
        note_model(request, model)
        return await self._service.tell(question)

    def _meant(self, named: str | None) -> str:
        """The model that a request names, or else the only one that is loaded. Raises InvalidRequest."""
        if named:
            return named
        loaded = [each.name for each in self._service.residents() if each.state != "stopping"]
        if len(loaded) == 1:
            return loaded[0]
        why = f"several models are loaded: {', '.join(loaded)}" if loaded else "no model is loaded"
        raise InvalidRequest(f"model is required: {why}", field="model")

    async def _context_length(self, model: str) -> int:
        """As loaded; of a model that has left already, as it was made."""
        stored = await self._models.asked(model)
        key = stored.name.key
        for each in self._service.residents():
            if Name.parse(each.name).key == key:
                return each.context_length
        return stored.config.context_length
