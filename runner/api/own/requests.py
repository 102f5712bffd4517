"""/runner/requests and /runner/queue: what is asked of Runner, how far each request has come, and how it ended.

Shapes and parameters only; what is kept, and for how long, is the ledger's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

import msgspec
from aiohttp import web

from runner.api.body import json_response, to_json
from runner.api.fields import Answers
from runner.api.timings import milliseconds
from runner.config.live import Live
from runner.errors import InvalidRequest
from runner.inference.entry import End, Entry, Figures, State
from runner.inference.ledger import Ledger, Row

_LISTED, _MOST_LISTED = 100, 1000
_STATES: tuple[State, ...] = get_args(State)


class Fault(msgspec.Struct, kw_only=True):
    """What its client was told."""

    code: str
    message: str


class Times(msgspec.Struct, kw_only=True):
    """Milliseconds, null until known. `queue_ms` is without `load_ms`; `first_token_ms` and `total_ms` count from the
    request's arrival, `total_ms` is null until it has ended."""

    queue_ms: float | None
    load_ms: float | None
    first_token_ms: float | None
    prefill_ms: float | None
    decode_ms: float | None
    total_ms: float | None


class RequestRow(msgspec.Struct, kw_only=True):
    """`at` is its arrival, `state` waiting, loading, prefill, generating, done, failed or cancelled. `status` is
    HTTP's, null until known; 499 was never sent, or says that it was cancelled. `stop` is why the answer ended.
    `position` counts from 1 among those who wait for the same model."""

    id: str
    at: str
    method: str
    path: str
    dialect: str
    model: str
    client: str
    priority: str
    stream: bool
    state: str
    status: int | None
    error: Fault | None
    stop: str | None
    prompt_tokens: int | None
    cached_tokens: int | None
    completion_tokens: int | None
    position: int | None
    eta_ms: float | None
    tokens_per_second: float | None
    timings: Times


class RequestList(msgspec.Struct, kw_only=True):
    """The newest first, those under way included. `kept` ended requests are remembered, of `most`; `bodies` says
    whether texts are kept of new ones."""

    requests: list[RequestRow]
    kept: int
    most: int
    bodies: bool


class RequestDetail(RequestRow, kw_only=True):
    """A row, and the texts, null where there are none or they aren't kept: the prompt as rendered, the answer and the
    thinking as sent, `calls` with a tool call on each line, and the request's JSON without images and keys. `cut` says
    of which texts how many bytes are missing. With `bodies_off`, texts weren't kept when it came, or no longer are."""

    prompt: str | None
    answer: str | None
    thinking: str | None
    calls: str | None
    body: dict[str, Any] | None
    cut: dict[str, int]
    bodies_off: bool


class RequestGone(msgspec.Struct, kw_only=True):
    """`id` was under way, and is being ended."""

    id: str
    status: str


class Waiting(msgspec.Struct, kw_only=True):
    """One that waits. `state` is waiting or loading; `position` and `eta_ms` are null where nobody knows."""

    id: str
    model: str
    state: str
    client: str
    priority: str
    position: int | None
    eta_ms: float | None
    waited_ms: float


class Running(msgspec.Struct, kw_only=True):
    """One that is computed. `state` is prefill or generating."""

    id: str
    model: str
    state: str
    client: str
    completion_tokens: int | None
    tokens_per_second: float | None
    elapsed_ms: float


class QueueList(msgspec.Struct, kw_only=True):
    """In the order of their turns. So many as `limit` may wait; `left_off` are under way and not in these lists."""

    waiting: list[Waiting]
    running: list[Running]
    limit: int
    left_off: int


ANSWERS: Mapping[str, Answers] = {
    "/runner/requests": Answers(RequestList),
    "/runner/requests/{id}": Answers((RequestDetail, RequestGone)),
    "/runner/queue": Answers(QueueList),
}
"""What comes back, endpoint by endpoint."""


