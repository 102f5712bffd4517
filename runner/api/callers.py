"""From an HTTP request to its caller: by its key, or else by where it comes from, and by `X-Runner-Priority`.

Keys aren't checked here but told apart, so that clients who share a machine without keys of its own may send any.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from hashlib import blake2b
from typing import cast

from aiohttp import web

from runner.errors import InvalidRequest
from runner.inference.caller import CALLER, Caller
from runner.scheduler.ticket import Priority

PRIORITY = "X-Runner-Priority"


@web.middleware
async def middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Say who asks, for as long as the request is handled. Raises InvalidRequest for a priority that there isn't."""
    token = CALLER.set(Caller(client_of(request), _priority(request)))
    try:
        return await handler(request)
    finally:
        CALLER.reset(token)


def client_of(request: web.Request) -> str:
    """Whose request it is: the same for all requests of one client."""
    scheme, _, bearer = request.headers.get("Authorization", "").partition(" ")
    key = bearer.strip() if scheme.lower() == "bearer" else request.headers.get("x-api-key", "")
    if not key:
        peer = request.transport.get_extra_info("peername") if request.transport else None
        return str(peer[0]) if isinstance(peer, tuple) else ""
    return blake2b(key.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()


def _priority(request: web.Request) -> Priority | None:
    given = request.headers.get(PRIORITY)
    if given is None:
        return None
    word = given.strip().lower()
    if word not in ("interactive", "batch"):
        raise InvalidRequest(f"{PRIORITY} must be interactive or batch, not {given[:50]!r}", field=PRIORITY)
    return cast("Priority", word)
