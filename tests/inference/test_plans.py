"""A load is planned for a machine as it stands: what it takes, who goes for it, and what other contexts would take."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pytest

from registry.store import Store
from runner.errors import InvalidRequest, UnknownModel
from runner.inference.plans import Plan, Plans
from runner.inference.resolve import Resolver
from runner.protocol.devices import Device
from runner.scheduler.memory import CPU_DEVICE, HOST
from runner.scheduler.ticket import Want
from tests.fakes.scheduling import SMALL, Bench, want
from tests.inference.conftest import Make
from tests.inference.test_contexts import EIGHT_B
from tests.tiny_gguf import Q8_0, UINT32, Tensor, Typed

MIB, GIB = 2**20, 2**30
GPU = Device(name="CUDA0", backend="cuda", kind="gpu", total=24 * GIB, free=24 * GIB)
Room = Mapping[str, int]


@dataclass
class Card:
    """A machine with a GPU, and what is free by now."""

    free: dict[str, int]

    def devices(self) -> Sequence[Device]:
        return (CPU_DEVICE, GPU)

    def room(self) -> Room:
        return self.free

    def is_fresh(self) -> bool:
        return True

    def holds(self, by_pool: Room) -> None:
        pass


class Planning:
    """Plans on a bench. What is waited for before anything is planned, is noted."""

    def __init__(self, store: Store, bench: Bench, devices: Sequence[Device] = (CPU_DEVICE,)) -> None:
        self.reads = 0
        self.resolver = Resolver(store)
        self._plans = Plans(self.resolver, bench.scheduler.view, lambda: devices, self._read)

    async def _read(self) -> None:
        self.reads += 1

    async def plan(self, model: str, options: Mapping[str, Any] | None = None) -> Plan:
        return await self._plans.plan(model, options or {})


def other(model: str, *, has_work: bool = False) -> Want:
    """Somebody who takes about 400 MiB."""
    return want(model, has_work=has_work, footprint=replace(SMALL, weights=300 * MIB))


async def test_what_fits_and_what_it_is_for(store: Store, make: Make) -> None:
    make("m", llama__context_length=Typed(UINT32, 131072))
    planning = Planning(store, Bench(memory=8 * GIB))
    found = await planning.plan("m")
    assert (found.verdict, found.context, found.automatic, found.evicts) == ("fits", 8192, True, ())
    [pool] = found.pools
    assert (pool.name, pool.free, pool.whole) == (HOST, 8 * GIB, 8 * GIB)
    assert pool.parts.total == pytest.approx(pool.needs, abs=4)
    assert found.words[0] == "context 8192, chosen by Runner; a request may ask for more with num_ctx, up to 131072"
    assert "on the CPU" in found.words
    assert planning.reads == 1


async def test_idle_models_go_oldest_first_and_no_more_than_needed(store: Store, make: Make) -> None:
    make("m")
    bench = Bench(models=4, memory=1260 * MIB)
    for model in ("old", "new", "busy"):
        bench.submit(other(model, has_work=model == "busy"))
        bench.load(model)
        bench.advance(1)
    found = await Planning(store, bench).plan("m")
    assert (found.verdict, found.evicts) == ("evicts", ("old",))
    assert not any("max_loaded_models" in word for word in found.words)
    bench = Bench(models=4, memory=440 * MIB)
    bench.submit(other("busy", has_work=True))
    bench.load("busy")
    found = await Planning(store, bench).plan("m")
    assert (found.verdict, found.evicts) == ("waits", ())
    assert "busy is busy, and would have to end first" in found.words


async def test_the_verdict_is_the_schedulers(store: Store, make: Make) -> None:
    make("m")
    make("twin", "SYSTEM hi", base="m")
    make("second")
    bench = Bench(models=1)
    planning = Planning(store, bench)
    wanted = planning.resolver.load("m", {}, None)
    bench.submit(wanted)
    bench.load("m:latest", sequences=4)
    assert (await planning.plan("m")).verdict == "loaded"
    twin = await planning.plan("twin")
    assert (twin.verdict, twin.words[-1]) == ("loaded", "it shares the worker of m:latest")
    assert (await planning.plan("m", {"kv_cache_type": "q8_0"})).verdict == "reloads"
    second = await planning.plan("second")
    assert (second.verdict, second.evicts) == ("evicts", ("m:latest",))
    assert second.words[-1] == "no more than 1 may be loaded at once (max_loaded_models)"
    bench.scheduler.pin("m:latest")
    second = await planning.plan("second")
    assert (second.verdict, second.evicts, second.placement) == ("pinned", (), None)
    assert "no more than 1 may be loaded at once (max_loaded_models)" in second.words[-1]
    bench.scheduler.unload("m:latest")
    assert (await planning.plan("m")).verdict == "waits"  # until the worker has gone


async def test_others_go_for_layers_on_a_gpu_too(store: Store, make: Make) -> None:
    block = [Tensor(f"blk.{layer}.attn_q.weight", (64, 64), Q8_0) for layer in range(2)]
    make("m", tensors=[Tensor("token_embd.weight", (64, 4), Q8_0), *block, Tensor("output_norm.weight", (64,))])
    card = Card({HOST: 8 * GIB, "CUDA0": 8 * GIB})
    bench = Bench(models=4, stock=card)
    bench.submit(want("other", has_work=False, footprint=EIGHT_B))
    bench.load("other")
    card.free = {HOST: 8 * GIB, "CUDA0": GIB // 4}
    found = await Planning(store, bench, card.devices()).plan("m")
    assert (found.verdict, found.evicts) == ("evicts", ("other",))
    assert found.placement is not None
    assert found.placement.devices == ("CUDA0",)
    assert {row.device for row in found.table} == {"auto", "cpu"}


async def test_what_fits_nowhere_is_told_with_need_and_have(store: Store, make: Make) -> None:
    make("m")
    found = await Planning(store, Bench(memory=60 * MIB)).plan("m")
    assert (found.verdict, found.placement) == ("no", None)
    assert found.pools[0].needs > found.pools[0].whole == 60 * MIB
    assert "there are 63 MB for models" in found.words[-1]


async def test_the_table_has_every_context_and_type(store: Store, make: Make) -> None:
    make("m", llama__context_length=Typed(UINT32, 10_000))
    found = await Planning(store, Bench(memory=8 * GIB)).plan("m", {"num_ctx": 3000})
    assert {row.context for row in found.table} == {2048, 3000, 4096, 8192, 10_000}
    assert {row.kv for row in found.table} == {"f16", "q8_0", "q4_0"}
    by = {(row.context, row.kv): row.needs[HOST] for row in found.table}
    assert by[8192, "q4_0"] < by[8192, "q8_0"] < by[8192, "f16"] < by[10_000, "f16"]
    apart = await Planning(store, Bench(memory=8 * GIB)).plan("m", {"cache_type_k": "q8_0", "cache_type_v": "f16"})
    assert {row.kv for row in apart.table} == {"q8_0/f16"}


async def test_what_cannot_be_planned(store: Store, make: Make) -> None:
    make("m")
    asking = Planning(store, Bench(memory=8 * GIB))
    with pytest.raises(UnknownModel):
        await asking.plan("nobody")
    with pytest.raises(InvalidRequest, match=r"there is no device 'CUDA3' to put layers on") as refused:
        await asking.plan("m", {"device": "CUDA3"})
    assert refused.value.field == "options.device"
