"""Interrupts code in the calling thread that takes too long or too much memory.

For Python code that can't be asked to stop because it comes from a stranger. A single call into native code is not
interrupted before it returns.
"""

from __future__ import annotations

import ctypes
import functools
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import psutil

_PERIOD = 0.05  # seconds between two looks at the memory


class Interrupted(BaseException):
    """Raised in the midst of the watched code. No Exception, so that nothing in there takes it for one of its own."""


class TookTooLong(Interrupted):
    """The time is over."""


class TookTooMuch(Interrupted):
    """The process has grown too much meanwhile."""


@contextmanager
def watched(seconds: float, memory: int) -> Iterator[None]:
    """Raise TookTooLong or TookTooMuch in the block after `seconds`, or when the process has grown by `memory` bytes.

    What other threads take counts as well, so the limit should be far above what they may need meanwhile.
    """
    thread = threading.get_ident()
    lock = threading.Lock()
    done = threading.Event()
    over = False

    def watch(deadline: float, start: int) -> None:
        error: type[Interrupted] | None = None
        while error is None:
            left = deadline - time.monotonic()
            if done.wait(max(0.0, min(left, _PERIOD))):
                return
            if left <= _PERIOD and time.monotonic() >= deadline:
                error = TookTooLong
            elif _private_memory() - start > memory:
                error = TookTooMuch
        with lock:
            if not over:
                _raise_in(thread, error)

    watcher = threading.Thread(
        target=watch, args=(time.monotonic() + seconds, _private_memory()), name="watch", daemon=True
    )
    watcher.start()
    try:
        yield
    finally:
        # An interrupt that is already on its way arrives here at the latest: at the next call.
        with lock:
            over = True
        done.set()


def _private_memory() -> int:
    """Bytes of this process that are no file's: mapped weights come and go with what the model reads."""
    info = _process().memory_info()
    return int(info.rss) - int(getattr(info, "shared", 0))


@functools.cache
def _process() -> psutil.Process:
    return psutil.Process()


def _raise_in(thread: int, error: type[BaseException]) -> None:
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
