"""Runner's answers as Anthropic's JSON: events of a stream, whole messages, models and errors. Knows no HTTP."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC

import msgspec

from registry.stored import StoredModel
from runner.api.anthropic import wire
from runner.api.anthropic.blocks import Blocks, Gathered
from runner.api.body import to_json
from runner.api.failures import Failure
from runner.api.streams import Framing, closing
from runner.inference.requests import AnswerPart, Begun, Finished, Piece
from runner.log import request_id

STATUSES: Mapping[str, int] = {"server_busy": 529, "unavailable": 529}
"""What Anthropic answers in place of our 503, for which its clients wait and try again."""

_TYPES = {
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    408: "timeout_error",
    413: "request_too_large",
    529: "overloaded_error",
}
_NAMES = {"options.num_predict": "max_tokens", "options.stop": "stop_sequences"}


def error(failure: Failure) -> bytes:
    """An error as the whole body, and as the data of an event."""
    status = STATUSES.get(failure.code, failure.status)
    kind = _TYPES.get(status) or ("invalid_request_error" if status < 500 else "api_error")
    return to_json(wire.Error(error=wire.Fault(type=kind, message=_message(failure)), request_id=request_id.get()))


def _message(failure: Failure) -> str:
    if failure.overflow is not None:  # clients look for these words, and make the conversation shorter
        tokens, limit = failure.overflow
        return f"prompt is too long: {tokens} tokens > {limit} maximum"
    name = _NAMES.get(failure.field or "")
    return f"{name}: {failure.message}" if name else failure.message


def event(value: msgspec.Struct) -> bytes:
    """One server-sent event, named as its data are."""
    tag = value.__struct_config__.tag
    assert isinstance(tag, str)  # every event has one
    return b"event: " + tag.encode() + b"\ndata: " + to_json(value) + b"\n\n"


def _error_event(failure: Failure) -> bytes:
    return b"event: error\ndata: " + error(failure) + b"\n\n"


SSE = Framing("text/event-stream", failed=_error_event, heartbeat=event(wire.Ping()), end=event(wire.MessageStop()))


@dataclass(frozen=True, slots=True)
class Asked:
    """What an answer has to know of its request. `stops` are the request's own stop sequences."""

    model: str
    stops: Sequence[str] = ()
    hides_thoughts: bool = False
    id: str = field(default_factory=lambda: f"msg_{uuid.uuid4().hex}")

    def message(self, content: list[wire.Content], usage: wire.Usage, end: wire.End | None = None) -> wire.Answer:
        """The message, whole or as a stream begins it."""
        return wire.Answer(
            id=self.id,
            model=self.model,
            content=content,
            stop_reason=end.stop_reason if end else None,
            stop_sequence=end.stop_sequence if end else None,
            usage=usage,
        )

    def end(self, finished: Finished) -> wire.End:
        """Why the answer ended. A stop sequence is one that the request gave; the model's own ends its turn."""
        if finished.reason == "tool_calls":
            return wire.End(stop_reason="tool_use")
        if finished.reason == "length":
            return wire.End(stop_reason="max_tokens")
        if finished.stop is not None and finished.stop in self.stops:
            return wire.End(stop_reason="stop_sequence", stop_sequence=finished.stop)
        return wire.End(stop_reason="end_turn")


async def events(asked: Asked, parts: AsyncIterator[AnswerPart]) -> AsyncIterator[bytes]:
    """The stream of /v1/messages up to its last event, which only success has."""
    blocks = Blocks(hides_thoughts=asked.hides_thoughts)
    has_begun = False
    async with closing(parts):
        async for part in parts:
            frames = b""
            if not has_begun:  # not before the first part: until then an error still gets a status of its own
                has_begun = True
                frames = event(wire.MessageStart(message=asked.message([], _usage_at_start(part)))) + event(wire.Ping())
            if isinstance(part, Piece):
                frames += b"".join(map(event, blocks.take(part)))
            elif isinstance(part, Finished):
                frames += b"".join(map(event, blocks.finish()))
                frames += event(wire.MessageDelta(delta=asked.end(part), usage=_usage(part)))
            if frames:
                yield frames


async def message(asked: Asked, parts: AsyncIterator[AnswerPart]) -> bytes:
    """All of /v1/messages at once."""
    blocks, gathered = Blocks(hides_thoughts=asked.hides_thoughts), Gathered()
    finished: Finished | None = None
    async with closing(parts):
        async for part in parts:
            if isinstance(part, Finished):
                finished = part
            for each in blocks.take(part) if isinstance(part, Piece) else blocks.finish():
                gathered.take(each)
    assert finished is not None  # or the parts have raised
    return to_json(asked.message(gathered.whole(), _usage(finished), asked.end(finished)))


def _usage(finished: Finished) -> wire.Usage:
    return wire.Usage(
        input_tokens=finished.prompt_tokens - finished.cached_tokens,
        cache_creation_input_tokens=0,
        cache_read_input_tokens=finished.cached_tokens,
        output_tokens=finished.completion_tokens,
    )


def _usage_at_start(part: AnswerPart) -> wire.Usage:
    begun = Begun(0)
    if isinstance(part, Piece):
        begun = part.begun or begun
    elif isinstance(part, Finished):
        begun = Begun(part.prompt_tokens, part.cached_tokens)
    return wire.Usage(
        input_tokens=begun.prompt_tokens - begun.cached_tokens,
        cache_creation_input_tokens=0,
        cache_read_input_tokens=begun.cached_tokens,
        output_tokens=0,
    )


def models(named: Sequence[tuple[str, StoredModel]], has_more: bool) -> bytes:
    """A page of the list of models."""
    return to_json(
        wire.Models(
            data=[_model(name, stored) for name, stored in named],
            has_more=has_more,
            first_id=named[0][0] if named else None,
            last_id=named[-1][0] if named else None,
        )
    )


def model(name: str, stored: StoredModel) -> bytes:
    """One model."""
    return to_json(_model(name, stored))


def _model(name: str, stored: StoredModel) -> wire.Model:
    created = stored.modified_at.astimezone(UTC).isoformat(timespec="seconds")
    return wire.Model(id=name, display_name=name, created_at=created)
