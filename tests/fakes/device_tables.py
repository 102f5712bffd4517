"""What llama.cpp tells of machines that aren't at hand."""

from __future__ import annotations

from runner.protocol.devices import Device, DeviceSurvey

GIB = 2**30


def _gpu(name: str, backend: str, description: str, total: int, free: int) -> Device:
    return Device(name=name, backend=backend, kind="gpu", description=description, total=total * GIB, free=free * GIB)


def _shared(name: str, backend: str, description: str, total: int) -> Device:
    return Device(name=name, backend=backend, kind="igpu", description=description, total=total * GIB, free=total * GIB)


def _cpu(total: int) -> Device:
    size = total * GIB  # llama.cpp takes all of it for free
    return Device(name="CPU", backend="cpu", kind="cpu", description="AMD EPYC", total=size, free=size)


BLAS = Device(name="BLAS", backend="blas", kind="accelerator", description="Accelerate")
RTX_4090 = _gpu("CUDA0", "cuda", "NVIDIA GeForce RTX 4090", 24, 22)
RTX_3060 = _gpu("CUDA1", "cuda", "NVIDIA GeForce RTX 3060", 12, 11)
BY_VULKAN = _gpu("Vulkan0", "vulkan", "NVIDIA GeForce RTX 4090", 24, 22)

MACHINES = {
    "cpu": DeviceSurvey(devices=(_cpu(32),), backends=("cpu",)),
    "accelerated cpu": DeviceSurvey(devices=(BLAS, _cpu(32)), backends=("blas", "cpu")),
    "apple": DeviceSurvey(
        devices=(_shared("MTL0", "metal", "Apple M3 Max", 48), BLAS, _cpu(64)),
        backends=("metal", "blas", "cpu"),
        offloads=True,
    ),
    "two nvidia": DeviceSurvey(devices=(RTX_4090, RTX_3060, _cpu(64)), backends=("cuda", "cpu"), offloads=True),
    "amd": DeviceSurvey(
        devices=(_gpu("ROCm0", "rocm", "AMD Radeon RX 7800 XT", 16, 15), _cpu(32)),
        backends=("rocm", "cpu"),
        offloads=True,
    ),
    "integrated": DeviceSurvey(
        devices=(_shared("Vulkan0", "vulkan", "AMD Radeon 780M (RADV PHOENIX)", 14), _cpu(32)),
        backends=("vulkan", "cpu"),
        offloads=True,
    ),
    "vulkan": DeviceSurvey(
        devices=(
            _gpu("Vulkan0", "vulkan", "Intel(R) Arc(tm) A770 Graphics", 16, 15),
            _shared("Vulkan1", "vulkan", "Intel(R) UHD Graphics 770", 24),
            _cpu(32),
        ),
        backends=("vulkan", "cpu"),
        offloads=True,
    ),
    "two backends": DeviceSurvey(
        devices=(RTX_4090, BY_VULKAN, _cpu(64)), backends=("cuda", "vulkan", "cpu"), offloads=True
    ),
}
