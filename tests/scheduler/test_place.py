"""Where loads go: on device tables of machines that aren't there."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from runner.protocol.devices import Device, DeviceKind, Placement
from runner.protocol.options import LoadOptions
from runner.scheduler import memory
from runner.scheduler.memory import CPU_DEVICE, HOST, Block, Fitted, Footprint, Graph
from runner.scheduler.memory.takes import Lane, parts, takes, weights

MIB, GIB = 2**20, 2**30
LAYERS = 32


def footprint(*, layers: int = LAYERS, each: int = 128 * MIB, experts: int = 0, packed: int = 0) -> Footprint:
    """A model of so many equal layers, in the manner of an 8B one."""
    block = Block(weights=each, experts=experts, packed=packed, keys=1024, values=1024)
    return Footprint(
        weights=layers * each + 800 * MIB,
        kv=layers * 4096,
        state=0,
        vocabulary=128_256,
        width=4096,
        blocks=(block,) * layers,
        tables=400 * MIB,
        output=400 * MIB,
        graph=Graph(width=4096, heads=32, queries=4096, attended=4096, feed=43008),
        trained=131_072,
    )


def gpu(name: str = "CUDA0", backend: str = "cuda", kind: DeviceKind = "gpu", total: int = 24) -> Device:
    return Device(name=name, backend=backend, kind=kind, total=total * GIB, free=total * GIB)


def place(
    what: Footprint, devices: list[Device], host: float = 64, options: LoadOptions | None = None, **free: float
) -> Fitted:
    room = {HOST: round(host * GIB), **{name: round(size * GIB) for name, size in free.items()}}
    found = memory.place(what, options or asked(), [CPU_DEVICE, *devices], room)
    assert found is not None
    assert all(size <= room[pool] for pool, size in found.need.pools.items())
    return found


def asked(num_ctx: int = 8192, num_parallel: int = 1, **options: object) -> LoadOptions:
    return LoadOptions(num_ctx=num_ctx, num_parallel=num_parallel, **options)  # type: ignore[arg-type]


def test_without_a_gpu_the_cpu_takes_all() -> None:
    found = place(footprint(), [])
    assert (found.placement.devices, found.placement.gpu_layers) == ((), 0)
    assert found.need.devices == {}
    assert "no GPU was found" in found.words
    assert "on the CPU" in found.words
    told = place(footprint(), [], options=asked(num_gpu=10)).words
    assert "no GPU was found, so num_gpu 10 counts for nothing" in told


def test_all_layers_go_to_one_device_where_they_fit() -> None:
    found = place(footprint(), [gpu(), gpu("CUDA1")], CUDA0=20, CUDA1=24)
    assert found.placement.devices == ("CUDA1",)  # the one with more room
    assert (found.placement.gpu_layers, found.placement.mode) == (LAYERS + 1, "none")
    assert found.need.devices["CUDA1"] > LAYERS * 128 * MIB + 400 * MIB
    assert found.need.host < 2 * GIB
    assert "all 33 layers on CUDA1" in found.words


def test_several_share_in_proportion_to_what_is_free() -> None:
    found = place(footprint(each=512 * MIB), [gpu(), gpu("CUDA1")], CUDA0=8, CUDA1=16)
    assert found.placement.devices == ("CUDA0", "CUDA1")
    assert found.placement.gpu_layers == LAYERS + 1
    assert found.placement.split[1] == pytest.approx(2 / 3, abs=0.02)
    assert sum(found.placement.split) == pytest.approx(1)
    assert 1.5 < found.need.devices["CUDA1"] / found.need.devices["CUDA0"] < 2.5


def test_what_does_not_fit_stays_with_the_cpu_layer_by_layer() -> None:
    found = place(footprint(), [gpu(total=4)], CUDA0=4)
    assert 0 < found.placement.gpu_layers < LAYERS
    assert found.need.weights >= (LAYERS - found.placement.gpu_layers) * 128 * MIB
    more = memory.need(footprint(), found.options, replace_layers(found, found.placement.gpu_layers + 1))
    assert more.devices["CUDA0"] > 4 * GIB - 600 * MIB  # one more would break the margin
    assert any("layers on CUDA0, the others on the CPU" in word for word in found.words)


def test_experts_go_before_whole_layers() -> None:
    mixture = footprint(each=512 * MIB, experts=480 * MIB)
    found = place(mixture, [gpu(total=10)], CUDA0=10)
    assert found.placement.gpu_layers == LAYERS + 1
    assert 0 < found.placement.cpu_moe < LAYERS
    assert any("experts" in word for word in found.words)
    fewer = place(mixture, [gpu(total=10)], CUDA0=10, options=asked(num_cpu_moe=LAYERS))
    assert fewer.placement.cpu_moe == LAYERS
    assert fewer.need.devices["CUDA0"] < found.need.devices["CUDA0"]


def test_what_was_asked_for_is_kept() -> None:
    devices = [gpu(), gpu("CUDA1")]
    free = {"CUDA0": 24.0, "CUDA1": 24.0}
    assert place(footprint(), devices, options=asked(num_gpu=10), **free).placement.gpu_layers == 10
    assert place(footprint(), devices, options=asked(num_gpu=0), **free).placement.devices == ()
    assert place(footprint(), devices, options=asked(device="cpu"), **free).placement.devices == ()
    assert place(footprint(), devices, options=asked(device="CUDA0"), **free).placement.devices == ("CUDA0",)
    one = place(footprint(), devices, options=asked(split_mode="none", main_gpu=1), **free).placement
    assert (one.devices, one.mode) == (("CUDA1",), "none")
    split = place(footprint(), devices, options=asked(tensor_split="3,1"), **free).placement
    assert (split.devices, split.split) == (("CUDA0", "CUDA1"), (0.75, 0.25))


def test_devices_count_in_the_order_in_which_they_were_named() -> None:
    devices, free = [gpu(), gpu("CUDA1")], {"CUDA0": 24.0, "CUDA1": 24.0}
    turned = "CUDA1,CUDA0"
    one = place(footprint(), devices, options=asked(device=turned, split_mode="none", main_gpu=0), **free).placement
    assert one.devices == ("CUDA1",)
    split = place(footprint(), devices, options=asked(device=turned, tensor_split="3,1"), **free)
    assert (split.placement.devices, split.placement.split) == (("CUDA1", "CUDA0"), (0.75, 0.25))
    assert split.need.devices["CUDA1"] > 2 * split.need.devices["CUDA0"]


def test_a_number_of_layers_that_does_not_fit_is_said() -> None:
    found = place(footprint(), [gpu(total=4)], options=asked(num_gpu=32), CUDA0=4)
    assert found.placement.devices == ()
    assert any("num_gpu 32 does not fit on CUDA0" in word for word in found.words)
    kept = place(footprint(), [gpu()], options=asked(num_gpu=10), CUDA0=24)
    assert "10 of 33 layers on CUDA0, the others on the CPU: num_gpu is 10" in kept.words
    full = place(footprint(), [gpu(total=1)], CUDA0=0.25)
    assert "not one layer fits on CUDA0" in full.words


@pytest.mark.parametrize("host", [64, 4.5])  # with and without room for all of it
def test_a_number_as_large_as_the_model_means_as_many_layers_as_fit(host: float) -> None:
    by_itself = place(footprint(), [gpu(total=4)], host=host, CUDA0=4)
    assert 0 < by_itself.placement.gpu_layers < LAYERS
    for number in (LAYERS + 1, 99, 2**31 - 1):
        found = place(footprint(), [gpu(total=4)], host=host, options=asked(num_gpu=number), CUDA0=4)
        assert found.placement == by_itself.placement
        assert any("more do not fit" in word for word in found.words)


def test_the_pool_that_lacks_is_told_by_itself() -> None:
    def lack(host: float, *devices: Device, **options: object) -> memory.Lack:
        room = {HOST: round(host * GIB), "CUDA0": 4 * GIB}
        return memory.lack(footprint(), asked(**options), [CPU_DEVICE, *devices], room)

    alone = lack(4)
    assert (alone.pool, alone.have, alone.beside, alone.fits) == (HOST, 4 * GIB, (), False)
    assert 5 * GIB < alone.need < 7 * GIB
    shared = lack(1, gpu(total=4))  # as many layers as fit are with the GPU, and the others have no room
    assert (shared.pool, shared.have, shared.beside, shared.fits) == (HOST, GIB, ("CUDA0",), False)
    assert GIB < shared.need < alone.need - 2 * GIB
    assert lack(1, gpu(total=4), num_gpu=99) == shared
    asking = lack(3, gpu(total=4), num_gpu=30)  # neither these layers with the GPU, nor all of them without it
    assert (asking.pool, asking.fits) == ("CUDA0", False)
    assert asking.have < 4 * GIB < asking.need
    assert lack(64).fits


def test_discrete_devices_of_one_native_backend_are_preferred() -> None:
    devices = [gpu("Vulkan0", "vulkan"), gpu("Vulkan1", "vulkan", "igpu"), gpu("ROCm0", "rocm")]
    found = place(footprint(), devices, ROCm0=24, Vulkan0=24)
    assert found.placement.devices == ("ROCm0",)


@pytest.mark.parametrize("device", [gpu("Metal", "metal"), gpu("Vulkan0", "vulkan", "igpu")])
def test_a_device_without_memory_of_its_own_takes_the_hosts(device: Device) -> None:
    found = place(footprint(), [device], host=16)
    assert (found.placement.devices, found.placement.gpu_layers) == ((device.name,), LAYERS + 1)
    assert found.need.devices == {}
    assert found.need.host > LAYERS * 128 * MIB


def test_names_that_are_not_there() -> None:
    devices = [CPU_DEVICE, gpu()]
    assert memory.missing(asked(device="cuda"), devices) is None
    assert "'CUDA7'" in (memory.missing(asked(device="CUDA0,CUDA7"), devices) or "")
    assert "main_gpu is 3" in (memory.missing(asked(split_mode="none", main_gpu=3), devices) or "")
    assert memory.place(footprint(), asked(device="rocm"), devices, {HOST: 64 * GIB, "CUDA0": 24 * GIB}) is None


def test_what_fits_nowhere_has_no_place() -> None:
    assert memory.place(footprint(), asked(), [CPU_DEVICE], {HOST: 4 * GIB}) is None
    assert memory.place(footprint(), asked(), [CPU_DEVICE, gpu(total=2)], {HOST: 3 * GIB, "CUDA0": 2 * GIB}) is None


def test_layers_and_output_are_divided_as_llama_cpp_divides_them() -> None:
    found = place(footprint(), [gpu(), gpu("CUDA1")], options=asked(tensor_split="1,1"), CUDA0=24, CUDA1=24)
    [host, first, second] = parts(footprint(), found.placement)
    assert (host[0], len(host[1]), host[2]) == (HOST, 0, False)
    assert (first[0], len(first[1]), first[2]) == ("CUDA0", 17, False)  # 33 in two: the first gets 17
    assert (second[0], len(second[1]), second[2]) == ("CUDA1", 15, True)


def test_a_cpu_keeps_what_it_packs_once_more() -> None:
    plain, packing = footprint(), footprint(packed=100 * MIB)
    cpu = memory.place(packing, asked(), [CPU_DEVICE], {HOST: 64 * GIB})
    assert cpu is not None
    assert cpu.need.weights == plain.weights - LAYERS * 100 * MIB  # their pages may be let go
    assert sum(part.copied for part in weights(packing, cpu.placement).values()) == LAYERS * 100 * MIB
    on_gpu = place(packing, [gpu()], CUDA0=24)
    assert on_gpu.need == place(plain, [gpu()], CUDA0=24).need


def test_keys_and_values_of_types_apart_and_windows() -> None:
    block = Block(weights=MIB, keys=1024, values=512)
    windowed = replace(block, window=1024)
    model = replace(footprint(), blocks=(block, windowed))
    types = asked(cache_type_k="q8_0", cache_type_v="q4_0")
    of = takes(model, types, memory_cpu(), Lane(4, 32768))[HOST].kv
    token = 1024 * 34 / 32 + 512 * 18 / 32
    assert of == round((32768 + 4 * 1024 + 512) * token)  # a window for each sequence and a step, in units of 256
    split = takes(model, types, memory_cpu(), Lane(4, 32768, split=True))[HOST].kv
    assert split == round(4 * (8192 + 1536) * token)


def test_prompts_are_set_aside_where_there_is_room() -> None:
    keeping = replace(footprint(), prefixes=512 * MIB)
    roomy, tight = place(keeping, []), place(keeping, [], host=memory.least(keeping, asked()).host / GIB + 0.1)
    assert roomy.need.kept == 512 * MIB
    assert 0 < tight.need.kept < 512 * MIB
    assert roomy.need.taken(wide=True).kept == 0


def test_room_with_counts_what_models_hold_by_pool() -> None:
    held = memory.Need(4 * GIB, GIB, GIB, {"CUDA0": 3 * GIB}, {"CUDA0": GIB})
    assert memory.room_with({HOST: 10, "CUDA0": 20}, [(held, True)]) == {HOST: 10 + GIB, "CUDA0": 20 + 2 * GIB}
    assert memory.room_with({HOST: 10}, [(held, False)])[HOST] == 10 + 5 * GIB


@given(
    each=st.integers(1, 700),
    experts=st.booleans(),
    host=st.integers(1, 64),
    free=st.lists(st.integers(0, 40), max_size=3),
    num_ctx=st.integers(256, 65536),
    num_parallel=st.integers(0, 64),
)
def test_whatever_is_placed_fits_in_every_pool(
    each: int, experts: bool, host: int, free: list[int], num_ctx: int, num_parallel: int
) -> None:
    model = footprint(layers=12, each=each * MIB, experts=each * MIB // 2 if experts else 0)
    devices = [CPU_DEVICE, *(gpu(f"CUDA{index}", total=size) for index, size in enumerate(free))]
    room = {HOST: host * GIB, **{f"CUDA{index}": size * GIB for index, size in enumerate(free)}}
    options = asked(num_ctx, num_parallel)
    found = memory.place(model, options, devices, room)
    least = memory.least(model, options)
    if found is None:
        assert least.host > room[HOST]  # else the CPU would have taken it
        return
    assert found.options.cells >= num_ctx
    assert sum(found.placement.split) == pytest.approx(1) if found.placement.devices else not found.placement.gpu_layers
    # The logits of a number that was asked for are its own affair; they are small.
    slack = 8 * model.vocabulary * num_parallel + 3 * MIB * num_parallel
    assert all(size <= room[pool] + slack for pool, size in found.need.pools.items())
    assert sum(part.total for part in found.parts.values()) == pytest.approx(found.need.total, abs=8)


def memory_cpu() -> Placement:
    return Placement()


def replace_layers(found: Fitted, layers: int) -> Placement:
    return Placement(
        devices=found.placement.devices, gpu_layers=layers, split=found.placement.split, mode=found.placement.mode
    )
