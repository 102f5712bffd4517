"""Where a model's parts go: the values that llama.cpp is given, and that it does with them what was meant.

A machine without a GPU still has a device that can be given layers by name: the CPU itself.
"""

from __future__ import annotations

import ctypes
import itertools
import re
from collections.abc import Iterator
from pathlib import Path

import llama_cpp.llama_cpp as lib
import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from modelfiles.embedded import demo_gguf
from registry.gguf.architectures import ENGINE
from runner.errors import InvalidRequest, LoadFailed
from runner.llama import devices, library
from runner.llama.batch import Batch
from runner.llama.context import Context, Outcome
from runner.llama.model import Model
from runner.llama.placement import Laid, Layout, experts, for_draft, layout
from runner.protocol.devices import Placement
from runner.protocol.options import LoadOptions
from tests.engine.random_models import LAYERS, write

OPTIONS = LoadOptions(num_ctx=256, num_parallel=1)
BYTES = {"f32": 4.0, "f16": 2.0, "bf16": 2.0, "q8_0": 34 / 32, "q5_1": 24 / 32, "q5_0": 22 / 32, "q4_1": 20 / 32}
BYTES |= {"q4_0": 18 / 32, "iq4_nl": 18 / 32}
CELLS, HEAD = 8192, 32  # one head of 32 values for keys and one for values in each layer


def options(**changes: object) -> LoadOptions:
    return msgspec.structs.replace(OPTIONS, **changes)


class TestLayout:
    def test_no_device_is_the_cpu_alone(self) -> None:
        assert layout(Placement(), options(num_gpu=99, main_gpu=3)) == Layout(devices=(), gpu_layers=0)

    def test_one_device_takes_all(self) -> None:
        found = layout(Placement(devices=("CUDA1",), gpu_layers=33, mode="none"), options(main_gpu=1))
        # The plan has chosen: it is the first of the devices that llama.cpp is given.
        assert (found.devices, found.gpu_layers, found.mode, found.main_gpu) == (("CUDA1",), 33, 0, 0)

    @pytest.mark.parametrize(("mode", "number"), [("none", 0), ("layer", 1), ("row", 2)])
    def test_ways_to_split(self, mode: str, number: int) -> None:
        placement = msgspec.convert({"devices": ("SYCL0", "SYCL1"), "gpu_layers": 4, "mode": mode}, Placement)
        assert layout(placement, OPTIONS).mode == number

    @given(st.lists(st.integers(0, 60), min_size=1, max_size=16).filter(any))
    def test_each_device_gets_the_layers_that_its_share_means(self, counts: list[int]) -> None:
        layers = sum(counts)
        split = tuple(count / layers for count in counts)
        names = tuple(f"CUDA{index}" for index in range(len(counts)))
        shares = layout(Placement(devices=names, gpu_layers=layers, split=split), OPTIONS).shares
        assert assigned(shares, layers) == counts

    @given(
        st.lists(st.floats(0, 1), min_size=2, max_size=6).filter(lambda shares: sum(shares) > 0.1), st.integers(1, 99)
    )
    def test_shares_that_fall_within_a_layer_round_up(self, wanted: list[float], layers: int) -> None:
        split = tuple(share / sum(wanted) for share in wanted)
        names = tuple(map(str, range(len(split))))
        counts = assigned(layout(Placement(devices=names, gpu_layers=layers, split=split), OPTIONS).shares, layers)
        ends, planned = itertools.accumulate(counts), itertools.accumulate(split)
        assert sum(counts) == layers
        for end, share in itertools.islice(zip(ends, planned, strict=True), len(split) - 1):
            assert share * layers - 0.01 <= end < share * layers + 1.0

    @given(st.integers(0, 600), st.integers(0, 700))
    def test_experts_of_the_first_layers(self, count: int, layer: int) -> None:
        pattern = experts(count)
        for part in (
            "gate_exps.weight",
            "up_exps.weight",
            "down_exps.bias",
            "gate_up_exps.weight",
            "down_chexps.weight",
        ):
            assert bool(pattern and re.search(pattern, f"blk.{layer}.ffn_{part}")) == (layer < count)
        for part in ("ffn_gate_inp.weight", "ffn_up_shexp.weight", "attn_q.weight", "ffn_up.weight"):
            assert not (pattern and re.search(pattern, f"blk.{layer}.{part}"))

    def test_a_draft_model_goes_to_the_first_device(self) -> None:
        placed = for_draft(Placement(devices=("CUDA0", "CUDA1"), gpu_layers=9, split=(0.5, 0.5), cpu_moe=3))
        assert placed is not None
        assert (placed.devices, placed.mode, placed.cpu_moe) == (("CUDA0",), "none", 0)
        assert for_draft(Placement()) == Placement()
        assert for_draft(None) is None

    def test_without_a_plan_the_options_say(self) -> None:
        assert layout(None, OPTIONS) == Layout()
        assert layout(None, options(device="cpu")).devices == ()
        assert layout(None, options(num_gpu=0)).devices == ()
        found = layout(None, options(device="CUDA0,CUDA1", tensor_split="3,1", num_gpu=7, num_cpu_moe=1))
        assert (found.devices, found.shares, found.gpu_layers) == (("CUDA0", "CUDA1"), (3.0, 1.0), 7)
        assert found.on_cpu == experts(1)


