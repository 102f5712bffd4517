"""What loading a model would take here, before it is loaded: where it would go, what would have to go for it, and what
other contexts and types of cache would take. Decides nothing, and changes nothing: the verdict is the scheduler's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.inference.resolve import Resolver
from runner.protocol.devices import Device, Placement
from runner.protocol.options import LoadOptions
from runner.scheduler import plan
from runner.scheduler.foresight import Foreseen
from runner.scheduler.memory import Footprint, Parts, Room, least, smallest
from runner.scheduler.telling import refused, seconds
from runner.scheduler.ticket import Want
from runner.scheduler.view import View

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
    """`verdict` is loaded, fits, evicts (others go first), reloads (its worker goes first: it was loaded in another
    way), waits (for those that are busy), pinned (pinned models leave no room) or no. `words` say why."""

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
    """Constructed by the daemon only. `view` is the scheduler's, whose verdict this is; `devices` are those of the
    machine, and `read` waits until what is free on them is known."""

    def __init__(
        self,
        resolver: Resolver,
        view: View,
        devices: Callable[[], Sequence[Device]],
        read: Callable[[], Awaitable[None]],
    ) -> None:
        self._resolver = resolver
        self._view = view
        self._devices = devices
        self._read = read

    async def plan(self, model: str, options: Mapping[str, Any]) -> Plan:
        """What a load with these options would come to. Raises as the resolver's `load` does."""
        await self._read()
        want = (await asyncio.to_thread(self._resolver.account, model, options)).want
        foreseen = self._view.foresee(want)
        workers = (each for each in self._view.residents() if each.key == want.key and each.state != "stopping")
        there = tuple(model for worker in workers for model in worker.models)
        return await asyncio.to_thread(_planned, want, foreseen, there, self._devices(), self._view.pause(want.key))


def _planned(
    want: Want, foreseen: Foreseen, there: Sequence[str], devices: Sequence[Device], pause: float | None
) -> Plan:
    """`there` are the models that its worker serves, if it has one."""
    fitted, asked, footprint = foreseen.fitted, want.load.options, want.footprint
    verdict, words = _verdict(want, foreseen, there)
    if pause:
        words += (f"it would be turned away: its worker keeps dying, and it is left alone for {seconds(pause)}",)
    return Plan(
        model=want.model,
        verdict=verdict,
        words=(*want.words, *(fitted.words if fitted else ()), *words),
        context=asked.num_ctx,
        trained=footprint.trained,
        automatic=want.automatic,
        sequences=fitted.options.num_parallel if fitted else 0,
        cells=fitted.options.cells if fitted else 0,
        layers=footprint.layers,
        placement=fitted.placement if fitted else None,
        pools=_pools(foreseen),
        evicts=tuple(name for name in foreseen.goes if name not in foreseen.busy),
        table=_table(footprint, asked, devices, foreseen.capacity),
    )


def _verdict(want: Want, foreseen: Foreseen, there: Sequence[str]) -> tuple[str, tuple[str, ...]]:
    """What the scheduler would decide, and what there is to say of it."""
    match foreseen.decisions[0] if foreseen.decisions else None:
        case plan.Refuse(pinned=pinned, is_full=is_full):
            words = refused(foreseen.lack, pinned, foreseen.limit if is_full else 0)
            return "pinned" if pinned else "no", (words,)
        case plan.Load():
            return "fits", ()
        case plan.Evict(key) if key == want.key:
            return "reloads", ("it is loaded in another way, and would be loaded anew for this",)
        case plan.Evict():
            return "evicts", (_full(foreseen),) if foreseen.is_full else ()
    if foreseen.busy:
        full = (_full(foreseen),) if foreseen.is_full else ()
        return "waits", (*(f"{name} is busy, and would have to end first" for name in foreseen.busy), *full)
    if not there:
        return "waits", ("it takes the place of a worker that is on its way out",)
    return "loaded", () if want.model in there else (f"it shares the worker of {there[0]}",)


def _full(foreseen: Foreseen) -> str:
    return f"no more than {foreseen.limit} may be loaded at once (max_loaded_models)"


def _pools(foreseen: Foreseen) -> tuple[Pool, ...]:
    """What it takes; or, if it can't be loaded, the pool that lacks."""
    room, capacity, fitted, lack = foreseen.room, foreseen.capacity, foreseen.fitted, foreseen.lack
    if fitted is None:
        return (Pool(lack.pool, lack.need, Parts(), lack.have, capacity.get(lack.pool, 0)),)
    return tuple(
        Pool(pool, size, fitted.parts.get(pool, Parts()), max(0, room.get(pool, 0)), capacity.get(pool, 0))
        for pool, size in fitted.need.pools.items()
    )


def _table(footprint: Footprint, options: LoadOptions, devices: Sequence[Device], whole: Room) -> tuple[Row, ...]:
    longest = footprint.trained or max(options.num_ctx, _CONTEXTS[2])
    contexts = sorted({*(each for each in _CONTEXTS if each < longest), longest, options.num_ctx})
    asked = f"{options.cache_type_k}/{options.cache_type_v}"
    kinds = dict.fromkeys((*_KV_TYPES, options.kv_cache_type)) if asked == "auto/auto" else {asked: None}
    has_gpu = any(device.kind in ("gpu", "igpu") for device in devices)
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
                rows.append(_row(footprint, chosen, devices, whole, kind, device))
    return tuple(rows)


def _row(
    footprint: Footprint, options: LoadOptions, devices: Sequence[Device], whole: Room, kind: str, device: str
) -> Row:
    found = smallest(footprint, options, devices, whole)
    if found is None:
        return Row(options.num_ctx, kind, device, least(footprint, options).pools, 0, fits=False)
    placement, needed = found
    return Row(options.num_ctx, kind, device, needed.pools, placement.gpu_layers, fits=True)
