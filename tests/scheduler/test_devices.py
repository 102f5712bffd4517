"""The table of devices: machines that aren't at hand are made up, row by row as llama.cpp would tell them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

import msgspec
import pytest

from runner.protocol.devices import HOST, Device, DeviceSurvey
from runner.protocol.options import LoadOptions
from runner.scheduler import memory
from runner.scheduler.devices import MOST_AGE, Inventory, fixed, missing
from runner.scheduler.loop import Limits, Scheduler
from runner.scheduler.probe import ProbeFailed
from tests.fakes.device_tables import GIB, MACHINES
from tests.fakes.scheduling import Bench, want

FREE = 20 * GIB


class Probes:
    """Looks that end when a test says so."""

    def __init__(self) -> None:
        self.under_way: list[asyncio.Future[DeviceSurvey]] = []
        self.now = 1000.0

    def look(self) -> Awaitable[DeviceSurvey]:
        self.under_way.append(asyncio.get_running_loop().create_future())
        return self.under_way[-1]

    async def end(self, found: DeviceSurvey | ProbeFailed) -> None:
        last = self.under_way[-1]
        if isinstance(found, DeviceSurvey):
            last.set_result(found)
        else:
            last.set_exception(found)
        await asyncio.sleep(0)
        await asyncio.sleep(0)


@pytest.fixture
def probes() -> Probes:
    return Probes()


@pytest.fixture
async def inventory(probes: Probes) -> Inventory:
    made = Inventory(probes.look, lambda: FREE, lambda: probes.now)
    made.start()
    return made


def survey(machine: str, **free: int) -> DeviceSurvey:
    devices = [
        msgspec.structs.replace(device, free=free.get(device.name, device.free)) for device in MACHINES[machine].devices
    ]
    return msgspec.structs.replace(MACHINES[machine], devices=tuple(devices))


async def started(machine: str) -> Inventory:
    made = fixed(MACHINES[machine].devices, lambda: FREE)
    made.start()
    await made.known()
    return made


POOLS = {
    "cpu": {HOST},
    "accelerated cpu": {HOST},
    "apple": {HOST},
    "two nvidia": {HOST, "CUDA0", "CUDA1"},
    "amd": {HOST, "ROCm0"},
    "integrated": {HOST},
    "vulkan": {HOST, "Vulkan0"},
    "two backends": {HOST, "CUDA0", "Vulkan0"},
}


@pytest.mark.parametrize("machine", MACHINES)
async def test_pools_of_memory(machine: str) -> None:
    made = await started(machine)
    assert set(made.room()) == POOLS[machine] == {device.pool for device in made.devices()} | {HOST}
    assert made.room()[HOST] == FREE
    for device in made.devices():
        if device.kind in ("cpu", "igpu"):
            assert device.free <= FREE  # what the machine has, not what a driver says of it
        elif device.kind == "gpu":
            assert device.free == made.room()[device.pool]


async def test_a_shared_gpu_has_no_more_than_the_machine_or_its_part() -> None:
    made = fixed(MACHINES["apple"].devices, lambda: 100 * GIB)
    made.start()
    await made.known()
    (metal,) = [device for device in made.devices() if device.backend == "metal"]
    assert metal.free == metal.total == 48 * GIB


async def test_until_somebody_has_looked_there_is_the_cpu_alone(probes: Probes, inventory: Inventory) -> None:
    assert [device.name for device in inventory.devices()] == ["CPU"]
    assert inventory.room() == {HOST: FREE}
    assert not inventory.is_fresh()  # nothing may be planned by that
    waiting = asyncio.create_task(inventory.known())
    await asyncio.sleep(0)
    assert not waiting.done()
    await probes.end(survey("two nvidia"))
    await waiting
    assert [device.name for device in inventory.devices()] == ["CUDA0", "CUDA1", "CPU"]
    assert inventory.is_fresh()


async def test_a_failed_probe_leaves_the_cpu_and_says_why(probes: Probes, inventory: Inventory) -> None:
    await asyncio.sleep(0)
    await probes.end(ProbeFailed("its process ended with killed by SIGSEGV"))
    await inventory.known()
    assert inventory.room() == {HOST: FREE}
    assert inventory.is_fresh()
    (problem,) = inventory.problems()
    assert problem.endswith("so only the CPU is used: its process ended with killed by SIGSEGV")
    assert inventory.survey().problem == problem


async def test_an_old_reading_is_taken_again_and_who_listens_is_told(probes: Probes, inventory: Inventory) -> None:
    heard: list[dict[str, int]] = []
    inventory.listen(lambda: heard.append(inventory.room()))
    await asyncio.sleep(0)
    await probes.end(survey("two nvidia"))
    probes.now += MOST_AGE
    assert inventory.is_fresh()
    probes.now += 0.1
    assert not inventory.is_fresh()
    assert not inventory.is_fresh()  # asking again begins no second look
    await asyncio.sleep(0)
    assert len(probes.under_way) == 2
    await probes.end(survey("two nvidia", CUDA0=GIB))
    assert inventory.is_fresh()
    assert [room["CUDA0"] for room in heard] == [22 * GIB, GIB]
    assert inventory.problems() == ()


async def test_a_machine_without_a_gpu_of_its_own_memory_is_never_looked_at_again(
    probes: Probes, inventory: Inventory
) -> None:
    await asyncio.sleep(0)
    await probes.end(survey("apple"))
    probes.now += 100 * MOST_AGE
    assert inventory.is_fresh()
    assert len(probes.under_way) == 1


async def test_when_the_second_look_fails_the_first_reading_stays(probes: Probes, inventory: Inventory) -> None:
    await asyncio.sleep(0)
    await probes.end(survey("amd"))
    probes.now += MOST_AGE + 1
    assert not inventory.is_fresh()
    await asyncio.sleep(0)
    await probes.end(ProbeFailed("its process gave no answer within 30 s"))
    assert inventory.is_fresh()  # for a while: a load is waiting, and asking at once again would say the same
    assert inventory.room()["ROCm0"] == 15 * GIB
    assert "could not be read again: its process gave no answer" in inventory.problems()[0]


async def test_what_our_workers_take_and_give_back_between_readings(probes: Probes) -> None:
    inventory = Inventory(probes.look, lambda: FREE)
    inventory.holds({"CUDA0": 4 * GIB})
    inventory.start()
    await asyncio.sleep(0)
    await probes.end(survey("two nvidia"))
    assert inventory.room()["CUDA0"] == 22 * GIB
    inventory.holds({"CUDA1": 3 * GIB})  # one has gone, and another has come
    assert inventory.room()["CUDA0"] == 24 * GIB  # not more than there is
    assert inventory.room()["CUDA1"] == 8 * GIB


async def test_models_have_no_more_of_the_machine_than_they_may(probes: Probes) -> None:
    most = 6 * GIB
    inventory = Inventory(probes.look, lambda: FREE, most=lambda: most)
    assert inventory.room() == {HOST: 6 * GIB}
    inventory.holds({HOST: 2 * GIB})
    assert inventory.room() == {HOST: 4 * GIB}
    most = GIB
    assert inventory.room() == {HOST: 0}
    most = 100 * GIB
    assert inventory.room() == {HOST: FREE}
    most = 0
    assert inventory.room() == {HOST: FREE}


async def test_that_limit_counts_weights_that_are_mapped_once(probes: Probes) -> None:
    """They are taken, and free all the same; so whatever is loaded, models have the limit together."""
    options = LoadOptions(num_ctx=1024, num_parallel=2, cells=2048)
    held = memory.need(memory.Footprint(4 * GIB, 100_000, 0, 1000, 64), options)
    inventory = Inventory(probes.look, lambda: FREE, most=lambda: 6 * GIB)
    for ready in ([], [(held, True)], [(held, False)], [(held, True), (held, False)]):
        inventory.holds(memory.room_with({}, ready))
        assert memory.room_with(inventory.room(), ready)[HOST] == 6 * GIB


async def test_a_third_model_drives_one_out_where_two_may_be(probes: Probes) -> None:
    bench = Bench(memory=64 * GIB)
    inventory = Inventory(probes.look, lambda: FREE, most=lambda: 5 * GIB)
    inventory.start()
    await asyncio.sleep(0)
    await probes.end(MACHINES["cpu"])
    bench.scheduler = Scheduler(Limits(9, 100, 300.0), bench.effects, clock=lambda: bench.now, stock=inventory)
    large = memory.Footprint(2 * GIB, 100_000, 0, 1000, 64)
    for model in ("a", "b", "c"):
        asked = bench.submit(want(model, footprint=large))
        if model == "c":
            assert len(bench.effects.stopped) == 1
            bench.exit("a", 0)
        bench.load(model)
        bench.done(asked)
        bench.advance(10)
    assert {model: bench.state(model) for model in ("a", "b", "c")} == {"a": "absent", "b": "ready", "c": "ready"}


async def test_what_comes_or_goes_during_a_look_counts_as_taken(probes: Probes) -> None:
    inventory = Inventory(probes.look, lambda: FREE)
    inventory.holds({"CUDA0": 4 * GIB})
    inventory.start()
    await asyncio.sleep(0)
    inventory.holds({"CUDA1": 3 * GIB})
    await probes.end(survey("two nvidia"))
    assert (inventory.room()["CUDA0"], inventory.room()["CUDA1"]) == (22 * GIB, 8 * GIB)


async def test_closing_ends_a_look_and_the_waiting_for_it(probes: Probes, inventory: Inventory) -> None:
    await asyncio.sleep(0)
    await inventory.close()
    assert probes.under_way[0].cancelled()
    await inventory.known()


async def test_nobody_waits_for_a_look_that_went_wrong_in_a_way_nobody_thought_of() -> None:
    async def look() -> DeviceSurvey:
        raise ZeroDivisionError("nobody thought of it")

    inventory = Inventory(look, lambda: FREE)
    inventory.start()
    await inventory.known()
    assert inventory.room() == {HOST: FREE}
    assert "ZeroDivisionError: nobody thought of it" in inventory.problems()[0]


@pytest.mark.parametrize(
    ("node", "backends", "environment", "said"),
    [
        ("dev/nvidiactl", ("cpu",), {}, "an NVIDIA GPU here (/dev/nvidiactl), and this build of llama.cpp has no CUDA"),
        ("dev/nvidiactl", ("vulkan", "cpu"), {}, ""),
        ("dev/kfd", ("cpu",), {}, "has no ROCm"),
        ("dev/null", ("cpu",), {"CUDA_VISIBLE_DEVICES": ""}, ""),  # nothing would use them
        ("dev/nvidiactl", ("cuda", "cpu"), {"CUDA_VISIBLE_DEVICES": "-1"}, "CUDA_VISIBLE_DEVICES=-1 hides all"),
        ("dev/nvidiactl", ("cuda", "cpu"), {"CUDA_VISIBLE_DEVICES": "0"}, ""),
    ],
)
def test_why_a_gpu_is_not_used(
    tmp_path: Path, node: str, backends: tuple[str, ...], environment: dict[str, str], said: str
) -> None:
    (tmp_path / "dev").mkdir()
    (tmp_path / node).touch()
    cpu = Device(name="CPU", backend="cpu", kind="cpu")
    found = missing(DeviceSurvey(devices=(cpu,), backends=backends), environment, tmp_path)
    assert len(found) == bool(said)
    assert not said or said in found[0]


async def test_who_asks_what_a_load_would_take_waits_for_a_reading(probes: Probes, inventory: Inventory) -> None:
    async def is_read() -> bool:
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        return asked.done()

    asked = asyncio.create_task(inventory.read())
    assert not await is_read()
    await probes.end(survey("two nvidia"))
    assert await is_read()
    await inventory.read()  # at once, while the reading is young
    probes.now += MOST_AGE + 1
    asked = asyncio.create_task(inventory.read())
    assert not await is_read()
    await probes.end(ProbeFailed("killed"))
    assert await is_read()
    assert len(probes.under_way) == 2
