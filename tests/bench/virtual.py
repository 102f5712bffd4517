"""A clock that moves only when a test says so, and a server that moves it: what is measured is then known exactly."""

import asyncio

from runner.bench.turn import Turn


class VirtualClock:
    """Seconds that pass by `advance`, or by somebody sleeping; every look at it is a chance to wake a waiter."""

    def __init__(self) -> None:
        self._time = 1000.0
        self._looked = asyncio.Event()

    def now(self) -> float:
        self._looked.set()
        return self._time

    def advance(self, seconds: float) -> None:
        self._time += seconds

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(0)  # whoever was started before has read the time by then
        self.advance(seconds)

    async def looked(self) -> None:
        """Wait until somebody reads the time."""
        self._looked.clear()
        await self._looked.wait()


class Metronome:
    """A server's pause: `first` seconds before the first chunk, `gap` before each other. Use with one user.

    It waits until the client has noticed every chunk so far before it lets time pass, so that no chunk is late by more
    than nothing.
    """

    def __init__(self, clock: VirtualClock, turn: Turn, first: float, gap: float) -> None:
        self._clock = clock
        self._turn = turn
        self._first, self._gap = first, gap
        self._sent = 0

    async def __call__(self, number: int) -> None:
        while self._turn.chunks < self._sent:
            await self._clock.looked()
        self._clock.advance(self._gap if number else self._first)
        self._sent += 1
