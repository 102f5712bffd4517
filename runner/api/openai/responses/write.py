"""An answer as a response: the events of a stream, in their order, and the whole of it at the end. Knows no HTTP.

Streamed or not, it goes through the same states, so both say the same.
"""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Callable, Iterator, Sequence

from runner.api.body import to_json
from runner.api.failures import Failure
from runner.api.openai.responses import events, wire
from runner.api.openai.responses.items import Call, CustomCall, Growing, Text, Thought
from runner.api.openai.responses.read import Asked
from runner.api.openai.wire import Alternative, TokenLogprob
from runner.api.streams import Framing, Patience, closing
from runner.api.timings import timings_of
from runner.errors import InvalidRequest
from runner.inference.requests import AnswerPart, CallPart, Finished, Piece
from runner.protocol.events import Logprob

_HEARTBEAT = b": still working\n\n"
_MARGIN = 50  # levels of the events, and of the calls that write them
_NO_REASONING = wire.Reasoning()
_PLAIN = wire.TextFormat(type="text")


class Writing:
    """One response while it is written. `keep` is told of it when it is whole, before the client is.

    Every event has to be written before the next is asked for: they share what is still growing.
    """

    def __init__(self, asked: Asked, body: wire.ResponseRequest, keep: Callable[[events.Response], None]) -> None:
        """Raises InvalidRequest for a request that can't be told back."""
        self.response = _opening(asked, body)
        _check_depth(self.response)
        self._asked = asked
        self._keep = keep
        self._growing: Growing | None = None
        self._call: int | None = None  # the index of the call that grows
        self._thought_tokens = 0
        self._told = 0
        self._begun = False

    @property
    def framing(self) -> Framing:
        """How this response is streamed."""
        return Framing("text/event-stream", failed=self._failed, heartbeat=_HEARTBEAT)

    async def stream(self, parts: AsyncIterator[AnswerPart], patience: Patience) -> AsyncIterator[bytes]:
        """The server-sent events of the answer. Before its first part nothing is said, so that a failure still gets a
        status; when that has to wait, it is told from time to time that the response is in progress, in words that
        also clients count who don't count comments.
        """
        async with closing(parts):
            first = asyncio.ensure_future(anext(parts))
            try:
                wait = patience.hold
                while not (await asyncio.wait({first}, timeout=wait))[0]:
                    yield self._frames(self._wait())
                    wait = patience.beat
                yield self._frames(self.take(first.result()))
            finally:
                first.cancel()
                await asyncio.gather(first, return_exceptions=True)
            async for part in parts:
                if frames := self._frames(self.take(part)):
                    yield frames

    async def whole(self, parts: AsyncIterator[AnswerPart]) -> bytes:
        """The response when nothing of it is streamed."""
        async with closing(parts):
            async for part in parts:
                for _ in self.take(part):
                    pass
        return to_json(self.response)

    def take(self, part: AnswerPart) -> Iterator[events.Event]:
        """What this part makes of the response."""
        yield from self._begin()
        if isinstance(part, Piece):
            yield from self._piece(part)
        elif isinstance(part, Finished):
            yield from self._finish(part)

    def _begin(self) -> Iterator[events.Event]:
        if not self._begun:
            self._begun = True
            yield events.Created(response=self.response)
            yield events.InProgress(response=self.response)

    def _wait(self) -> Iterator[events.Event]:
        if self._begun:
            yield events.InProgress(response=self.response)
        else:
            yield from self._begin()

    def _piece(self, piece: Piece) -> Iterator[events.Event]:
        if piece.in_thought or piece.thinking:
            self._thought_tokens += piece.tokens
        if piece.thinking:
            if not isinstance(self._growing, Thought):
                summary, sealed = self._asked.wants_summary, self._asked.wants_thoughts
                yield from self._open(Thought(self._place(), as_summary=summary, is_sealed=sealed))
            assert isinstance(self._growing, Thought)
            yield from self._growing.grow(piece.thinking)
        logprobs = _logprobs(piece.logprobs) if not piece.in_thought and piece.call is None else []
        if piece.text or (logprobs and isinstance(self._growing, Text)):
            yield from self._text(piece.text, logprobs)
        if piece.call is not None:
            yield from self._call_part(piece.call)

    def _text(self, text: str, logprobs: Sequence[TokenLogprob]) -> Iterator[events.Event]:
        if not isinstance(self._growing, Text):
            yield from self._open(Text(self._place()))
        assert isinstance(self._growing, Text)
        yield from self._growing.grow(text, logprobs)

    def _call_part(self, part: CallPart) -> Iterator[events.Event]:
        if not isinstance(self._growing, Call) or self._call != part.index:
            tool = self._asked.toolbox.tools.get(part.name)
            kind = CustomCall if tool and tool.is_custom else Call
            yield from self._open(kind(self._place(), part, tool))
            self._call = part.index
        assert isinstance(self._growing, Call)
        if part.arguments:
            yield from self._growing.grow(part.arguments)
        if part.complete:
            yield from self._close("completed")

    def _place(self) -> int:
        return len(self.response.output) + (self._growing is not None)

    def _open(self, item: Growing) -> Iterator[events.Event]:
        yield from self._close("completed")
        self._growing = item
        yield from item.begin()

    def _close(self, status: str) -> Iterator[events.Event]:
        item, self._growing = self._growing, None
        if item is not None:
            yield from item.end(status)
            self.response.output.append(item.item(status))

    def _finish(self, end: Finished) -> Iterator[events.Event]:
        response, is_cut = self.response, end.reason == "length"
        breaks_off = is_cut or isinstance(self._growing, Call)  # a call that is complete has been closed
        yield from self._close("incomplete" if breaks_off else "completed")
        if not is_cut and all(isinstance(item, events.Reasoning) for item in response.output):
            # An answer of no text is one all the same: clients look for the message.
            yield from self._open(Text(self._place()))
            yield from self._close("completed")
        response.usage = _usage(end, self._thought_tokens)
        response.timings = timings_of([end])
        if is_cut:
            response.status = "incomplete"
            response.incomplete_details = events.Incomplete(reason="max_output_tokens")
        else:
            response.status = "completed"
            response.completed_at = int(time.time())
        self._keep(response)
        yield events.Cut(response=response) if is_cut else events.Completed(response=response)

    def _failed(self, failure: Failure) -> bytes:
        """The end of a stream that went wrong; what had come of the open item is told with the rest."""
        response = self.response
        opening = self._frames(self._begin())
        if self._growing is not None:
            response.output.append(self._growing.item("incomplete"))
        response.status = "failed"
        response.store = False
        response.error = events.Fault(code=failure.code, message=failure.message)
        return opening + self._frames(iter((events.Failed(response=response),)))

    def _frames(self, told: Iterator[events.Event]) -> bytes:
        """Server-sent events, each with its number."""
        frames = []
        for event in told:
            event.sequence_number = self._told
            self._told += 1
            name = str(event.__struct_config__.tag).encode()
            frames.append(b"event: " + name + b"\ndata: " + to_json(event) + b"\n\n")
        return b"".join(frames)


