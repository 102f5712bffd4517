"""What a machine can compute on, and where a load goes: values to be found and decided elsewhere.

Names are llama.cpp's own ("CUDA0", "Metal", "Vulkan1", "CPU"). Plain values; nothing here measures or decides.
"""

from __future__ import annotations

from typing import Literal

import msgspec

DeviceKind = Literal["cpu", "gpu", "igpu", "accelerator"]
"""An `igpu` shares the machine's own memory; an `accelerator` (BLAS, AMX) has none and holds no layers."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One device. `backend` is in lower case: cpu, cuda, metal, rocm, vulkan, sycl, ..., as llama.cpp registers it.

    `total` and `free` are bytes of its own memory, or of the part of the machine's that it may use; 0 where nobody
    knows.
    """

    name: str
    backend: str
    kind: DeviceKind
    description: str = ""
    total: int = 0
    free: int = 0


class Placement(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model goes. The last `gpu_layers` of its layers (the output counts as one more behind them) go to
    `devices`, divided by `split`, shares that add up to 1; the others stay with the CPU. Without devices
    everything does.

    Of the first `cpu_moe` layers the experts stay with the CPU wherever the rest of the layer is. With `mode` none,
    one device takes all; `layer` gives each whole layers, `row` a part of each matrix.
    """

    devices: tuple[str, ...] = ()
    gpu_layers: int = 0
    split: tuple[float, ...] = ()
    mode: Literal["none", "layer", "row"] = "layer"
    cpu_moe: int = 0
