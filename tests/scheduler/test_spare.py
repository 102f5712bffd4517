"""The worker that stands ready: taken by the next load, replaced when it dies, gone when nobody needs it."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from runner.scheduler import spare
from runner.scheduler.spare import Spare
from tests.fakes.processes import House, house, want

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="the fake worker dies by POSIX signals")


@pytest.fixture
async def at(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[House]:
    monkeypatch.setattr(spare, "PAUSE", 0.01)
    monkeypatch.setattr(spare, "AT_LAST", 1000.0)  # so it is the first word that brings it
    async with house(tmp_path, has_spare=True) as made:
        yield made


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(20):
        while not condition():  # noqa: ASYNC110 -- processes come and go, and nobody tells
            await asyncio.sleep(0.01)


async def standing(at: House) -> int:
    """The process id of the spare worker, once there is one."""
    await until(lambda: at.workers.spare is not None)
    assert at.workers.spare is not None
    return at.workers.spare


async def test_the_next_load_takes_it_and_another_one_follows(at: House) -> None:
    assert at.workers.spare is None
    await at.ask(want("say:one"))
    ready = await standing(at)
    assert psutil.Process(ready).cmdline()[-1] == spare.MARK
    assert (await at.ask(want("say:two", "b"))).text == "two"
    assert at.pid("b") == ready
    assert await standing(at) != ready


async def test_it_comes_after_a_load_that_nobody_is_answered_after(at: House, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "PAUSE", 1000.0)
    monkeypatch.setattr(spare, "AT_LAST", 0.01)
    await at.ask(want(None))
    await standing(at)


async def test_it_is_never_taken_into_another_environment(at: House, monkeypatch: pytest.MonkeyPatch) -> None:
    await at.ask(want("say:one"))
    ready = await standing(at)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert "CUDA_VISIBLE_DEVICES" in (await at.ask(want("env", "b"))).text
    assert at.pid("b") != ready
    await until(lambda: not psutil.pid_exists(ready))


async def test_one_that_dies_is_replaced_and_nobody_hears_of_it(at: House) -> None:
    await at.ask(want("say:one"))
    ready = await standing(at)
    os.kill(ready, signal.SIGKILL)
    await until(lambda: at.workers.spare not in (None, ready))
    # And one that has just died, of which asyncio doesn't know yet, isn't handed out.
    ready = await standing(at)
    os.kill(ready, signal.SIGKILL)
    with suppress(ChildProcessError):  # a thread of asyncio's may have been quicker, without telling it yet
        os.waitid(os.P_PID, ready, os.WEXITED | os.WNOWAIT)  # noqa: ASYNC222 -- it takes no time
    assert (await at.ask(want("say:two", "b"))).text == "two"
    assert at.pid("b") != ready
    assert all(measured.meters.deaths == 0 for measured in at.scheduler.view.measured())


async def test_answers_do_not_hurry_one_that_keeps_dying(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "PAUSE", 0.01)
    made = Spare(lambda: [sys.executable, "-c", ""], dict)
    made.want()
    made.answered()
    await until(lambda: made._deaths > 0)
    monkeypatch.setattr(spare, "PAUSE", 0.0)
    planned = made._begin
    made.answered()
    assert made._begin is planned
    await made.close()


async def test_it_goes_when_nothing_is_asked_for_and_comes_back_with_the_next_request(
    at: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(spare, "UNUSED", 0.2)
    await at.ask(want("say:one"))
    ready = await standing(at)
    await until(lambda: at.workers.spare is None and not psutil.pid_exists(ready))
    await at.ask(want("say:two"))
    assert await standing(at) != ready


async def test_it_ends_with_the_workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spare, "PAUSE", 0.01)
    async with house(tmp_path, has_spare=True) as made:
        await made.ask(want("say:one"))
        ready = await standing(made)
    assert not psutil.pid_exists(ready)


async def test_there_is_none_where_none_is_wanted(tmp_path: Path) -> None:
    async with house(tmp_path) as made:
        await made.ask(want("say:one"))
        assert made.workers.spare is None
