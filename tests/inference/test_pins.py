"""Pinned models are loaded at the start, tried again when that fails, and brought back when they are lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import cast

import pytest

from runner.errors import LoadFailed
from runner.inference import pins
from runner.inference.pins import Pins
from runner.inference.service import Service
from runner.scheduler.loop import Scheduler

ALIASES = {"a": "a:latest", "b": "b:latest", "gpt-4": "b:latest", "gpt-5": "c:latest"}


class Pinning:
    """A service and its scheduler, as far as pins are concerned: the first loads of "late" fail."""

    def __init__(self, failures: int = 0) -> None:
        self.asked: list[str] = []
        self.now: set[str] = set()  # the models that are pinned
        self.on_lost: Callable[[str], None] = lambda model: None
        self.happened = asyncio.Event()
        self._failures = failures

    async def pin(self, model: str) -> str:
        self.asked.append(model)
        self.happened.set()
        if model == "late" and self._failures:
            self._failures -= 1
            raise LoadFailed("not yet")
        self.now.add(ALIASES.get(model, model))
        return ALIASES.get(model, model)

    def unpin(self, model: str) -> bool:
        is_there = model in self.now
        self.now.discard(model)
        return is_there

    def pinned(self) -> frozenset[str]:
        return frozenset(self.now)

    async def until(self, count: int) -> None:
        while len(self.asked) < count:
            self.happened.clear()
            await self.happened.wait()


async def _kept(fake: Pinning, names: tuple[str, ...], loads: int, lose: str = "") -> list[str]:
    kept = Pins(cast("Service", fake), cast("Scheduler", fake), names)
    keeping = asyncio.create_task(kept.keep())
    async with asyncio.timeout(20):
        await fake.until(len(names))
        if lose:
            fake.on_lost(lose)
        await fake.until(loads)
    keeping.cancel()
    return fake.asked


async def test_they_are_loaded_at_the_start_and_once() -> None:
    assert await _kept(Pinning(), ("a", "b"), 2) == ["a", "b"]


async def test_one_that_is_lost_is_loaded_again() -> None:
    assert await _kept(Pinning(), ("a", "b"), 3, lose="b:latest") == ["a", "b", "b:latest"]


async def test_one_that_cannot_be_loaded_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "_AGAIN", 0.01)
    assert await _kept(Pinning(failures=2), ("late", "a"), 4) == ["late", "a", "late", "late"]


async def test_what_the_settings_name_no_more_is_let_go_by_whatever_name() -> None:
    fake = Pinning()
    kept = Pins(cast("Service", fake), cast("Scheduler", fake), ("b", "gpt-4", "gpt-5"))
    keeping = asyncio.create_task(kept.keep())
    async with asyncio.timeout(20):
        await fake.until(3)
        await asyncio.sleep(0)  # it has heard of the last one's load
        assert fake.now == {"b:latest", "c:latest"}
        fake.on_lost("c:latest")
        kept.take(("b", "a"))
        assert fake.now == {"b:latest"}  # one of two names is left to it
        await fake.until(4)
        await asyncio.sleep(0)
    keeping.cancel()
    assert fake.asked == ["b", "gpt-4", "gpt-5", "a"]
    assert fake.now == {"a:latest", "b:latest"}


async def test_one_that_was_lost_and_is_pinned_no_more_stays_away() -> None:
    fake = Pinning()
    kept = Pins(cast("Service", fake), cast("Scheduler", fake), ())
    keeping = asyncio.create_task(kept.keep())
    fake.now.add("b:latest")
    fake.on_lost("c:latest")  # unpinned meanwhile
    fake.on_lost("b:latest")
    async with asyncio.timeout(20):
        await fake.until(1)
    keeping.cancel()
    assert fake.asked == ["b:latest"]
