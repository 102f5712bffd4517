"""How many threads compute: as asked, else one for each physical core that this process may use.

Counts cores and what the kernel lets this process have of them; read once, when the module is loaded, because a worker
shuts itself in later. Knows no model.
"""

from __future__ import annotations

import os
from pathlib import Path

import psutil

from runner.protocol.options import LoadOptions

_CGROUPS = Path("/sys/fs/cgroup")
_OWN = Path("/proc/self/cgroup")


class Cores:
    """How many threads a load computes with `now`: as asked, else of the `allowed` cores what other workers and other
    programs leave. Threads that outnumber the free cores wait for each other at the end of every operation, and are
    many times slower than fewer of them. Whoever finds out changes it, others read."""

    def __init__(self, options: LoadOptions, allowed: int | None = None) -> None:
        self._most = threads(options) if allowed is None or options.num_thread > 0 else allowed
        self._is_fixed = options.num_thread > 0
        self._workers, self._left = 1, self._most
        self.now = self._most

    def share(self, workers: int) -> None:
        """So many workers compute, this one included."""
        self._workers = max(1, workers)
        self._settle()

    def leave(self, left: int) -> None:
        """Other programs leave so many cores."""
        self._left = left
        self._settle()

    def _settle(self) -> None:
        if not self._is_fixed:
            self.now = max(1, min(self._most // self._workers, self._left))


def threads(options: LoadOptions) -> int:
    """Threads for computing."""
    return options.num_thread if options.num_thread > 0 else _ALLOWED


def allowed(quota: float | None) -> int:
    """Threads that find a physical core each, within a quota in cores.

    A thread beyond the quota is stopped by the kernel while all others wait for it at the end of every operation, so a
    part of a core counts as none.
    """
    open_to_us = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    cores = min(open_to_us, psutil.cpu_count(logical=False) or open_to_us)
    return max(1, cores if quota is None else min(cores, int(quota)))


def cpu_quota(cgroups: Path = _CGROUPS, own: Path = _OWN) -> float | None:
    """The processor time that this process may take, in cores: the least that its control group (version 2) and those
    around it allow. None for no limit."""
    try:
        lines = own.read_text().splitlines()
    except OSError:  # no Linux
        return None
    path = next((line.removeprefix("0::") for line in lines if line.startswith("0::")), "/")
    # Inside a container the root of the tree is the container's own group, with a limit like any other.
    group = cgroups / path.strip("/")
    inside = [each for each in (group, *group.parents) if each == cgroups or cgroups in each.parents]
    quotas = [_quota(each / "cpu.max") for each in inside]
    return min((each for each in quotas if each is not None), default=None)


def _quota(file: Path) -> float | None:
    """`cpu.max` holds microseconds of processor time, or the word max, and of how many microseconds they are."""
    try:
        quota, period = file.read_text().split()
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such group, or "max"
        return None


_ALLOWED = allowed(cpu_quota())
