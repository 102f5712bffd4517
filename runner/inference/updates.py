"""Stored models against their sources, for callers on the event loop. How a source is asked is given.

Each look runs on a thread of its own pool, since a source may be silent for long, and several go on at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from typing import TYPE_CHECKING

from registry.names import Name
from registry.store import Store
from registry.stored import StoredModel

if TYPE_CHECKING:
    from registry.standing import Known, Standing

Compare = Callable[[StoredModel, bool], "Standing"]
"""A model, and whether plain HTTP beyond loopback is allowed."""
Know = Callable[[str], "Known"]


class Updates:
    """Constructed by the daemon only. `threads` looks at sources and does nothing else."""

    def __init__(self, store: Store, know: Know, compare: Compare, threads: Executor) -> None:
        self._store = store
        self._know = know
        self._compare = compare
        self._threads = threads

    async def known(self, texts: Sequence[str]) -> tuple[Known, ...]:
        """What each text means here. Raises BadName, BadDigest or BadSource for one that can mean nothing."""
        return await asyncio.to_thread(lambda: tuple(map(self._know, texts)))

    async def stored(self) -> tuple[StoredModel, ...]:
        """Every whole model, by name."""
        models = await asyncio.to_thread(self._store.list)
        return tuple(sorted(models, key=lambda each: str(each.name)))

    async def standing(self, names: Sequence[str] | None, insecure: bool = False) -> tuple[Standing, ...]:
        """How each of these models stands, or all of them. Raises BadName, NotFound."""
        if names is None:
            models = await self.stored()
        else:
            models = await asyncio.to_thread(lambda: tuple(self._store.show(Name.parse(each)) for each in names))
        loop = asyncio.get_running_loop()
        looks = (loop.run_in_executor(self._threads, self._compare, model, insecure) for model in models)
        return tuple(await asyncio.gather(*looks))
