"""The loaded llama.cpp library: is it the one this code was written for, and what does it say?

Structs cross by value through ctypes, so another version of the library would corrupt memory instead of complaining.
`check` compares the version and a few struct defaults before the first real call. llama.cpp reports sizes and reasons
only in its log, so `Log` listens to it.
"""

from __future__ import annotations

import ctypes
import re
import sys
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import llama_cpp
from llama_cpp import llama_cpp as lib

from runner.errors import LoadFailed

SUPPORTED = "0.3.36"
_COMMIT = "0c1e57098"  # of llama.cpp, by the notes of that release: the library itself names a version only
_MIB = 1024 * 1024
_BUFFER = re.compile(
    r"(?P<buffer>\S+)\s+(?P<kind>model|KV|RS|LoRA|compute|output|DSV4 \S+ state)\s+"
    r"buffer size\s*=\s*(?P<mib>[\d.]+) MiB"
)
_OFFLOADED = re.compile(r"offloaded (\d+)/(\d+) layers to GPU")
# The description comes from a driver, with parentheses of its own as it pleases.
_DEVICE = re.compile(r"using device (?P<name>\S+) \((?P<description>.*)\) \([^()]*\) - \d+ MiB free")
_FLASH = re.compile(r"flash_attn\s+= (?P<asked>enabled|disabled)\b|Flash Attention (?P<found>enabled|not supported)")
_OF_A_DEVICE = re.compile(r"_(Mapped|Private)$")  # ways in which a device's buffers lie in its memory
_OF_THE_MACHINE = re.compile(r"CPU(_|$)|_Host$|^(BLAS|AMX)")  # buffers in the machine's memory, pinned for a GPU or not
_PACKED = re.compile(r"CPU_(?!Mapped$)|^AMX$")  # of these, copies that a CPU keeps in an order of its own


def check() -> None:
    """Refuse a library whose structs are laid out differently from what the bindings believe.

    Raises LoadFailed naming what differs.
    """
    if llama_cpp.__version__ != SUPPORTED:
        raise LoadFailed(
            f"llama-cpp-python {llama_cpp.__version__} is installed and Runner needs {SUPPORTED}; "
            "install Runner again in its own environment"
        )
    context = lib.llama_context_default_params()
    model = lib.llama_model_default_params()
    # The last fields of each struct: they are right only if everything before them has the right size.
    expected = {"n_ctx": 512, "n_seq_max": 1, "swa_full": True, "kv_unified": False, "n_samplers": 0}
    wrong = [name for name, value in expected.items() if getattr(context, name) != value]
    expected = {"use_extra_bufts": True, "no_alloc": False}
    wrong += [name for name, value in expected.items() if getattr(model, name) != value]
    if wrong:
        raise LoadFailed(f"the llama.cpp library is not the one expected: unknown defaults of {', '.join(wrong)}")


def folder() -> Path:
    """Where the library and its backends lie."""
    return Path(lib._lib._name).parent


def device_of(buffer: str) -> str:
    """The device in whose memory a buffer lies, by llama.cpp's name for the buffer. Buffers that several devices have
    parts of keep their own name."""
    return "CPU" if _OF_THE_MACHINE.search(buffer) else _OF_A_DEVICE.sub("", buffer)


def version() -> str:
    """The bindings and the build of llama.cpp inside them."""
    return f"{llama_cpp.__version__} (llama.cpp {lib.llama_version().decode()}, {_COMMIT})"


@dataclass
class Sizes:
    """Bytes that llama.cpp said it took, by the device in whose memory they are. Of the machine's weights, `packed` are
    copies in another order, which stay when pages of the file are let go."""

    weights: dict[str, int] = field(default_factory=dict)
    kv: dict[str, int] = field(default_factory=dict)
    compute: dict[str, int] = field(default_factory=dict)
    packed: int = 0


# llama.cpp warns of an overflow here. But the cache is one for all sequences, and the worker bounds each of them.
_SHARED = re.compile(r"n_ctx_seq \((\d+)\) > n_ctx_train \((\d+)\).*")


class Log:
    """llama.cpp's log: warnings and errors go to stderr, sizes and the last lines are kept for whoever asks.

    `devices` are those of the models loaded so far, with their descriptions; `gpu_layers` is of the last one, and
    `flash_attn` of the last context.
    """

    def __init__(self) -> None:
        self.sizes = Sizes()
        self.gpu_layers = 0
        self.devices: dict[str, str] = {}
        self.flash_attn: bool | None = None
        self.hear: Callable[[str], object] | None = None
        """Given every line as well, if there is one."""
        self._tail: deque[str] = deque(maxlen=20)
        self._level = 0
        # ctypes callbacks die with their Python object, and llama.cpp keeps calling: hold it for the process's life.
        self.callback = lib.llama_log_callback(self._on_line)
        lib.llama_log_set(self.callback, ctypes.c_void_p(0))

    def errors(self) -> str:
        """The last error lines, for a message to a person."""
        return "; ".join(self._tail)

    def forget_errors(self) -> None:
        self._tail.clear()

    def _on_line(self, level: int, text: bytes, _: object) -> None:
        line = text.decode("utf-8", "replace").rstrip("\n")
        if self.hear is not None:
            self.hear(line)
        # Level 5 continues the line before; 3 is a warning, 4 an error.
        self._level = level if level != 5 else self._level
        if self._level >= 4 and line.strip():
            self._tail.append(line.strip())
        if self._level >= 3:
            line = _SHARED.sub(r"\1 cells for all sequences; the model was made for \2 tokens in each", line)
            sys.stderr.write(line + "\n" if level != 5 else line)
        self.learn(line)

    def learn(self, line: str) -> None:
        """Keep what a line tells of sizes and devices."""
        if match := _BUFFER.search(line):
            kinds = {"model": self.sizes.weights, "LoRA": self.sizes.weights}
            kinds |= dict.fromkeys(("compute", "output"), self.sizes.compute)
            into = kinds.get(match["kind"], self.sizes.kv)
            device = device_of(match["buffer"])
            size = int(float(match["mib"]) * _MIB)
            into[device] = into.get(device, 0) + size
            if match["kind"] == "model" and _PACKED.match(match["buffer"]):
                self.sizes.packed += size
        elif match := _OFFLOADED.search(line):
            self.gpu_layers = int(match[1])
        elif match := _DEVICE.search(line):
            self.devices[match["name"]] = match["description"]
        elif match := _FLASH.search(line):
            self.flash_attn = "enabled" in (match["asked"], match["found"])


_log: Log | None = None


def start() -> Log:
    """Check the library, listen to its log and initialise its backends. Safe to call again."""
    global _log
    if _log is None:
        check()
        _log = Log()
        lib.llama_backend_init()
    return _log
