"""Blocking work for callers on the event loop, on threads that the end of the daemon doesn't wait for.

For what asks machines elsewhere, which may be silent for long. Knows nothing of what the work is.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

T = TypeVar("T")


class OwnThreads:
    """A thread for each piece of work, at most `places` at once. A place is taken until the thread has ended, whether
    or not somebody still waits for what it finds. Belongs to one event loop."""

    def __init__(self, name: str, places: int) -> None:
        self._name = name
        self._places = asyncio.Semaphore(places)

    async def run(self, work: Callable[[], T]) -> T:
        """What the work returns or raises. Cancelling the call leaves a thread that runs already to its end."""
        await self._places.acquire()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def tell(set_to: Callable[[], None]) -> None:
            def on_loop() -> None:
                self._places.release()
                if not future.done():  # nobody waits any more
                    set_to()

            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(on_loop)

        def run() -> None:
            try:
                result = work()
            except BaseException as error:  # noqa: BLE001 - it goes to whoever waits
                failure = error
                tell(lambda: future.set_exception(failure))
            else:
                tell(lambda: future.set_result(result))

        try:
            threading.Thread(target=run, name=self._name, daemon=True).start()
        except RuntimeError:  # the machine has no more threads
            self._places.release()
            raise
        return await future
