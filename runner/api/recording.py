"""Which HTTP requests the ledger has: those for answers, in every dialect; and what the log's line says in fields.

Whoever was let in is recorded, well-formed or not. What looks at Runner, changes its models or asks for its settings
isn't, and so nobody who polls pushes requests out of the list.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Awaitable, Callable
from functools import cache, partial
from typing import Any

from aiohttp import web

from runner.api.callers import client_of
from runner.api.dialects import dialect_of
from runner.api.inflight import FAILED, IN_FLIGHT, RECORD, InFlight
from runner.api.timings import milliseconds
from runner.errors import RequestCancelled
from runner.inference.entry import ENTRY, Source
from runner.inference.ledger import Ledger
from runner.log import request_id

LEDGER = web.AppKey("ledger", Ledger)
RECORDED = frozenset(
    {
        "/api/generate",
        "/api/chat",
        "/api/embed",
        "/api/embeddings",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/rerank",
        "/v2/rerank",
        "/rerank",
        "/v1/responses",
        "/v1/responses/input_tokens",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/tokenize",
        "/detokenize",
        "/apply-template",
        "/infill",
    }
)
"""Paths that are posted to for something that a model gives."""
_DIGEST = re.compile(r"[0-9a-f]{32}")
_GONE = 499


@web.middleware
async def middleware(
    request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
) -> web.StreamResponse:
    """Open the request's entry, where it is to have one. Its end is `trace`'s: only there is the status known."""
    resource = request.match_info.route.resource
    path = resource.canonical if resource is not None else ""
    if path not in RECORDED or request.method != "POST":
        return await handler(request)
    app, task = request.app, asyncio.current_task()
    assert task is not None  # aiohttp's
    source = Source(request.method, path, _dialect(path), _shown(client_of(request)))
    stop = partial(_stop, app[IN_FLIGHT], task)
    request[RECORD] = entry = app[LEDGER].open(request_id.get(), source, stop)
    token = ENTRY.set(entry)
    try:
        return await handler(request)
    finally:
        ENTRY.reset(token)


def fields_of(request: web.Request, identity: str, status: int, spent: float) -> dict[str, object]:
    """What the log's line of a request that has ended says, field by field; times are milliseconds."""
    failed = request.get(FAILED)
    fields: dict[str, object] = {
        "id": identity,
        "method": request.method,
        "path": request.path,
        "status": status,
        "total_ms": round(spent, 1),
        "outcome": "cancelled" if status == _GONE else "failed" if failed or status >= 400 else "done",
    }
    if failed is not None:
        fields["error"] = failed[0]
    if (entry := request.get(RECORD)) is not None and entry.end is not None:
        figures = entry.figures
        fields |= {
            "outcome": entry.end.state,
            "stop": entry.reason,
            "model": entry.model,
            "client": entry.source.client,
            "priority": entry.priority,
            "stream": entry.is_stream,
            "prompt_tokens": figures.prompt_tokens,
            "cached_tokens": figures.cached_tokens,
            "completion_tokens": figures.completion_tokens,
            "queue_ms": milliseconds(figures.queue),
            "load_ms": milliseconds(figures.load),
            "first_token_ms": milliseconds(figures.first_token),
            "prefill_ms": milliseconds(figures.prefill),
            "decode_ms": milliseconds(figures.decode),
        }
    else:
        fields["client"] = _shown(client_of(request))
    return fields


def _stop(in_flight: InFlight, task: asyncio.Task[Any]) -> None:
    in_flight.expel_one(task, RequestCancelled("this request was cancelled by whoever runs Runner"))


@cache
def _dialect(path: str) -> str:
    """Whose words a recorded path speaks."""
    dialect = dialect_of(path)
    return dialect.name if dialect else ""


def _shown(client: str) -> str:
    """A client for people: its address, or the beginning of the mark that its key has."""
    return f"key:{client[:8]}" if _DIGEST.fullmatch(client) else client
