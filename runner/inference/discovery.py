"""Looking at models before they are here, for callers on the event loop: each call waits on a thread of its own.

What a look and a search are, the registry knows; it is handed in, since its parts are large and imported on use.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, TypeVar

from registry.progress import Cancel
from registry.resolve import Wanted

if TYPE_CHECKING:
    from registry.look import Look
    from registry.search import Found

T = TypeVar("T")
_AT_ONCE = 4


class Discovery:
    """`look` takes what a pull would take, `search` a text, how many of each kind, and whether to ask the hub."""

    def __init__(self, look: Callable[[Wanted, Cancel], Look], search: Callable[[str, int, bool], Found]) -> None:
        self._look = look
        self._search = search
        self._room = asyncio.Semaphore(_AT_ONCE)

    async def look(self, wanted: Wanted) -> Look:
        """What a pull would bring. Raises what `registry.look` raises; given up when nobody waits any more."""
        given_up = threading.Event()
        try:
            return await self._in_thread(lambda: self._look(wanted, given_up.is_set))
        finally:
            given_up.set()

    async def search(self, text: str, limit: int, hub: bool) -> Found:
        """What answers to the words of `text`: `limit` of the catalog's, and of the hub's with `hub`."""
        return await self._in_thread(lambda: self._search(text, limit, hub))

    async def _in_thread(self, work: Callable[[], T]) -> T:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def tell(set_to: Callable[[], None]) -> None:
            with suppress(RuntimeError):  # the loop has ended
                loop.call_soon_threadsafe(lambda: None if future.done() else set_to())

        def run() -> None:
            try:
                result = work()
            except Exception as error:  # noqa: BLE001 - it goes to whoever waits
                failure = error
                tell(lambda: future.set_exception(failure))
            else:
                tell(lambda: future.set_result(result))

        async with self._room:
            # Its own thread rather than a pool's: the end of the daemon doesn't wait for a silent machine elsewhere.
            threading.Thread(target=run, name="look", daemon=True).start()
            return await future
