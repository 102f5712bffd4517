"""Interrupts code in the calling thread that takes too long or too much memory.

For Python code that can't be asked to stop because it comes from a stranger. A single call into native code is not
interrupted before it returns. An interrupt can get lost: Python drops what is raised in a finalizer, or in a callback
of its garbage collection. So it comes again until the code has ended.
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
    # Bare locks, each of which is one step: an interrupt may come between any two of this thread's.
    going, ended = threading.Lock(), threading.Lock()
    going.acquire()
    ended.acquire()
    is_over = has_ended = was_sent = False

    def watch(deadline: float, start: int) -> None:
        nonlocal has_ended, was_sent
        error: type[Interrupted] | None = None
        while not is_over:
            left = deadline - time.monotonic() if error is None else _PERIOD
            if going.acquire(timeout=max(0.0, min(left, _PERIOD))):
                break
            if error is None and time.monotonic() >= deadline:
                error = TookTooLong
            elif error is None and _private_memory() - start > memory:
                error = TookTooMuch
            if error is not None and not is_over:
                was_sent = True
                _raise_in(thread, error)
        has_ended = True
        ended.release()

    watcher = threading.Thread(
        target=watch, args=(time.monotonic() + seconds, _private_memory()), name="watch", daemon=True
    )
    try:
        watcher.start()
        yield
    finally:
        # First of all and without a call, at which an interrupt could come: no more of them are sent from here on.
        is_over = True
        # One that was sent just before may still arrive here; after that it may not arrive anywhere.
        while watcher.ident is not None and not has_ended:
            try:
                if going.locked():
                    going.release()
                ended.acquire(timeout=_PERIOD)
            except Interrupted:
                continue
        if was_sent:
            _take_last(thread)


def _private_memory() -> int:
    """Bytes of this process that are no file's: mapped weights come and go with what the model reads."""
    info = _process().memory_info()
    return int(info.rss) - int(getattr(info, "shared", 0))


@functools.cache
def _process() -> psutil.Process:
    return psutil.Process()


def _take_last(thread: int) -> None:
    """Make sure that no interrupt is under way to the calling thread any more.

    One more replaces it and is caught here. Taking it back by none at all would leave CPython's evaluation loop (up to
    3.12) with the notice of an interrupt that never comes: it looks for it at every step from there on, and under a
    trace function never goes on.
    """
    try:
        _raise_in(thread, Interrupted)
        for _ in range(1000):  # it comes at once, or has got lost in a finalizer
            pass
    except Interrupted:
        pass


def _raise_in(thread: int, error: type[BaseException]) -> None:
    """Have a thread raise an error at its next step."""
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(thread), ctypes.py_object(error))
