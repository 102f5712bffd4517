"""/api/pull, /api/push, /api/create and /api/blobs: models on their way into the store and out of it, with progress."""

from __future__ import annotations

from collections.abc import AsyncIterator

from aiohttp import web

from registry.digests import Digest
from registry.errors import HashMismatch
from registry.progress import Progress
from runner.api import streams, values
from runner.api.body import chunks, json_response, to_json
from runner.api.body import read as read_body
from runner.api.guard import is_from_this_machine
from runner.api.native import answers, read, wire, write
from runner.api.native.create import creation
from runner.errors import InvalidRequest
from runner.inference.jobs import Jobs
from runner.inference.models import Models

_DONE = answers.Status(status="success")


class Transfers:
    """The endpoints that write to the store."""

    def __init__(self, jobs: Jobs, models: Models) -> None:
        self._jobs = jobs
        self._models = models

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (
            web.post("/api/pull", self.pull),
            web.post("/api/push", self.push),
            web.post("/api/create", self.create),
            web.head("/api/blobs/{digest}", self.has_blob),
            web.post("/api/blobs/{digest}", self.write_blob),
        )

    async def pull(self, request: web.Request) -> web.StreamResponse:
        """Fetch a model from where it is published."""
        body = await read_body(request, wire.PullRequest)
        values.refuse(body, wire.FIELDS["/api/pull"].later)
        return await _report(request, self._jobs.pull(read.pull(body)), body.stream)

    async def push(self, request: web.Request) -> web.StreamResponse:
        """Publish a model in a container registry."""
        body = await read_body(request, wire.PushRequest)
        values.refuse(body, wire.FIELDS["/api/push"].later)
        stored = await self._models.show(read.model_of(body))
        return await _report(request, self._jobs.push(read.push(body, str(stored.name))), body.stream)

    async def create(self, request: web.Request) -> web.StreamResponse:
        """Make a model from a Modelfile."""
        body = await read_body(request, wire.CreateRequest)
        wanted = creation(body, is_from_this_machine(request))
        progress = self._jobs.create(
            wanted.name,
            wanted.modelfile,
            base=wanted.base,
            files=wanted.files,
            quantization=wanted.quantization,
        )
        return await _report(request, progress, body.stream)

    async def has_blob(self, request: web.Request) -> web.Response:
        """200 when the store has the bytes, 404 when it has not."""
        known = await self._models.has_blob(Digest.parse(request.match_info["digest"]))
        return web.Response(status=200 if known else 404)

    async def write_blob(self, request: web.Request) -> web.Response:
        """Take bytes in under their digest: 201, or 200 when they were there already."""
        digest = Digest.parse(request.match_info["digest"])
        try:
            created = await self._models.write_blob(digest, chunks(request))
        except HashMismatch as error:
            raise InvalidRequest(str(error)) from None
        return web.Response(status=201 if created else 200)


async def _report(request: web.Request, progress: AsyncIterator[Progress], stream: bool | None) -> web.StreamResponse:
    if stream is not False:
        return await streams.send(request, _lines(progress), write.NDJSON)
    async with streams.closing(progress):
        async for _ in progress:
            pass
    return json_response(to_json(_DONE))


async def _lines(progress: AsyncIterator[Progress]) -> AsyncIterator[bytes]:
    """Each step as a line, and `success` as the last one whatever the job called its own end."""
    last = ""
    async with streams.closing(progress):
        async for step in progress:
            last = step.status
            yield write.line(
                answers.Status(
                    status=step.status,
                    digest=str(step.digest) if step.digest else "",
                    total=step.total or None,
                    completed=step.completed if step.total else None,
                )
            )
    if last != _DONE.status:
        yield write.line(_DONE)
