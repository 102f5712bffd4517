"""One request to an OpenAI-compatible server, from its due time to an outcome. Raises nothing that a server can cause.

Knows the wire; knows no load, no statistics and no other request.
"""

from __future__ import annotations

import asyncio
from array import array
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec

from runner import __version__
from runner.bench.clock import Clock
from runner.bench.prompts import Prompt, content
from runner.bench.shape import CHAT, Target, Workload
from runner.bench.stream import Broken, Reading, said

_CONNECT = 10.0  # seconds
# Below the five seconds after which common servers close an idle connection: nobody sends into one that is closing.
_KEEP_ALIVE = 2.0
_BODY = 16 * 1024  # bytes of an error's body
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


@dataclass(frozen=True, slots=True)
class Accepts:
    """What a server takes of the fields that not every one knows."""

    ignore_eos: bool = True
    max_field: str = "max_tokens"
    temperature: bool = True
    include_usage: bool = True


@dataclass(frozen=True, slots=True)
class Failed:
    """Why a request has no answer. `kind` is what failures are counted under; `status` is HTTP's, if there was one."""

    kind: str
    message: str
    status: int | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one request. Times are the clock's seconds; counts are None where the server named none.

    `delay` is how long the request was held up on our side: from when it was due until it was on its way, less the time
    that connecting took. `gaps` are seconds between one chunk with text and the next.
    """

    due: float
    started: float
    ended: float
    delay: float | None = None
    first: float | None = None
    last: float | None = None
    gaps: array[float] = field(default_factory=lambda: array("d"))
    chunks: int = 0
    prompt_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    wanted: int = 0  # tokens that were asked for
    failure: Failed | None = None


class Refusal(Exception):
    """An answer that isn't 200."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


@dataclass(slots=True)
class _Sending:
    """What the library tells of one request on its way out."""

    sent: float | None = None
    connecting: float = 0.0
    connect_began: float = 0.0
    reused: bool = False  # a connection on which another request was answered


class Client:
    """One server, one model. Open it with `connected`."""

    def __init__(
        self, session: aiohttp.ClientSession, target: Target, workload: Workload, accepts: Accepts, clock: Clock
    ) -> None:
        self.target = target
        self.accepts = accepts
        self._session = session
        self._workload = workload
        self._clock = clock
        self._url = f"{target.url}/{'chat/completions' if workload.endpoint == CHAT else 'completions'}"

    async def ask(self, prompt: Prompt, due: float, heard: Callable[[int], None] = lambda count: None) -> Outcome:
        """Send one request and read its answer; `heard` is told of chunks with text as they come."""
        reading, sending = Reading(), _Sending()
        body = msgspec.json.encode(self.body(prompt))
        started = self._clock.now()
        failure: Failed | None = None
        try:
            async with asyncio.timeout(self._workload.timeout):
                await self._exchange(body, sending, reading, heard)
        except Broken as broken:
            failure = Failed(broken.kind, str(broken))
        except Refusal as refusal:
            failure = Failed(f"status {refusal.status}", refusal.message, refusal.status)
        except (TimeoutError, OSError, aiohttp.ClientError) as error:
            failure = _fault(error)
        ended = self._clock.now()
        return Outcome(
            due=due,
            started=started,
            ended=ended,
            delay=None if sending.sent is None else max(0.0, sending.sent - due - sending.connecting),
            first=reading.first,
            last=reading.last,
            gaps=reading.gaps,
            chunks=reading.chunks,
            prompt_tokens=reading.prompt_tokens,
            output_tokens=reading.output_tokens,
            cached_tokens=reading.cached_tokens,
            wanted=prompt.output,
            failure=failure,
        )

    async def models(self) -> list[str]:
        """The models that the server lists; none when it has no list. Raises Refusal, and what aiohttp raises."""
        async with asyncio.timeout(_CONNECT), self._session.get(f"{self.target.url}/models") as response:
            if response.status in (401, 403):
                raise Refusal(response.status, said(await response.content.read(_BODY)))
            if response.status != 200:
                return []
            try:
                listed = msgspec.json.decode(await response.read())
            except (msgspec.DecodeError, UnicodeDecodeError):
                return []
        rows = listed.get("data") if isinstance(listed, dict) else None
        names = [row.get("id") for row in rows if isinstance(row, dict)] if isinstance(rows, list) else []
        return [name for name in names if isinstance(name, str)]

    def body(self, prompt: Prompt) -> dict[str, Any]:
        """The request's JSON."""
        workload, accepts = self._workload, self.accepts
        body: dict[str, Any] = {"model": self.target.model, **content(prompt, workload.endpoint), "stream": True}
        body[accepts.max_field] = prompt.output
        if accepts.include_usage:
            body["stream_options"] = {"include_usage": True}
        if accepts.temperature:
            body["temperature"] = workload.temperature
        if workload.ignore_eos and accepts.ignore_eos:
            body["ignore_eos"] = True
        return {**body, **workload.extra}

    async def _exchange(self, body: bytes, sending: _Sending, reading: Reading, heard: Callable[[int], None]) -> None:
        """Send and read. Where the server closes a kept connection instead of answering, the request is sent again, as
        every client does: some servers close after each stream, and don't say so."""
        while True:
            sending.reused = False
            try:
                response = await self._post(body, sending)
                break
            except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError):
                if not sending.reused:
                    raise
        async with response:
            if response.status != 200:
                raise Refusal(response.status, said(await response.content.read(_BODY)))
            async for data in response.content.iter_any():
                count = reading.feed(data, self._clock.now())
                if count:
                    heard(count)
            reading.end()

    async def _post(self, body: bytes, sending: _Sending) -> aiohttp.ClientResponse:
        headers = {"Content-Type": "application/json"}
        return await self._session.post(self._url, data=body, headers=headers, trace_request_ctx=sending)


