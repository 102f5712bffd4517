"""How many threads compute, on machines and in containers."""

from __future__ import annotations

from pathlib import Path

import psutil
import pytest

from runner.llama.cores import Cores, allowed, cpu_quota, threads
from runner.protocol.options import LoadOptions


def tree(root: Path, own: str, **limits: str) -> tuple[Path, Path]:
    """A control group tree: `limits` are of cpu.max files by folder, with _ for /."""
    for folder, text in limits.items():
        at = root / "cgroup" / folder.replace("_", "/").strip("/")
        at.mkdir(parents=True, exist_ok=True)
        (at / "cpu.max").write_text(text + "\n")
    (root / "own").write_text(own)
    return root / "cgroup", root / "own"


@pytest.mark.parametrize(
    ("own", "limits", "cores"),
    [
        ("0::/\n", {"_": "150000 100000"}, 1.5),  # inside a container
        ("0::/\n", {"_": "max 100000"}, None),
        ("0::/\n", {}, None),
        ("0::/\n", {"_": "nonsense"}, None),
        ("0::/\n", {"_": "50000 0"}, None),
        ("0::/user.slice/app\n", {"_user.slice_app": "max 100000", "_user.slice": "400000 100000"}, 4.0),
        ("0::/user.slice/app\n", {"_user.slice_app": "200000 100000", "_user.slice": "400000 100000"}, 2.0),
        ("12:cpu:/old\n0::/a\n", {"_a": "300000 100000", "_old": "100000 100000"}, 3.0),
        ("", {"_": "100000 100000"}, 1.0),
    ],
)
def test_the_least_that_the_groups_around_it_allow(
    tmp_path: Path, own: str, limits: dict[str, str], cores: float | None
) -> None:
    assert cpu_quota(*tree(tmp_path, own, **limits)) == cores


def test_no_control_groups(tmp_path: Path) -> None:
    assert cpu_quota(tmp_path, tmp_path / "none") is None


def test_parts_of_a_core_count_as_none_but_one_thread_there_always_is() -> None:
    cores = allowed(None)
    assert 1 <= cores <= (psutil.cpu_count() or 1)
    assert allowed(0.3) == 1
    assert allowed(1.9) == 1
    assert allowed(cores + 0.5) == allowed(1000.0) == cores


def test_what_is_asked_for_is_taken() -> None:
    options = LoadOptions(num_ctx=8, num_parallel=1, num_thread=77)
    assert threads(options) == 77
    assert threads(LoadOptions(num_ctx=8, num_parallel=1)) == allowed(cpu_quota())


@pytest.mark.parametrize(
    ("workers", "asked", "now"),
    [
        (1, 0, threads(LoadOptions(num_ctx=256, num_parallel=1))),
        (10**6, 0, 1),
        (0, 0, threads(LoadOptions(num_ctx=256, num_parallel=1))),
        (4, 3, 3),
    ],
)
def test_a_part_of_the_cores_for_each_worker(workers: int, asked: int, now: int) -> None:
    cores = Cores(LoadOptions(num_ctx=256, num_parallel=1, num_thread=asked))
    cores.share(workers)
    assert cores.now == now
    cores.share(1)
    assert cores.now == threads(LoadOptions(num_ctx=256, num_parallel=1, num_thread=asked))
