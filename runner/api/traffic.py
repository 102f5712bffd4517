"""How many HTTP requests there were, and how long they took: by method, path pattern and status.

The labels come from closed sets, so a stranger's paths and methods cost no memory.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable

from aiohttp import web

from runner.api.failures import ClientGone
from runner.protocol.totals import Tally

SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0)
"""Bounds for the length of a request, streams to their end."""
_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_GONE = 499  # never sent: the client left before


class Traffic:
    """Belongs to the server's event loop."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.requests: Counter[tuple[str, str, str]] = Counter()
        self.seconds: defaultdict[tuple[str, str], Tally] = defaultdict(lambda: Tally(SECONDS))

    @web.middleware
    async def middleware(
        self, request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        """Count a request at its end, whatever that is."""
        began, status = self._clock(), 500
        try:
            response = await handler(request)
            status = response.status
            return response
        except (asyncio.CancelledError, ClientGone):
            status = _GONE
            raise
        finally:
            method = request.method if request.method in _METHODS else "other"
            resource = request.match_info.route.resource
            route = resource.canonical if resource is not None else "other"
            self.requests[method, route, str(status)] += 1
            self.seconds[method, route].add(self._clock() - began)
