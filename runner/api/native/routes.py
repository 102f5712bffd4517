"""/api/generate, /api/chat, /api/embed and /api/embeddings: one handler each, from body to answer."""

from __future__ import annotations

from aiohttp import web

from runner.api import streams
from runner.api.body import json_response, meant
from runner.api.body import read as read_body
from runner.api.inflight import note_model
from runner.api.native import context, read, wire, write
from runner.inference.models import Models
from runner.inference.requests import Chat, Embed, Embedded, Preview
from runner.inference.service import Service


class Generation:
    """The endpoints that need a loaded model."""

    def __init__(self, service: Service, models: Models) -> None:
        self._service = service
        self._models = models

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (
            web.post("/api/generate", self.generate),
            web.post("/api/chat", self.chat),
            web.post("/api/embed", self.embed),
            web.post("/api/embeddings", self.embeddings),
        )

    async def generate(self, request: web.Request) -> web.StreamResponse:
        """Continue a prompt; an empty one loads or unloads the model."""
        body = await read_body(request, wire.GenerateRequest)
        asked = await meant(request, read.generate, body)
        note_model(request, asked.model)
        if isinstance(asked, read.Load | read.Unload):
            return json_response(write.generate_residency(asked.model, await self._reside(asked)))
        if body.debug_render_only:
            prompt = await self._service.tell(Preview(asked))
            images = sum(len(each.images) for each in (asked.messages if isinstance(asked, Chat) else [asked]))
            return json_response(write.generate_preview(asked.model, prompt, images))
        parts = streams.answer(self._service.generate(asked), request)
        begun = context.begun(asked)
        if body.stream is not False:
            return await streams.send(request, write.generate_lines(asked.model, parts, begun), write.NDJSON)
        return json_response(write.generated(asked.model, (await streams.collect((parts,)))[0], begun))

    async def chat(self, request: web.Request) -> web.StreamResponse:
        """Answer a conversation; an empty one loads or unloads the model."""
        body = await read_body(request, wire.ChatRequest)
        asked = await meant(request, read.chat, body)
        note_model(request, asked.model)
        if isinstance(asked, read.Load | read.Unload):
            return json_response(write.chat_residency(asked.model, await self._reside(asked)))
        if body.debug_render_only:
            images = sum(len(message.images) for message in asked.messages)
            prompt = await self._service.tell(Preview(asked))
            return json_response(write.chat_preview(asked.model, prompt, images))
        parts = streams.answer(self._service.generate(asked), request)
        if body.stream is not False:
            return await streams.send(request, write.chat_lines(asked.model, parts), write.NDJSON)
        return json_response(write.chatted(asked.model, (await streams.collect((parts,)))[0]))

    async def embed(self, request: web.Request) -> web.StreamResponse:
        """Vectors for one text or many."""
        asked = read.embed(await read_body(request, wire.EmbedRequest))
        note_model(request, asked.model)
        return json_response(write.embedded(asked.model, await self._embed(asked)))

    async def embeddings(self, request: web.Request) -> web.StreamResponse:
        """The vector of one text, the older way."""
        asked = read.embeddings(await read_body(request, wire.EmbeddingsRequest))
        note_model(request, asked.model)
        return json_response(write.embedding(await self._embed(asked)))

    async def _embed(self, asked: Embed | read.Load | read.Unload) -> Embedded | None:
        if isinstance(asked, read.Load | read.Unload):
            await self._reside(asked)
            return None
        return await self._service.embed(asked)

    async def _reside(self, asked: read.Load | read.Unload) -> str:
        """Do what an empty prompt asks; the done_reason that says so."""
        if isinstance(asked, read.Load):
            await self._service.load(asked.model, options=asked.options, keep_alive=asked.keep_alive)
            return "load"
        stored = await self._models.asked(asked.model)  # an unknown model is an error even here
        await self._service.unload(str(stored.name))  # another name may stand for it
        return "unload"
