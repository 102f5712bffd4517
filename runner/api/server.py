"""The listening end: sockets, limits on slow senders, and an orderly stop.

A stop is a script: accept no more, let requests finish for `grace` seconds, tell the rest that Runner is shutting down,
close. Knows no endpoint.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import sys
from collections.abc import Callable, Sequence

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from runner.api.failures import unreadable
from runner.api.inflight import IN_FLIGHT
from runner.config import Address

log = logging.getLogger(__name__)

_IDLE = 15.0  # seconds in which the next request's header must be complete
_LINGER = 5.0  # seconds in which the rest of a refused body is read, so that the refusal arrives
_FAREWELL = 0.5  # seconds for the requests cut short to say so
_BACKLOG = 1024


def _is_ours(record: logging.LogRecord) -> bool:
    """Keep from the log, but for one quiet line, the traceback of every malformed request that a stranger sends."""
    error = record.exc_info[1] if record.exc_info else None
    if isinstance(error, HttpProcessingError | web.RequestPayloadError):
        log.debug("a malformed request was refused: %s", error)
        return False
    return True


class _Connection(web.RequestHandler):
    """aiohttp's, but that a request which can't be read, and so comes to no path, is refused as JSON too."""

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer and log it; the connection ends. Raises ConnectionError when an answer has begun."""
        super().handle_error(request, status, exc, message)
        failure = unreadable(status, exc, message)
        refusal = web.json_response(
            {"error": failure.message, "code": failure.code}, status=failure.status, headers=failure.headers
        )
        refusal.force_close()
        return refusal


class _Server(web.Server):
    def __call__(self) -> _Connection:
        return _Connection(self, loop=self._loop, **self._kwargs)


class _Runner(web.AppRunner):
    async def _make_server(self) -> web.Server:
        made = await super()._make_server()
        made.__class__ = _Server  # aiohttp has no other way to choose what a connection is
        return made


_connections = logging.getLogger(f"{__name__}.connections")
_connections.addFilter(_is_ours)


def listen(address: Address) -> tuple[socket.socket, ...]:
    """Sockets bound to every address that the host names, not yet accepting.

    Port 0 takes a free one, the same for all. Raises OSError saying what to do: the port is in use, the address is not
    this machine's, the name is unknown.
    """
    try:
        found = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except socket.gaierror as error:
        raise OSError(errno.EADDRNOTAVAIL, f"cannot listen on {address}: {error.strerror}") from None
    bound: list[socket.socket] = []
    port = address.port
    try:
        for family, where in dict.fromkeys((family, where) for family, _, _, _, where in found):
            bound.append(_bind(family, (where[0], port, *where[2:]), address))
            port = bound[0].getsockname()[1]
    except OSError:
        for each in bound:
            each.close()
        raise
    return tuple(bound)


def _bind(family: int, where: tuple[object, ...], address: Address) -> socket.socket:
    made = socket.socket(family, socket.SOCK_STREAM)
    try:
        if sys.platform == "win32":
            # There, SO_REUSEADDR would let a second daemon take a port that is in use.
            made.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind(where)
        made.listen(_BACKLOG)  # bind alone may succeed twice where SO_REUSEADDR is set
        made.setblocking(False)
    except OSError as error:
        made.close()
        raise OSError(error.errno, f"cannot listen on {address}: {_reason(error)}") from None
    return made


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the port is in use; stop what uses it, or choose another with --host or RUNNER_HOST"
    if error.errno == errno.EADDRNOTAVAIL:
        return "this machine has no such address"
    if error.errno == errno.EACCES:
        return "ports below 1024 need privileges; choose a higher one"
    return error.strerror or str(error)


async def serve(
    app: web.Application,
    address: Address,
    *,
    stop: asyncio.Event,
    on_ready: Callable[[], None],
    grace: float = 5.0,
    sockets: Sequence[socket.socket] = (),
) -> None:
    """Serve until `stop` is set, then drain. `on_ready` is called once connections are accepted.

    `sockets` are those of an earlier `listen`; without them this call listens on `address`, and may raise OSError.
    Cancelling it ends all requests at once.
    """
    runner = _Runner(
        app,
        access_log=None,  # `trace` writes its own line
        logger=_connections,
        handler_cancellation=True,  # a client that leaves stops what was done for it
        keepalive_timeout=_IDLE,  # counts from the connection's start too, so no half-sent header holds a socket
        lingering_time=_LINGER,
        shutdown_timeout=_FAREWELL,
    )
    await runner.setup()
    try:
        for each in sockets or listen(address):
            await web.SockSite(runner, each, backlog=_BACKLOG).start()
        on_ready()
        await stop.wait()
        await _drain(runner, app, grace)
    finally:
        await _close(runner)


async def _close(runner: web.AppRunner) -> None:
    """Close everything, at once; what a client hasn't taken by now, it won't get."""
    connections = runner.server.connections if runner.server else []
    transports = [each.transport for each in connections if each.transport is not None]
    await runner.cleanup()
    for transport in transports:
        transport.abort()
    await asyncio.sleep(0)  # in which the sockets are closed


async def _drain(runner: web.AppRunner, app: web.Application, grace: float) -> None:
    under_way = app[IN_FLIGHT]
    under_way.closing = True
    for site in runner.sites:
        await site.stop()
    if not await under_way.settle(grace):
        under_way.expel()
        await under_way.settle(_FAREWELL)
