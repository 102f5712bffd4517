"""The loop's effects for real: worker processes by number, and one timer.

Knows no state of the scheduler's beyond which workers have not ended yet.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from contextvars import Context
from pathlib import Path

from runner.log import worker_file
from runner.protocol.commands import Command, Load, Why
from runner.protocol.events import Event, Loading, Ready, Started, Stats
from runner.scheduler.child import Child, worker_command
from runner.scheduler.effects import Reports
from runner.scheduler.environment import worker_environment
from runner.scheduler.failures import Exit
from runner.scheduler.spare import Spare
from runner.scheduler.worker_log import WorkerLog

_SLOWEST = 50e6  # bytes a second that a load is granted time for, on top of `load_timeout`


def _bytes_of(load: Load) -> int:
    """The size of all files that a load reads; one that isn't there has none."""
    size = 0
    for path in (*load.weights, *load.draft, *([load.projector] if load.projector else [])):
        with suppress(OSError):
            size += os.stat(path).st_size
    return size


class Workers:
    """Worker processes of this daemon. `clock` is the scheduler's; `command` the argv of a worker; `load_timeout` how
    many seconds a load may go without a sign of life, and the larger its files the more.

    With `has_spare`, one more stands ready for the next load while the daemon is in use.
    """

    def __init__(
        self,
        logs: Path,
        load_timeout: float,
        clock: Callable[[], float],
        command: Callable[[], Sequence[str]] = worker_command,
        *,
        has_spare: bool = False,
    ) -> None:
        self._logs = logs
        self._load_timeout = load_timeout
        self._clock = clock
        self._command = command
        self._children: dict[int, Child] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._spare = Spare(command, worker_environment) if has_spare else None

    def patience(self, load_timeout: float) -> None:
        """How long loads that begin from now on may show no progress, in seconds."""
        self._load_timeout = load_timeout

    def start(self, run: int, model: str, load: Load, reports: Reports) -> None:
        """Spawn a worker in a task of its own."""
        worker_log = WorkerLog(worker_file(self._logs, model))
        timeout = self._load_timeout + _bytes_of(load) / _SLOWEST
        child = Child(run, self._command(), load, worker_log, timeout, _Forget(self, reports))
        self._children[run] = child
        # In a context of its own: what the worker does later is not this request's doing, and not logged as such.
        standing = self._spare.take() if self._spare is not None else None
        task = asyncio.get_running_loop().create_task(child.start(standing), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def send(self, run: int, command: Command) -> None:
        """Pass a command to a worker that is still there."""
        if (child := self._children.get(run)) is not None:
            child.send(command)
            if self._spare is not None:
                self._spare.touch()

    def stop(self, run: int, why: Why = "idle") -> None:
        """Begin a worker's end."""
        if (child := self._children.get(run)) is not None:
            child.stop(why)

    def heard(self, events: Sequence[Event]) -> None:
        """A worker has told these: what they mean to the one that stands ready."""
        if self._spare is None:
            return
        if any(isinstance(event, Ready) for event in events):
            self._spare.want()
        elif not all(isinstance(event, Loading | Started | Stats) for event in events):
            self._spare.answered()

    @property
    def spare(self) -> int | None:
        """The process id of the worker that stands ready, if one does."""
        return self._spare.pid if self._spare is not None else None

    def wake(self, at: float | None, tick: Callable[[], None]) -> None:
        """Set the one timer anew."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if at is not None:
            self._timer = asyncio.get_running_loop().call_later(max(0.0, at - self._clock()), tick)

    def pid(self, run: int) -> int | None:
        """The process id of a worker."""
        child = self._children.get(run)
        return child.pid if child else None

    async def gone(self) -> None:
        """Wait until every worker has ended. Each has been told to stop."""
        if self._spare is not None:
            await self._spare.close()
        for child in list(self._children.values()):
            await child.ended.wait()

    def kill(self) -> None:
        """End all workers now."""
        if self._spare is not None:
            self._spare.kill()
        for child in list(self._children.values()):
            child.kill()

    def forget(self, run: int) -> None:
        """The worker with this number has ended."""
        self._children.pop(run, None)


class _Forget:
    """Passes reports on, and takes a worker that has ended out of the list."""

    def __init__(self, workers: Workers, reports: Reports) -> None:
        self._workers = workers
        self._reports = reports

    def events(self, run: int, events: Sequence[Event]) -> None:
        self._reports.events(run, events)
        self._workers.heard(events)

    def exited(self, run: int, how: Exit) -> None:
        self._workers.forget(run)
        self._reports.exited(run, how)
