"""Models that other tools have, on their way into the store: what there is, what is under way and how far, what failed.

Hashing takes minutes, so an adoption is a job that stays when its caller leaves; each model is adopted once at a time,
and whoever asks for it meanwhile sees where it stands. Knows no tool's layout: `registry.adopt` does.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncGenerator, Hashable, Iterable
from concurrent.futures import Executor
from contextlib import aclosing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from registry.adopt.found import Found, Look, PassedOver
from registry.adopt.places import KINDS, chosen, look_in
from registry.adopt.take import adopt, here_as
from registry.errors import BadSource, Cancelled, RegistryError
from registry.names import Name
from registry.progress import Cancel, Progress, Report
from registry.store import Store
from runner.inference.jobs import Jobs

log = logging.getLogger(__name__)

_GLANCE = 0.25  # seconds between looks at an adoption that another caller began

State = Literal["new", "adopting", "here"]


@dataclass(frozen=True, slots=True)
class Adoptable:
    """A model that another tool has. `step` says how far its adoption is, `failed` why the last one ended, `here_as`
    what it is called here."""

    found: Found
    state: State
    step: Progress | None = None
    failed: str = ""
    here_as: str = ""


@dataclass(frozen=True, slots=True)
class Shelf:
    """All that a look found, and where it went."""

    models: tuple[Adoptable, ...]
    passed_over: tuple[PassedOver, ...]
    places: tuple[Path, ...] = ()


class Adoptions:
    """Constructed by the daemon only. `threads` is for looking. Adopting itself is work for `jobs`, on threads of its
    own, `hands`: one adoption may wait for another, and must not keep pulls waiting with it."""

    def __init__(self, store: Store, jobs: Jobs, threads: Executor, hands: Executor) -> None:
        self._store = store
        self._jobs = jobs
        self._threads = threads
        self._hands = hands
        self._turn = threading.Condition()
        self._under_way: dict[Hashable, Progress] = {}
        self._failed: dict[Hashable, str] = {}
        self._unwatched: set[asyncio.Task[None]] = set()

    async def look(self, where: str | None) -> Shelf:
        """What a tool has, or a folder at an absolute path; all known tools if none is named. Raises BadSource."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._look, where)

    async def choose(self, where: str, names: Iterable[str], everything: bool) -> tuple[Found, ...]:
        """The models of these names, or all there are but those that have another name here already.

        Raises BadSource, or NotFound with near names.
        """
        return await asyncio.get_running_loop().run_in_executor(
            self._threads, self._choose, where, tuple(names), everything
        )

    async def adopt(self, models: tuple[Found, ...]) -> AsyncGenerator[Progress, None]:
        """Adopt models, and tell how it goes; it goes on when nobody watches. Joined if it is under way.

        Raises the error of a single model; of several, BadSource at the end with those that failed.
        """
        key = ("adopt", frozenset(each.key for each in models))

        def work(report: Report, cancelled: Cancel) -> object:
            self._all(models, report, cancelled)
            return None

        async with aclosing(self._jobs.run(work, key=key, stays=True, threads=self._hands)) as watched:
            async for progress in watched:
                yield progress

    def start(self, models: tuple[Found, ...]) -> None:
        """Adopt models with nobody watching; `look` tells how far they are."""
        task = asyncio.create_task(self._unwatch(models))
        self._unwatched.add(task)
        task.add_done_callback(self._unwatched.discard)

    async def _unwatch(self, models: tuple[Found, ...]) -> None:
        try:
            async with aclosing(self.adopt(models)) as watched:
                async for _ in watched:
                    pass
        except RegistryError as error:
            log.warning("adopting: %s", error)

    def _look(self, where: str | None) -> Shelf:
        whole = Look()
        for each in (where,) if where is not None else KINDS:
            whole.add(look_in(each))
        models = self._store.list()
        shelf = [self._state_of(each, here_as(models, each)) for each in whole.models]
        return Shelf(tuple(shelf), tuple(whole.passed_over), tuple(whole.places))

    def _state_of(self, found: Found, here: Name | None) -> Adoptable:
        with self._turn:
            step, failed = self._under_way.get(found.key), self._failed.get(found.key, "")
        if step is not None:
            return Adoptable(found, "adopting", step)
        if here is not None:
            return Adoptable(found, "here", here_as=str(here))
        return Adoptable(found, "new", failed=failed)

    def _choose(self, where: str, names: tuple[str, ...], everything: bool) -> tuple[Found, ...]:
        look = look_in(where)
        if not everything:
            return chosen(look, names)
        if not look.models:
            reasons = "; ".join(f"{each.what}: {each.reason}" for each in look.passed_over[:5])
            raise BadSource(f"{where}: no model there that could be adopted" + (f" ({reasons})" if reasons else ""))
        models = self._store.list()
        return tuple({each.key: each for each in look.models if _needs_its_name(each, here_as(models, each))}.values())

    def _all(self, models: tuple[Found, ...], report: Report, cancelled: Cancel) -> None:
        failed = []
        for found in models:
            try:
                self._one(found, report, cancelled)
            except Cancelled:
                raise
            except RegistryError as error:
                if len(models) == 1:
                    raise
                failed.append(str(found.name))
                report(Progress(f"left out {found.name}: {str(error).removeprefix(f'{found.name}: ')}"))
        if failed:
            raise BadSource(f"{len(failed)} of {len(models)} models were not adopted: {', '.join(failed)}")

    def _one(self, found: Found, report: Report, cancelled: Cancel) -> None:
        key = found.key
        self._take_turn(key, report, cancelled)

        def tell(progress: Progress) -> None:
            self._under_way[key] = progress
            report(progress)

        try:
            adopt(self._store, found, tell, cancelled)
            self._failed.pop(key, None)
        except RegistryError as error:
            self._failed[key] = str(error)
            raise
        finally:
            with self._turn:
                del self._under_way[key]
                self._turn.notify_all()

    def _take_turn(self, key: Hashable, report: Report, cancelled: Cancel) -> None:
        """Wait until nobody else adopts the model, telling how far they are."""
        with self._turn:
            while (step := self._under_way.get(key)) is not None:
                if cancelled():
                    raise Cancelled("cancelled while another adoption of the model was under way")
                report(step)
                self._turn.wait(_GLANCE)
            self._under_way[key] = Progress("adopting")


def _needs_its_name(found: Found, here: Name | None) -> bool:
    return here is None or here.key == found.name.key
