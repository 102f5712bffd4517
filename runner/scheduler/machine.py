"""What this machine has: readings only, taken anew each time. Never loads native inference code."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import psutil

_CGROUP = Path("/sys/fs/cgroup")


def available_memory() -> int:
    """Bytes that new processes may take without swapping, within the limit of the container if there is one."""
    available = psutil.virtual_memory().available
    limit, used = _number(_CGROUP / "memory.max"), _number(_CGROUP / "memory.current")
    if limit is None or used is None:
        return available
    return max(0, min(available, limit - used + _reclaimable()))


def total_memory() -> int:
    """Bytes that this machine has, or that the container may take if there is a limit."""
    total, limit = psutil.virtual_memory().total, _number(_CGROUP / "memory.max")
    return total if limit is None else min(total, limit)


def physical_cores() -> int:
    """What a worker computes with, unless it is told another number of threads."""
    return psutil.cpu_count(logical=False) or psutil.cpu_count() or 1


def packed_types() -> frozenset[str]:
    """Types of matrices that llama.cpp's CPU backend keeps in another order here, as a copy: by its build's rules for
    the portable build. On other machines none is known of."""
    kind = platform.machine().lower()
    if kind in ("x86_64", "amd64"):
        return frozenset({"Q4_0", "Q4_K", "IQ4_NL", "MXFP4"})
    if kind == "arm64" and sys.platform == "darwin":
        return frozenset({"Q4_0", "Q4_K", "Q5_K", "Q6_K", "IQ4_NL", "MXFP4", "Q8_0"})
    return frozenset()


def would_run(pid: int) -> bool:
    """Whether a thread of this process computes, waits for a core, or for the disk: it isn't stopped, and doesn't
    wait for anybody else. Only Linux says."""
    try:
        stats = [task.joinpath("stat").read_text() for task in Path(f"/proc/{pid}/task").iterdir()]
    except OSError:
        return False
    return any(stat.rpartition(")")[2].split()[0] in ("R", "D") for stat in stats)


def oom_kills() -> int:
    """Processes that the system has ended for want of memory so far, in this container if that is counted."""
    for path in (_CGROUP / "memory.events", Path("/proc/vmstat")):
        try:
            lines = path.read_text().split("\n")
        except OSError:
            continue
        for line in lines:
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    return 0


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):  # no such file, or "max"
        return None


def _reclaimable() -> int:
    """Pages of files in the container's account, which the kernel gives up when memory is short."""
    try:
        lines = (_CGROUP / "memory.stat").read_text().split("\n")
    except OSError:
        return 0
    values = dict(line.split(" ", 1) for line in lines if " " in line)
    return int(values.get("inactive_file", 0)) + int(values.get("active_file", 0))
