"""A whole run: gets to know the servers, then takes turns. `Run` holds what came, also when it is cut short.

Knows the order of things; how a turn goes and what its figures mean, others know.
"""

from __future__ import annotations

import asyncio
import gc
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass, field
from typing import Protocol

from runner.bench.client import Client, connected
from runner.bench.clock import Clock, WallClock
from runner.bench.meet import Met, meet
from runner.bench.prompts import Writer
from runner.bench.shape import Level, Plan, Users
from runner.bench.turn import Turn, take, warm_up

_SPARE_FILES = 64  # descriptors for all that isn't a connection
_AT_A_RATE = 4096  # connections, where nobody can say how many requests will be under way


class Observer(Protocol):
    """Whoever shows the run while it goes on. Called between the events of the load, so it must be quick."""

    def meeting(self, name: str) -> None: ...

    def began(self, turn: Turn) -> None: ...

    def ended(self, turn: Turn) -> None: ...


@dataclass(slots=True)
class Run:
    """What is known so far. `cut` is True when it didn't get to its end."""

    plan: Plan
    met: dict[str, Met] = field(default_factory=dict)  # by target's name
    turns: list[Turn] = field(default_factory=list)
    cut: bool = False


def order(plan: Plan) -> Iterator[tuple[int, Level, int]]:
    """Round, level and the target's place in the plan, turn after turn.

    All levels come once before any comes again, so that a run cut short has something of each. The servers change
    places from round to round: a machine that gets warmer, or busier, is nobody's advantage.
    """
    places = range(len(plan.targets))
    for number in range(plan.rounds):
        for level in plan.levels:
            for place in places if number % 2 == 0 else reversed(places):
                yield number, level, place


async def bench(run: Run, observer: Observer, clock: Clock | None = None) -> None:
    """Fill `run`. Raises Unusable when a server cannot be measured; cancelling leaves what had come by then."""
    clock = clock or WallClock()
    plan = run.plan
    _make_room_for(plan)
    try:
        async with asyncio.timeout(plan.limit):
            for target in plan.targets:
                observer.meeting(target.name)
                run.met[target.name] = await meet(target, plan.workload, plan.seed, clock)
            with _without_pauses():
                await _take_turns(run, observer, clock)
    except TimeoutError:  # the limit's: those of requests are outcomes
        run.cut = True
    except asyncio.CancelledError:
        run.cut = True
        raise


async def _take_turns(run: Run, observer: Observer, clock: Clock) -> None:
    plan = run.plan
    async with _clients(run, clock) as clients:
        for number, level, place in order(plan):
            name = plan.targets[place].name
            client, writer = clients[name]
            await warm_up(client, writer, plan.workload, level, f"{level}/{number}", clock)
            turn = Turn(name, level, number)
            run.turns.append(turn)
            observer.began(turn)
            try:
                await take(turn, client, writer, plan.workload, plan.seed, clock)
            finally:
                observer.ended(turn)


@asynccontextmanager
async def _clients(run: Run, clock: Clock) -> AsyncIterator[dict[str, tuple[Client, Writer]]]:
    """A client and a writer of prompts for every target. Leaving closes all connections."""
    found: dict[str, tuple[Client, Writer]] = {}
    seen: set[tuple[str, str | None]] = set()
    async with AsyncExitStack() as stack:
        for name, met in run.met.items():
            session = await stack.enter_async_context(connected(met.target, clock))
            client = Client(session, met.target, run.plan.workload, met.accepts, clock)
            # Equal prompts for all, but never twice to the same server: its prefix cache would serve the second.
            place = (met.target.url, met.target.model)
            seed = run.plan.seed if place not in seen else f"{run.plan.seed}/{name}"
            seen.add(place)
            found[name] = (client, Writer(run.plan.workload, met.fit, seed))
        yield found


def _make_room_for(plan: Plan) -> None:
    """Raise the limit on open files, as far as the system lets us: every request under way is one."""
    if sys.platform == "win32":
        return
    import resource

    workload = plan.workload
    levels = [level.count if isinstance(level, Users) else workload.requests or _AT_A_RATE for level in plan.levels]
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(levels) * len(plan.targets) + _SPARE_FILES
    if soft != resource.RLIM_INFINITY and soft < wanted:
        enough = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        with suppress(ValueError, OSError):  # macOS has a lower limit than the one it tells
            resource.setrlimit(resource.RLIMIT_NOFILE, (enough, hard))


@contextmanager
def _without_pauses() -> Iterator[None]:
    """Keep Python itself from holding answers up: what exists already is left out of garbage collection, and a thread
    that draws the table gives way quickly."""
    interval = sys.getswitchinterval()
    gc.collect()
    gc.freeze()
    sys.setswitchinterval(0.0005)
    try:
        yield
    finally:
        sys.setswitchinterval(interval)
        gc.unfreeze()
