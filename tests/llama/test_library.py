"""What is learnt from llama.cpp's log, with lines as its backends write them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner.llama.library import Log, Sizes, device_of, start

MIB = 2**20
HEARD = {
    "two NVIDIA GPUs, a part on the CPU": (
        """
llama_prepare_model_devices: using device CUDA0 (NVIDIA GeForce RTX 4090) (0000:01:00.0) - 23685 MiB free
llama_prepare_model_devices: using device CUDA1 (NVIDIA GeForce RTX 3060) (0000:02:00.0) - 11906 MiB free
load_tensors: offloading output layer to GPU
load_tensors: offloading 27 repeating layers to GPU
load_tensors: offloaded 28/33 layers to GPU
load_tensors:   CPU_Mapped model buffer size =   600.50 MiB
load_tensors:        CUDA0 model buffer size =  3000.25 MiB
load_tensors:        CUDA1 model buffer size =  1000.00 MiB
llama_context:  CUDA_Host  output buffer size =     0.50 MiB
llama_kv_cache:      CUDA0 KV buffer size =   512.00 MiB
llama_kv_cache:      CUDA1 KV buffer size =   256.00 MiB
llama_kv_cache:        CPU KV buffer size =    64.00 MiB
sched_reserve:      CUDA0 compute buffer size =   300.00 MiB
sched_reserve:      CUDA1 compute buffer size =   200.00 MiB
sched_reserve:  CUDA_Host compute buffer size =    24.00 MiB
""",
        {"CUDA0": "NVIDIA GeForce RTX 4090", "CUDA1": "NVIDIA GeForce RTX 3060"},
        28,
        Sizes(
            weights={"CPU": int(600.5 * MIB), "CUDA0": int(3000.25 * MIB), "CUDA1": 1000 * MIB},
            kv={"CUDA0": 512 * MIB, "CUDA1": 256 * MIB, "CPU": 64 * MIB},
            compute={"CPU": int(24.5 * MIB), "CUDA0": 300 * MIB, "CUDA1": 200 * MIB},
        ),
    ),
    "Apple's": (
        """
llama_prepare_model_devices: using device MTL0 (Apple M3 Max) (unknown id) - 49151 MiB free
load_tensors: offloaded 33/33 layers to GPU
load_tensors:   CPU_Mapped model buffer size =   281.81 MiB
load_tensors:  MTL0_Mapped model buffer size =  4403.49 MiB
llama_context:        CPU  output buffer size =     0.49 MiB
llama_kv_cache:       MTL0 KV buffer size =   512.00 MiB
sched_reserve:       MTL0 compute buffer size =   258.50 MiB
""",
        {"MTL0": "Apple M3 Max"},
        33,
        Sizes(
            weights={"CPU": int(281.81 * MIB), "MTL0": int(4403.49 * MIB)},
            kv={"MTL0": 512 * MIB},
            compute={"CPU": int(0.49 * MIB), "MTL0": int(258.5 * MIB)},
        ),
    ),
    "an integrated GPU by Vulkan, with parentheses in its name": (
        """
llama_prepare_model_devices: using device Vulkan0 (AMD Radeon(TM) 780M (RADV PHOENIX)) (0000:c1:00.0) - 14000 MiB free
load_tensors: offloaded 25/25 layers to GPU
load_tensors:      Vulkan0 model buffer size =  1000.00 MiB
load_tensors:  Vulkan_Host model buffer size =   125.00 MiB
llama_memory_recurrent:    Vulkan0 RS buffer size =    10.00 MiB
llama_kv_cache:    Vulkan0 KV buffer size =    96.00 MiB
""",
        {"Vulkan0": "AMD Radeon(TM) 780M (RADV PHOENIX)"},
        25,
        Sizes(weights={"Vulkan0": 1000 * MIB, "CPU": 125 * MIB}, kv={"Vulkan0": 106 * MIB}),
    ),
    "ROCm, with an adapter": (
        """
llama_prepare_model_devices: using device ROCm0 (AMD Instinct MI300X) (0000:0c:00.0) - 191000 MiB free
load_tensors:        ROCm0 model buffer size =  2048.00 MiB
load_tensors:   CPU_REPACK model buffer size =     1.00 MiB
llama_adapter_lora_init_impl:      ROCm0 LoRA buffer size =    12.00 MiB
llama_kv_cache_dsv4:      ROCm0 DSV4 comp state buffer size =    8.00 MiB
""",
        {"ROCm0": "AMD Instinct MI300X"},
        0,
        Sizes(weights={"ROCm0": 2060 * MIB, "CPU": 1 * MIB}, kv={"ROCm0": 8 * MIB}, packed=1 * MIB),
    ),
}


@pytest.fixture
def log() -> Iterator[Log]:
    """The process's own, emptied before and after."""
    found = start()
    empty(found)
    yield found
    empty(found)


def empty(log: Log) -> None:
    log.sizes, log.devices, log.gpu_layers, log.flash_attn = Sizes(), {}, 0, None


@pytest.mark.parametrize("machine", HEARD)
def test_sizes_by_device(log: Log, machine: str) -> None:
    text, devices, layers, sizes = HEARD[machine]
    for line in text.strip().splitlines():
        log.learn(line)
    assert log.devices == devices
    assert log.gpu_layers == layers
    assert log.sizes == sizes


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        (["llama_context: flash_attn            = auto"], None),
        (["llama_context: flash_attn            = auto", "resolve_fused_ops: Flash Attention enabled"], True),
        (["llama_context: flash_attn            = enabled"], True),
        (["llama_context: flash_attn            = disabled"], False),
        (
            [
                "llama_context: flash_attn            = auto",
                "resolve_fused_ops: layer 0 is assigned to device Vulkan0 but Flash Attention is assigned to CPU",
                "resolve_fused_ops: Flash Attention not supported, set to disabled",
            ],
            False,
        ),
    ],
)
def test_what_auto_came_to(log: Log, lines: list[str], found: bool | None) -> None:
    for line in lines:
        log.learn(line)
    assert log.flash_attn is found


def test_what_is_no_danger_is_told_as_it_is(log: Log, capsys: pytest.CaptureFixture[str]) -> None:
    shared = b"llama_context: n_ctx_seq (65536) > n_ctx_train (4096) -- possible training context overflow\n"
    log._on_line(3, shared, None)
    log._on_line(3, b"llama_context: another warning\n", None)
    assert capsys.readouterr().err.splitlines() == [
        "llama_context: 65536 cells for all sequences; the model was made for 4096 tokens in each",
        "llama_context: another warning",
    ]


@pytest.mark.parametrize(
    ("buffer", "device"),
    [
        ("CPU", "CPU"),
        ("CPU_Mapped", "CPU"),
        ("CPU_REPACK", "CPU"),
        ("CUDA_Host", "CPU"),
        ("SYCL_Host", "CPU"),
        ("BLAS", "CPU"),
        ("CUDA0", "CUDA0"),
        ("MTL0_Private", "MTL0"),
        ("SYCL_Split", "SYCL_Split"),
    ],
)
def test_whose_memory_a_buffer_lies_in(buffer: str, device: str) -> None:
    assert device_of(buffer) == device
