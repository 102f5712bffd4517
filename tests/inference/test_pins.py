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


class Pinning:
    """A service and its scheduler, as far as pins are concerned: the first loads of "late" fail."""

    def __init__(self, failures: int = 0) -> None:
        self.asked: list[str] = []
        self.on_lost: Callable[[str], None] = lambda model: None
        self.happened = asyncio.Event()
        self.held: set[str] = set()
        self._failures = failures

    def pinned(self) -> frozenset[str]:
        return frozenset(self.held)

    async def pin(self, model: str) -> str:
        self.asked.append(model)
        self.held.add(model)
        self.happened.set()
        if model == "late" and self._failures:
            self._failures -= 1
            raise LoadFailed("not yet")
        return model

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
            fake.held.add(lose)
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


async def test_one_that_was_unpinned_meanwhile_is_not_pinned_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pins, "_AGAIN", 0.01)
    fake = Pinning(failures=10**9)
    kept = Pins(cast("Service", fake), cast("Scheduler", fake), ("always",))
    keeping = asyncio.create_task(kept.keep())
    async with asyncio.timeout(20):
        await fake.until(1)
        fake.held.add("late")
        fake.on_lost("late")
        await fake.until(2)
        fake.held.discard("late")
        fake.on_lost("always")
        await fake.until(3)
        fake.on_lost("always")
        await fake.until(4)
    keeping.cancel()
    assert fake.asked == ["always", "late", "always", "always"]
