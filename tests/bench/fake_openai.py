"""An OpenAI-compatible server on loopback whose answers and moments are known: real HTTP, with no model behind.

How it answers depends on the model that is asked for. What it did, and when, is kept in `served`.
"""

import asyncio
import json
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from aiohttp import web

Json = dict[str, Any]

TEMPLATE = 7  # tokens that a chat costs beside its words
STRICT = ("ignore_eos", "max_tokens", "temperature")  # what the strict model refuses


@dataclass
class Served:
    """One request: what it asked, when it came, and when each chunk with text was written (seconds, perf_counter)."""

    path: str
    body: Json
    key: str | None
    came: float
    wrote: list[float] = field(default_factory=list)


Pause = Callable[[int], Awaitable[None]]


@dataclass
class FakeOpenAI:
    """`pause` is awaited before each chunk, with its number from 0: that is where a test says how slow the server is.

    One token a word, and one token a chunk; `chunk_tokens` puts several into one.
    """

    pause: Pause | None = None
    models: list[str] = field(default_factory=lambda: ["steady"])
    chunk_tokens: int = 1
    served: list[Served] = field(default_factory=list)
    used: set[int] = field(default_factory=set)  # connections that have carried an answer
    kept: list[asyncio.Transport] = field(default_factory=list)  # so that no id comes twice
    at_once: int = 0
    peak: int = 0

    @property
    def measured(self) -> list[Served]:
        """Requests beyond those that count tokens, which ask for one token alone."""
        return [each for each in self.served if _wanted(each.body) > 1]

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[str]:
        """Serve in this event loop; the base URL."""
        app = web.Application()
        app.router.add_get("/v1/models", self._list)
        app.router.add_post("/v1/chat/completions", self._answer)
        app.router.add_post("/v1/completions", self._answer)
        # No time to shut down in: whoever still waits then is a test's doing.
        runner = web.AppRunner(app, shutdown_timeout=0.0, handler_cancellation=True)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        try:
            yield f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
        finally:
            await runner.cleanup()

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"object": "list", "data": [{"id": name} for name in self.models]})

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.json()
        if body["model"] == "closing" and request.transport is not None:
            if id(request.transport) in self.used:  # one answer a connection, and not a word of it before
                request.transport.abort()
                return web.Response()
            self.used.add(id(request.transport))
            self.kept.append(request.transport)
        served = Served(request.path, body, request.headers.get("Authorization"), time.perf_counter())
        self.served.append(served)
        refusal = _refusal(body)
        if refusal is not None:
            return refusal
        self.at_once += 1
        self.peak = max(self.peak, self.at_once)
        try:
            return await self._stream(request, served)
        finally:
            self.at_once -= 1

    async def _stream(self, request: web.Request, served: Served) -> web.StreamResponse:
        body = served.body
        model = body["model"]
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        if model == "silent":
            await asyncio.Event().wait()
        if model == "babbling":
            await response.write(b"data: {not json\n\n")
            return response
        chat = request.path.endswith("chat/completions")
        if chat:
            await response.write(_event({"delta": {"role": "assistant", "content": ""}}))
        tokens = 3 if model == "short" else _wanted(body)
        for number in range(-(-tokens // self.chunk_tokens)):
            if self.pause is not None:
                await self.pause(number)
            if model == "cut" and number == 2:
                if request.transport is not None:
                    request.transport.abort()
                return response
            if model == "late" and number == 2:
                await response.write(b'data: {"error": {"message": "the worker died", "code": 500}}\n\n')
                return response
            piece = {"delta": {"content": " word"}} if chat else {"text": " word"}
            served.wrote.append(time.perf_counter())
            await response.write(_event(piece))
        await response.write(_event({"delta": {}, "finish_reason": "length"} if chat else _END))
        if model != "uncounted" and body.get("stream_options"):
            await response.write(_data({"choices": [], "usage": _usage(body, tokens)}))
        await response.write(b": a comment\n\ndata: [DONE]\n\n")
        return response


_END = {"text": "", "finish_reason": "length"}


def prompt_tokens(body: Json) -> int:
    """One a word, and in a chat the template's."""
    if "messages" in body:
        return TEMPLATE + sum(len(message["content"].split()) for message in body["messages"])
    return len(body["prompt"].split())


def _wanted(body: Json) -> int:
    return int(body.get("max_tokens") or body.get("max_completion_tokens"))


def _usage(body: Json, tokens: int) -> Json:
    prompt = prompt_tokens(body)
    return {
        "prompt_tokens": prompt,
        "completion_tokens": tokens,
        "total_tokens": prompt + tokens,
        "prompt_tokens_details": {"cached_tokens": 2},
    }


def _refusal(body: Json) -> web.Response | None:
    if body["model"] == "strict":
        for name in STRICT:
            if name in body:
                return web.json_response({"error": {"message": f"unknown field {name}"}}, status=400)
    if body["model"] == "busy" and _wanted(body) > 1:
        return web.json_response({"error": {"message": "the queue is full"}}, status=503)
    if body["model"] == "locked":
        return web.json_response({"error": {"message": "a key is needed"}}, status=401)
    if body["model"] == "none":
        return web.json_response({"error": {"message": 'model "none" not found'}}, status=404)
    return None


def _event(choice: Json) -> bytes:
    return _data({"choices": [{"index": 0, **choice}]})


def _data(value: Json) -> bytes:
    return b"data: " + json.dumps(value).encode() + b"\n\n"


class InThread:
    """A FakeOpenAI with an event loop and a thread of its own, for a client that is another process."""

    def __init__(self, fake: FakeOpenAI) -> None:
        self.fake = fake
        self.url = ""
        self._up = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()), name="fake-openai")
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stop: asyncio.Event | None = None

    async def _main(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        async with self.fake.listening() as self.url:
            self._up.set()
            await self._stop.wait()

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._up.wait(20), "the server did not start"
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        assert self._loop is not None
        assert self._stop is not None
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive(), "the server did not end"
