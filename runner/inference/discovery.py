"""Looking at models before they are here, for callers on the event loop: each waits on a thread of its own.

What a look and a search are, the registry knows; it is handed in, since its parts are large and imported on use.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import TYPE_CHECKING

from registry.progress import Cancel
from registry.resolve import Wanted
from runner.inference.own_threads import OwnThreads

if TYPE_CHECKING:
    from registry.look import Look
    from registry.search import Found

_AT_ONCE = 4


class Discovery:
    """`look` takes what a pull would take, `search` a text, how many of each kind, and whether to ask the hub."""

    def __init__(self, look: Callable[[Wanted, Cancel], Look], search: Callable[[str, int, bool], Found]) -> None:
        self._look = look
        self._search = search
        self._threads = OwnThreads("look", _AT_ONCE)

    async def look(self, wanted: Wanted) -> Look:
        """What a pull would bring. Raises what `registry.look` raises; given up when nobody waits any more."""
        given_up = threading.Event()
        try:
            return await self._threads.run(lambda: self._look(wanted, given_up.is_set))
        finally:
            given_up.set()

    async def search(self, text: str, limit: int, hub: bool) -> Found:
        """What answers to the words of `text`: `limit` of the catalog's, and of the hub's with `hub`."""
        return await self._threads.run(lambda: self._search(text, limit, hub))
