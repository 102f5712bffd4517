"""Which files of the machine a process needs that runs Python, llama.cpp and perhaps a GPU's driver."""

from __future__ import annotations

import glob
import os
import sys
from collections.abc import Iterator
from pathlib import Path

from runner.engine.sandbox.landlock import Right, Rule

_SYSTEM = (
    "/usr", "/lib", "/lib32", "/lib64", "/bin", "/opt", "/nix/store", "/gnu/store", "/proc", "/sys",
    "/etc/ld.so.cache", "/etc/ld.so.conf", "/etc/ld.so.conf.d", "/etc/localtime", "/etc/alternatives",
    "/etc/OpenCL", "/etc/vulkan", "/etc/glvnd",
    "/dev/zero", "/dev/random", "/dev/urandom",
)  # fmt: skip
_DRIVERS = ("/dev/nvidia*", "/dev/dri", "/dev/kfd", "/dev/dxg", "/dev/shm")
_BACKENDS = ("cuda", "hip", "vulkan", "sycl", "opencl", "musa", "cann")
_OURS = ("runner", "modelfiles")
# Where drivers keep what they compiled, which is code: a folder of ours, not one that other programs load from.
_CACHES = ("CUDA_CACHE_PATH", "MESA_SHADER_CACHE_DIR", "AMD_COMGR_CACHE_DIR", "TMPDIR")


def machine() -> Iterator[Rule]:
    """What every process of ours reads, and the programs that it may start: Python, for its helper."""
    for path in _SYSTEM:
        yield Rule(Path(path), Right.READ)
    for path in (sys.prefix, sys.exec_prefix, sys.base_prefix, sys.base_exec_prefix):
        yield from _below(Path(path))
    for entry in filter(None, sys.path):
        yield from _below(Path(entry))
    for name in ("LD_LIBRARY_PATH", "LLAMA_CPP_LIB_PATH"):
        for entry in filter(None, os.environ.get(name, "").split(os.pathsep)):
            yield from _below(Path(entry))
    yield Rule(Path("/dev/null"), Right.READ | Right.WRITE)
    for path in _interpreter():
        yield Rule(Path(path), Right.READ | Right.EXECUTE)


def drivers(scratch: str) -> Iterator[Rule]:
    """What a GPU's driver needs beside: its devices, and a folder to write to, which is made."""
    for pattern in _DRIVERS:
        for path in glob.glob(pattern):
            yield Rule(Path(path), Right.DEVICE | (Right.KEEP if path == "/dev/shm" else Right.READ))
    if scratch:
        Path(scratch).mkdir(parents=True, exist_ok=True, mode=0o700)
        for name in _CACHES:
            os.environ[name] = scratch
        yield Rule(Path(scratch), Right.KEEP)


def has_gpu(libraries: Path) -> bool:
    """Whether there may be a GPU that this build of llama.cpp uses, whose `libraries` lie there.

    Only a build that has its CPU backend in a file of its own, and no other one, is known to use none.
    """
    found = {path.name for path in libraries.glob("*ggml-*")}
    cpu_only = any("ggml-cpu" in name for name in found) and not any(
        f"ggml-{backend}" in name for name in found for backend in _BACKENDS
    )
    return not cpu_only and any(glob.glob(pattern) for pattern in _DRIVERS if pattern != "/dev/shm")


def _below(path: Path) -> Iterator[Rule]:
    """A place where Python looks for modules. Of one that holds somebody's home or a checkout, only what is ours."""
    ours = [path / name for name in _OURS]
    home = Path(os.path.expanduser("~"))
    if path in (home, *home.parents) or all(each.is_dir() for each in ours):
        yield Rule(path, Right.READ_DIR)
        for each in ours:
            yield Rule(each, Right.READ)
        if path.name in ("site-packages", "dist-packages"):
            yield Rule(path, Right.READ)
        return
    yield Rule(path, Right.READ)


def _interpreter() -> set[str]:
    """Python's own program by all its names, and the loader that the kernel starts it with."""
    found = {sys.executable, getattr(sys, "_base_executable", sys.executable), os.path.realpath("/proc/self/exe")}
    with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
        paths = {line.rstrip("\n").partition("/")[2] for line in maps if "/" in line}
    return found | {f"/{path}" for path in paths if os.path.basename(path).startswith(("ld-", "ld."))}
