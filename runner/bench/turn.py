"""One turn: one server under one load, from the first request to the last answer.

`Turn` is the board that the users write to and everybody else reads, also while it runs. What it adds up to, others
know.
"""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass, field
from itertools import count

from runner.bench.arrivals import offsets
from runner.bench.client import Client, Outcome
from runner.bench.clock import Clock
from runner.bench.prompts import Prompt, Writer
from runner.bench.shape import Level, Rate, Users, Workload
from runner.bench.watch import Strain, Watch

# A user whose request failed waits this long, as a polite client does; a dead server is not asked in a tight loop.
_AFTER_FAILURE = 0.25  # seconds
_GIVE_UP = 20  # failures without a single answer
_RATE_SECONDS = 30.0  # of a turn at a rate, when neither requests nor duration is given


@dataclass(slots=True)
class Turn:
    """What has happened so far. `ended` is None while it runs; `cut` is True when it was ended before its time."""

    target: str
    level: Level
    round: int  # from 0
    planned: int | None = None  # requests, None when time decides
    started: float = 0.0
    ended: float | None = None
    outcomes: list[Outcome] = field(default_factory=list)
    in_flight: int = 0
    peak: int = 0  # most in flight at once
    unfinished: int = 0  # requests that were under way when it was cut
    chunks: int = 0  # with text, of answers under way too
    cut: bool = False
    strain: Strain | None = None

    @property
    def is_hopeless(self) -> bool:
        """True when so many requests failed, and not one was answered, that the rest would only repeat it."""
        return len(self.outcomes) >= _GIVE_UP and all(each.failure is not None for each in self.outcomes)


def requests(level: Level, workload: Workload) -> int | None:
    """Requests of one turn; None when its duration decides. By default each user asks twice."""
    if workload.requests is not None or workload.duration is not None:
        return workload.requests
    return max(8, 2 * level.count) if isinstance(level, Users) else None


async def take(turn: Turn, client: Client, writer: Writer, workload: Workload, seed: str, clock: Clock) -> None:
    """Run the turn to its end, noting everything on it. When cancelled, it holds what had come by then, and `cut`."""
    driver = _Driver(turn, client, writer, workload, seed, clock)
    turn.planned = requests(turn.level, workload)
    async with Watch() as watch:
        turn.started = clock.now()
        try:
            await driver.run()
        except asyncio.CancelledError:
            turn.cut = True
            raise
        finally:
            turn.ended = clock.now()
            delays = [outcome.delay for outcome in turn.outcomes if outcome.delay is not None]
            turn.strain = watch.strain(delays)


async def warm_up(client: Client, writer: Writer, workload: Workload, level: Level, key: str, clock: Clock) -> None:
    """Ask as the turn will, and forget the answers: caches, threads and connections are then as in the middle of it."""
    at_once = level.count if isinstance(level, Users) else workload.warmup
    slots = asyncio.Semaphore(at_once)

    async def one(index: int) -> None:
        async with slots:
            await client.ask(writer.prompt(f"warm-up/{key}", index), clock.now())

    async with asyncio.TaskGroup() as group:
        for index in range(workload.warmup):
            group.create_task(one(index))


class _Driver:
    """Sends the requests of one turn."""

    def __init__(self, turn: Turn, client: Client, writer: Writer, workload: Workload, seed: str, clock: Clock) -> None:
        self._turn = turn
        self._client = client
        self._writer = writer
        self._workload = workload
        self._clock = clock
        self._seed = seed
        self._key = f"{turn.level}/{turn.round}"
        self._numbers = count()

    async def run(self) -> None:
        level = self._turn.level
        if isinstance(level, Rate):
            await self._at_rate(level)
        else:
            async with asyncio.TaskGroup() as group:
                for _ in range(min(level.count, self._turn.planned or level.count)):
                    group.create_task(self._user())

    async def _user(self) -> None:
        due = self._turn.started
        while (number := self._next(self._clock.now())) is not None:
            outcome = await self._one(self._prompt(number), due)
            due = outcome.ended
            if outcome.failure is not None:
                await self._clock.sleep(_AFTER_FAILURE)
                due = self._clock.now()

    async def _at_rate(self, rate: Rate) -> None:
        async with asyncio.TaskGroup() as group:
            for offset in offsets(rate, random.Random(f"{self._seed}/arrivals/{self._key}")):
                due = self._turn.started + offset
                number = self._next(due)
                if number is None:
                    return
                prompt = self._prompt(number)  # before it is due: writing a long one takes a moment
                await self._clock.sleep(max(0.0, due - self._clock.now()))
                group.create_task(self._one(prompt, due))

    def _next(self, at: float) -> int | None:
        """The number of the request that is due at a moment; None when there are to be no more."""
        turn = self._turn
        number = next(self._numbers)
        if turn.planned is not None and number >= turn.planned:
            return None
        if at - turn.started >= self._seconds():
            return None
        return None if turn.is_hopeless else number

    def _seconds(self) -> float:
        if self._workload.duration is not None:
            return self._workload.duration
        return float("inf") if self._turn.planned is not None else _RATE_SECONDS

    def _prompt(self, number: int) -> Prompt:
        return self._writer.prompt(self._key, number)

    async def _one(self, prompt: Prompt, due: float) -> Outcome:
        turn = self._turn
        turn.in_flight += 1
        turn.peak = max(turn.peak, turn.in_flight)
        try:
            outcome = await self._client.ask(prompt, due, self._heard)
            turn.outcomes.append(outcome)
            return outcome
        except asyncio.CancelledError:
            turn.unfinished += 1
            raise
        finally:
            turn.in_flight -= 1

    def _heard(self, chunks: int) -> None:
        self._turn.chunks += chunks
