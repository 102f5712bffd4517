"""A whole run: the order of turns, prompts that flatter nobody, and ends that come early."""

import asyncio

import pytest

from runner.bench.meet import Unusable
from runner.bench.run import Run, bench, order
from runner.bench.shape import Lengths, Plan, Target, Users, Workload
from runner.bench.turn import Turn
from tests.bench.fake_openai import FakeOpenAI, Served

SMALL = Workload(input=Lengths(20, 20), output=Lengths(3, 3), requests=4)


class Notes:
    """What an observer was told."""

    def __init__(self) -> None:
        self.told: list[str] = []

    def meeting(self, name: str) -> None:
        self.told.append(f"meet {name}")

    def began(self, turn: Turn) -> None:
        self.told.append(f"{turn.target} {turn.level} {turn.round}")

    def ended(self, turn: Turn) -> None:
        assert turn.ended is not None
        self.told.append("end")


def plan(*targets: Target, **more: object) -> Plan:
    given: dict[str, object] = {"levels": (Users(1), Users(2)), "workload": SMALL, "seed": "s", **more}
    return Plan(targets=targets, **given)  # type: ignore[arg-type]


def test_turns_change_places_from_round_to_round() -> None:
    two = plan(Target("a", "http://a/v1"), Target("b", "http://b/v1"), rounds=2)
    assert [(number, str(level), "ab"[place]) for number, level, place in order(two)] == [
        (0, "1 user", "a"),
        (0, "1 user", "b"),
        (0, "2 users", "a"),
        (0, "2 users", "b"),
        (1, "1 user", "b"),
        (1, "1 user", "a"),
        (1, "2 users", "b"),
        (1, "2 users", "a"),
    ]


async def test_a_run() -> None:
    fake, notes = FakeOpenAI(), Notes()
    async with fake.listening() as url:
        run = Run(plan(Target("a", url), rounds=2))
        await bench(run, notes)
    assert notes.told == [
        "meet a",
        *(line for n in (0, 1) for u in ("1 user", "2 users") for line in (f"a {u} {n}", "end")),
    ]
    assert [(str(turn.level), turn.round, len(turn.outcomes)) for turn in run.turns] == [
        ("1 user", 0, 4),
        ("2 users", 0, 4),
        ("1 user", 1, 4),
        ("2 users", 1, 4),
    ]
    assert len(fake.measured) == 4 * (4 + 1), "four requests a turn, and one to warm up"
    assert len({said(served) for served in fake.measured}) == len(fake.measured), "no prompt comes twice"
    assert not run.cut


def said(served: Served) -> str:
    return str(served.body["messages"][-1]["content"])


async def test_servers_are_asked_the_same_and_one_server_never_twice() -> None:
    one, other = FakeOpenAI(), FakeOpenAI()
    async with one.listening() as url, other.listening() as elsewhere:
        await bench(Run(plan(Target("a", url), Target("b", elsewhere), Target("c", url))), Notes())
    asked = [said(served) for served in one.measured]
    assert len(set(asked)) == len(asked) == 20, "two names for one server, and no prompt of one is known from the other"
    assert {said(served) for served in other.measured} < set(asked)


async def test_a_server_that_cannot_be_measured_ends_the_run_before_any_turn() -> None:
    fake = FakeOpenAI()
    async with fake.listening() as url:
        run = Run(plan(Target("a", url), Target("b", url, "none")))
        with pytest.raises(Unusable):
            await bench(run, Notes())
    assert run.turns == []


async def test_a_limit_ends_the_run_with_what_there_is() -> None:
    async def pause(number: int) -> None:
        if len(fake.measured) > 7:  # the second turn, after five requests of the first and its own warm-up
            await asyncio.Event().wait()

    fake, notes = FakeOpenAI(pause=pause), Notes()
    async with fake.listening() as url:
        run = Run(plan(Target("a", url), limit=0.5))
        await bench(run, notes)
    # How far it gets in half a second is the machine's affair; that it gets no further is the limit's.
    assert run.cut
    assert notes.told.count("end") == len(run.turns) < 3
    assert all(turn.ended is not None for turn in run.turns)


async def test_cancelling_keeps_what_came() -> None:
    stuck = asyncio.Event()

    async def pause(number: int) -> None:
        if len(fake.measured) > 7:
            stuck.set()
            await asyncio.Event().wait()

    fake = FakeOpenAI(pause=pause)
    async with fake.listening() as url:
        run = Run(plan(Target("a", url)))
        task = asyncio.create_task(bench(run, Notes()))
        await stuck.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
    assert run.cut
    assert [turn.cut for turn in run.turns] == [False, True]
