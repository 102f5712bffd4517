"""The probe that watches the daemon's event loop in all of these tests: that it watches, and what it tells."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.benchmarks.daemon import Daemon
from tests.fakes.callbacks import Callbacks

# What a daemon's loop could be held up with; `-m runner.daemon` behind a program's text is what the probe goes by.
_LOOP = """
import asyncio, time

def burns():
    end = time.thread_time() + 0.3
    while time.thread_time() < end:
        pass

def waits():
    time.sleep(0.3)

async def task_burns():
    burns()

async def main():
    loop = asyncio.get_running_loop()
    loop.call_soon(burns)
    loop.call_soon(waits)
    await asyncio.create_task(task_burns())
    await asyncio.sleep(0)

asyncio.run(main())
"""


def test_the_daemon_is_watched(daemon: Daemon, callbacks: Callbacks) -> None:
    assert daemon.process is not None
    assert daemon.process.pid in callbacks.watched()


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages"])
def test_a_large_body_holds_nobody_up(daemon: Daemon, path: str) -> None:
    """Whether it does, is asked at the end of every test."""
    messages = [{"role": "user", "content": "word " * 40}] * 50_000
    status, _ = daemon.post(path, {"model": "nobody-has-this", "messages": messages, "max_tokens": 1})
    assert status == 404


def test_what_burns_is_told_and_what_waits_is_not(tmp_path: Path) -> None:
    here = Callbacks(tmp_path / "report.jsonl")
    subprocess.run([sys.executable, "-c", _LOOP, "runner.daemon"], env=here.environment(), check=True)
    burned, in_task = here.offenders()
    assert burned.startswith("burns took ")
    assert in_task.startswith("task task_burns took ")
    assert "in burns" in in_task
