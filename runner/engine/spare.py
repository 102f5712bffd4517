"""How a spare worker is told from others: by its last argument, until it is given a model.

The argument is changed where it lies in memory, since that is what the system shows of a process. Where this cannot be
done it stays; nothing but what people see depends on it.
"""

from __future__ import annotations

import ctypes
import sys
from pathlib import Path

MARK = b"--spare"
TAKEN = b"--serve"  # as long as the other
_START, _END = 45, 46  # of the arguments, counted behind the process's name, in /proc/PID/stat


def taken() -> None:
    """This process is spare no more."""
    if sys.argv[-1:] != [MARK.decode()]:
        return
    if sys.platform == "linux":
        _overwrite(*_arguments())
    elif sys.platform == "darwin":
        system = ctypes.CDLL(None)
        system._NSGetArgv.restype = ctypes.POINTER(ctypes.POINTER(ctypes.c_void_p))
        system._NSGetArgc.restype = ctypes.POINTER(ctypes.c_int)
        last = system._NSGetArgv().contents[system._NSGetArgc().contents.value - 1]
        if last:
            _overwrite(last, last + len(MARK) + 1)


def _arguments() -> tuple[int, int]:
    """Where this process's arguments begin and end; both 0 where the system doesn't say."""
    try:
        fields = Path("/proc/self/stat").read_text(encoding="ascii", errors="replace").rpartition(")")[2].split()
        return int(fields[_START]), int(fields[_END])
    except (OSError, ValueError, IndexError):
        return 0, 0


def _overwrite(start: int, end: int) -> None:
    at = ctypes.string_at(start, end - start).rfind(MARK + b"\0") if 0 < start < end else -1
    if at >= 0:
        ctypes.memmove(start + at, TAKEN, len(TAKEN))
