"""Stored models against their sources, for callers on the event loop. How a source is asked is given.

Each look runs on a thread of its own, since a source may be silent for long, and several go on at once.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from registry.names import Name
from registry.store import Store
from registry.stored import StoredModel
from runner.inference.own_threads import OwnThreads

if TYPE_CHECKING:
    from registry.standing import Known, Standing

Compare = Callable[[StoredModel, bool], "Standing"]
"""A model, and whether plain HTTP beyond loopback is allowed."""
Know = Callable[[str], "Known"]
_AT_ONCE = 4


log = logging.getLogger(__name__)


class Updates:
    """Constructed by the daemon only."""

    def __init__(self, store: Store, know: Know, compare: Compare) -> None:
        self._store = store
        self._know = know
        self._compare = compare
        self._threads = OwnThreads("look", _AT_ONCE)

    async def known(self, texts: Sequence[str]) -> tuple[Known, ...]:
        """What each text means here. Raises BadName, BadDigest or BadSource for one that can mean nothing."""
        return await asyncio.to_thread(lambda: tuple(map(self._know, texts)))

    async def stored(self) -> tuple[StoredModel, ...]:
        """Every whole model, by name."""
        models = await asyncio.to_thread(self._store.list)
        return tuple(sorted(models, key=lambda each: str(each.name)))

    async def standing(self, names: Sequence[str] | None, insecure: bool = False) -> tuple[Standing, ...]:
        """How each of these models stands, or all of them. Raises BadName, NotFound; a look that fails is its model's
        answer, and the others are told all the same."""
        if names is None:
            models = await self.stored()
        else:
            models = await asyncio.to_thread(lambda: tuple(self._store.show(Name.parse(each)) for each in names))
        return tuple(await asyncio.gather(*(self._stands(model, insecure) for model in models)))

    async def _stands(self, model: StoredModel, insecure: bool) -> Standing:
        try:
            return await self._threads.run(lambda: self._compare(model, insecure))
        except Exception as error:
            from registry.standing import Standing  # on use: its parts are large

            log.exception("looking at the source of %s failed", model.name)
            return Standing(model=model, state="unreachable", problem=f"looking at its source failed: {error!r:.300}")
