"""The loop's effects for real: worker processes by number, and one timer.

Knows no state of the scheduler's beyond which workers have not ended yet.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextvars import Context
from pathlib import Path

from runner.protocol.commands import Command, Load
from runner.protocol.events import Event
from runner.scheduler.child import Child, worker_command
from runner.scheduler.effects import Reports
from runner.scheduler.failures import Exit
from runner.scheduler.worker_log import WorkerLog, path_of


class Workers:
    """Worker processes of this daemon. `clock` is the scheduler's; `command` the argv of a worker."""

    def __init__(
        self,
        logs: Path,
        load_timeout: float,
        clock: Callable[[], float],
        command: Callable[[], Sequence[str]] = worker_command,
    ) -> None:
        self._logs = logs
        self._load_timeout = load_timeout
        self._clock = clock
        self._command = command
        self._children: dict[int, Child] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def patience(self, load_timeout: float) -> None:
        """How long loads that begin from now on may show no progress, in seconds."""
        self._load_timeout = load_timeout

    def start(self, run: int, model: str, load: Load, reports: Reports) -> None:
        """Spawn a worker in a task of its own."""
        worker_log = WorkerLog(path_of(self._logs, model))
        child = Child(run, self._command(), load, worker_log, self._load_timeout, _Forget(self, reports))
        self._children[run] = child
        # In a context of its own: what the worker does later is not this request's doing, and not logged as such.
        task = asyncio.get_running_loop().create_task(child.start(), context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def send(self, run: int, command: Command) -> None:
        """Pass a command to a worker that is still there."""
        if (child := self._children.get(run)) is not None:
            child.send(command)

    def stop(self, run: int) -> None:
        """Begin a worker's end."""
        if (child := self._children.get(run)) is not None:
            child.stop()

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
        for child in list(self._children.values()):
            await child.ended.wait()

    def kill(self) -> None:
        """End all workers now."""
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

    def exited(self, run: int, how: Exit) -> None:
        self._workers.forget(run)
        self._reports.exited(run, how)
