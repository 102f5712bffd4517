"""Answers that come piece by piece: NDJSON and server-sent events, heartbeats, slow readers, and clients that leave.

A stream ends in its terminator or in one error, never in both and never in neither. When the client goes, the source is
closed at once. Knows no dialect: frames arrive as bytes.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import TypeVar

from aiohttp import web

from runner.api.failures import ClientGone, Failure, failure_of
from runner.api.inflight import IN_FLIGHT, RECORD, note, note_end, note_failure
from runner.errors import Cancelled, RunnerError
from runner.inference.requests import AnswerPart, CallPart, ChoiceEnded, Finished, Outcome, Piece
from runner.protocol.events import Logprob

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Patience:
    """Seconds. `hold`: how long headers wait for a real status; `beat`: silence before a heartbeat; `stall`: how long
    a reader may leave its buffer full."""

    hold: float = 10.0
    beat: float = 10.0
    stall: float = 60.0


PATIENCE = web.AppKey("patience", Patience)


@dataclass(frozen=True, slots=True)
class Framing:
    """How a dialect streams. `failed` words an error after the headers; `end` follows success only."""

    content_type: str
    failed: Callable[[Failure], bytes]
    heartbeat: bytes = b""
    end: bytes = b""


async def send(request: web.Request, frames: AsyncIterator[bytes], framing: Framing) -> web.StreamResponse:
    """Stream `frames` as they come.

    Until the first frame, for at most `Patience.hold`, no header is sent: an error in that time is raised, and so gets
    a status of its own. A later one is told in the stream.
    """
    if (entry := request.get(RECORD)) is not None:
        entry.is_stream = True
    out = _Out(request, framing)
    watching = asyncio.create_task(out.watch())
    try:
        await _pour(request, frames, out)
        await out.finish()
    finally:
        watching.cancel()
        with suppress(asyncio.CancelledError, ClientGone):
            await watching
    return out.response


async def _pour(request: web.Request, frames: AsyncIterator[bytes], out: _Out) -> None:
    """Everything up to the end of the stream: all frames and the terminator, or an error in its place."""
    try:
        async with closing(frames):
            async for frame in frames:
                await out.write(frame)
        note_end(request)
        await out.end()
    except ClientGone:
        raise
    except asyncio.CancelledError:
        told = request.app[IN_FLIGHT].accept_expulsion()
        if told is None:
            raise
        await out.fail(told)
    except Exception as error:  # noqa: BLE001 - the edge: after the headers an error can only be told in-band
        await out.fail(error)


class _Out:
    """One response being streamed, whose headers go out late."""

    def __init__(self, request: web.Request, framing: Framing) -> None:
        self.response = web.StreamResponse(
            headers={"Content-Type": framing.content_type, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}
        )
        self._request = request
        self._framing = framing
        self._patience = request.app[PATIENCE]
        self._clock = asyncio.get_running_loop().time
        self._last = self._clock()  # when the latest write began, or ended
        self._lock = asyncio.Lock()  # held while writing: the stream and its heartbeat share a connection

    async def write(self, data: bytes) -> None:
        """Send bytes, headers first; waits while the reader is behind. Raises ClientGone."""
        async with self._lock:
            self._last = self._clock()
            try:
                if not self.response.prepared:
                    await self.response.prepare(self._request)
                if data:
                    await self.response.write(data)
            except ConnectionError as error:
                raise ClientGone(str(error)) from None
            self._last = self._clock()

    async def end(self) -> None:
        """Say that the stream is whole."""
        await self.write(self._framing.end)

    async def fail(self, error: BaseException) -> None:
        """Tell the error in the stream, or raise it while there is still a status to give."""
        if not self.response.prepared:
            raise error
        failure = failure_of(error)
        note_failure(self._request, failure.code, failure.message)
        await self.write(self._framing.failed(failure))

    async def finish(self) -> None:
        """Close the body in good order. Raises ClientGone."""
        async with self._lock:
            self._last = self._clock()
            try:
                await self.response.write_eof()
            except ConnectionError as error:
                raise ClientGone(str(error)) from None

    async def watch(self) -> None:
        """Send the headers when they have been held for long enough, and a heartbeat when the stream has been silent;
        cut off a reader that has stalled. Runs beside the stream until it is cancelled.
        """
        await asyncio.sleep(self._patience.hold)
        if not self.response.prepared:
            await self._beat()
        while True:
            since = self._clock() - self._last
            if self._lock.locked():
                due = self._patience.stall - since
                if due <= 0:
                    return self._cut()
            elif (due := self._patience.beat - since) <= 0:
                await self._beat()
                due = self._patience.beat
            await asyncio.sleep(due)

    async def _beat(self) -> None:
        if self._framing.heartbeat or not self.response.prepared:
            try:
                async with asyncio.timeout(self._patience.stall):
                    await self.write(self._framing.heartbeat)
            except TimeoutError:
                self._cut()

    def _cut(self) -> None:
        """Drop the connection of a reader that reads no more; that cancels the request like any other parting."""
        if self._request.transport is not None:
            self._request.transport.abort()


@asynccontextmanager
async def closing(source: AsyncIterator[_T]) -> AsyncIterator[AsyncIterator[_T]]:
    """Close an iterator when the block ends, however it ends: a generator left open goes on costing."""
    try:
        yield source
    finally:
        if isinstance(source, AsyncGenerator):
            await source.aclose()


async def answer(parts: AsyncIterator[AnswerPart], request: web.Request | None = None) -> AsyncIterator[AnswerPart]:
    """The parts of one answer, held to the promise that exactly one Finished ends them.

    What it cost is noted in the log line of `request`.
    """
    async with closing(parts):
        async for part in parts:
            if isinstance(part, Finished):
                if part.reason == "cancelled":
                    raise Cancelled("the request was cancelled")
                if request is not None:
                    note(request, _costs(part))
                yield part
                return
            yield part
    raise RunnerError("the answer broke off without an end")


def _costs(end: Finished) -> str:
    times = end.timings
    counts = f"prompt={end.prompt_tokens} cached={end.cached_tokens} completion={end.completion_tokens}"
    if end.drafted_tokens:
        counts += f" drafted={end.drafted_tokens} accepted={end.accepted_tokens}"
    spans = (("load", times.load), ("queue", times.queue), ("prefill", times.prefill), ("decode", times.decode))
    return counts + "".join(f" {name}={span / 1e6:.0f}ms" for name, span in spans)


@dataclass(frozen=True, slots=True)
class Call:
    """A tool call. `arguments` is JSON text; that of a call which is not `complete` breaks off, as the answer did."""

    index: int
    id: str
    name: str
    arguments: str
    complete: bool


class Calls:
    """The tool calls of one choice, put together from their parts."""

    def __init__(self) -> None:
        self._calls: dict[int, list[CallPart]] = {}

    def take(self, part: CallPart) -> Call | None:
        """The call that this part completes, if it does."""
        parts = self._calls.setdefault(part.index, [])
        parts.append(part)
        return _call(parts) if part.complete else None

    def all(self) -> tuple[Call, ...]:
        """What has come, in order."""
        return tuple(_call(self._calls[index]) for index in sorted(self._calls))


def _call(parts: Sequence[CallPart]) -> Call:
    first, last = parts[0], parts[-1]
    return Call(first.index, first.id, first.name, "".join(part.arguments for part in parts), last.complete)


@dataclass(frozen=True, slots=True)
class Choice:
    """One of the choices of an answer that was not streamed. `logprobs` leave those of thought and calls aside."""

    text: str = ""
    thinking: str = ""
    calls: tuple[Call, ...] = ()
    logprobs: tuple[Logprob, ...] = ()
    thought_logprobs: tuple[Logprob, ...] = ()
    reason: Outcome = "stop"


NOTHING = Choice()


@dataclass(frozen=True, slots=True)
class Whole:
    """An answer that was not streamed."""

    choices: tuple[Choice, ...]
    finished: Finished


async def collect(answers: Sequence[AsyncIterator[AnswerPart]]) -> list[Whole]:
    """Several answers that come at the same time, whole and in their order. The first failure ends them all."""
    gathered: list[dict[int, _Gathered]] = [{} for _ in answers]
    ends: dict[int, Finished] = {}
    merged = merge(answers)
    async with closing(merged):
        async for index, part in merged:
            choice = gathered[index].setdefault(part.choice, _Gathered())
            if isinstance(part, Finished | ChoiceEnded):
                choice.reason = part.reason
            else:
                choice.take(part)
            if isinstance(part, Finished):
                ends[index] = part
    return [
        Whole(tuple(choices[choice].whole() for choice in sorted(choices)), ends[index])
        for index, choices in enumerate(gathered)
    ]


class _Gathered:
    """What has come of one choice."""

    def __init__(self) -> None:
        self.reason: Outcome = "stop"
        self._texts: list[str] = []
        self._thoughts: list[str] = []
        self._calls = Calls()
        self._logprobs: list[Logprob] = []
        self._thought_logprobs: list[Logprob] = []

    def take(self, piece: Piece) -> None:
        self._texts.append(piece.text)
        self._thoughts.append(piece.thinking)
        if piece.call is not None:
            self._calls.take(piece.call)
            return
        logprobs = self._thought_logprobs if piece.in_thought else self._logprobs
        logprobs += piece.logprobs

    def whole(self) -> Choice:
        texts, thoughts = "".join(self._texts), "".join(self._thoughts)
        logprobs, thought_logprobs = tuple(self._logprobs), tuple(self._thought_logprobs)
        return Choice(texts, thoughts, self._calls.all(), logprobs, thought_logprobs, self.reason)


async def merge(sources: Sequence[AsyncIterator[_T]]) -> AsyncIterator[tuple[int, _T]]:
    """What several iterators yield, as it comes, each with its iterator's index. Closes them all."""
    if len(sources) == 1:  # the common case, without a task for each item
        async with closing(sources[0]) as only:
            async for each in only:
                yield 0, each
        return
    waiting = {_next(source): index for index, source in enumerate(sources)}
    try:
        while waiting:
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            for task in sorted(done, key=waiting.__getitem__):
                index = waiting.pop(task)
                item = task.result()
                if item is not None:
                    waiting[_next(sources[index])] = index
                    yield index, item
    finally:
        for task in waiting:
            task.cancel()
        await asyncio.gather(*waiting, return_exceptions=True)
        for source in sources:
            async with closing(source):
                pass


def _next(source: AsyncIterator[_T]) -> asyncio.Task[_T | None]:
    """The next item; None at the end (no source yields None)."""

    async def step() -> _T | None:
        return await anext(source, None)

    return asyncio.create_task(step())
