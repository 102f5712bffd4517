"""How much of the processor other programs use, so that a worker takes no more threads than get to run.

Threads that compute together wait for each other many times in each token, and spin while they do. One of them without
a core holds up all: two threads on two cores, one of which something else is using, are many times slower than one.
Reads what the kernel counts; on Linux through a file that is opened once, because a worker shuts itself in later.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable

import psutil

from runner.llama.cores import Cores

_IDLE = (3, 4)  # of a core's numbers in /proc/stat: idle, and waiting for the disk
_WHOLE = 1 << 18  # bytes, more than the lines of all cores have
_TICKS = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100

Reading = tuple[float, float, float]
"""Seconds: the time, what all cores have worked, and what this process has of it."""


class Neighbours:
    """Tells `cores`, at each look, what others have left since the look before, and between the two before as well."""

    def __init__(self, cores: Cores, read: Callable[[], Reading] | None = None, count: int | None = None) -> None:
        self._cores = cores
        self._read = read or _reader()
        self._count = count or _cores()
        self._last = self._read()
        self._before = 0.0  # cores that others used between the two looks before

    def look(self) -> None:
        """To be called once in a while. Where nothing can be read, all stays as it is."""
        try:
            now, all_cores, own = self._read()
        except (OSError, ValueError, psutil.Error):
            return
        then, all_then, own_then = self._last
        if now - then < 0.1:
            return
        self._last = now, all_cores, own
        others = max(0.0, (all_cores - all_then) - (own - own_then)) / (now - then)
        # One busy second may be the end of another worker, or a compiler's: only what lasts takes a thread away.
        lasting, self._before = min(others, self._before), others
        self._cores.leave(int(self._count - lasting + 0.5))


def _cores() -> int:
    """Those that this process may be on. What a quota leaves of them isn't known here."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _reader() -> Callable[[], Reading]:
    if sys.platform != "linux":
        return lambda: (time.monotonic(), _worked(), time.process_time())
    try:
        stat = os.open("/proc/stat", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:  # a strange container: then nothing is known, and all cores are taken
        return lambda: (0.0, 0.0, 0.0)

    ours = {f"cpu{number}".encode() for number in os.sched_getaffinity(0)}

    def read() -> Reading:
        rows = [line.split() for line in os.pread(stat, _WHOLE, 0).splitlines() if line.startswith(b"cpu")]
        ticks = [[int(number) for number in row[1:9]] for row in rows if row[0] in ours]
        worked = sum(sum(row) - sum(row[place] for place in _IDLE) for row in ticks)
        return time.monotonic(), worked / _TICKS, time.process_time()

    return read


def _worked() -> float:
    times = psutil.cpu_times()
    return float(times.user + times.system)
