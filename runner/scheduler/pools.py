"""Which device a buffer of llama.cpp's lies with, and which memory that takes from: "host" or a device's own.

Names only; nothing is measured here.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from runner.protocol.devices import HOST, Device
from runner.protocol.events import Ready

CPU = "CPU"
_SHARING = ("Metal", "MTL")  # devices that have no memory beside the machine's


@dataclass(frozen=True, slots=True)
class Held:
    """Bytes of one worker with one device."""

    device: str
    pool: str
    weights: int = 0
    kv: int = 0
    compute: int = 0

    @property
    def total(self) -> int:
        return self.weights + self.kv + self.compute


def device_of(buffer: str) -> str:
    """The device of a buffer that llama.cpp names in its log: CPU for the machine's own memory in all its forms."""
    if buffer.startswith(CPU) or buffer.endswith("_Host") or buffer in ("BLAS", "AMX"):
        return CPU
    return buffer.partition("_")[0]


def device_names(devices: Sequence[str]) -> tuple[str, ...]:
    """Devices that hold layers, by llama.cpp's names: of "CUDA0: NVIDIA ..." the first word, and not the CPU."""
    names = [each.partition(":")[0].strip() for each in devices]
    return tuple(name for name in names if name and not name.startswith(CPU))


def pool_of(device: str, devices: Iterable[Device] = ()) -> str:
    """The memory that a device's buffers are taken from."""
    if device == CPU or device.startswith(_SHARING):
        return HOST
    shares = any(each.name == device and each.kind in ("igpu", "cpu", "accelerator") for each in devices)
    return HOST if shares else device


def held(ready: Ready, devices: Iterable[Device] = ()) -> tuple[Held, ...]:
    """What a loaded worker holds, device by device, the CPU first."""
    known = tuple(devices)
    sums: dict[str, list[int]] = {}
    for part, sizes in enumerate((ready.weights_bytes, ready.kv_bytes, ready.compute_bytes)):
        for buffer, size in sizes.items():
            sums.setdefault(device_of(buffer), [0, 0, 0])[part] += size
    order = sorted(sums, key=lambda device: (device != CPU, device))
    return tuple(Held(device, pool_of(device, known), *sums[device]) for device in order)


def by_pool(holdings: Iterable[Held]) -> Mapping[str, int]:
    """Bytes of all of them together, by pool."""
    pools: dict[str, int] = {}
    for each in holdings:
        pools[each.pool] = pools.get(each.pool, 0) + each.total
    return pools
