"""Events on their way to the daemon.

A thread of its own writes them, so that neither the decode loop nor the mailbox ever waits for a full pipe. Whatever
has gathered while the last frame was written goes out as one frame, or as several if it would be too large for one.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
from collections.abc import Iterator
from typing import BinaryIO

from runner.protocol.codec import BadFrame, pack_events
from runner.protocol.events import Event


class Outbox:
    """Send with `put`; `close` waits until everything is written. A daemon that is gone is not an error here: the end
    of the command pipe ends the worker."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._queue: queue.SimpleQueue[list[Event] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="outbox", daemon=True)
        self._thread.start()

    def put(self, *events: Event) -> None:
        self._queue.put(list(events))

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        try:
            self._write()
        except Exception:  # noqa: BLE001 -- whatever it was, it must not end in silence
            # A worker that can't speak would leave every request without an answer. The daemon answers a dead worker.
            threading.excepthook(threading.ExceptHookArgs((*sys.exc_info(), threading.current_thread())))
            sys.stderr.flush()
            os._exit(os.EX_SOFTWARE)

    def _write(self) -> None:
        open_ = True
        while open_:
            gathered = self._queue.get()
            frame: list[Event] = []
            while gathered is not None:
                frame += gathered
                if self._queue.empty():
                    break
                gathered = self._queue.get()
            open_ = gathered is not None
            if frame:
                try:
                    for packed in _packed(frame):
                        self._pipe.write(packed)
                    self._pipe.flush()
                except OSError:
                    return


def _packed(events: list[Event]) -> Iterator[bytes]:
    """These events in as few frames as they need."""
    try:
        yield pack_events(events)
    except BadFrame:
        if len(events) == 1:
            raise
        half = len(events) // 2
        yield from _packed(events[:half])
        yield from _packed(events[half:])
