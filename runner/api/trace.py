"""The outermost layer: a request's id, the headers that every answer carries, its way through the queue, and one line
in the log, and the end of its entry in the ledger.

Knows nothing of what was asked; prompts and answers never come here.
"""

from __future__ import annotations

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from runner.api.failures import ClientGone
from runner.api.guard import ALLOWED_ORIGIN
from runner.api.inflight import FAILED, IN_FLIGHT, NOTE, RECORD
from runner.api.recording import LEDGER, fields_of
from runner.inference.passage import PASSAGE, Passage
from runner.log import request_id

log = logging.getLogger(__name__)

REQUEST_ID = web.RequestKey("request_id", str)
_PASSAGE = web.RequestKey("passage", Passage)
_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")
_QUIET = frozenset({"/health", "/livez", "/metrics", "/readyz"})  # asked every few seconds by supervisors
_POLLED = frozenset({"/api/ps", "/runner/queue", "/runner/requests"})  # asked every second by whoever watches
QUEUE_HEADERS: Mapping[str, str] = {
    "X-Runner-Queue-Position": "how many requests were ahead in the queue at arrival",
    "X-Runner-Queue-Estimate-Ms": "how long it would wait, as far as that was known at arrival",
    "X-Runner-Queue-Wait-Ms": "how long it waited until a worker took it, a load of its model included",
    "X-Runner-Model-Loaded": "warm, or cold where its model had to be loaded first",
}
_EXPOSED = ", ".join(("X-Request-Id, request-id, Retry-After, retry-after-ms, x-should-retry", *QUEUE_HEADERS))
_GONE = 499  # logged, never sent


@web.middleware
async def middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Give the request its id, count it as under way, and log its end."""
    given = request.headers.get("X-Request-Id", "")
    request[REQUEST_ID] = identity = given if _ID.fullmatch(given) else uuid.uuid4().hex
    request[_PASSAGE] = passage = Passage()
    token, opened = request_id.set(identity), PASSAGE.set(passage)
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
        entry = request.get(RECORD)
        if entry is not None:
            request.app[LEDGER].end(entry, status, request.get(FAILED))
        level = logging.DEBUG if _is_quiet(request, status) else logging.INFO
        note = request.get(NOTE, "")
        spent = 1000 * (time.monotonic() - start)
        if log.isEnabledFor(level):
            extra = {"fields": fields_of(request, identity, status, spent)}
            log.log(level, "%s %s %d %.0fms%s", request.method, request.path, status, spent, note, extra=extra)
        request_id.reset(token)
        PASSAGE.reset(opened)


def _is_quiet(request: web.Request, status: int) -> bool:
    """Whether its line would only fill the log. What changes something, and what went wrong, is told."""
    path = request.path
    if path in _QUIET or path.startswith("/page/"):
        return True
    is_polled = path in _POLLED or path.startswith("/runner/requests/")
    return is_polled and request.method in ("GET", "HEAD") and status < 400


async def add_headers(request: web.Request, response: web.StreamResponse) -> None:
    """Put on every answer, streams included, what it always carries."""
    headers = response.headers
    if REQUEST_ID in request:
        headers["X-Request-Id"] = request[REQUEST_ID]
    if _PASSAGE in request:
        headers.update(_told(request[_PASSAGE]))
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


def _told(passage: Passage) -> dict[str, str]:
    """What is known of the way through the queue: at the head of a stream that is held no longer, not yet all."""
    if passage.position is None:
        return {}
    said = {"Position": str(passage.position), "Estimate-Ms": _milliseconds(passage.eta)}
    if passage.is_over:
        said["Wait-Ms"] = _milliseconds(passage.waited)
    told = {f"X-Runner-Queue-{name}": value for name, value in said.items() if value}
    return told | {"X-Runner-Model-Loaded": "cold" if passage.is_cold else "warm"}


def _milliseconds(seconds: float | None) -> str:
    return "" if seconds is None else str(round(1000 * seconds))
