"""What ties a process to the daemon that started it. Knows nothing of what the process does."""

from __future__ import annotations

import os
import signal
import sys


def die_with_parent() -> None:
    """On Linux the kernel ends this process when the daemon dies, even while native code runs."""
    if sys.platform != "linux":
        return
    import ctypes

    parent = os.getppid()
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # 1 is PR_SET_PDEATHSIG
    if os.getppid() != parent:  # it died before the call
        sys.exit(0)
