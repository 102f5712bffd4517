"""Two daemons and one store: the second says who has it and goes; the lock of a dead one keeps nobody out."""

from __future__ import annotations

import os
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

pytestmark = pytest.mark.faults

ROOT = Path(__file__).parents[2]
WAIT = 60.0


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """Daemons that were started; those that live still are ended."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for each in processes:
        if each.poll() is None:
            each.kill()
        each.communicate()


def _start(home: Path, started: list[subprocess.Popen[str]]) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        [sys.executable, "-m", "runner.daemon", "--host", "127.0.0.1:0"],
        cwd=ROOT,
        env={**os.environ, "RUNNER_HOME": str(home)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    started.append(process)
    return process


def _wait_until_ready(process: subprocess.Popen[str]) -> None:
    assert process.stderr is not None
    said = ""
    while "is listening on" not in said:
        ready, _, _ = select.select([process.stderr], [], [], WAIT)
        assert ready, f"the daemon says nothing more after: {said}"
        line = process.stderr.readline()
        assert line, f"the daemon ended: {said}"
        said += line


def test_the_second_daemon_names_the_first_and_a_dead_one_keeps_nobody_out(
    tmp_path: Path, started: list[subprocess.Popen[str]]
) -> None:
    first = _start(tmp_path, started)
    _wait_until_ready(first)
    second = _start(tmp_path, started)
    _, said = second.communicate(timeout=WAIT)
    assert second.returncode == 75
    assert f"process {first.pid} on {socket.gethostname()} since 20" in said
    assert first.poll() is None
    first.send_signal(signal.SIGKILL)
    first.wait(WAIT)
    # What it wrote into the lock is still there; that nobody holds it any more is what counts.
    [lock] = tmp_path.rglob("lock")
    assert str(first.pid) in lock.read_text()
    third = _start(tmp_path, started)
    _wait_until_ready(third)
    third.send_signal(signal.SIGTERM)
    _, said = third.communicate(timeout=WAIT)
    assert third.returncode == 143, said