def _opening(asked: Asked, body: wire.ResponseRequest) -> events.Response:
    """The response before anything has come of it."""
    text = body.text or wire.TextConfig()
    return events.Response(
        id=f"resp_{uuid.uuid4().hex}",
        created_at=int(time.time()),
        status="in_progress",
        instructions=body.instructions,
        max_output_tokens=body.max_output_tokens,
        model=asked.chat.model,
        output=[],
        parallel_tool_calls=asked.chat.tool_choice.parallel,
        previous_response_id=body.previous_response_id or None,
        prompt_cache_key=body.prompt_cache_key,
        reasoning=body.reasoning or _NO_REASONING,
        safety_identifier=body.safety_identifier,
        store=asked.store,
        temperature=body.temperature,
        text=wire.TextConfig(format=text.format or _PLAIN, verbosity=text.verbosity),
        tool_choice=body.tool_choice or "auto",
        tools=list(asked.toolbox.echo),
        top_logprobs=body.top_logprobs or 0,
        top_p=body.top_p,
        truncation=body.truncation or "disabled",
        user=body.user,
        metadata=body.metadata or {},
    )


def _check_depth(response: events.Response) -> None:
    """Tools and schemas hold any JSON. What is nested so deeply that it can't be written is found before the answer."""
    value: object = response
    for _ in range(_MARGIN):
        value = [value]
    try:
        to_json(value)
    except RecursionError:
        raise InvalidRequest("the request body is nested too deeply") from None


def _usage(end: Finished, thought_tokens: int) -> events.Usage:
    return events.Usage(
        input_tokens=end.prompt_tokens,
        input_tokens_details=events.CachedTokens(cached_tokens=end.cached_tokens),
        output_tokens=end.completion_tokens,
        output_tokens_details=events.ReasoningTokens(reasoning_tokens=min(thought_tokens, end.completion_tokens)),
        total_tokens=end.prompt_tokens + end.completion_tokens,
    )


def _logprobs(logprobs: Sequence[Logprob]) -> list[TokenLogprob]:
    """Of the text; the token that ended it is no part of it."""
    return [
        TokenLogprob(
            token=_written(each.token),
            logprob=each.logprob or 0.0,
            bytes=list(each.token),
            top_logprobs=[
                Alternative(token=_written(other.token), logprob=other.logprob, bytes=list(other.token))
                for other in each.top
            ],
        )
        for each in logprobs
        if not each.is_end
    ]


def _written(token: bytes) -> str:
    """A token as text; the bytes of one that is no whole text are written out."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return "".join(f"\\x{byte:02x}" for byte in token)
