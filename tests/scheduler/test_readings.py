"""What loads are planned by: readings of free memory, none of them old, and what workers hold between two of them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from runner.errors import InsufficientMemory
from runner.protocol.devices import HOST, Device, DeviceSurvey
from runner.scheduler.devices import MOST_AGE, Inventory
from runner.scheduler.failures import Exit
from runner.scheduler.loop import Limits
from runner.scheduler.memory import CPU_DEVICE, Block, Footprint, Graph
from runner.scheduler.offer import Offer, offer
from tests.fakes.scheduling import GIB, Bench, want

MODEL = Footprint(
    weights=5 * GIB,
    kv=8 * 4096,
    state=0,
    vocabulary=32_000,
    width=2048,
    blocks=(Block(weights=GIB // 2, keys=1024, values=1024),) * 8,
    tables=GIB // 2,
    output=GIB // 2,
    graph=Graph(width=2048, heads=16, queries=2048, attended=2048, feed=20_000),
)
LATER = 3600.0


class Card:
    """A bench with one GPU of 24 GiB, whose free memory is read by probes that end when a test says so."""

    def __init__(self) -> None:
        self.free, self.host = 22 * GIB, 30 * GIB
        self.looks: list[asyncio.Future[None]] = []
        self.inventory = Inventory(self._look, lambda: self.host, lambda: self.bench.now)
        self.bench = Bench(models=3, stock=self.inventory)
        self.inventory.listen(self.bench.scheduler.tick)

    async def _look(self) -> DeviceSurvey:
        self.looks.append(asyncio.get_running_loop().create_future())
        await self.looks[-1]
        card = Device(name="CUDA0", backend="cuda", kind="gpu", total=24 * GIB, free=self.free)
        return DeviceSurvey(devices=(card, CPU_DEVICE), backends=("cuda", "cpu"), offloads=True)

    async def looked(self) -> None:
        """The look that is under way ends."""
        await asyncio.sleep(0)
        self.looks[-1].set_result(None)
        for _ in range(3):
            await asyncio.sleep(0)

    def load(self, model: str) -> None:
        """The load ends, and what it took is no longer free."""
        member = self.bench.member(model)
        assert member is not None
        self.free -= member.need.devices.get("CUDA0", 0)
        self.bench.load(model)

    def layers(self, model: str) -> int:
        placement = self.bench.effects.loads[self.bench.run(model)][1].placement
        assert placement is not None
        return placement.gpu_layers

    def offer(self) -> Offer:
        return offer(self.inventory.devices(), self.inventory.room(), self.bench.scheduler.view.residents())


@pytest.fixture
async def card() -> AsyncIterator[Card]:
    made = Card()
    made.inventory.start()
    await made.looked()
    yield made
    await made.inventory.close()


async def test_nobody_is_loaded_for_by_an_old_reading(card: Card) -> None:
    bench = card.bench
    heard = bench.submit(want("a", footprint=MODEL))
    assert card.layers("a") == 9
    card.load("a")
    bench.done(heard)
    bench.scheduler.unload("a")
    bench.exit("a", 0)
    bench.advance(LATER)
    card.free = 4 * GIB  # other programs came
    waiting = bench.submit(want("b", footprint=MODEL))
    bench.advance(0.1)
    assert (waiting.outcome, bench.state("b")) == (None, "absent")
    await card.looked()
    assert 0 < card.layers("b") < 9


async def test_nobody_is_refused_by_an_old_reading(card: Card) -> None:
    bench = card.bench
    card.free = card.host = GIB
    bench.advance(LATER)
    bench.submit(want("d"))
    await card.looked()  # so little is there now
    card.load("d")
    bench.advance(LATER)
    heard = bench.submit(want("b", footprint=MODEL))
    assert heard.outcome is None
    card.free = card.host = 30 * GIB
    await card.looked()
    assert heard.outcome is None
    assert bench.state("b") == "loading"


async def test_workers_go_on_while_a_reading_is_awaited_and_nobody_loses_his_turn(card: Card) -> None:
    bench = card.bench
    bench.scheduler.relimit(Limits(1, 100, LATER))
    first = bench.submit(want("a", footprint=MODEL))
    card.load("a")
    bench.advance(MOST_AGE + 1)
    other = bench.submit(want("b", footprint=MODEL))
    overtaking = bench.submit(want("a", footprint=MODEL))
    assert other.outcome is None
    assert bench.worked_on(bench.run("a")) == [first.id, overtaking.id]
    bench.advance(MOST_AGE - 1)  # its hold is over
    late = bench.submit(want("a", footprint=MODEL))
    bench.done(first)
    bench.done(overtaking)
    assert bench.worked_on(bench.run("a")) == [first.id, overtaking.id]
    assert not bench.effects.stopped
    await card.looked()
    assert bench.effects.stopped == [bench.run("a")]
    bench.exit("a", 0)
    assert bench.state("b") == "loading"
    assert late.outcome is None


async def test_a_card_that_ran_out_of_memory_is_given_much_less_of_a_load(card: Card) -> None:
    bench = card.bench
    bench.submit(want("a", footprint=MODEL, num_ctx=8192))
    first = bench.member("a")
    assert first is not None
    had = first.need
    bench.scheduler.exited(bench.run("a"), Exit(-6, tail="cudaMalloc failed: out of memory"))
    bench.scheduler.tick()
    second = bench.member("a")
    assert second is not None
    small = second.need
    assert card.layers("a") < 9
    assert small.devices.get("CUDA0", 0) <= 0.6 * had.devices["CUDA0"]
    assert small.host > had.host  # where the layers went
    assert "of CUDA0 and" in bench.scheduler.view.smaller("a")


async def test_what_is_loaded_is_known_between_readings(card: Card) -> None:
    bench = card.bench
    heard = bench.submit(want("a", footprint=MODEL))
    card.load("a")
    assert card.inventory.room()["CUDA0"] == card.free
    assert card.offer().whole["CUDA0"] == 22 * GIB
    assert card.offer().free["CUDA0"] == card.free
    bench.done(heard)
    bench.scheduler.unload("a")
    assert card.offer().whole["CUDA0"] == 22 * GIB
    bench.exit("a", 0)
    assert card.inventory.room()["CUDA0"] == card.offer().free["CUDA0"] == 22 * GIB


def test_the_host_is_read_anew_while_a_worker_stops() -> None:
    bench = Bench(models=8, memory=10 * GIB)
    bench.submit(want("a"))
    bench.load("a")
    bench.advance(LATER)
    bench.memory = GIB
    bench.scheduler.unload("a")
    heard = bench.submit(want("b", footprint=Footprint(3 * GIB, 1024, 0, 1000, 64)))
    assert isinstance(heard.outcome, InsufficientMemory)


def test_loads_one_after_another_do_not_prolong_a_reading() -> None:
    bench = Bench(models=8, memory=10 * GIB)
    bench.submit(want("a"))
    bench.advance(LATER)
    bench.submit(want("b"))
    assert bench.state("b") == "loading"  # by what the load of "a" was planned by
    bench.load("a")
    bench.memory = 2 * GIB
    third = bench.submit(want("c", footprint=Footprint(3 * GIB, 1024, 0, 1000, 64)))
    assert bench.state("c") == "absent"
    assert third.outcome is None
    bench.load("b")
    assert isinstance(third.outcome, InsufficientMemory)


def test_a_load_that_is_given_up_holds_nothing_yet() -> None:
    bench = Bench(models=8)
    bench.cancel(bench.submit(want("a")))
    bench.scheduler.unload("a")
    members = bench.scheduler.view.residents()
    assert [member.state for member in members] == ["stopping"]
    assert offer((CPU_DEVICE,), {HOST: GIB}, members).whole == {HOST: GIB}
