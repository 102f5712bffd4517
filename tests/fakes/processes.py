"""A scheduler over real processes of the fake worker, for tests with an event loop."""

from __future__ import annotations

import asyncio
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from runner.protocol.commands import Generate, Load, TextPrompt
from runner.protocol.events import Done, Text
from runner.protocol.options import LoadOptions, SampleOptions
from runner.scheduler.effects import Reports
from runner.scheduler.loop import Limits, Scheduler
from runner.scheduler.stock import Host
from runner.scheduler.stream import Stream
from runner.scheduler.ticket import Want
from runner.scheduler.workers import Workers
from tests.fakes.scheduling import GIB, SMALL

FAKE_WORKER = [sys.executable, "-P", "-m", "tests.fakes.worker"]


def want(text: str | None, model: str = "a", *, how: str = "ok", num_parallel: int = 2, **options: float) -> Want:
    """A request whose prompt, and a model whose weight, tell the fake worker what to do."""
    return Want(
        model=model,
        digest=f"digest of {model}",
        key=model,
        load=Load((how,), LoadOptions(num_ctx=1024, num_parallel=num_parallel)),
        footprint=SMALL,
        work=None if text is None else Generate(0, TextPrompt(text), SampleOptions()),
        keep_alive=options.get("keep_alive"),
    )


@dataclass
class Told:
    """An answer to its end."""

    text: str
    end: Done | None


@dataclass
class House:
    scheduler: Scheduler
    workers: Watched
    logs: Path

    async def ask(self, wanted: Want) -> Told:
        """Submit, and take everything; cancels the request when this task is cancelled."""
        stream = Stream()
        request = self.scheduler.submit(wanted, stream)
        text, end = "", None
        try:
            while items := await stream.take():
                for item in items:
                    text += item.text if isinstance(item, Text) else ""
                    end = item if isinstance(item, Done) else end
        finally:
            self.scheduler.cancel(request)
        return Told(text, end)

    def pid(self, model: str) -> int | None:
        for member in self.scheduler.view.residents():
            if member.model == model:
                return self.workers.pid(member.run)
        return None

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until this is so; looked at after everything that the scheduler does."""
        while not condition():
            self.workers.something_happened.clear()
            await self.workers.something_happened.wait()

    async def busy(self) -> None:
        """Wait until a worker holds a request."""
        await self.until(lambda: any(member.inside for member in self.scheduler.view.residents()))


class Watched(Workers):
    """Workers that tell when the scheduler has done something, or a process was spawned."""

    def __init__(self, logs: Path, load_timeout: float, *, has_spare: bool) -> None:
        super().__init__(logs, load_timeout, time.monotonic, command=lambda: FAKE_WORKER, has_spare=has_spare)
        self.something_happened = asyncio.Event()

    def wake(self, at: float | None, tick: Callable[[], None]) -> None:
        super().wake(at, tick)
        self.something_happened.set()

    def start(self, run: int, model: str, load: Load, reports: Reports) -> None:
        super().start(run, model, load, reports)
        for task in self._tasks:
            task.add_done_callback(lambda _: self.something_happened.set())


@asynccontextmanager
async def house(
    logs: Path, *, models: int = 1, queue: int = 1000, load_timeout: float = 30.0, has_spare: bool = False
) -> AsyncIterator[House]:
    """A scheduler with its workers; at the end everything is stopped and gone."""
    workers = Watched(logs, load_timeout, has_spare=has_spare)
    scheduler = Scheduler(Limits(models, queue, 300.0), workers, time.monotonic, Host(lambda: 64 * GIB))
    try:
        yield House(scheduler, workers, logs)
    finally:
        scheduler.close(lambda: None)
        scheduler.abort()
        async with asyncio.timeout(20):
            await workers.gone()
