"""What a worker's process tells by its signs of life and by its end, without a process."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest

from runner.protocol.codec import pack_events
from runner.protocol.commands import Load
from runner.protocol.events import Beat, Event
from runner.protocol.options import LoadOptions
from runner.scheduler import machine, pulse
from runner.scheduler.child import Child
from runner.scheduler.failures import Exit
from runner.scheduler.worker_log import WorkerLog


class Killed(asyncio.SubprocessTransport):
    """A process that somebody has ended by SIGKILL."""

    def get_returncode(self) -> int | None:
        return -signal.SIGKILL

    def close(self) -> None:
        pass


class Heard:
    def __init__(self) -> None:
        self.ends: list[Exit] = []

    def events(self, run: int, events: Sequence[Event]) -> None:
        pass

    def exited(self, run: int, how: Exit) -> None:
        self.ends.append(how)


@pytest.fixture
def shortages(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], None]:
    """Sets how many processes the system has ended for want of memory."""
    monkeypatch.setattr(pulse, "_APART", 0.0)
    counts = [5]
    monkeypatch.setattr(machine, "oom_kills", lambda: counts[0])

    def set_to(count: int) -> None:
        counts[0] = count

    return set_to


@pytest.mark.parametrize("is_of_late", [False, True])
async def test_only_a_shortage_of_late_ended_it(
    tmp_path: Path, shortages: Callable[[int], None], is_of_late: bool
) -> None:
    """The count is of the whole machine: most of it is of others, who may have died hours ago."""
    heard = Heard()
    child = Child(
        1, [], Load(("x",), LoadOptions(num_ctx=512, num_parallel=1)), WorkerLog(tmp_path / "log"), 60.0, heard
    )
    child.connection_made(cast(asyncio.BaseTransport, Killed()))
    beat = pack_events([Beat()])
    child.pipe_data_received(1, beat)
    if not is_of_late:
        shortages(6)
    for _ in range(2):
        child.pipe_data_received(1, beat)
    if is_of_late:
        shortages(6)
    child.connection_lost(None)
    assert [how.is_out_of_memory for how in heard.ends] == [is_of_late]
