"""What this machine has: readings only, taken anew each time. Never loads native inference code."""

from __future__ import annotations

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


def may_offload() -> bool:
    """Whether there is an accelerator with memory of its own that a worker may put weights on."""
    return any(Path(node).exists() for node in ("/dev/nvidiactl", "/dev/kfd", "/dev/dxg")) or sys.platform == "win32"


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
