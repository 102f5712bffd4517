"""What the machine says of itself."""

from __future__ import annotations

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
