"""/runner/plan: where a model would go and what that takes, before it is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import msgspec
from aiohttp import web

from runner.api import values
from runner.api.body import json_response, read, to_json
from runner.api.fields import Answers, Fields
from runner.inference.plans import Plans

if TYPE_CHECKING:
    from runner.inference.plans import Plan, Pool


class PlanRequest(msgspec.Struct, kw_only=True):
    """`options` are those of a request, such as num_ctx, kv_cache_type, num_gpu or device."""

    model: str | None = None
    options: dict[str, Any] = msgspec.field(default_factory=dict)


class PlannedPool(msgspec.Struct, kw_only=True):
    """Bytes of the machine's own memory (`host`) or of a device's. `needs` is all of it: weights, cache, what is
    computed with, what is set aside to be taken later, and all else. `free` is there for it (with those gone who would
    be evicted), `whole` would be if nothing were loaded."""

    pool: str
    needs: int
    weights: int
    cache: int
    compute: int
    later: int
    other: int
    free: int
    whole: int


class PlannedPlace(msgspec.Struct, kw_only=True):
    """The last `gpu_layers` layers go to `devices` by the shares in `split`; the experts of the first `cpu_moe` don't.
    Without devices all is with the CPU."""

    devices: list[str]
    gpu_layers: int
    split: list[float]
    mode: str
    cpu_moe: int


class PlannedRow(msgspec.Struct, kw_only=True):
    """What one request of so much `context` takes at least, by pool, with this type of cache; `device` is cpu or auto.
    `fits` with nothing else loaded."""

    context: int
    kv_cache_type: str
    device: str
    needs: dict[str, int]
    gpu_layers: int
    fits: bool


class Planned(msgspec.Struct, kw_only=True):
    """`verdict` is loaded, fits, evicts (those in `evicts` go first), reloads (it is loaded in another way, and goes
    first), waits (for busy ones to end), pinned (pinned models leave no room) or no. `words` say in short facts what
    decided. `automatic`: nobody named the context. `trained` is the longest the model was made for,
    0 where it doesn't say; `cells` are tokens that `sequences` share. `place` is null where the model doesn't fit."""

    model: str
    verdict: str
    words: list[str]
    context: int
    trained: int
    automatic: bool
    sequences: int
    cells: int
    layers: int
    place: PlannedPlace | None
    pools: list[PlannedPool]
    evicts: list[str]
    table: list[PlannedRow]


FIELDS: Mapping[str, Fields] = {"/runner/plan": Fields(PlanRequest)}
ANSWERS: Mapping[str, Answers] = {"/runner/plan": Answers(Planned)}


class Planning:
    """The endpoint that plans a load and doesn't begin it."""

    def __init__(self, plans: Plans) -> None:
        self._plans = plans

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (web.post("/runner/plan", self.plan),)

    async def plan(self, request: web.Request) -> web.Response:
        """Tell what a load would come to."""
        body = await read(request, PlanRequest)
        model = values.required(body.model, "model")
        found = await self._plans.plan(model, body.options)
        return json_response(to_json(_planned(found)))


def _planned(found: Plan) -> Planned:
    where = found.placement
    return Planned(
        model=found.model,
        verdict=found.verdict,
        words=list(found.words),
        context=found.context,
        trained=found.trained,
        automatic=found.automatic,
        sequences=found.sequences,
        cells=found.cells,
        layers=found.layers,
        place=PlannedPlace(
            devices=list(where.devices),
            gpu_layers=where.gpu_layers,
            split=list(where.split),
            mode=where.mode,
            cpu_moe=where.cpu_moe,
        )
        if where is not None
        else None,
        pools=[_pool(each) for each in found.pools],
        evicts=list(found.evicts),
        table=[
            PlannedRow(
                context=row.context,
                kv_cache_type=row.kv,
                device=row.device,
                needs=dict(row.needs),
                gpu_layers=row.gpu_layers,
                fits=row.fits,
            )
            for row in found.table
        ],
    )


def _pool(each: Pool) -> PlannedPool:
    return PlannedPool(
        pool=each.name,
        needs=each.needs,
        weights=each.parts.weights,
        cache=each.parts.cache,
        compute=each.parts.compute,
        later=each.parts.waits,
        other=each.parts.other,
        free=each.free,
        whole=each.whole,
    )
