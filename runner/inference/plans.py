"""What loading a model would take here, before it is loaded: where it would go, what would have to go for it, and what
other contexts and types of cache would take. Changes nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec

from modelfiles.sizes import human_bytes
from runner.inference.contexts import Look
from runner.inference.resolve import Resolver
from runner.protocol.devices import Placement
from runner.protocol.options import LoadOptions
from runner.scheduler.memory import HOST, Fitted, Footprint, Parts, Room, least, place, smallest
from runner.scheduler.offer import Offer
from runner.scheduler.ticket import Want

_CONTEXTS = (2048, 4096, 8192, 16384, 32768, 65536, 131072)
_KV_TYPES = ("f16", "q8_0", "q4_0")


@dataclass(frozen=True, slots=True)
class Row:
    """One context with one type of cache on one kind of device: bytes by pool for one request, and whether they are
    there with nothing else loaded. `gpu_layers` are those that would be offloaded."""

    context: int
    kv: str
    device: str
    needs: Room
    gpu_layers: int
    fits: bool


@dataclass(frozen=True, slots=True)
class Pool:
    """Bytes of one pool: what is needed of it and what for, what is free, and what would be if nothing were loaded."""

    name: str
    needs: int
    parts: Parts
    free: int
    whole: int


@dataclass(frozen=True, slots=True)
class Plan:
    """`verdict` is loaded, fits, evicts (others go first), waits (for a model that is busy) or no. `words` say why."""

    model: str
    verdict: str
    words: tuple[str, ...]
    context: int
    trained: int
    automatic: bool
    sequences: int
    cells: int
    layers: int
    placement: Placement | None
    pools: tuple[Pool, ...]
    evicts: tuple[str, ...]
    table: tuple[Row, ...]


class Plans:
    """Constructed by the daemon only. `look` tells what the machine offers."""

    def __init__(self, resolver: Resolver, look: Look) -> None:
        self._resolver = resolver
        self._look = look

    def plan(self, model: str, options: Mapping[str, Any]) -> Plan:
        """What a load with these options would come to. Raises as the resolver's `load` does."""
        want, seen = self._resolver.load(model, options, None), self._look()
        asked, footprint = want.load.options, want.footprint
        splits = not want.load.embedding
        best = smallest(footprint, asked, seen.devices, seen.whole)
        if best is None:
            return _refused(want, seen)
        resident = next((holder for holder in seen.holders if holder.model == want.model), None)
        room = _added(seen.free, resident.pools) if resident else dict(seen.free)
        evicts, waits = _victims(want, seen, room, best[0].gpu_layers)
        fitted = place(footprint, asked, seen.devices, room, splits=splits)
        if fitted is None:  # what is loaded measured itself smaller than it is; take the machine as if it were empty
            fitted = place(footprint, asked, seen.devices, seen.whole, splits=splits)
        assert fitted is not None  # one sequence fits, as asked above
        verdict = "loaded" if resident else "waits" if waits else "evicts" if evicts else "fits"
        return Plan(
            model=want.model,
            verdict=verdict,
            words=(*want.words, *fitted.words, *(f"{name} is busy, and would have to end first" for name in waits)),
            context=asked.num_ctx,
            trained=footprint.trained,
            automatic=want.automatic,
            sequences=fitted.options.num_parallel,
            cells=fitted.options.cells,
            layers=footprint.layers,
            placement=fitted.placement,
            pools=_pools(fitted, seen, room),
            evicts=tuple(evicts),
            table=_table(footprint, asked, seen),
        )


def _victims(want: Want, seen: Offer, room: dict[str, int], layers: int) -> tuple[list[str], list[str]]:
    """Who would go for it, least recently used first, and who is too busy to; `room` grows by what they hold.

    It is enough when as many layers find a place on devices as would on an empty machine.
    """
    evicts: list[str] = []
    waits: list[str] = []
    for holder in sorted(seen.holders, key=lambda each: (not each.idle, each.last_used)):
        found = smallest(want.footprint, want.load.options, seen.devices, room)
        if found is not None and (found[0].gpu_layers >= layers or not holder.idle):
            break
        if holder.model == want.model:
            continue
        (evicts if holder.idle else waits).append(holder.model)
        room.update(_added(room, holder.pools))
    return evicts, waits


def _added(room: Room, more: Room) -> dict[str, int]:
    return {pool: room.get(pool, 0) + more.get(pool, 0) for pool in {*room, *more}}


def _refused(want: Want, seen: Offer) -> Plan:
    """Even alone it would not fit."""
    options, footprint = want.load.options, want.footprint
    needed = least(footprint, options, seen.devices)
    words = [
        f"needs {human_bytes(size)} of {human_bytes(seen.whole.get(pool, 0))} "
        + ("memory" if pool == HOST else f"{pool}'s memory")
        for pool, size in needed.pools.items()
    ]
    return Plan(
        model=want.model,
        verdict="no",
        words=(*want.words, *words),
        context=options.num_ctx,
        trained=footprint.trained,
        automatic=want.automatic,
        sequences=0,
        cells=0,
        layers=footprint.layers,
        placement=None,
        pools=tuple(
            Pool(pool, size, Parts(), seen.free.get(pool, 0), seen.whole.get(pool, 0))
            for pool, size in needed.pools.items()
        ),
        evicts=(),
        table=_table(footprint, options, seen),
    )


def _pools(fitted: Fitted, seen: Offer, room: Room) -> tuple[Pool, ...]:
    return tuple(
        Pool(pool, size, fitted.parts.get(pool, Parts()), room.get(pool, 0), seen.whole.get(pool, 0))
        for pool, size in fitted.need.pools.items()
    )


def _table(footprint: Footprint, options: LoadOptions, seen: Offer) -> tuple[Row, ...]:
    longest = footprint.trained or max(options.num_ctx, _CONTEXTS[2])
    contexts = sorted({*(each for each in _CONTEXTS if each < longest), longest, options.num_ctx})
    asked = f"{options.cache_type_k}/{options.cache_type_v}"
    kinds = dict.fromkeys((*_KV_TYPES, options.kv_cache_type)) if asked == "auto/auto" else {asked: None}
    has_gpu = any(device.kind in ("gpu", "igpu") for device in seen.devices)
    rows: list[Row] = []
    for device in ("auto", "cpu") if has_gpu and options.device != "cpu" else ("cpu",):
        for context in contexts:
            for kind in kinds:
                chosen = msgspec.structs.replace(
                    options,
                    num_ctx=context,
                    device=options.device if device == "auto" else "cpu",
                    kv_cache_type=kind if kind in _KV_TYPES else options.kv_cache_type,
                )
                rows.append(_row(footprint, chosen, seen, kind, device))
    return tuple(rows)


def _row(footprint: Footprint, options: LoadOptions, seen: Offer, kind: str, device: str) -> Row:
    found = smallest(footprint, options, seen.devices, seen.whole)
    if found is None:
        return Row(options.num_ctx, kind, device, least(footprint, options).pools, 0, fits=False)
    placement, needed = found
    return Row(options.num_ctx, kind, device, needed.pools, placement.gpu_layers, fits=True)
