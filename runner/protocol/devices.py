"""What a machine can compute on, and where a load goes: values to be found and decided elsewhere.

Names are llama.cpp's own ("CUDA0", "MTL0", "Vulkan1", "CPU"). Plain values; nothing here measures or decides.
"""

from __future__ import annotations

from typing import Literal

import msgspec

HOST = "host"
"""The pool that is the machine's own memory. Any other pool is a device's, by its name."""
DeviceKind = Literal["cpu", "gpu", "igpu", "accelerator"]
"""An `igpu` shares the machine's own memory; an `accelerator` (BLAS, AMX) has none and holds no layers."""


class Device(msgspec.Struct, frozen=True, kw_only=True):
    """One device. `backend` is in lower case: cpu, cuda, metal, rocm, vulkan, sycl, ..., as llama.cpp registers it
    (which calls metal mtl).

    `total` and `free` are bytes of its own memory, or of the part of the machine's that it may use; 0 where nobody
    knows.
    """

    name: str
    backend: str
    kind: DeviceKind
    description: str = ""
    total: int = 0
    free: int = 0

    @property
    def has_own_memory(self) -> bool:
        """Whether layers on it take nothing from the machine's memory."""
        return self.kind == "gpu" and self.backend != "metal"

    @property
    def pool(self) -> str:
        """The memory that it takes from."""
        return self.name if self.has_own_memory else HOST


class DeviceSurvey(msgspec.Struct, frozen=True, kw_only=True):
    """What the probe process found: the devices in llama.cpp's order, and what this build of it has.

    `backends` are those compiled in or loaded, with a device here or not. `splits_rows` are those of them that can give
    each GPU a part of each matrix. With `problem` nothing could be found out, and there is the CPU alone.
    """

    devices: tuple[Device, ...]
    backends: tuple[str, ...] = ("cpu",)
    splits_rows: tuple[str, ...] = ()
    offloads: bool = False
    engine: str = ""  # the build of llama.cpp
    system: str = ""  # what it says of the processor features that it was built for
    problem: str = ""


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