def assigned(shares: tuple[float, ...], layers: int) -> list[int]:
    """How many layers each device gets, by llama.cpp's own reckoning in single precision (llama-model.cpp)."""
    ends = np.cumsum(np.array(shares, np.float32), dtype=np.float32)
    ends /= ends[-1]
    places = [int(np.searchsorted(ends, np.float32(layer) / np.float32(layers), "right")) for layer in range(layers)]
    return [places.count(device) for device in range(len(shares))]


class TestStruct:
    def test_devices_end_with_nothing(self) -> None:
        params = lib.llama_model_default_params()
        found = Layout(devices=("CUDA0", "CUDA1"), gpu_layers=5, mode=1, shares=(0.75, 0.25), on_cpu=experts(2))
        laid = Laid(found, params, {"CUDA0": 0x1000, "CUDA1": 0x2000}.__getitem__)
        handles = ctypes.cast(params.devices, ctypes.POINTER(ctypes.c_void_p))
        assert handles[:3] == [0x1000, 0x2000, None]
        assert params.tensor_split[: lib.llama_max_devices()] == [0.75, 0.25, *[0.0] * 14]
        override = ctypes.cast(params.tensor_buft_overrides, ctypes.POINTER(ctypes.c_void_p))
        assert ctypes.string_at(override[0]).decode() == experts(2)
        assert override[1] == devices.cpu_memory()
        assert override[2] is None
        assert (params.n_gpu_layers, params.split_mode, laid.first, laid.is_cpu) == (5, 1, 0x1000, False)

    def test_the_cpu_alone_is_an_empty_list_and_not_none(self) -> None:
        params = lib.llama_model_default_params()
        laid = Laid(layout(Placement(), OPTIONS), params)
        assert params.devices is not None  # None would be llama.cpp's own choice
        assert ctypes.cast(params.devices, ctypes.POINTER(ctypes.c_void_p))[0] is None
        assert (params.n_gpu_layers, laid.is_cpu) == (0, True)

    def test_a_device_that_is_not_there_is_named(self) -> None:
        library.start()
        with pytest.raises(LoadFailed, match=r"no device CUDA7 here; it sees .*CPU"):
            Model([str(demo_gguf())], OPTIONS, library.start(), placement=Placement(devices=("CUDA7",), gpu_layers=1))


