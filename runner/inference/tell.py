"""From a wanted question to what the worker tells."""

from __future__ import annotations

from runner.errors import RunnerError
from runner.inference.passage import submit
from runner.inference.requests import Told
from runner.protocol import events
from runner.scheduler.loop import Scheduler
from runner.scheduler.ticket import Want


async def told(scheduler: Scheduler, want: Want) -> Told:
    """Submit a question and wait for its answer. Raises what the scheduler or the worker fails it with."""
    submitted = submit(scheduler, want)
    try:
        while items := await submitted.stream.take():
            for item in items:
                if isinstance(item, events.Told):
                    return Told(item.tokens, item.pieces, item.text)
    finally:
        scheduler.cancel(submitted.id)
    raise RunnerError("the worker ended without an answer")
