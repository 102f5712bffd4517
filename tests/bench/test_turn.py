"""What is measured against what a server of known slowness did, over real HTTP on loopback.

In virtual time the figures must be exact. In real time they are held between two facts that no busy machine can upset:
nothing is noticed before the server did it, and nothing takes longer than the test itself waited.
"""

import asyncio
import time
from itertools import accumulate

import pytest

from runner.bench.arrivals import offsets
from runner.bench.client import Accepts, Client, Outcome, connected
from runner.bench.clock import Clock, WallClock
from runner.bench.prompts import Fit, Writer
from runner.bench.shape import COMPLETIONS, Goals, Lengths, Level, Rate, Target, Users, Workload
from runner.bench.summary import summarise
from runner.bench.turn import Turn, requests, take, warm_up
from tests.bench.fake_openai import FakeOpenAI
from tests.bench.virtual import Metronome, VirtualClock

SEED = "seed"


async def taken(
    fake: FakeOpenAI, level: Level, workload: Workload, *, model: str = "steady", clock: Clock | None = None
) -> Turn:
    """One turn against `fake`."""
    turn = Turn("fake", level, 0)
    await into(turn, fake, workload, model, clock or WallClock())
    return turn


async def into(turn: Turn, fake: FakeOpenAI, workload: Workload, model: str, clock: Clock) -> None:
    async with fake.listening() as url:
        target = Target("fake", url, model)
        async with connected(target, clock) as session:
            client = Client(session, target, workload, Accepts(), clock)
            await take(turn, client, Writer(workload, Fit(7, 1.0), SEED), workload, SEED, clock)


def small(**more: object) -> Workload:
    return Workload(input=Lengths(20, 20), output=Lengths(5, 5), **more)  # type: ignore[arg-type]


@pytest.mark.parametrize("endpoint", ["chat", "completions"])
async def test_known_delays_are_reported_exactly(endpoint: str) -> None:
    clock = VirtualClock()
    turn = Turn("fake", Users(1), 0)
    fake = FakeOpenAI(pause=Metronome(clock, turn, first=0.5, gap=0.02))
    await into(turn, fake, small(requests=3, endpoint=endpoint), "steady", clock)
    for outcome in turn.outcomes:
        assert outcome.failure is None
        assert outcome.first is not None
        assert outcome.first - outcome.started == pytest.approx(0.5)
        assert list(outcome.gaps) == pytest.approx([0.02] * 4)
        assert outcome.ended - outcome.started == pytest.approx(0.58)
        assert outcome.delay == 0
    found = summarise([turn], Goals(ttft=0.6, itl=0.03))
    assert found.ok == 3
    assert found.seconds == pytest.approx(3 * 0.58)
    assert found.output_rate == pytest.approx(15 / (3 * 0.58))
    assert found.user_rate == pytest.approx(50)
    assert found.goodput is not None
    assert found.goodput.share == 1
    assert found.goodput.per_second == pytest.approx(3 / (3 * 0.58))


async def test_tokens_are_counted_from_usage_and_not_from_chunks() -> None:
    clock = VirtualClock()
    turn = Turn("fake", Users(1), 0)
    fake = FakeOpenAI(pause=Metronome(clock, turn, first=1.0, gap=0.1), chunk_tokens=4)
    await into(turn, fake, Workload(output=Lengths(12, 12), requests=2), "steady", clock)
    found = summarise([turn], Goals())
    assert [outcome.chunks for outcome in turn.outcomes] == [3, 3]
    assert found.output_tokens == 12
    assert found.chunk_tokens == 4
    assert found.tpot is not None
    assert found.tpot.p50 == pytest.approx(0.2 / 11)
    assert found.gap is not None
    assert found.gap.p50 == pytest.approx(0.1)
    assert found.output_rate == pytest.approx(24 / 2.4)


