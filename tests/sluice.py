"""A way to a server on loopback that shuts in the middle of what is sent, until it is opened again.

So a test can kill either end while bytes are on their way, without guessing when. Knows no protocol.
"""

from __future__ import annotations

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

_CHUNK = 1 << 16


class Sluice:
    """Listens on `port` and passes on to `target`; after `limit` bytes towards it, all of it stops."""

    def __init__(self, target: int, limit: int) -> None:
        self._target = target
        self._left = limit
        self._lock = threading.Lock()
        self._open = threading.Event()
        self._shut = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._sockets: list[socket.socket] = []

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.open()
        for each in (self._listener, *self._sockets):
            _end(each)

    def wait(self, timeout: float = 60.0) -> None:
        """Until it has shut; raises AssertionError when it doesn't."""
        assert self._shut.wait(timeout), "so many bytes were never sent"

    def open(self) -> None:
        """Let through what waits, and all that comes."""
        self._open.set()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                here, _ = self._listener.accept()
                try:
                    there = socket.create_connection(("127.0.0.1", self._target))
                except OSError:
                    _end(here)
                    continue
                self._sockets += [here, there]
                threading.Thread(target=self._pump, args=(here, there, True), daemon=True).start()
                threading.Thread(target=self._pump, args=(there, here, False), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket, counts: bool) -> None:
        with suppress(OSError):
            while data := source.recv(_CHUNK):
                if counts:
                    self._count(len(data))
                target.sendall(data)
        _end(source)
        _end(target)

    def _count(self, size: int) -> None:
        with self._lock:
            self._left -= size
            is_shut = self._left < 0
        if is_shut:
            self._shut.set()
            self._open.wait()


def _end(one: socket.socket) -> None:
    with suppress(OSError):
        one.shutdown(socket.SHUT_RDWR)
    one.close()
