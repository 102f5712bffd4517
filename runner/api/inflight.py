"""The requests under way: what the log will say of each, and a way for a server that stops to wait for them all.

Owns one set of tasks. Knows nothing of what they do.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from aiohttp import web


class InFlight:
    """Belongs to the server's event loop; not for other threads."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self._idle = asyncio.Event()
        self._idle.set()
        self._expelled: set[asyncio.Task[Any]] = set()
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
            self._expelled.discard(task)
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
            self._expelled.add(task)
            task.cancel()

    def accept_expulsion(self) -> bool:
        """True when the current task's cancellation came from `expel`; it is then taken back, once."""
        task = asyncio.current_task()
        if task is None or task not in self._expelled:
            return False
        self._expelled.discard(task)
        task.uncancel()
        return True


IN_FLIGHT = web.AppKey("in_flight", InFlight)
NOTE = web.RequestKey("note", str)
"""What a request's line in the log ends with: the model, the counts, the failure; never text of users or models."""


def note(request: web.Request, text: str) -> None:
    """Add to the request's line in the log."""
    request[NOTE] = f"{request.get(NOTE, '')} {text}"


def note_model(request: web.Request, name: str) -> None:
    """Add the model that is asked, cut to a length that a log can bear."""
    note(request, f"model={name[:100]}")