async def test_in_real_time_nothing_is_noticed_before_it_happened_or_after_the_end() -> None:
    async def pause(number: int) -> None:
        await asyncio.sleep(0.01 if number else 0.03)

    fake = FakeOpenAI(pause=pause)
    before = time.perf_counter()
    turn = await taken(fake, Users(1), small(requests=4))
    after = time.perf_counter()
    assert len(turn.outcomes) == len(fake.served) == 4
    for outcome, served in zip(turn.outcomes, fake.served, strict=True):
        assert before <= outcome.started <= served.came
        noticed = stamps(outcome)
        assert len(noticed) == len(served.wrote) == 5
        assert all(seen >= wrote for seen, wrote in zip(noticed, served.wrote, strict=True))
        assert noticed[-1] <= outcome.ended <= after
    assert turn.strain is not None
    assert turn.strain.lag is not None
    assert turn.strain.cpu > 0


def stamps(outcome: Outcome) -> list[float]:
    """When each chunk was noticed."""
    assert outcome.first is not None
    # Sums of differences are a few units in the last place off.
    return [round(at, 6) + 1e-6 for at in accumulate(outcome.gaps, initial=outcome.first)]


async def test_so_many_users_are_under_way_and_never_more() -> None:
    everybody = asyncio.Event()

    async def pause(number: int) -> None:
        if fake.at_once == 5:
            everybody.set()
        await everybody.wait()  # if fewer users came, this would never end

    fake = FakeOpenAI(pause=pause)
    turn = await taken(fake, Users(5), small(requests=12))
    assert fake.peak == turn.peak == 5
    assert len(turn.outcomes) == 12
    assert turn.in_flight == 0


async def test_prompts_are_as_long_as_asked_and_never_the_same() -> None:
    fake = FakeOpenAI()
    turn = await taken(fake, Users(2), Workload(input=Lengths(20, 40), output=Lengths(1, 3), requests=30))
    lengths = [outcome.prompt_tokens for outcome in turn.outcomes]
    assert all(length is not None and 20 <= length <= 40 for length in lengths)
    assert len(set(lengths)) > 5
    assert {outcome.wanted for outcome in turn.outcomes} == {1, 2, 3}
    assert len({served.body["messages"][0]["content"] for served in fake.served}) == 30
    assert all(outcome.cached_tokens == 2 for outcome in turn.outcomes)


async def test_a_shared_prefix_is_a_system_message_or_the_beginning_of_the_prompt() -> None:
    for endpoint in ("chat", COMPLETIONS):
        fake = FakeOpenAI()
        await taken(fake, Users(1), small(requests=3, shared_prefix=50, endpoint=endpoint))
        if endpoint == COMPLETIONS:
            heads = {" ".join(served.body["prompt"].split()[:50]) for served in fake.served}
        else:
            assert all(served.body["messages"][0]["role"] == "system" for served in fake.served)
            heads = {served.body["messages"][0]["content"] for served in fake.served}
        [head] = heads
        assert len(head.split()) == 50


async def test_requests_at_a_rate_are_sent_when_they_are_due() -> None:
    clock = VirtualClock()
    rate = Rate(4.0, 0.5)
    turn = await taken(FakeOpenAI(), rate, small(requests=20), clock=clock)
    import random

    expected = offsets(rate, random.Random(f"{SEED}/arrivals/{rate}/0"))
    due = sorted(outcome.due - turn.started for outcome in turn.outcomes)
    assert due == pytest.approx([next(expected) for _ in range(20)])
    assert all(outcome.started >= outcome.due for outcome in turn.outcomes)


async def test_a_duration_ends_a_turn_and_lets_answers_end() -> None:
    clock = VirtualClock()
    turn = Turn("fake", Users(1), 0)
    fake = FakeOpenAI(pause=Metronome(clock, turn, first=1.0, gap=0.25))
    await into(turn, fake, small(duration=5.0), "steady", clock)
    # Each answer takes 2 seconds: the third begins at 4 and ends at 6, and a fourth would begin too late.
    assert [outcome.started - turn.started for outcome in turn.outcomes] == pytest.approx([0, 2, 4])
    assert turn.ended == pytest.approx(turn.started + 6)
    assert requests(Users(1), small(duration=5.0)) is None


