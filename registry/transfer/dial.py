"""How connections of the registry's HTTP client are made and read: to addresses that were looked at, and in time.

A request keeps the name of its host in its URL, so that certificates are checked against it and connections are shared
by name; only the dialling uses the addresses. Each thread has one request at a time, which is how the wire finds it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import httpcore2
import httpx2

from registry.errors import Cancelled

_SLICE = 0.25  # seconds: how often a read looks whether it is still wanted


@dataclass(slots=True)
class Asking:
    """The request that a thread is at. `until` is when it has to be over by `time.monotonic`, None for never.

    `host` is whose `addresses` are to be dialled; without any, the name is looked up as usual.
    """

    until: float | None = None
    cancelled: Callable[[], bool] | None = None
    host: str = ""
    addresses: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether its time has run out."""
        return self.until is not None and time.monotonic() >= self.until

    def check(self) -> None:
        """Raise Cancelled if nobody wants it any more."""
        if self.cancelled is not None and self.cancelled():
            raise Cancelled("cancelled while asking the source")


_NONE = Asking()
_now = threading.local()


@contextmanager
def at(asking: Asking) -> Iterator[None]:
    """All that this thread reads and dials is for this request."""
    before = _current()
    _now.asking = asking
    try:
        yield
    finally:
        _now.asking = before


def _current() -> Asking:
    found: Asking = getattr(_now, "asking", _NONE)
    return found


def wire(client: httpx2.Client) -> httpx2.Client:
    """Have a client's connections made here, also those to proxies.

    The library has no public place for this; without it no request would be safe, so a library that has moved it must
    fail at once.
    """
    for transport in (client._transport, *client._mounts.values()):
        if isinstance(transport, httpx2.HTTPTransport):
            pool: Any = transport._pool
            if not isinstance(pool._network_backend, httpcore2.SyncBackend):
                raise TypeError("this version of httpx2 makes its connections in another way")
            pool._network_backend = _Backend()
    return client


class _Backend(httpcore2.SyncBackend):
    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore2.NetworkStream:
        asking = _current()
        last: Exception | None = None
        for address in asking.addresses if asking.addresses and host == asking.host else (host,):
            asking.check()
            within = _left(asking, timeout, httpcore2.ConnectTimeout)
            try:
                return _Stream(super().connect_tcp(address, port, within, local_address, socket_options))
            except (httpcore2.ConnectError, httpcore2.ConnectTimeout) as error:
                last = error
        assert last is not None
        raise last


class _Stream(httpcore2.NetworkStream):
    """A connection, whose reads and writes end with the time of the request that they are for."""

    def __init__(self, inner: httpcore2.NetworkStream) -> None:
        self._inner = inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        asking = _current()
        if asking.until is None:
            return self._inner.read(max_bytes, timeout)
        silent = None if timeout is None else time.monotonic() + timeout
        while True:
            asking.check()
            within = min(_left(asking, timeout, httpcore2.ReadTimeout), _SLICE)
            try:
                return self._inner.read(max_bytes, within)
            except httpcore2.ReadTimeout:
                if silent is not None and time.monotonic() >= silent:
                    raise

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        asking = _current()
        within = timeout if asking.until is None else _left(asking, timeout, httpcore2.WriteTimeout)
        self._inner.write(buffer, within)

    def close(self) -> None:
        self._inner.close()

    def start_tls(
        self, ssl_context: Any, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore2.NetworkStream:
        within = _left(_current(), timeout, httpcore2.ConnectTimeout)
        return _Stream(self._inner.start_tls(ssl_context, server_hostname, within))

    def get_extra_info(self, info: str) -> Any:
        return self._inner.get_extra_info(info)


def _left(asking: Asking, timeout: float | None, late: type[Exception]) -> float:
    """Seconds that a step may take; an hour where nothing says."""
    seconds = 3600.0 if timeout is None else timeout
    if asking.until is not None:
        seconds = min(seconds, asking.until - time.monotonic())
        if seconds <= 0:
            raise late("the time for this request is over")
    return seconds
