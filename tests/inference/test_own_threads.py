"""Looks at machines elsewhere: how many go on at once, and what becomes of those that nobody waits for any more."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from registry.standing import Standing
from registry.store import Store
from registry.stored import StoredModel
from runner.inference.own_threads import OwnThreads
from runner.inference.updates import Updates
from tests.registry.models import make

WAIT = 30.0


async def test_a_place_is_held_until_the_thread_ends_not_until_its_caller_leaves() -> None:
    threads, begun, go = OwnThreads("look", 1), threading.Event(), threading.Event()

    def silent() -> None:
        begun.set()
        assert go.wait(WAIT)

    first = asyncio.create_task(threads.run(silent))
    assert await asyncio.to_thread(begun.wait, WAIT)
    [thread] = [each for each in threading.enumerate() if each.name == "look"]
    assert thread.daemon, "the end of the daemon must not wait for it"
    first.cancel()
    with pytest.raises(asyncio.CancelledError):
        await first
    second = asyncio.create_task(threads.run(lambda: "found"))
    for _ in range(10):
        await asyncio.sleep(0)
    assert [each for each in threading.enumerate() if each.name == "look"] == [thread]
    go.set()
    async with asyncio.timeout(WAIT):
        assert await second == "found"
        with pytest.raises(ZeroDivisionError):
            await threads.run(lambda: 1 // 0)
        assert await threads.run(lambda: "again") == "again"


async def test_one_look_that_breaks_is_told_in_its_row(store: Store, tmp_path: Path) -> None:
    make(store, "one", tmp_path, "one")
    make(store, "two", tmp_path, "two")

    def compare(model: StoredModel, insecure: bool) -> Standing:
        if model.name.model == "one":
            raise RecursionError("too deep")
        return Standing(model=model, state="current")

    def know(text: str) -> object:
        raise AssertionError("nobody asks")

    updates = Updates(store, know, compare)  # type: ignore[arg-type]
    one, two = await updates.standing(None)
    assert (one.state, two.state) == ("unreachable", "current")
    assert "too deep" in one.problem
