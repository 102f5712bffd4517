"""The same with real processes that really die: by their own hand at a step, and by a signal inside a system call."""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.faults.scenes import World, scene
from tests.faults.sweeping import Sweep

pytestmark = pytest.mark.faults

SEED = 20260920
ROOT = Path(__file__).parents[2]
PLAYED = ("create with a replaced tag", "copy over a model", "rm with shared layers", "prune", "upload")
CALLS = "fsync,rename,link,unlink,mkdir,rmdir,ftruncate,fchmodat,chmod,openat"


@pytest.fixture
def sweep(request: pytest.FixtureRequest, tmp_path: Path) -> Sweep:
    """The scene that the test is given, ready to be played. None of these need a hub."""
    return Sweep(scene(request.param), World(None, None), tmp_path / "sweep")  # type: ignore[arg-type]


def _child(*arguments: str, before: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    command = [*before, sys.executable, "-m", "tests.faults.child", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize("sweep", PLAYED, indirect=True)
def test_a_process_that_ends_at_a_step(sweep: Sweep, tally: Callable[[str], None]) -> None:
    steps = range(1, len(sweep.steps) + 1)
    chosen = random.Random(SEED).sample(steps, 6)
    for at in chosen:
        place = sweep.fresh()
        ended = _child(sweep.scene.name, str(place.base), str(at))
        assert ended.returncode == 137, ended.stderr
        sweep.settled(place, f"a real process ended at step {at} {sweep.steps[at - 1]}, seed {SEED}")
    tally(f"real processes ended at a step of {sweep.scene.name}: {len(chosen)}")


def _why_no_strace() -> str:
    if shutil.which("strace") is None:
        return "strace isn't installed"
    tried = subprocess.run(
        ["strace", "-f", "-o", os.devnull, "-e", "inject=getppid:signal=KILL", "true"], capture_output=True, check=False
    )
    return "" if tried.returncode == 0 else f"strace can't trace here: {tried.stderr.decode()[:100]}"


@pytest.mark.parametrize("sweep", PLAYED, indirect=True)
def test_a_process_that_is_killed_in_a_system_call(sweep: Sweep, tally: Callable[[str], None], tmp_path: Path) -> None:
    if why := _why_no_strace():
        pytest.skip(why)
    log = tmp_path / "calls"
    place = sweep.fresh()
    whole = _child(sweep.scene.name, str(place.base), before=("strace", "-f", "-o", str(log), "-e", f"trace={CALLS}"))
    assert whole.stdout.endswith("done\n"), whole.stderr
    # The n-th of all these calls that has to do with the store; most of the others read Python's own files.
    calls = [(line.split()[1].partition("(")[0], str(place.base) in line) for line in log.read_text().splitlines()]
    counts: dict[str, int] = {}
    targets = []
    for name, is_ours in calls:
        counts[name] = counts.get(name, 0) + 1
        if is_ours or name in ("fsync", "ftruncate"):
            targets.append((name, counts[name]))
    killed = 0
    for name, number in random.Random(SEED).sample(targets, min(len(targets), 6)):
        place = sweep.fresh()
        inject = f"inject={name}:signal=KILL:when={number}"
        ended = _child(
            sweep.scene.name,
            str(place.base),
            before=("strace", "-f", "-o", os.devnull, "-e", f"trace={name}", "-e", inject),
        )
        killed += ended.returncode in (-9, 137)
        sweep.settled(place, f"killed in call {number} of {name}, seed {SEED}")
    assert killed >= 3
    tally(f"real processes killed in a system call of {sweep.scene.name}: {killed}")
