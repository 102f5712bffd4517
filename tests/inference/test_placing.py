"""What a request asks of devices and of the cache: done, or refused by the field at fault."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from registry.gguf.facts import Facts, facts
from registry.gguf.reader import read_header
from runner.errors import InvalidRequest
from runner.inference.placing import settled
from runner.inference.requests import Chat
from runner.inference.resolve import Resolver
from runner.protocol.devices import Device, DeviceSurvey
from runner.protocol.options import LoadOptions
from runner.scheduler.selection import automatic
from tests import tiny_gguf
from tests.fakes.device_tables import GIB, MACHINES
from tests.inference.conftest import Make
from tests.inference.test_resolve import HI
from tests.tiny_gguf import UINT32, Typed

OPTIONS = LoadOptions(num_ctx=512, num_parallel=1)
SYCL = DeviceSurvey(
    devices=tuple(Device(name=f"SYCL{i}", backend="sycl", kind="gpu", total=GIB, free=GIB) for i in (0, 1)),
    backends=("sycl", "cpu"),
    splits_rows=("sycl",),
)


@pytest.fixture(scope="module")
def header(tmp_path_factory: pytest.TempPathFactory) -> Facts:
    """A model whose heads have 64 values."""
    return described(tmp_path_factory.mktemp("header"))


def described(folder: Path, key: int = 64, value: int = 64, **more: object) -> Facts:
    lengths = {"llama.attention.key_length": Typed(UINT32, key), "llama.attention.value_length": Typed(UINT32, value)}
    extra = lengths | {f"llama.attention.{name}": Typed(UINT32, number) for name, number in more.items()}
    path = folder / "model.gguf"
    path.write_bytes(tiny_gguf.model("llama", extra=extra).build())
    return facts(read_header(path))


def settle(header: Facts, machine: str | DeviceSurvey, **options: object) -> LoadOptions:
    survey = MACHINES[machine] if isinstance(machine, str) else machine
    return settled(msgspec.structs.replace(OPTIONS, **options), header, survey)


@pytest.mark.parametrize(
    ("machine", "asked", "found"),
    [
        ("cpu", "auto", "auto"),
        ("cpu", "CPU", "cpu"),
        ("two nvidia", "auto", "auto"),
        ("two nvidia", "cuda", "CUDA0,CUDA1"),
        ("two nvidia", "cuda1, CUDA0", "CUDA1,CUDA0"),
        ("two nvidia", "cpu", "cpu"),
        ("apple", "Metal", "MTL0"),
        ("apple", "mtl0", "MTL0"),
        ("amd", "hip", "ROCm0"),
        ("vulkan", "vulkan", "Vulkan0,Vulkan1"),
        ("two backends", "vulkan", "Vulkan0"),
    ],
)
def test_devices_are_spelt_as_llama_cpp_spells_them(header: Facts, machine: str, asked: str, found: str) -> None:
    assert settle(header, machine, device=asked).device == found


@pytest.mark.parametrize(
    ("machine", "names"),
    [
        ("cpu", []),
        ("accelerated cpu", []),
        ("apple", ["MTL0"]),
        ("two nvidia", ["CUDA0", "CUDA1"]),
        ("integrated", ["Vulkan0"]),
        ("vulkan", ["Vulkan0"]),  # the card, and not what is in the processor
        ("two backends", ["CUDA0"]),  # one card, seen twice
    ],
)
def test_what_auto_means(machine: str, names: list[str]) -> None:
    assert [device.name for device in automatic(MACHINES[machine].devices)] == names


REFUSED = [
    ("cpu", {"device": "cuda"}, "device", "this build of llama.cpp has no CUDA; it has: CPU"),
    ("two nvidia", {"device": "metal"}, "device", "has no Metal; it has: CUDA, CPU"),
    ("two nvidia", {"device": "CUDA2"}, "device", "no device 'CUDA2' to put layers on; there is: CUDA0 (NVIDIA"),
    ("two nvidia", {"device": "CUDA0,CUDA0"}, "device", "names a device twice"),
    ("two nvidia", {"device": "CUDA0,"}, "device", "no device ''"),
    ("two nvidia", {"device": "cpu,CUDA0"}, "device", "no device 'cpu' to put layers on"),
    ("accelerated cpu", {"device": "BLAS"}, "device", "no device of BLAS here"),
    ("cpu", {"device": "x" * 4000}, "device", "no device 'xxxx"),
    ("two nvidia", {"main_gpu": 2}, "main_gpu", "main_gpu is 2, and 2 GPUs are used: CUDA0, CUDA1"),
    ("two nvidia", {"main_gpu": 1, "device": "CUDA1"}, "main_gpu", "one GPU is used: CUDA1"),
    ("cpu", {"main_gpu": 1}, "main_gpu", "there is no GPU to use; there is: CPU"),
    ("two nvidia", {"tensor_split": "1,1,1"}, "tensor_split", "3 shares, and 2 GPUs are used: CUDA0, CUDA1"),
    ("two nvidia", {"tensor_split": "3"}, "tensor_split", "has 1 shares"),
    ("two nvidia", {"tensor_split": "3,-1"}, "tensor_split", "shares are 0 or more"),
    ("two nvidia", {"tensor_split": "nan,1"}, "tensor_split", "shares are 0 or more"),
    ("two nvidia", {"tensor_split": "inf,1"}, "tensor_split", "shares are 0 or more"),
    ("two nvidia", {"tensor_split": "0,0"}, "tensor_split", "at least one device"),
    ("two nvidia", {"tensor_split": "a,b"}, "tensor_split", "shares such as 3,1"),
    ("cpu", {"tensor_split": "1,1"}, "tensor_split", "there is no GPU"),
    ("two nvidia", {"split_mode": "row"}, "split_mode", "cannot give CUDA0 a part of a matrix: take layer or none"),
    ("cpu", {"split_mode": "row"}, "split_mode", "there is no GPU"),
    ("cpu", {"cache_type_v": "q8_0", "flash_attn": "off"}, "cache_type_v", "needs flash attention"),
    ("cpu", {"kv_cache_type": "q4_0", "flash_attn": "off"}, "kv_cache_type", "needs flash attention"),
]


@pytest.mark.parametrize(("machine", "asked", "field", "why"), REFUSED)
def test_what_cannot_be_is_refused(header: Facts, machine: str, asked: dict[str, object], field: str, why: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        settle(header, machine, **asked)
    assert refused.value.field == f"options.{field}"
    assert why in refused.value.message
    assert len(refused.value.message) < 400


def test_what_can_be(header: Facts) -> None:
    assert settle(header, "two nvidia", tensor_split=" 3, 1.50").tensor_split == "3,1.5"
    assert settle(header, "two nvidia", tensor_split="1,0", main_gpu=1).tensor_split == "1,0"
    assert settle(header, "two nvidia", device="cpu", tensor_split="1,2,3", main_gpu=7).tensor_split == "auto"
    assert settle(header, SYCL, split_mode="row").split_mode == "row"
    assert settle(header, "cpu", num_gpu=99).num_gpu == 99  # clients send it to every machine
    for k, v in (("q8_0", "q4_0"), ("f16", "q8_0"), ("q8_0", "f16")):
        settle(header, "cpu", cache_type_k=k, cache_type_v=v)
    settle(header, "cpu", cache_type_k="q8_0", flash_attn="off")


def test_when_nothing_could_be_found_out_that_is_said(header: Facts) -> None:
    problem = "the devices of this machine could not be listed, so only the CPU is used: killed by SIGSEGV"
    broken = msgspec.structs.replace(MACHINES["cpu"], problem=problem)
    with pytest.raises(InvalidRequest, match="option device: the devices of this machine could not be listed"):
        settle(header, broken, device="cuda")
    assert settle(header, broken).device == "auto"


def test_heads_that_cannot_be_packed(tmp_path: Path) -> None:
    odd = described(tmp_path, key=80, value=64)
    with pytest.raises(
        InvalidRequest, match="packs 32 values together, and the heads of this model have 80"
    ) as refused:
        settle(odd, "cpu", kv_cache_type="q8_0")
    assert refused.value.field == "options.kv_cache_type"
    settle(odd, "cpu", cache_type_v="q8_0")


def test_keys_and_values_in_one_have_one_type(tmp_path: Path) -> None:
    latent = described(tmp_path, key=576 - 32, value=512, key_length_mla=64, value_length_mla=64)
    with pytest.raises(InvalidRequest, match="keeps keys and values in one") as refused:
        settle(latent, "cpu", cache_type_k="q8_0", cache_type_v="f16")
    assert refused.value.field == "options.cache_type_v"
    settle(latent, "cpu", kv_cache_type="q8_0")


def test_a_request_is_refused_before_anything_is_loaded(resolver: Resolver, make: Make) -> None:
    make("m")
    with pytest.raises(InvalidRequest, match="no CUDA; it has: CPU") as refused:
        resolver.chat(Chat("m", HI, options={"device": "cuda"}))
    assert refused.value.field == "options.device"
