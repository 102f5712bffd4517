"""`runner up` with weights made smaller: twice is once, and the lock says what can be said on every machine."""

from __future__ import annotations

from pathlib import Path

from modelfiles import lockfile
from modelfiles.lockfile import LockedCreate
from tests import whole_models
from tests.end_to_end.terminal import Terminal

PROJECT = """
models:
  - {name: small, from: ./tiny-F16.gguf, quantize: q4_k_m}
  - {name: onto, from: small, system: Hi}
"""


def test_up_quantizes_once(tmp_path: Path) -> None:
    runner = Terminal(tmp_path / "home")
    whole_models.write(tmp_path / "tiny-F16.gguf")
    (tmp_path / "runner.yaml").write_text(PROJECT)
    try:
        first = runner("up", folder=tmp_path)
        assert first.stdout == "small:latest: created\nonto:latest: created\n", first.stderr
        second = runner("up", folder=tmp_path)
        assert second.stdout == "small:latest: unchanged\nonto:latest: unchanged\n", second.stderr
        assert runner("lock", folder=tmp_path).stdout == "runner.lock.yaml: 2 models\n"
        models = lockfile.read("it", (tmp_path / lockfile.FILE).read_text()).models
        small = models["small:latest"]
        assert isinstance(small, LockedCreate)
        assert (small.quantize, small.digest) == ("Q4_K_M", "")
        onto = models["onto:latest"]
        assert isinstance(onto, LockedCreate)
        assert onto.digest == "", "nor is what is made of it the same on every machine"
        assert runner("up", "--locked", folder=tmp_path).returncode == 0
        (tmp_path / "runner.yaml").write_text(PROJECT.replace("q4_k_m", "q8_0"))
        changed = runner("up", folder=tmp_path)
        assert changed.stdout == "small:latest: created\nonto:latest: created\n", changed.stderr
    finally:
        runner("shutdown")
