"""Ten thousand headers with something wrong in them: none crashes, hangs or takes much memory, and none that gets past
the checks takes the daemon along."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.benchmarks.daemon import Daemon

SEED = 20_261_121
COUNT = 10_000
MOST_MEMORY = 64 << 20
MOST_SECONDS = 1.0  # of computing, for one

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for whole models that pass with something wrong in them."""
    return tmp_path_factory.mktemp("passed")


@pytest.fixture(scope="module")
def told(kept: Path) -> Any:
    """What became of them all, in a process of its own so that its memory can be told."""
    command = [sys.executable, "-m", "tests.faults.gguf_fuzz", str(SEED), str(COUNT), str(kept)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=1200)
    assert done.returncode == 0, done.stderr[-2000:]
    return json.loads(done.stdout)


def test_no_header_crashes_hangs_or_takes_much(told: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with capsys.disabled():
        print(
            f"\n{told['count']} headers, {told['passed']} passed; the slowest took {told['slowest']:.3f} s "
            f"({told['slowest_case']}), all of them together {told['grown'] / 2**20:.0f} MiB more memory"
        )
    assert told["failures"] == []
    assert told["sound"] == 6, "some base isn't sound by itself, so its mutations say little"
    assert told["count"] > COUNT
    assert told["outcomes"]["BadGGUF"] > COUNT / 2
    assert told["slowest"] < MOST_SECONDS
    assert told["grown"] < MOST_MEMORY


def test_the_daemon_outlives_what_passes(
    told: Any, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = sorted(kept.iterdir())
    assert len(files) == told["kept"] > 10
    ends = []
    with Daemon(tmp_path / "home", load_timeout="30s") as daemon:
        assert daemon.process is not None
        itself = psutil.Process(daemon.process.pid)
        for file in files:
            made = daemon.post("/api/create", {"model": "odd", "modelfile": f"FROM {file}", "stream": False})
            assert made == {"status": "success"}, file
            body = {"model": "odd", "prompt": "def", "raw": True, "stream": False, "keep_alive": 0}
            answer = daemon.post("/api/generate", body | {"options": {"num_predict": 4, "num_ctx": 256}})
            ends.append(answer[1]["error"][:60] if isinstance(answer, tuple) else "answered")
            assert daemon.get("/api/version")["runner"]
        assert itself.is_running()
        assert daemon.process.poll() is None
        said = daemon.post("/api/generate", {"model": "demo", "prompt": "Hi", "stream": False})
        assert said["done"]
    with capsys.disabled():
        print(f"\n{len(files)} of them in a worker: {ends.count('answered')} answered, the others were refused")
