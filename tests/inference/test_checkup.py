"""What the daemon finds of itself: broken models, leftovers, settings that wait, workers that died, devices."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from registry.store import Store
from runner.config import ConfigError, Settings, load
from runner.config.live import Live
from runner.inference import checkup as module
from runner.inference.checkup import Checkup, tried_out
from runner.protocol.checkup import Finding
from runner.protocol.devices import Device
from runner.protocol.totals import Totals
from runner.scheduler.breaker import CrashLoop
from runner.scheduler.meters import Measured, Meters
from tests.inference.conftest import Make


class Idle:
    """A service with nothing loaded, and counters."""

    def __init__(self) -> None:
        self.meters: list[Measured] = []
        self.loops: list[CrashLoop] = []

    def residents(self) -> Sequence[object]:
        return ()

    def measured(self) -> Sequence[Measured]:
        return self.meters

    def crash_loops(self) -> Sequence[CrashLoop]:
        return self.loops


class Place:
    """A checkup over a store, with everything around it settable."""

    def __init__(self, store: Store, folder: Path) -> None:
        self.settings = load({}, {"RUNNER_HOME": str(folder)})
        self.service: Any = Idle()
        self.live = Live(self.settings, self.read)
        self.memory = 8 * 2**30
        self.now = 1.9e9
        self.error: str | None = None
        self.problems: list[str] = []
        self.store, self.folder = store, folder

    def read(self) -> Settings:
        if self.error:
            raise ConfigError(self.error)
        return replace(self.settings, models=Path("/elsewhere"))

    async def found(self, devices: Sequence[Device] = ()) -> dict[str, list[Finding]]:
        checkup = Checkup(
            self.store,
            self.service,
            self.live,
            self.folder / "logs",
            lambda: self.memory,
            lambda: devices,
            lambda: self.problems,
            lambda: self.now,
        )
        found: dict[str, list[Finding]] = {}
        for finding in await checkup.findings():
            found.setdefault(finding.check, []).append(finding)
        return found


@pytest.fixture
def place(store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Place:
    async def nothing(mode: str) -> tuple[Finding, ...]:
        return (Finding("engine", "ok", f"tried with sandbox {mode}"),)

    monkeypatch.setattr(module, "tried_out", nothing)
    return Place(store, tmp_path / "home")


async def test_all_is_well(place: Place, make: Make) -> None:
    make("one")
    found = await place.found()
    assert {check: [each.state for each in found[check]] for check in ("settings", "store", "engine", "memory")} == {
        "settings": ["ok"], "store": [found["store"][0].state], "engine": ["ok"], "memory": ["ok"],
    }  # fmt: skip
    assert "1 model is in" in found["store"][0].said
    assert found["engine"][0].said == "tried with sandbox on"
    assert set(found) == {"settings", "store", "engine", "memory", "devices"}


async def test_broken_models_are_named_with_a_way_back(place: Place, make: Make) -> None:
    for number in range(5):
        make(f"m{number}")
        (model,) = (each for each in place.store.manifests() if each.name.model == f"m{number}")
        model.path.chmod(0o600)
        model.path.write_text("{")
    found = (await place.found())["models"]
    assert len(found) == 4
    assert all("verify --repair" in each.advice for each in found)
    assert "m0" in found[0].said
    assert "2 more" in found[3].said


async def test_what_is_written_in_vain(place: Place) -> None:
    home = place.folder
    (home / "config").mkdir(parents=True)
    (home / "config" / "config.yaml").write_text("host: 127.0.0.1:1111\nkeep_alive: 300\nmax_queue: 7\n")
    environ = {"RUNNER_HOME": str(home), "RUNNER_HOST": "127.0.0.1:2222", "RUNNER_KEEP_ALIVE": "5m"}
    place.live = Live(load({}, environ))
    (outweighed,) = (await place.found())["settings"]
    assert outweighed.state == "warn"
    assert outweighed.said == "config.yaml says otherwise, and is outweighed: host (environment RUNNER_HOST)"


async def test_settings_that_wait_or_are_refused(place: Place) -> None:
    await place.live.reload()
    (waits,) = (await place.found())["settings"]
    assert (waits.state, "models" in waits.said) == ("warn", True)
    place.error = "keep_alive takes seconds"
    with pytest.raises(ConfigError):
        await place.live.reload()
    (refused,) = (await place.found())["settings"]
    assert (refused.state, "keep_alive takes seconds" in refused.said) == ("fail", True)


async def test_memory_clock_workers_and_devices(place: Place) -> None:
    place.memory, place.now = 2**29, 1e9
    meters = Meters(deaths=3, last_death="killed by SIGSEGV")
    place.service.meters = [Measured("bad:latest", meters, Totals(), None, 0, 0)]
    gpu = Device(name="CUDA0", backend="cuda", kind="gpu", description="A card", total=8 * 2**30)
    found = await place.found([Device(name="CPU", backend="cpu", kind="cpu"), gpu])
    assert found["memory"][0].state == "warn"
    assert "2001" in found["clock"][0].said
    assert found["workers"][0].said.endswith("has died 3 times since Runner was started: killed by SIGSEGV")
    assert "another quantization may help" in found["workers"][0].advice
    assert found["memory"][0].said == "537 MB are free for models"
    assert found["devices"][0].said == "CUDA0 (A card, 8.6 GB)"
    assert "CPU" in (await place.found([]))["devices"][0].said


@pytest.mark.parametrize("death", ["killed by SIGKILL", "out of memory", "exit code 1", "it was silent for 4 s"])
async def test_no_quantization_helps_against_what_came_from_outside(place: Place, death: str) -> None:
    place.service.meters = [Measured("a:latest", Meters(deaths=1, last_death=death), Totals(), None, 0, 0)]
    (found,) = (await place.found())["workers"]
    assert "another quantization" not in found.advice
    assert ("somebody ended it" in found.advice) == ("SIGKILL" in death)


async def test_a_crash_loop_and_a_gpu_that_cannot_be_used(place: Place) -> None:
    place.service.loops = [CrashLoop("k", "bad:latest", 11.6, "killed by SIGSEGV")]
    place.problems = ["there is an NVIDIA GPU here, and this build of llama.cpp has no CUDA"]
    found = await place.found()
    (loop,) = found["workers"]
    assert (loop.state, loop.said) == (
        "fail",
        '"bad:latest" is in a crash loop and is not loaded for another 12 s: killed by SIGSEGV',
    )
    assert [(each.state, "no CUDA" in each.said) for each in found["devices"]] == [("ok", False), ("warn", True)]


async def test_the_process_that_tries_llama_cpp() -> None:
    found = {each.check: each for each in await tried_out("on")}
    assert found["engine"].state == "ok", found
    assert found["sandbox"].state == "ok" if sys.platform == "linux" else "warn"


@pytest.mark.parametrize(
    ("number", "advice"),
    [
        (errno.EACCES, "install Runner anew"),
        (errno.ENOENT, "install Runner anew"),
        (errno.EAGAIN, "limits of this user"),
    ],
)
async def test_why_no_process_starts_decides_what_to_do(
    monkeypatch: pytest.MonkeyPatch, number: int, advice: str
) -> None:
    async def refused(*_: Any, **__: Any) -> None:
        raise OSError(number, os.strerror(number), sys.executable)

    monkeypatch.setattr(module.asyncio, "create_subprocess_exec", refused)
    [found] = await tried_out("on")
    assert found.state == "fail"
    assert advice in found.advice
