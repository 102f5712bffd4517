"""The requests under way: what the log will say of each, and a way for a server that stops to wait for them all.

Owns one set of tasks. Knows nothing of what they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web

from runner.errors import RunnerError, ShuttingDown
from runner.inference.entry import Entry


class InFlight:
    """Belongs to the server's event loop; not for other threads."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._expelled: dict[asyncio.Task[Any], RunnerError] = {}
        self.closing = False

    def __len__(self) -> int:
        return len(self._tasks)

    @contextmanager
    def present(self) -> Iterator[None]:
        """Count the current task as a request for the length of the block."""
        task = asyncio.current_task()
        if task is None:
            raise RuntimeError("a request is handled in a task")
        self._tasks.add(task)
        self._idle.clear()
        try:
            yield
        finally:
            self._tasks.discard(task)
            self._expelled.pop(task, None)
            if not self._tasks:
                self._idle.set()

    async def settle(self, seconds: float) -> bool:
        """Wait until no request is under way, at most `seconds`; True when that is so."""
        try:
            async with asyncio.timeout(seconds):
                await self._idle.wait()
        except TimeoutError:
            return False
        return True

    def expel(self) -> None:
        """Cancel every request under way. Each gets the chance to tell its client why: see `accept_expulsion`."""
        for task in self._tasks:
            self.expel_one(task, shutting_down())

    def expel_one(self, task: asyncio.Task[Any], error: RunnerError) -> None:
        """Cancel one of them, for this reason."""
        if task in self._tasks:
            self._expelled[task] = error
            task.cancel()

    def accept_expulsion(self) -> RunnerError | None:
        """What the client is to be told, where the current task's cancellation came from here; it is then taken back,
        once. Otherwise None."""
        task = asyncio.current_task()
        error = self._expelled.pop(task, None) if task is not None else None
        if task is not None and error is not None:
            task.uncancel()
        return error


IN_FLIGHT = web.AppKey("in_flight", InFlight)
NOTE = web.RequestKey("note", str)
"""What a request's line in the log ends with: the model, the counts, the failure; never text of users or models."""
RECORD = web.RequestKey("record", Entry)
"""The ledger's entry, of a request that has one."""
FAILED = web.RequestKey("failed", tuple[str, str])
"""Code and message of the failure that the client was told."""


def note(request: web.Request, text: str) -> None:
    """Add to the request's line in the log."""
    request[NOTE] = f"{request.get(NOTE, '')} {text}"


def note_model(request: web.Request, name: str) -> None:
    """Add the model that is asked, cut to a length that a log can bear."""
    note(request, f"model={name[:100]}")
    if (entry := request.get(RECORD)) is not None:
        entry.model = name[:100]


def note_failure(request: web.Request, code: str, message: str) -> None:
    """Add that its client is told of a failure: nothing can be cancelled any more."""
    note(request, f"failed={code}")
    request[FAILED] = code, message
    note_end(request)


def note_end(request: web.Request) -> None:
    """The client is being told the end: nothing can be cancelled any more."""
    if (entry := request.get(RECORD)) is not None:
        entry.is_told = True


def shutting_down() -> ShuttingDown:
    """What a request is told that the end of the daemon cuts short, or finds at its door."""
    return ShuttingDown("Runner is shutting down", retry_after=2)