async def test_a_rate_ends_after_half_a_minute_when_nothing_else_is_said() -> None:
    turn = await taken(FakeOpenAI(), Rate(2.0, float("inf")), small(), clock=VirtualClock())
    assert len(turn.outcomes) == 60


@pytest.mark.parametrize(
    ("model", "kind"),
    [
        ("cut", "broken off"),
        ("late", "error in stream"),
        ("babbling", "malformed"),
        ("busy", "status 503"),
        ("silent", "timeout"),
    ],
)
async def test_failures_by_kind(model: str, kind: str) -> None:
    workload = small(requests=3, timeout=0.2 if model == "silent" else 60.0)
    clock = VirtualClock()  # nobody waits in earnest after a failure
    turn = await taken(FakeOpenAI(), Users(1), workload, model=model, clock=clock)
    found = summarise([turn], Goals(ttft=100.0))
    assert found.failures == {kind: 3}
    assert found.ok == 0
    assert found.output_rate is None
    assert found.goodput is not None
    assert found.goodput.share == 0
    assert found.first_failure


async def test_a_server_that_closes_kept_connections_is_asked_again() -> None:
    fake = FakeOpenAI()
    turn = await taken(fake, Users(2), small(requests=6), model="closing", clock=VirtualClock())
    assert [outcome.failure for outcome in turn.outcomes] == [None] * 6
    assert len(fake.measured) == 6, "nothing is answered twice"


async def test_nobody_there() -> None:
    clock = VirtualClock()
    async with FakeOpenAI().listening() as url:
        pass  # and now the port is closed
    target = Target("fake", url, "steady")
    workload = small(requests=100)
    turn = Turn("fake", Users(1), 0)
    async with connected(target, clock) as session:
        client = Client(session, target, workload, Accepts(), clock)
        await take(turn, client, Writer(workload, Fit(0, 1.0), SEED), workload, SEED, clock)
    assert {outcome.failure.kind for outcome in turn.outcomes if outcome.failure} == {"connect"}
    assert len(turn.outcomes) == 20, "a hundred refusals say no more than twenty"


async def test_a_turn_that_is_cancelled_keeps_what_came() -> None:
    third = asyncio.Event()

    async def pause(number: int) -> None:
        if len(fake.served) == 3:
            third.set()
            await asyncio.Event().wait()

    fake = FakeOpenAI(pause=pause)
    turn = Turn("fake", Users(1), 0)
    task = asyncio.create_task(into(turn, fake, small(requests=9), "steady", WallClock()))
    await third.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = summarise([turn], Goals())
    assert turn.cut
    assert (found.ok, found.failed, found.unfinished) == (2, 0, 1)
    assert turn.strain is not None


async def test_what_is_sent() -> None:
    fake = FakeOpenAI()
    await taken(fake, Users(1), small(requests=1, temperature=0.5, extra={"top_k": 3, "stream_options": None}))
    [served] = fake.served
    served.body.pop("messages")
    assert served.body == {
        "model": "steady",
        "stream": True,
        "stream_options": None,
        "max_tokens": 5,
        "temperature": 0.5,
        "ignore_eos": True,
        "top_k": 3,
    }


async def test_warming_up_asks_otherwise_than_the_turn() -> None:
    clock, workload, fake = WallClock(), small(requests=4, warmup=3), FakeOpenAI()
    async with fake.listening() as url:
        target = Target("fake", url, "steady", key="hush")
        async with connected(target, clock) as session:
            client, writer = Client(session, target, workload, Accepts(), clock), Writer(workload, Fit(7, 1), SEED)
            await warm_up(client, writer, workload, Users(2), "2 users/0", clock)
            assert fake.peak <= 2
            await take(Turn("fake", Users(2), 0), client, writer, workload, SEED, clock)
    assert len({served.body["messages"][0]["content"] for served in fake.served}) == 7
    assert {served.key for served in fake.served} == {"Bearer hush"}


def test_requests_of_a_turn() -> None:
    assert requests(Users(1), Workload()) == 8
    assert requests(Users(128), Workload()) == 256
    assert requests(Users(128), Workload(requests=3)) == 3
    assert requests(Rate(3.0), Workload()) is None