@pytest.fixture(scope="module")
def moe(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(write(tmp_path_factory.mktemp("moe") / "moe.gguf", "llama", experts=4))


@pytest.fixture(scope="module")
def on_cpu(moe: str) -> Iterator[Model]:
    model = Model([moe], OPTIONS, library.start(), placement=Placement())
    yield model
    model.close()


@pytest.fixture
def log() -> Iterator[library.Log]:
    found = library.start()
    found.sizes, found.devices = library.Sizes(), {}
    yield found
    found.hear = None


def greedy(path: str, log: library.Log, placement: Placement | None, asked: LoadOptions = OPTIONS) -> list[int]:
    """A few tokens, each the likeliest."""
    model = Model([path], asked, log, placement=placement)
    try:
        return decoded(model, log, asked)
    finally:
        model.close()


def decoded(model: Model, log: library.Log, asked: LoadOptions) -> list[int]:
    context = Context(model, asked, log, cells=asked.num_ctx, sequences=1, batch=64)
    batch, found = Batch(64), list[int]()
    tokens, position = model.tokenize("def add(a, b):", special=False, bos=True), 0
    for _ in range(6):
        batch.clear()
        batch.add(0, position, tokens, outputs=1)
        assert context.decode(batch) is Outcome.DONE
        position += len(tokens)
        tokens = [int(context.logits(1)[0].argmax())]
        found += tokens
    context.close()
    return found


PLACES = [
    Placement(),
    Placement(devices=("CPU",), gpu_layers=LAYERS + 1, mode="none"),
    Placement(devices=("CPU",), gpu_layers=1),
    Placement(devices=("CPU",), gpu_layers=LAYERS + 1, cpu_moe=1),
    Placement(devices=("CPU", "CPU"), gpu_layers=LAYERS, split=(0.5, 0.5), cpu_moe=LAYERS),
]


@pytest.mark.parametrize("placement", PLACES)
@pytest.mark.parametrize("use_mmap", [True, False])
def test_the_same_tokens_wherever_the_parts_lie(
    moe: str, log: library.Log, placement: Placement, use_mmap: bool
) -> None:
    lines: list[str] = []
    expected = greedy(moe, log, None)
    log.hear = lines.append
    log.sizes = library.Sizes()
    assert greedy(moe, log, placement, options(use_mmap=use_mmap)) == expected
    overridden = {
        match[1] for line in lines if (match := re.search(r"tensor blk\.(\d+)\S+_exps\S* .*overridden", line))
    }
    assert overridden == set(map(str, range(placement.cpu_moe)))
    offered = [line for line in lines if re.search(r"layer +\d+ assigned to device CPU", line)]
    assert len(offered) == LAYERS + 1
    assert tuple(log.devices) == placement.devices[:1]
    assert set(log.sizes.weights) == set(log.sizes.kv) == {"CPU"}


@pytest.mark.parametrize("v", BYTES)
@pytest.mark.parametrize("k", BYTES)
def test_every_pair_of_types_computes_and_takes_what_it_should(on_cpu: Model, log: library.Log, k: str, v: str) -> None:
    assert decoded(on_cpu, log, options(num_ctx=CELLS, cache_type_k=k, cache_type_v=v))
    predicted = CELLS * LAYERS * HEAD * (BYTES[k] + BYTES[v])
    assert sum(log.sizes.kv.values()) == pytest.approx(predicted, abs=0.02 * 2**20)  # the log has two decimals of a MiB


@pytest.mark.parametrize("v", [each for each in BYTES if BYTES[each] < 2])
@pytest.mark.parametrize("own", [True, False])
def test_quantized_values_need_flash_attention(on_cpu: Model, log: library.Log, v: str, own: bool) -> None:
    asked = options(flash_attn="off", **({"cache_type_v": v} if own else {"cache_type_k": "f16", "kv_cache_type": v}))
    with pytest.raises(InvalidRequest, match=f"{v} need flash attention") as refused:
        decoded(on_cpu, log, asked)
    assert refused.value.field == ("options.cache_type_v" if own else "options.kv_cache_type")


@pytest.mark.parametrize(("asked", "found"), [("auto", True), ("on", True), ("off", False)])
def test_what_flash_attention_came_to(on_cpu: Model, log: library.Log, asked: str, found: bool) -> None:
    context = Context(on_cpu, options(flash_attn=asked), log, cells=256, sequences=1, batch=64)
    assert context.flash_attn is found
    context.close()


def test_an_unknown_type_is_refused_by_the_option_that_named_it(on_cpu: Model, log: library.Log) -> None:
    for field, asked in (("cache_type_k", {"cache_type_k": "q3_k"}), ("kv_cache_type", {"kv_cache_type": "q3_k"})):
        with pytest.raises(InvalidRequest, match=f"{field} takes one of f32, f16") as refused:
            decoded(on_cpu, log, options(**asked))
        assert refused.value.field == f"options.{field}"


def test_an_unknown_architecture_is_named_with_the_build(tmp_path: Path, log: library.Log) -> None:
    path = write(tmp_path / "odd.gguf", "llama")
    path.write_bytes(path.read_bytes().replace(b"llama", b"lluma"))
    with pytest.raises(LoadFailed, match=f"'lluma' isn't known to {re.escape(ENGINE)};"):
        Model([str(path)], OPTIONS, log)
