"""The endpoints under /v1, and where rerankers are looked for: one handler each, from body to answer."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC

from aiohttp import web
from msgspec import UNSET, UnsetType

from registry.stored import StoredModel
from runner.api import streams
from runner.api.body import json_response, meant, to_json
from runner.api.body import read as read_body
from runner.api.inflight import note_model
from runner.api.openai import read, rerank, wire, write
from runner.inference.aliases import known_as
from runner.inference.models import Models
from runner.inference.service import Service


class OpenAI:
    """Chat, completions, embeddings, rankings and the list of models."""

    def __init__(self, service: Service, models: Models) -> None:
        self._service = service
        self._models = models

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers, but for the models: that path belongs to two dialects, and the application joins them."""
        return (
            web.post("/v1/chat/completions", self.chat),
            web.post("/v1/completions", self.completions),
            web.post("/v1/embeddings", self.embeddings),
            web.post("/v1/rerank", self.rerank),
            web.post("/v2/rerank", self.rerank),
            web.post("/rerank", self.rerank),
        )

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a conversation."""
        body = await read_body(request, wire.ChatRequest)
        asked = await meant(request, read.chat, body)
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
        asked = await meant(request, read.completions, body)
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
        """Every stored model, the newest first, and the names that stand for some."""
        stored = sorted(await self._models.list(), key=lambda each: each.modified_at, reverse=True)
        named = [(str(each.name), each) for each in stored] + list(await self._models.aliases())
        listed = [_model(name, each, _parent(each, stored)) for name, each in named]
        return json_response(to_json(wire.Models(object="list", data=listed)))

    async def model(self, request: web.Request) -> web.Response:
        """One stored model."""
        asked = request.match_info["name"]
        stored = await self._models.asked(asked)
        others = await self._models.list() if stored.adapters else ()
        return json_response(to_json(_model(known_as(asked, stored), stored, _parent(stored, others))))


def _parent(stored: StoredModel, others: Iterable[StoredModel]) -> str | UnsetType:
    """The model that the adapters of this one were put on."""
    if not stored.adapters:
        return UNSET
    bare = (each for each in others if not each.adapters and each.weights == stored.weights)
    return str(found.name) if (found := next(bare, None)) is not None else UNSET


def _model(name: str, stored: StoredModel, parent: str | UnsetType) -> wire.Model:
    return wire.Model(
        id=name,
        object="model",
        created=int(stored.modified_at.timestamp()),
        owned_by=stored.name.namespace,
        type="model",
        display_name=name,
        created_at=stored.modified_at.astimezone(UTC).isoformat(timespec="seconds"),
        parent=parent,
    )