class Requests:
    """The endpoints that look at requests, and the one that ends them."""

    def __init__(self, ledger: Ledger, live: Live) -> None:
        self._ledger = ledger
        self._live = live

    def routes(self) -> tuple[web.RouteDef, ...]:
        """Paths and handlers."""
        return (
            web.get("/runner/requests", self.all),
            web.get("/runner/requests/{id}", self.one),
            web.delete("/runner/requests/{id}", self.cancel),
            web.get("/runner/queue", self.queue),
        )

    async def all(self, request: web.Request) -> web.Response:
        """The last requests for answers, those under way included.

        `?model=`, `?state=` and `?limit=` (100, at most 1000) choose among them.
        """
        query, ledger = request.query, self._ledger
        rows = ledger.rows(_limit(query.get("limit")), model=query.get("model") or None, state=_state(query))
        listed = [RequestRow(**_row(each)) for each in rows]
        return json_response(
            to_json(RequestList(requests=listed, kept=ledger.kept, most=ledger.most, bodies=ledger.bodies))
        )

    async def one(self, request: web.Request) -> web.Response:
        """One request, with its texts where they are kept."""
        identity = request.match_info["id"]
        row = self._ledger.find(identity)
        if row is None:
            raise _unknown(identity)
        return json_response(to_json(_detail(row)))

    async def cancel(self, request: web.Request) -> web.Response:
        """End a request that is under way; its client is told that it was cancelled."""
        identity = request.match_info["id"]
        found = self._ledger.cancel(identity)
        if found == "unknown":
            raise _unknown(identity)
        if found == "ended":
            raise web.HTTPConflict(text=f"request {identity[:100]!r} has ended already")
        return json_response(to_json(RequestGone(id=identity, status="cancelled")))

    async def queue(self, request: web.Request) -> web.Response:
        """Who waits, in the order of their turns, and who is computed."""
        waiting, running, more = self._ledger.under_way(_MOST_LISTED)
        limit = self._live.settings.max_queue
        return json_response(
            to_json(
                QueueList(
                    waiting=[_waiting(each) for each in waiting],
                    running=[_running(each) for each in running],
                    limit=limit,
                    left_off=more,
                )
            )
        )


def _unknown(identity: str) -> web.HTTPNotFound:
    return web.HTTPNotFound(text=f"there is no request {identity[:100]!r}: it never was, or is no longer remembered")


def _limit(given: str | None) -> int:
    if given is None:
        return _LISTED
    if not given.isascii() or not given.isdecimal() or len(given) > 9 or not 1 <= int(given) <= _MOST_LISTED:
        raise InvalidRequest(f"limit must be between 1 and {_MOST_LISTED}", field="limit")
    return int(given)


def _state(query: Mapping[str, str]) -> State | None:
    given = query.get("state")
    if not given:
        return None
    for state in _STATES:
        if state == given:
            return state
    raise InvalidRequest(f"state must be one of {', '.join(_STATES)}", field="state")


def _row(row: Row) -> dict[str, Any]:
    """The fields of a RequestRow."""
    entry, figures, end = row.entry, row.figures, row.entry.end
    return {
        **_head(entry),
        "state": row.state,
        "status": end.status if end else None,
        "error": _fault(end),
        "stop": entry.reason,
        "prompt_tokens": figures.prompt_tokens,
        "cached_tokens": figures.cached_tokens,
        "completion_tokens": figures.completion_tokens,
        "position": row.position,
        "eta_ms": milliseconds(row.eta),
        "tokens_per_second": _speed(figures),
        "timings": Times(
            queue_ms=milliseconds(figures.queue),
            load_ms=milliseconds(figures.load),
            first_token_ms=milliseconds(figures.first_token),
            prefill_ms=milliseconds(figures.prefill),
            decode_ms=milliseconds(figures.decode),
            total_ms=milliseconds(row.total),
        ),
    }


def _head(entry: Entry) -> dict[str, Any]:
    source = entry.source
    return {
        "id": entry.id,
        "at": entry.at.isoformat(timespec="milliseconds"),
        "method": source.method,
        "path": source.path,
        "dialect": source.dialect,
        "model": entry.model,
        "client": source.client,
        "priority": entry.priority,
        "stream": entry.is_stream,
    }


def _fault(end: End | None) -> Fault | None:
    return Fault(code=end.code, message=end.message or "") if end is not None and end.code is not None else None


def _speed(figures: Figures) -> float | None:
    return None if figures.tokens_per_second is None else round(figures.tokens_per_second, 2)


def _detail(row: Row) -> RequestDetail:
    texts = row.entry.texts
    body = texts.of("body") if texts else None
    return RequestDetail(
        **_row(row),
        prompt=texts.of("prompt") if texts else None,
        answer=texts.of("answer") if texts else None,
        thinking=texts.of("thinking") if texts else None,
        calls=texts.of("calls") if texts else None,
        body=msgspec.json.decode(body) if body else None,
        cut={kind: size for kind, size in texts.cut.items() if size} if texts else {},
        bodies_off=texts is None,
    )


def _waiting(row: Row) -> Waiting:
    entry = row.entry
    return Waiting(
        id=entry.id,
        model=entry.model,
        state=row.state,
        client=entry.source.client,
        priority=entry.priority,
        position=row.position,
        eta_ms=milliseconds(row.eta),
        waited_ms=round(1000 * row.elapsed, 1),
    )


def _running(row: Row) -> Running:
    entry = row.entry
    return Running(
        id=entry.id,
        model=entry.model,
        state=row.state,
        client=entry.source.client,
        completion_tokens=row.figures.completion_tokens,
        tokens_per_second=_speed(row.figures),
        elapsed_ms=round(1000 * row.elapsed, 1),
    )
