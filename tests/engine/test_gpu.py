"""On a machine with a GPU: the same text wherever the model lies, and memory taken where it was meant to be."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.protocol.devices import DeviceSurvey
from runner.scheduler.selection import automatic
from tests.benchmarks import devices
from tests.engine.worker_process import agree


@pytest.fixture(scope="module")
def found() -> DeviceSurvey:
    seen = devices.survey()
    if why := devices.absent(seen):
        pytest.skip(why)
    return seen


@pytest.mark.parametrize("name", ["demo", "moe"])
def test_the_same_text_and_its_bytes_wherever_it_lies(found: DeviceSurvey, name: str, tmp_path: Path) -> None:
    runs = devices.compare(devices.model(name, tmp_path), found, tokens=32)
    gpu = automatic(found.devices)[0].name
    for place, each in runs.items():
        assert agree(runs["cpu"].scores, each.scores), place
    layers = runs["cpu"].ready.layers
    assert {place: each.ready.gpu_layers for place, each in runs.items() if place in ("cpu", "gpu", "half")} == {
        "cpu": 0,
        "gpu": layers + 1,
        "half": (layers + 1) // 2,
    }
    assert runs["cpu"].ready.devices == ("CPU",)
    assert runs["cpu"].on(gpu) == 0
    assert runs["gpu"].ready.devices == (gpu,)
    assert runs["gpu"].ready.kv_bytes[gpu] == sum(runs["cpu"].ready.kv_bytes.values())
    weights = {place: each.ready.weights_bytes.get(gpu, 0) for place, each in runs.items()}
    assert weights["gpu"] > weights["half"] > weights["computing only"] == 0
    assert (weights["experts on cpu"] < weights["gpu"]) == (name == "moe")
    if "split" in runs:
        assert len(runs["split"].ready.devices) == len(automatic(found.devices))


def test_the_cpu_alone_touches_no_gpu(found: DeviceSurvey, tmp_path: Path) -> None:
    taken = devices.run(
        devices.model("demo", tmp_path), devices.placements(automatic(found.devices), 1)["cpu"], 8
    ).taken
    assert max(taken.values(), default=0) < 2**30  # a driver's own context at most
