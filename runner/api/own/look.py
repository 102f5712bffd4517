"""/runner/look: what a pull would bring, whether it would run here, and what fetching it would take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from registry.resolve import Pin, Wanted
from runner.api import values
from runner.api.body import json_response, read, to_json
from runner.api.fields import Answers, Fields
from runner.inference.discovery import Discovery

if TYPE_CHECKING:
    from registry.fits import Fit
    from registry.look import BuildLook, FileLook, Look


class LookRequest(msgspec.Struct, kw_only=True):
    """`model` is a name with its source, or a URL, as for a pull; so are `as`, `revision` and `insecure`."""

    model: str | None = None
    called: str | None = msgspec.field(default=None, name="as")
    revision: str | None = None
    insecure: bool | None = None


class Fits(msgspec.Struct, kw_only=True):
    """`verdict` is yes, tight or no; `needs` is bytes of memory with `context` tokens."""

    verdict: str
    needs: int
    context: int
    why: str


class Build(msgspec.Struct, kw_only=True):
    """One of the builds that could be had; `fits` is null where the machine's memory isn't known."""

    tag: str
    quantization: str
    size: int
    files: int
    chosen: bool
    stored: bool
    fits: Fits | None


class File(msgspec.Struct, kw_only=True):
    """One file of the chosen build. `place` is stored, cached, partial or missing, `missing` bytes to fetch."""

    title: str
    role: str
    size: int
    place: str
    missing: int


class Looked(msgspec.Struct, kw_only=True):
    """`problem` says why the model can't run here; it is empty where it can, as far as one can tell.

    `why` is how the build was chosen, where the name left that open. `fetch` is bytes still to come, `free` those on
    the store's disk, `stored` whether this very revision is here under this name, `read` what looking cost in bytes.
    """

    name: str
    reference: str
    origin: str
    revision: str
    quantization: str
    why: str
    licence: str
    architecture: str
    supported: bool
    problem: str
    title: str
    parameters: int
    size_label: str
    context_length: int
    chat_template: bool
    capabilities: list[str]
    sampling: dict[str, Any]
    builds: list[Build]
    files: list[File]
    size: int
    fetch: int
    free: int
    stored: bool
    read: int


FIELDS: Mapping[str, Fields] = {"/runner/look": Fields(LookRequest)}
ANSWERS: Mapping[str, Answers] = {"/runner/look": Answers(Looked)}


class Looking:
    """The endpoint that looks before a pull."""

    def __init__(self, discovery: Discovery) -> None:
        self._discovery = discovery

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (web.post("/runner/look", self.look),)

    async def look(self, request: web.Request) -> web.Response:
        """Tell what a pull of the same would bring."""
        body = await read(request, LookRequest)
        wanted = Wanted(
            reference=values.required(body.model, "model"),
            name=body.called,
            pin=Pin(body.revision) if body.revision else None,
            insecure=body.insecure or False,
        )
        return json_response(to_json(_looked(await self._discovery.look(wanted))))


def fits(found: Fit | None) -> Fits | None:
    """A verdict about memory, for the wire."""
    if found is None:
        return None
    return Fits(verdict=found.verdict, needs=found.needs, context=found.context, why=found.why)


def _looked(found: Look) -> Looked:
    return Looked(
        name=found.name,
        reference=found.reference,
        origin=found.origin,
        revision=found.revision,
        quantization=found.quantization,
        why=found.why,
        licence=found.licence,
        architecture=found.architecture,
        supported=found.supported,
        problem=found.problem,
        title=found.title,
        parameters=found.parameters,
        size_label=found.size_label,
        context_length=found.context_length,
        chat_template=found.chat_template,
        capabilities=list(found.capabilities),
        sampling=dict(found.sampling),
        builds=[_build(each) for each in found.builds],
        files=[_file(each) for each in found.files],
        size=found.size,
        fetch=found.fetch,
        free=found.free,
        stored=found.stored,
        read=found.read,
    )


def _build(each: BuildLook) -> Build:
    return Build(
        tag=each.tag,
        quantization=each.quantization,
        size=each.size,
        files=each.files,
        chosen=each.chosen,
        stored=each.stored,
        fits=fits(each.fit),
    )


def _file(each: FileLook) -> File:
    return File(title=each.title, role=each.role, size=each.size, place=each.place, missing=each.missing)
