"""The devices that llama.cpp sees, through functions that its libraries export and the bindings leave out.

Reads only; a device is named by llama.cpp's own name and handed to it by address. Whoever calls this has started the
library, which may take a second on a GPU, and may die there.
"""

from __future__ import annotations

import ctypes
import platform
import sys
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

import llama_cpp
import llama_cpp.llama_cpp as lib

from runner.errors import LoadFailed
from runner.protocol.devices import Device, DeviceKind, DeviceSurvey

_KINDS: dict[int, DeviceKind] = {0: "cpu", 1: "gpu", 2: "igpu", 3: "accelerator"}  # 4 is one made of several
_BACKENDS = {"mtl": "metal"}  # where llama.cpp's word isn't the one that people know
_ROWS = b"ggml_backend_split_buffer_type"  # what a backend offers that can split matrices over its devices


class _Abilities(ctypes.Structure):
    _fields_ = [(name, ctypes.c_bool) for name in ("async_", "host_buffer", "from_host_ptr", "events", "mmap")]


class _Properties(ctypes.Structure):
    """`ggml_backend_dev_props` of the pinned build."""

    _fields_ = [
        ("name", ctypes.c_char_p),
        ("description", ctypes.c_char_p),
        ("memory_free", ctypes.c_size_t),
        ("memory_total", ctypes.c_size_t),
        ("type", ctypes.c_int),
        ("device_id", ctypes.c_char_p),
        ("abilities", _Abilities),
    ]


def survey(engine: str) -> DeviceSurvey:
    """All devices, and what this build of llama.cpp has. `engine` is its name. Raises LoadFailed."""
    return DeviceSurvey(
        devices=tuple(_device(each) for each in _handles() if _kind(each) is not None),
        backends=tuple(dict.fromkeys(_backend(each) for each in _registered())),
        splits_rows=tuple(
            _backend(each) for each in _registered() if _call("ggml_backend_reg_get_proc_address", _at, each, _ROWS)
        ),
        offloads=bool(lib.llama_supports_gpu_offload()),
        engine=engine,
        system=_text(lib.llama_print_system_info()).strip(" |"),
    )


def address(name: str) -> int:
    """What llama.cpp is handed for a device. Raises LoadFailed for one that isn't there."""
    names = []
    for handle in _handles():
        names.append(_text(_call("ggml_backend_dev_name", _chars, handle)))
        if names[-1] == name:
            return handle
    raise LoadFailed(f"llama.cpp sees no device {name} here; it sees {', '.join(names)}")


def cpu_memory() -> int:
    """The kind of buffer that lies in the machine's own memory, for weights that are to stay there."""
    return int(_call("ggml_backend_cpu_buffer_type", _at))


def _device(handle: int) -> Device:
    found = _Properties()
    _call("ggml_backend_dev_get_props", None, handle, ctypes.byref(found))
    backend = _backend(_call("ggml_backend_dev_backend_reg", _at, handle))
    kind = _kind(handle) or "cpu"
    # llama.cpp calls Apple's a GPU, and its memory is the machine's.
    shares = backend == "metal" and platform.machine() == "arm64"
    return Device(
        name=_text(_call("ggml_backend_dev_name", _chars, handle)),
        backend=backend,
        kind="igpu" if shares else kind,
        description=_text(found.description),
        total=found.memory_total,
        free=found.memory_free,
    )


def _kind(handle: int) -> DeviceKind | None:
    return _KINDS.get(_call("ggml_backend_dev_type", ctypes.c_int, handle))


def _handles() -> Iterator[int]:
    for index in range(_call("ggml_backend_dev_count", ctypes.c_size_t)):
        yield _call("ggml_backend_dev_get", _at, ctypes.c_size_t(index))


def _registered() -> Iterator[int]:
    for index in range(_call("ggml_backend_reg_count", ctypes.c_size_t)):
        yield _call("ggml_backend_reg_get", _at, ctypes.c_size_t(index))


def _backend(registered: int) -> str:
    name = _text(_call("ggml_backend_reg_name", _chars, registered)).lower()
    return _BACKENDS.get(name, name)


def _text(value: bytes | None) -> str:
    return (value or b"").decode("utf-8", "replace")


_at, _chars = ctypes.c_void_p, ctypes.c_char_p


def _call(name: str, result: Any, *arguments: object) -> Any:
    """Call an exported function. Whole numbers are addresses."""
    return _function(name, result)(*(_at(each) if isinstance(each, int) else each for each in arguments))


@cache
def _function(name: str, result: Any) -> Callable[..., Any]:
    for library in _libraries():
        try:
            function: Any = library[name]  # one of our own: the bindings may give theirs other types
        except AttributeError:
            continue
        function.restype = result
        return function  # type: ignore[no-any-return]
    raise LoadFailed(f"the llama.cpp library has no {name}: it is not the one that Runner was written for")


def _libraries() -> Iterator[ctypes.CDLL]:
    """Where to look. A wheel has each library under several names, so that opening one by its file might load it a
    second time, with devices of its own; but a library gives away what those that it stands on export."""
    yield lib._lib
    if sys.platform == "win32":  # there it doesn't, but a name is loaded only once
        folder = Path(llama_cpp.__file__).parent / "lib"
        for name in ("ggml.dll", "ggml-base.dll"):
            if (folder / name).exists():
                yield ctypes.CDLL(str(folder / name))
