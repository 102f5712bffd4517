"""Workers' logs: bounded, private, and never a reason to fail."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.log import worker_file
from runner.scheduler.worker_log import WorkerLog


def test_file_names_are_safe(tmp_path: Path) -> None:
    assert worker_file(tmp_path, "hf.co/org/repo:Q4_K_M").name == "hf.co_org_repo_Q4_K_M.log"
    assert worker_file(tmp_path, "../../etc:x").parent == tmp_path


def test_appends_across_workers_and_stays_private(tmp_path: Path) -> None:
    path = tmp_path / "logs" / "a.log"
    for text in (b"one\n", b"two\n"):
        log = WorkerLog(path)
        log.write(text)
        log.close()
    assert path.read_bytes() == b"one\ntwo\n"
    assert path.stat().st_mode & 0o077 == 0


def test_a_flood_costs_two_files(tmp_path: Path) -> None:
    path = tmp_path / "a.log"
    log = WorkerLog(path, limit=1000)
    for _ in range(100):
        log.write(b"\xff\x00 no newline, no UTF-8 " * 20)
    log.write(b"x" * 5000)
    log.close()
    sizes = [file.stat().st_size for file in tmp_path.iterdir()]
    assert len(sizes) == 2
    assert all(size <= 1000 for size in sizes)


def test_tail_is_the_end_in_whole_lines(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "a.log")
    for number in range(1000):
        log.write(b"line %d\n" % number)
    log.close()
    lines = log.tail.split("\n")
    assert lines[-1] == "line 999"
    assert all(line.startswith("line ") for line in lines)


def test_the_tail_can_begin_anew(tmp_path: Path) -> None:
    log = WorkerLog(tmp_path / "a.log")
    log.write(b"warned while it loaded\n")
    log.begin_tail()
    assert log.tail == ""
    log.write(b"died later\n")
    log.close()
    assert log.tail == "died later"
    assert (tmp_path / "a.log").read_text() == "warned while it loaded\ndied later\n"


def test_a_disk_that_refuses_is_a_warning(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "file").write_text("in the way")
    log = WorkerLog(tmp_path / "file" / "a.log")
    log.write(b"lost\n")
    log.close()
    assert log.tail == "lost"
    assert "cannot be written" in caplog.text


def test_a_disk_that_is_full_half_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = WorkerLog(tmp_path / "a.log")

    def full(fd: int, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    log.write(b"first\n")
    log.write(b"second\n")
    assert log.tail == "first\nsecond"
