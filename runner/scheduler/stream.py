"""A request's events on their way from the scheduler to whoever awaits them.

Holds what has arrived and not been taken: at most one request's answer. Knows nothing of what the events mean.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from runner.errors import RunnerError
from runner.protocol.events import Ended, Outcome, Started, Text
from runner.scheduler.ticket import Admission

Item = Admission | Started | Text | Ended | Outcome


class Stream:
    """An outlet with a taker. One task may take at a time. `hear` is told of each admission at once."""

    def __init__(self, hear: Callable[[Admission], None] | None = None) -> None:
        self._hear = hear
        self._items: list[Item] = []
        self._ended = False
        self._error: RunnerError | None = None
        self._waiter: asyncio.Future[None] | None = None

    def admit(self, admission: Admission) -> None:
        if self._hear is not None:
            self._hear(admission)
        self._put(admission)

    def put(self, event: Started | Text | Ended) -> None:
        self._put(event)

    def finish(self, event: Outcome | None) -> None:
        self._ended = True
        self._put(event)

    def fail(self, error: RunnerError) -> None:
        self._ended, self._error = True, error
        self._put(None)

    async def take(self) -> list[Item]:
        """Everything that has arrived since the last time; waits for something. Empty at the end.

        Raises the error that the request failed with, once everything before it has been taken.
        """
        if not self._items and not self._ended:
            self._waiter = asyncio.get_running_loop().create_future()
            await self._waiter
        items, self._items = self._items, []
        if not items and self._error is not None:
            raise self._error
        return items

    def _put(self, item: Item | None) -> None:
        if item is not None:
            self._items.append(item)
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
