"""The endpoints under /v1, and where rerankers are looked for: one handler each, from body to answer."""

from __future__ import annotations

from aiohttp import web

from registry.stored import StoredModel
from runner.api import streams
from runner.api.body import json_response, to_json
from runner.api.body import read as read_body
from runner.api.inflight import note_model
from runner.api.openai import read, rerank, wire, write
from runner.inference.models import Models
from runner.inference.service import Service


class OpenAI:
    """Chat, completions, embeddings, rankings and the list of models."""

    def __init__(self, service: Service, models: Models) -> None:
        self._service = service
        self._models = models

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (
            web.post("/v1/chat/completions", self.chat),
            web.post("/v1/completions", self.completions),
            web.post("/v1/embeddings", self.embeddings),
            web.post("/v1/rerank", self.rerank),
            web.post("/v2/rerank", self.rerank),
            web.post("/rerank", self.rerank),
            web.get("/v1/models", self.models),
            web.get("/v1/models/{name:.+}", self.model),
        )

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a conversation."""
        body = await read_body(request, wire.ChatRequest)
        asked = read.chat(body)
        note_model(request, asked.model)
        parts = streams.answer(self._service.generate(asked), request)
        as_function = read.offers_functions(body)
        if body.stream:
            events = write.chat_events(asked, parts, body.stream_options, as_function)
            return await streams.send(request, events, write.SSE)
        return json_response(write.chat_completion(asked, (await streams.collect((parts,)))[0], as_function))

    async def completions(self, request: web.Request) -> web.StreamResponse:
        """Continue one prompt, or several at the same time."""
        body = await read_body(request, wire.CompletionRequest)
        asked = read.completions(body)
        note_model(request, asked[0].model)
        parts = [streams.answer(self._service.generate(each), request if len(asked) == 1 else None) for each in asked]
        if body.stream:
            events = write.text_events(asked[0], streams.merge(parts), body.stream_options)
            return await streams.send(request, events, write.SSE)
        return json_response(write.completion(asked[0], await streams.collect(parts)))

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        """Vectors for one input or many."""
        body = await read_body(request, wire.EmbeddingsRequest)
        asked = read.embeddings(body)
        note_model(request, asked.model)
        vectors = await self._service.embed(asked)
        return json_response(write.embeddings(asked.model, vectors, body.encoding_format == "base64"))

    async def rerank(self, request: web.Request) -> web.StreamResponse:
        """Documents by how well they answer a query."""
        body = await read_body(request, rerank.RerankRequest)
        asked = rerank.read(body)
        note_model(request, asked.model)
        return json_response(rerank.write(asked, await self._service.rerank(asked), body))

    async def models(self, request: web.Request) -> web.Response:
        """Every stored model, the newest first."""
        stored = sorted(await self._models.list(), key=lambda each: each.modified_at, reverse=True)
        return json_response(to_json({"object": "list", "data": [_model(each) for each in stored]}))

    async def model(self, request: web.Request) -> web.Response:
        """One stored model."""
        return json_response(to_json(_model(await self._models.show(request.match_info["name"]))))


def _model(stored: StoredModel) -> wire.Model:
    return wire.Model(
        id=str(stored.name),
        object="model",
        created=int(stored.modified_at.timestamp()),
        owned_by=stored.name.namespace,
    )
