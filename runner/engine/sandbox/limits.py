"""What a worker may use up at most, where the system has such limits.

The number of processes is left alone: the kernel counts all of a user's, so somebody's browser would stop a worker.
Memory is left alone too: address space says nothing where files are mapped and GPUs reserve; the daemon plans it.
"""

from __future__ import annotations

import sys
from pathlib import Path

_FILES = 4096  # open at once; drivers of several GPUs take hundreds
_LEAST_FILE = 64 << 20
_FIRST_TO_GO = "500"


def limit(file_size: int | None) -> str:
    """Set the limits; `file_size` is the bytes of one file at most, None for any. Why it couldn't, or nothing."""
    if sys.platform == "win32":
        return "Windows has no such limits for a process"
    import resource

    try:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        files = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files[0] == resource.RLIM_INFINITY or files[0] > _FILES:
            resource.setrlimit(resource.RLIMIT_NOFILE, (_FILES, _FILES))
        if file_size is not None:
            most = max(file_size, _LEAST_FILE)
            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            most = most if hard == resource.RLIM_INFINITY else min(most, hard)
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    except (OSError, ValueError) as error:
        return str(error)
    if sys.platform == "linux":
        _go_first()
    return ""


def _go_first() -> None:
    """When memory runs out, the system is to end a worker, whose requests go on elsewhere, and not the daemon."""
    try:
        Path("/proc/self/oom_score_adj").write_text(_FIRST_TO_GO)
    except OSError as error:  # not a promise: the kernel then chooses by size, which is the worker as a rule
        sys.stderr.write(f"oom_score_adj cannot be set: {error.strerror}\n")
