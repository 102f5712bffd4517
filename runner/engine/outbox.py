"""Events on their way to the daemon.

A thread of its own writes them, so that neither the decode loop nor the mailbox ever waits for a full pipe. Whatever
has gathered while the last frame was written goes out as one frame.
"""

from __future__ import annotations

import queue
import threading
from typing import BinaryIO

from runner.protocol.codec import pack_events
from runner.protocol.events import Event


class Outbox:
    """Send with `put`; `close` waits until everything is written. A daemon that is gone is not an error here: the end
    of the command pipe ends the worker."""

    def __init__(self, pipe: BinaryIO) -> None:
        self._pipe = pipe
        self._queue: queue.SimpleQueue[list[Event] | None] = queue.SimpleQueue()
        self._thread = threading.Thread(target=self._write, name="outbox", daemon=True)
        self._thread.start()

    def put(self, *events: Event) -> None:
        self._queue.put(list(events))

    def close(self) -> None:
        self._queue.put(None)
        self._thread.join()

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
                    self._pipe.write(pack_events(frame))
                    self._pipe.flush()
                except OSError:
                    return
