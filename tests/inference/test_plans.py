"""A load is planned for a machine as it stands: what it takes, who goes for it, and what other contexts would take."""

from __future__ import annotations

import pytest

from registry.store import Store
from runner.errors import InvalidRequest, UnknownModel
from runner.inference.plans import Plans
from runner.inference.resolve import Resolver
from runner.protocol.devices import Device
from runner.scheduler.memory import CPU_DEVICE, HOST
from runner.scheduler.offer import Holder, Offer
from tests.inference.conftest import Make
from tests.tiny_gguf import Q8_0, UINT32, Tensor, Typed

MIB, GIB = 2**20, 2**30
GPU = Device(name="CUDA0", backend="cuda", kind="gpu", total=24 * GIB, free=24 * GIB)


def plans(store: Store, seen: Offer) -> Plans:
    return Plans(Resolver(store, context_length=0, num_parallel=0, look=lambda: seen), lambda: seen)


def cpu(free: int, whole: int, *holders: Holder) -> Offer:
    return Offer((CPU_DEVICE,), {HOST: free}, {HOST: whole}, holders)


def holder(name: str, size: int, *, idle: bool = True, last_used: float = 0.0) -> Holder:
    return Holder(name, {HOST: size}, idle, last_used)


def test_what_fits_and_what_it_is_for(store: Store, make: Make) -> None:
    make("m", llama__context_length=Typed(UINT32, 131072))
    found = plans(store, cpu(8 * GIB, 8 * GIB)).plan("m", {})
    assert (found.verdict, found.context, found.automatic, found.evicts) == ("fits", 8192, True, ())
    [pool] = found.pools
    assert (pool.name, pool.free, pool.whole) == (HOST, 8 * GIB, 8 * GIB)
    assert pool.parts.total == pytest.approx(pool.needs, abs=4)
    assert found.words[0] == "context 8192, chosen by Runner; a request may ask for more with num_ctx, up to 131072"
    assert "on the CPU" in found.words


def test_idle_models_go_oldest_first_and_no_more_than_needed(store: Store, make: Make) -> None:
    make("m")
    full = cpu(
        0, 900 * MIB, holder("new", 300 * MIB, last_used=3), holder("old", 300 * MIB, last_used=1),
        holder("busy", 300 * MIB, idle=False),
    )  # fmt: skip
    found = plans(store, full).plan("m", {})
    assert (found.verdict, found.evicts) == ("evicts", ("old",))
    busy = cpu(0, 300 * MIB, holder("busy", 300 * MIB, idle=False))
    waiting = plans(store, busy).plan("m", {})
    assert (waiting.verdict, waiting.evicts) == ("waits", ())
    assert "busy is busy, and would have to end first" in waiting.words


def test_a_loaded_model_needs_nobodys_place(store: Store, make: Make) -> None:
    make("m")
    seen = cpu(0, 600 * MIB, holder("m:latest", 300 * MIB), holder("other", 300 * MIB))
    found = plans(store, seen).plan("m", {})
    assert (found.verdict, found.evicts) == ("loaded", ())


def test_others_go_for_layers_on_a_gpu_too(store: Store, make: Make) -> None:
    block = [Tensor(f"blk.{layer}.attn_q.weight", (64, 64), Q8_0) for layer in range(2)]
    make("m", tensors=[Tensor("token_embd.weight", (64, 4), Q8_0), *block, Tensor("output_norm.weight", (64,))])
    taken = Holder("other", {HOST: GIB, "CUDA0": 23 * GIB}, idle=True, last_used=0.0)
    seen = Offer((CPU_DEVICE, GPU), {HOST: 8 * GIB, "CUDA0": GIB // 4}, {HOST: 9 * GIB, "CUDA0": 24 * GIB}, (taken,))
    found = plans(store, seen).plan("m", {})
    assert (found.verdict, found.evicts) == ("evicts", ("other",))
    assert found.placement is not None
    assert found.placement.devices == ("CUDA0",)
    assert {row.device for row in found.table} == {"auto", "cpu"}


def test_what_fits_nowhere_is_told_with_need_and_have(store: Store, make: Make) -> None:
    make("m")
    found = plans(store, cpu(50 * MIB, 60 * MIB)).plan("m", {})
    assert (found.verdict, found.placement) == ("no", None)
    assert found.pools[0].needs > found.pools[0].whole == 60 * MIB
    assert "of 63 MB memory" in found.words[-1]


def test_the_table_has_every_context_and_type(store: Store, make: Make) -> None:
    make("m", llama__context_length=Typed(UINT32, 10_000))
    found = plans(store, cpu(8 * GIB, 8 * GIB)).plan("m", {"num_ctx": 3000})
    assert {row.context for row in found.table} == {2048, 3000, 4096, 8192, 10_000}
    assert {row.kv for row in found.table} == {"f16", "q8_0", "q4_0"}
    by = {(row.context, row.kv): row.needs[HOST] for row in found.table}
    assert by[8192, "q4_0"] < by[8192, "q8_0"] < by[8192, "f16"] < by[10_000, "f16"]
    apart = plans(store, cpu(8 * GIB, 8 * GIB)).plan("m", {"cache_type_k": "q8_0", "cache_type_v": "f16"})
    assert {row.kv for row in apart.table} == {"q8_0/f16"}


def test_what_cannot_be_planned(store: Store, make: Make) -> None:
    make("m")
    asking = plans(store, cpu(8 * GIB, 8 * GIB))
    with pytest.raises(UnknownModel):
        asking.plan("nobody", {})
    with pytest.raises(InvalidRequest, match=r"there is no device 'CUDA3' to put layers on") as refused:
        asking.plan("m", {"device": "CUDA3"})
    assert refused.value.field == "options.device"
