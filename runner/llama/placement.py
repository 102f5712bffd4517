"""Where a model's parts go, in llama.cpp's terms: from a plan, or from the options alone, to the parameters of a load.

`layout` is pure; `Laid` puts its values into llama.cpp's struct and keeps alive what that points to. Knows no memory:
whether it fits has been decided elsewhere.
"""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import llama_cpp.llama_cpp as lib

from runner.llama import devices
from runner.protocol.devices import Placement
from runner.protocol.options import LoadOptions

_MODES = {
    "none": lib.LLAMA_SPLIT_MODE_NONE,
    "layer": lib.LLAMA_SPLIT_MODE_LAYER,
    "row": lib.LLAMA_SPLIT_MODE_ROW,
}
_EXPERTS = r"\.ffn_[a-z_]*exps\."  # experts' weights and biases; shared experts (shexp) are for every token
_ALL = 2**31 - 1  # layers: more than any model has
_NEARLY = 1e-3  # of a layer: shares are made by dividing, and not exact


@dataclass(frozen=True, slots=True)
class Layout:
    """`devices` None leaves the choice to llama.cpp; none at all is the CPU alone. `gpu_layers` -1 is all of them.
    `shares` are for the devices in order; none leaves them to llama.cpp. Tensors whose names match `on_cpu` stay in the
    machine's memory."""

    devices: tuple[str, ...] | None = None
    gpu_layers: int = -1
    mode: int = lib.LLAMA_SPLIT_MODE_LAYER
    main_gpu: int = 0
    shares: tuple[float, ...] = ()
    on_cpu: str | None = None


def layout(placement: Placement | None, options: LoadOptions) -> Layout:
    """What llama.cpp is to be told. Without a plan it is what the options say, as far as they say it."""
    if placement is None:
        return _asked(options)
    if not placement.devices:
        return Layout(devices=(), gpu_layers=0)
    return Layout(
        devices=placement.devices,
        gpu_layers=placement.gpu_layers,
        mode=_MODES[placement.mode],
        main_gpu=0,  # of the devices given, of which there is one where nothing is split
        shares=_between_layers(placement.split, placement.gpu_layers) if placement.mode == "layer" else placement.split,
        on_cpu=experts(placement.cpu_moe),
    )


def for_draft(placement: Placement | None) -> Placement | None:
    """Where a model goes that drafts for one placed like this: all of it to the first device, if layers go there."""
    if placement is None or not placement.devices:
        return placement
    return Placement(devices=placement.devices[:1], gpu_layers=_ALL if placement.gpu_layers else 0, mode="none")


def experts(layers: int) -> str | None:
    """A regular expression for the names of the experts' tensors of the first so many layers, as C++ reads it too."""
    return rf"^blk\.({_below(layers)}){_EXPERTS}" if layers > 0 else None


def _asked(options: LoadOptions) -> Layout:
    if options.device == "cpu" or options.num_gpu == 0:
        return Layout(devices=(), gpu_layers=0)
    named = options.device.split(",") if options.device != "auto" else None
    shares = [] if options.tensor_split == "auto" else [float(each) for each in options.tensor_split.split(",")]
    return Layout(
        devices=tuple(named) if named else None,
        gpu_layers=options.num_gpu,
        mode=_MODES[options.split_mode],
        main_gpu=options.main_gpu,
        shares=tuple(shares),
        on_cpu=experts(min(options.num_cpu_moe, 999)),
    )


def _between_layers(split: tuple[float, ...], layers: int) -> tuple[float, ...]:
    """The same shares, moved so that each device's end lies in the middle of a layer.

    llama.cpp gives layer i of n to the first device whose shares up to it are more than i / n. A share that means
    whole layers ends just where one begins, and a rounding error would give that layer to the wrong device.
    """
    if not split or layers <= 0:
        return split
    ends, total = [0.0], 0.0
    for share in split[:-1]:
        total += share
        whole = -int(-(total * layers - _NEARLY) // 1)  # layers up to here, a begun one included
        ends.append(max(ends[-1], (whole - 0.5) / layers, 0.0))
    ends.append(1.0)
    return tuple(end - begin for begin, end in itertools.pairwise(ends))


def _below(count: int) -> str:
    """A regular expression for the whole numbers from 0 to `count` - 1, of three digits at most."""
    count = min(count, 1000)
    parts = []
    for digits in (1, 2, 3):
        low = 10 ** (digits - 1) if digits > 1 else 0
        high = min(count, 10**digits) - 1
        if high >= low:
            parts += _ranges(str(low), str(high))
    return "|".join(parts)


def _ranges(low: str, high: str) -> list[str]:
    """Patterns for the numbers between two of as many digits, both included."""
    if len(low) == 1:
        return [low if low == high else f"[{low}-{high}]"]
    if low[0] == high[0]:
        return [low[0] + rest for rest in _ranges(low[1:], high[1:])]
    nines, zeros = "9" * (len(low) - 1), "0" * (len(low) - 1)
    found = [low[0] + rest for rest in _ranges(low[1:], nines)]
    if int(low[0]) + 1 < int(high[0]):
        found += [f"[{int(low[0]) + 1}-{int(high[0]) - 1}]" + "[0-9]" * (len(low) - 1)]
    return found + [high[0] + rest for rest in _ranges(zeros, high[1:])]


class _Override(ctypes.Structure):
    """`llama_model_tensor_buft_override`; the last of an array is empty."""

    _fields_ = [("pattern", ctypes.c_char_p), ("buffer", ctypes.c_void_p)]


class Laid:
    """A layout in llama.cpp's struct. What the struct points to lives as long as this object, which has to outlive the
    model. `address` gives llama.cpp's handle of a device by name. Raises LoadFailed for one that isn't there."""

    def __init__(
        self, found: Layout, params: lib.llama_model_params, address: Callable[[str], int] = devices.address
    ) -> None:
        self.layout = found
        params.n_gpu_layers = found.gpu_layers
        params.split_mode = found.mode
        params.main_gpu = found.main_gpu
        # What computes beside the layers, such as a projector; None is llama.cpp's choice.
        self.first: int | None = None
        self._alive: list[object] = []
        if found.devices is not None:
            handles = [address(name) for name in found.devices]
            self.first = handles[found.main_gpu] if found.main_gpu < len(handles) else None
            params.devices = self._kept((ctypes.c_void_p * (len(handles) + 1))(*handles, None))
        if found.shares:
            room = max(lib.llama_max_devices(), len(found.shares))
            shares = (ctypes.c_float * room)(*found.shares)
            self._kept(shares)
            params.tensor_split = shares
        if found.on_cpu is not None:
            override = _Override(found.on_cpu.encode(), devices.cpu_memory())
            params.tensor_buft_overrides = self._kept((_Override * 2)(override, _Override(None, None)))

    def _kept(self, array: Any) -> Any:
        """Its address, good for as long as this object."""
        self._alive.append(array)
        return ctypes.addressof(array)

    @property
    def is_cpu(self) -> bool:
        """Whether nothing but the CPU may compute."""
        return self.layout.devices == ()
