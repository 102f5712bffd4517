"""What the machine says of itself."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from runner.scheduler import machine


def test_available_memory_is_a_part_of_all() -> None:
    assert 0 < machine.available_memory() <= psutil.virtual_memory().total


def test_a_container_has_no_more_than_its_limit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    (tmp_path / "memory.max").write_text(f"{2**28}\n")
    (tmp_path / "memory.current").write_text(f"{2**27}\n")
    (tmp_path / "memory.stat").write_text(f"anon 5\ninactive_file {2**20}\nactive_file {2**21}\n")
    assert machine.available_memory() == 2**28 - 2**27 + 2**20 + 2**21


@pytest.mark.parametrize("limit", ["max", "", None])
def test_no_limit_is_the_whole_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: str | None) -> None:
    monkeypatch.setattr(machine, "_CGROUP", tmp_path)
    if limit is not None:
        (tmp_path / "memory.max").write_text(limit)
        (tmp_path / "memory.current").write_text("1")
    assert machine.available_memory() > 0


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what threads of another process do")
def test_who_computes_would_run_and_who_is_stopped_or_waits_would_not() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "print(1, flush=True)\nwhile True: pass"], stdout=subprocess.PIPE
    ) as busy:
        try:
            assert busy.stdout is not None
            busy.stdout.readline()
            assert machine.would_run(busy.pid)
            busy.send_signal(signal.SIGSTOP)
            os.waitpid(busy.pid, os.WUNTRACED)
            assert not machine.would_run(busy.pid)
        finally:
            busy.kill()
    assert not machine.would_run(busy.pid)
    with subprocess.Popen(
        [sys.executable, "-c", "print(1, flush=True)\ninput()"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as waiting:
        assert waiting.stdout is not None
        waiting.stdout.readline()
        while machine.would_run(waiting.pid):
            pass
        waiting.kill()
