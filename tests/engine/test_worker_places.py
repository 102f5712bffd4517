"""A worker that is told where its model goes. Without a GPU, the device that layers can be given to is the CPU."""

from __future__ import annotations

from pathlib import Path

import pytest

from modelfiles.embedded import demo_gguf
from runner.protocol.commands import Generate, PrefixStore, TextPrompt
from runner.protocol.devices import Placement
from runner.protocol.events import Done, Failed, Ready
from runner.protocol.options import SampleOptions
from tests.engine.random_models import write
from tests.engine.worker_process import WorkerProcess

GREEDY = SampleOptions(temperature=0.0, num_predict=24)
PLACES = [
    None,
    Placement(),
    Placement(devices=("CPU",), gpu_layers=2),
    Placement(devices=("CPU",), gpu_layers=99, mode="none"),
]


def test_the_same_text_wherever_it_goes() -> None:
    texts = set()
    for placement in PLACES:
        worker = WorkerProcess(demo_gguf(), placement=placement, draft=demo_gguf())
        assert isinstance(worker.ready, Ready)
        assert worker.ready.devices == ("CPU",)
        assert worker.ready.gpu_layers == 0  # of a build for GPUs it would be those given to the device
        assert worker.ready.flash_attn is True
        assert set(worker.ready.weights_bytes) == set(worker.ready.kv_bytes) == {"CPU"}
        answer = worker.ask(Generate(1, TextPrompt("def add(a, b):"), GREEDY))[1]
        assert isinstance(answer.end, Done)
        texts.add(answer.text)
        assert worker.close() == 0
    assert len(texts) == 1


def test_types_of_keys_and_values_apart(tmp_path: Path) -> None:
    stores = PrefixStore(ram=1 << 24, disk=1 << 26, root=str(tmp_path), model="a-model")
    sizes = {}
    for k, v in (("f16", "f16"), ("q8_0", "f16"), ("q8_0", "q4_0")):
        worker = WorkerProcess(demo_gguf(), cache_type_k=k, cache_type_v=v, prefixes=stores, num_ctx=2048)
        assert isinstance(worker.ready, Ready), worker.ready
        sizes[k, v] = sum(worker.ready.kv_bytes.values())
        prompt = TextPrompt("def add(a, b):\n    return a + b\n" * 12)
        assert isinstance(worker.ask(Generate(1, prompt, GREEDY))[1].end, Done)
        assert worker.close() == 0
    half = sizes["f16", "f16"] / 2
    assert sizes["q8_0", "f16"] == pytest.approx(half + half * 34 / 64, rel=0.01)
    assert sizes["q8_0", "q4_0"] == pytest.approx(half * 34 / 64 + half * 18 / 64, rel=0.01)
    # What was computed with one pair is no beginning for another.
    kept = sorted(folder.name.split("_flash")[0] for folder in (tmp_path / "a-model").iterdir())
    assert kept == ["f16", "q8_0-f16", "q8_0-q4_0"]


@pytest.mark.parametrize(
    ("options", "field", "why"),
    [
        ({"cache_type_v": "q8_0", "flash_attn": "off"}, "options.cache_type_v", "need flash attention"),
        ({"kv_cache_type": "q9"}, "options.kv_cache_type", "takes one of f32, f16, bf16"),
    ],
)
def test_what_llama_cpp_refuses_names_the_option(options: dict[str, str], field: str, why: str) -> None:
    worker = WorkerProcess(demo_gguf(), **options)
    assert isinstance(worker.ready, Failed)
    assert (worker.ready.id, worker.ready.code, worker.ready.field) == (None, "invalid_request_error", field)
    assert why in worker.ready.message
    assert worker.close() == 1


def test_an_unknown_architecture_and_device_are_named(tmp_path: Path) -> None:
    odd = write(tmp_path / "odd.gguf", "llama")
    odd.write_bytes(odd.read_bytes().replace(b"llama", b"lluma"))
    for path, placement, why in (
        (odd, None, "'lluma' isn't known to llama-cpp-python 0.3.36 ("),
        (demo_gguf(), Placement(devices=("CUDA0",), gpu_layers=1), "sees no device CUDA0 here; it sees"),
    ):
        worker = WorkerProcess(path, placement=placement)
        assert isinstance(worker.ready, Failed)
        assert worker.ready.code == "load_failed"
        assert why in worker.ready.message
        worker.close()
