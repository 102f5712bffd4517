"""A worker of a real daemon: what it inherited, and that it is shut in. What it can't do is in tests/engine."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import psutil
import pytest

from tests.benchmarks.daemon import Daemon

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")


def test_a_worker_inherits_nothing_and_is_shut_in(own_daemon: Daemon) -> None:
    own_daemon.environment |= {"HF_TOKEN": "hf_canary", "RUNNER_API_KEY_FILE": "canary"}
    own_daemon.start()
    assert own_daemon.post("/api/generate", {"model": "demo", "prompt": "hi", "stream": False})["response"]
    (worker,) = own_daemon.workers()
    opened = {os.readlink(each) for each in Path(f"/proc/{worker.pid}/fd").iterdir()}
    assert not [each for each in opened if each.startswith("socket:") or each.endswith(".lock")], opened
    files = {each for each in opened if each.startswith("/") and not each.startswith(("/dev/", "/proc/"))}
    assert all("/blobs/" in each for each in files), files
    status = dict(
        line.split(":\t", 1) for line in Path(f"/proc/{worker.pid}/status").read_text().splitlines() if ":\t" in line
    )
    assert (status["Seccomp"], status["NoNewPrivs"]) == ("2", "1")
    assert worker.environ().keys() & {"HF_TOKEN", "RUNNER_API_KEY_FILE", "RUNNER_HOME"} == set()
    assert worker.rlimit(psutil.RLIMIT_CORE) == (0, 0)