@asynccontextmanager
async def connected(target: Target, clock: Clock) -> AsyncIterator[aiohttp.ClientSession]:
    """A session for one server, with as many connections as there are requests under way."""
    headers = {
        "User-Agent": f"runner/{__version__}",
        "Accept-Encoding": "identity",  # a compressed stream arrives in lumps
        "Accept": "text/event-stream, application/json",
    }
    if target.key:
        headers["Authorization"] = f"Bearer {target.key}"
    async with aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=_KEEP_ALIVE, ttl_dns_cache=300),
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT),
        headers=headers,
        trace_configs=[_trace(clock)],
        trust_env=urlsplit(target.url).hostname not in _LOOPBACK,  # a proxy has no business on loopback
    ) as session:
        yield session


def _trace(clock: Clock) -> aiohttp.TraceConfig:
    """Has the library note when a request's headers went out, and how long connecting took."""

    def of(context: SimpleNamespace) -> _Sending | None:
        sending = context.trace_request_ctx
        return sending if isinstance(sending, _Sending) else None

    async def connecting(session: aiohttp.ClientSession, context: SimpleNamespace, of_what: object) -> None:
        if sending := of(context):
            sending.connect_began = clock.now()

    async def connected(session: aiohttp.ClientSession, context: SimpleNamespace, of_what: object) -> None:
        if sending := of(context):
            sending.connecting += clock.now() - sending.connect_began

    async def reused(session: aiohttp.ClientSession, context: SimpleNamespace, of_what: object) -> None:
        if sending := of(context):
            sending.reused = True

    async def sent(session: aiohttp.ClientSession, context: SimpleNamespace, of_what: object) -> None:
        if sending := of(context):
            sending.sent = clock.now()

    config = aiohttp.TraceConfig()
    config.on_connection_create_start.append(connecting)
    config.on_connection_create_end.append(connected)
    config.on_connection_reuseconn.append(reused)
    config.on_request_headers_sent.append(sent)
    return config


def _fault(error: BaseException) -> Failed:
    """What went wrong on the way, in the words that failures are counted under."""
    message = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError):
        return Failed("connect", message)
    if isinstance(error, TimeoutError):
        return Failed("timeout", "no whole answer in time")
    if isinstance(error, aiohttp.InvalidURL | aiohttp.ClientResponseError):
        return Failed("malformed", message)
    return Failed("broken off", message)
