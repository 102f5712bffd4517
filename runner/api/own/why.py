"""/runner/why: where a model is and for what reason, what happened to it, and what the next request would find."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from aiohttp import web

from runner.api import values
from runner.api.body import json_response, read, to_json
from runner.api.fields import Answers, Fields
from runner.inference.origins import Chosen
from runner.inference.residents import Resident
from runner.inference.service import Service
from runner.inference.why import Explained
from runner.scheduler.history import Happening


class WhyRequest(msgspec.Struct, kw_only=True):
    """`options` are those of the request in question, as in Ollama's dialect."""

    model: str | None = None
    options: dict[str, Any] | None = None


class HeldBy(msgspec.Struct, kw_only=True):
    """Bytes with one device."""

    device: str
    pool: str
    weights: int
    kv: int
    compute: int


class Placed(msgspec.Struct, kw_only=True):
    """`words` say where it lies, nothing if it isn't loaded, `reason` why there. `free` is bytes that were free before
    the load, by pool: `host`, or a device's own memory."""

    words: str
    reason: str
    devices: tuple[str, ...]
    gpu_layers: int
    layers: int
    free: dict[str, int]
    memory: list[HeldBy]


class Window(msgspec.Struct, kw_only=True):
    """The context. `source` is request, modelfile, config, default, model (its most) or memory; `trained` is the most
    that the model takes, 0 if it doesn't say."""

    length: int
    source: str
    words: str
    trained: int


class Option(msgspec.Struct, kw_only=True):
    """One option in force. `source` is as for the context, or author: the model's own recommendation. `when` is load (a
    change means another load) or sample. A `value` of null is left to Runner."""

    name: str
    value: Any
    source: str
    when: str


class Template(msgspec.Struct, kw_only=True):
    """`source` is modelfile, gguf, family or none; `sha256` that of its text, empty without one."""

    source: str
    reason: str
    language: str
    sha256: str


class Adapter(msgspec.Struct, kw_only=True):
    """A LoRA adapter that such a request is computed with: a stored model that has it, and its strength."""

    name: str
    scale: float


class FlagSet(msgspec.Struct, kw_only=True):
    """How the worker runs, one thing at a time."""

    name: str
    value: str
    words: str


class Happened(msgspec.Struct, kw_only=True):
    """`what` is loading, loaded, failed, refused, evicted, replaced, expired, unloaded, pinned, unpinned, died,
    resumed, paused or stepped_down. `detail` is what the worker wrote last, where that tells something."""

    what: str
    words: str
    model: str
    time: str
    detail: str


class Ahead(msgspec.Struct, kw_only=True):
    """`would` is serve, wait, load, evict, reload, refuse or pause. Bytes: what a load needs at least, and what is free
    for it, null if nobody knows. `evicts` are the models that would go."""

    would: str
    words: str
    need: int
    have: int | None
    evicts: tuple[str, ...]


class Reasons(msgspec.Struct, kw_only=True):
    """All of it. `state` is as in /api/ps, or absent. `summary` says it in a sentence; `history` has the oldest first,
    `error` the last thing that went wrong; `log` is the file in which the model's worker writes."""

    model: str
    digest: str
    state: str
    status: str
    summary: str
    pid: int | None
    shared_with: tuple[str, ...]
    placement: Placed
    context: Window
    options: list[Option]
    template: Template
    adapters: list[Adapter]
    flags: list[FlagSet]
    history: list[Happened]
    error: Happened | None
    next: Ahead
    log: str


FIELDS: Mapping[str, Fields] = {"/runner/why": Fields(WhyRequest)}
ANSWERS: Mapping[str, Answers] = {"/runner/why": Answers(Reasons)}


class Why:
    """The endpoint that explains."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (web.post("/runner/why", self.why),)

    async def why(self, request: web.Request) -> web.Response:
        """Say why a model is where it is, and what the next request would find."""
        body = await read(request, WhyRequest)
        found = await self._service.why(values.required(body.model, "model"), body.options or {})
        return json_response(to_json(_reasons(found)))


def _reasons(found: Explained) -> Reasons:
    resident, template = found.resident, found.template
    return Reasons(
        model=found.model,
        digest=found.digest,
        state=resident.state if resident else "absent",
        status=resident.status if resident else "not loaded",
        summary=found.words,
        pid=resident.pid if resident else None,
        shared_with=resident.shared_with if resident else (),
        placement=_placed(found, resident),
        context=Window(
            length=found.context.length,
            source=found.context.origin,
            words=found.context.words,
            trained=found.context.trained,
        ),
        options=[_option(each) for each in found.options],
        template=Template(
            source=template.source, reason=template.why, language=template.language or "", sha256=template.digest
        ),
        adapters=[Adapter(name=each.name, scale=each.scale) for each in found.adapters],
        flags=[FlagSet(name=each.name, value=each.value, words=each.words) for each in found.flags],
        history=[_happened(each) for each in found.history],
        error=_happened(found.error) if found.error else None,
        next=Ahead(
            would=found.next.would,
            words=found.next.words,
            need=found.next.need,
            have=found.next.have,
            evicts=found.next.evicts,
        ),
        log=found.log,
    )


def _placed(found: Explained, resident: Resident | None) -> Placed:
    layers = resident.layers if resident else 0
    return Placed(
        words=found.place.words,
        reason=found.place.reason,
        devices=resident.devices if resident else (),
        gpu_layers=resident.gpu_layers if resident else 0,
        layers=layers + 1 if layers else 0,
        free=dict(found.place.free),
        memory=[
            HeldBy(device=each.device, pool=each.pool, weights=each.weights, kv=each.kv, compute=each.compute)
            for each in (resident.memory if resident else ())
        ],
    )


def _option(each: Chosen) -> Option:
    value = None if each.value == float("inf") else each.value
    return Option(name=each.name, value=value, source=each.origin, when=each.when)


def _happened(each: Happening) -> Happened:
    time = datetime.fromtimestamp(each.time, UTC).isoformat(timespec="seconds")
    return Happened(what=each.what, words=each.words, model=each.model, time=time, detail=each.detail)
