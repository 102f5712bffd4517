"""The outermost layer: a request's id, the headers that every answer carries, and one line in the log.

Knows nothing of what was asked; prompts and answers never come here.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable

from aiohttp import web

from runner.api.failures import ClientGone
from runner.api.guard import ALLOWED_ORIGIN
from runner.api.inflight import IN_FLIGHT, NOTE
from runner.log import request_id

log = logging.getLogger(__name__)

REQUEST_ID = web.RequestKey("request_id", str)
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_QUIET = frozenset({"/health", "/livez", "/metrics", "/readyz"})  # asked every few seconds by supervisors
_EXPOSED = "X-Request-Id, request-id, Retry-After, retry-after-ms, x-should-retry"
_GONE = 499  # logged, never sent


@web.middleware
async def middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give the request its id, count it as under way, and log its end."""
    given = request.headers.get("X-Request-Id", "")
    request[REQUEST_ID] = identity = given if _ID.fullmatch(given) else uuid.uuid4().hex
    token = request_id.set(identity)
    start = time.monotonic()
    status = 500
    try:
        with request.app[IN_FLIGHT].present():
            response = await handler(request)
        status = response.status
        return response
    except (asyncio.CancelledError, ClientGone):
        status = _GONE
        raise
    finally:
        level = logging.DEBUG if request.path in _QUIET else logging.INFO
        note = request.get(NOTE, "")
        spent = 1000 * (time.monotonic() - start)
        log.log(level, "%s %s %d %.0fms%s", request.method, request.path, status, spent, note)
        request_id.reset(token)


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put on every answer, streams included, what it always carries."""
    headers = response.headers
    if REQUEST_ID in request:
        headers["X-Request-Id"] = request[REQUEST_ID]
    headers["Server"] = "runner"
    headers["X-Content-Type-Options"] = "nosniff"
    headers.setdefault("Cache-Control", "no-store")
    if "Origin" in request.headers:
        headers.add("Vary", "Origin")
    if ALLOWED_ORIGIN in request:
        headers["Access-Control-Allow-Origin"] = request[ALLOWED_ORIGIN]
        headers["Access-Control-Expose-Headers"] = _EXPOSED
    if request.app[IN_FLIGHT].closing:
        response.force_close()
        headers["Connection"] = "close"  # aiohttp has decided on this header before
