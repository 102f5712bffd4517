"""Runner's answers as OpenAI's JSON: events of a stream, whole answers, and errors. Knows no HTTP."""

from __future__ import annotations

import base64
import sys
import time
import uuid
from array import array
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

import msgspec
from msgspec import UNSET

from runner import __version__
from runner.api.body import to_json
from runner.api.failures import Failure
from runner.api.openai import wire
from runner.api.streams import Framing, Whole, closing
from runner.inference.requests import Embedded, Finished, Piece

FINGERPRINT = f"fp_runner_{__version__}"
_FLOAT = 4  # bytes

_PARAMS = {ours: theirs for theirs, ours in wire.OPTIONS.items()} | {"num_predict": "max_tokens"}
_TYPES = {401: "authentication_error", 403: "permission_error", 404: "not_found_error"}


def error(failure: Failure) -> bytes:
    """An error as the whole body, and as the data of an event."""
    # Options fail under Runner's name for them; the client knows another.
    field = failure.field and failure.field.removeprefix("options.")
    kind = _TYPES.get(failure.status) or ("invalid_request_error" if failure.status < 500 else "api_error")
    return to_json(
        wire.Error(
            error=wire.Fault(
                message=failure.message,
                type=kind,
                param=_PARAMS.get(field, field) if field else None,
                code=failure.code,
            )
        )
    )


def event(value: msgspec.Struct) -> bytes:
    """One server-sent event."""
    return b"data: " + to_json(value) + b"\n\n"


def _error_event(failure: Failure) -> bytes:
    return b"data: " + error(failure) + b"\n\n"


SSE = Framing("text/event-stream", failed=_error_event, heartbeat=b": still working\n\n", end=b"data: [DONE]\n\n")


@dataclass(frozen=True, slots=True)
class Envelope:
    """What all events of one stream, or one whole answer, have in common."""

    id: str
    object: str
    created: int
    model: str

    @classmethod
    def of(cls, prefix: str, kind: str, model: str) -> Envelope:
        """A new one, with an id that never comes again."""
        return cls(f"{prefix}-{uuid.uuid4().hex}", kind, int(time.time()), model)

    def chunk(
        self, choices: list[wire.ChunkChoice] | list[wire.TextChoice], usage: wire.Usage | msgspec.UnsetType | None
    ) -> bytes:
        """One event of a stream."""
        return event(
            wire.Chunk(
                id=self.id,
                object=self.object,
                created=self.created,
                model=self.model,
                system_fingerprint=FINGERPRINT,
                choices=choices,
                usage=usage,
            )
        )


async def chat_events(model: str, parts: AsyncIterator[Piece | Finished], include_usage: bool) -> AsyncIterator[bytes]:
    """The stream of /v1/chat/completions: role, deltas, the reason for the end, and the usage if wanted."""
    envelope = Envelope.of("chatcmpl", "chat.completion.chunk", model)
    usage = None if include_usage else UNSET
    # Not before the first part: until then an error still gets a status of its own.
    opening = envelope.chunk([wire.ChunkChoice(index=0, delta=wire.Delta(role="assistant", content=""))], usage)
    async with closing(parts):
        async for part in parts:
            if isinstance(part, Finished):
                end = wire.ChunkChoice(index=0, delta=wire.Delta(), finish_reason=part.reason)
                yield opening + envelope.chunk([end], usage)
                if include_usage:
                    yield envelope.chunk([], usage_of([part]))
            elif part.text or part.thinking:
                yield opening + envelope.chunk([wire.ChunkChoice(index=0, delta=_delta(part))], usage)
                opening = b""


def _delta(part: Piece) -> wire.Delta:
    return wire.Delta(
        content=part.text or UNSET, reasoning_content=part.thinking or UNSET, reasoning=part.thinking or UNSET
    )


async def text_events(
    model: str, parts: AsyncIterator[tuple[int, Piece | Finished]], include_usage: bool
) -> AsyncIterator[bytes]:
    """The stream of /v1/completions, in which several prompts' answers may be mixed."""
    envelope = Envelope.of("cmpl", "text_completion", model)
    usage = None if include_usage else UNSET
    ends: list[Finished] = []
    async with closing(parts):
        async for index, part in parts:
            if isinstance(part, Finished):
                ends.append(part)
                yield envelope.chunk([wire.TextChoice(index=index, text="", finish_reason=part.reason)], usage)
            elif part.text or part.thinking:
                yield envelope.chunk([wire.TextChoice(index=index, text=part.thinking + part.text)], usage)
    if include_usage:
        yield envelope.chunk([], usage_of(ends))


def chat_completion(model: str, whole: Whole) -> bytes:
    """All of /v1/chat/completions at once."""
    envelope = Envelope.of("chatcmpl", "chat.completion", model)
    message = wire.Answer(
        role="assistant",
        content=whole.text,
        reasoning_content=whole.thinking or UNSET,
        reasoning=whole.thinking or UNSET,
    )
    return to_json(
        wire.ChatCompletion(
            id=envelope.id,
            object=envelope.object,
            created=envelope.created,
            model=model,
            system_fingerprint=FINGERPRINT,
            choices=[wire.Choice(index=0, message=message, finish_reason=whole.finished.reason)],
            usage=usage_of([whole.finished]),
        )
    )


def completion(model: str, wholes: Sequence[Whole]) -> bytes:
    """All of /v1/completions at once."""
    envelope = Envelope.of("cmpl", "text_completion", model)
    return to_json(
        wire.Completion(
            id=envelope.id,
            object=envelope.object,
            created=envelope.created,
            model=model,
            system_fingerprint=FINGERPRINT,
            choices=[
                wire.TextChoice(index=index, text=whole.thinking + whole.text, finish_reason=whole.finished.reason)
                for index, whole in enumerate(wholes)
            ],
            usage=usage_of([whole.finished for whole in wholes]),
        )
    )


def embeddings(model: str, vectors: Embedded, as_base64: bool) -> bytes:
    """All of /v1/embeddings."""
    size = _FLOAT * vectors.width
    rows = [vectors.data[start : start + size] for start in range(0, size * vectors.count, size)]
    return to_json(
        wire.Embeddings(
            object="list",
            data=[
                wire.Embedding(
                    object="embedding",
                    index=index,
                    embedding=base64.b64encode(row).decode("ascii") if as_base64 else _numbers(row),
                )
                for index, row in enumerate(rows)
            ],
            model=model,
            usage=wire.EmbeddingsUsage(prompt_tokens=vectors.prompt_tokens, total_tokens=vectors.prompt_tokens),
        )
    )


def usage_of(ends: Sequence[Finished]) -> wire.Usage:
    """What one answer, or several together, took."""
    prompt = sum(end.prompt_tokens for end in ends)
    completed = sum(end.completion_tokens for end in ends)
    return wire.Usage(
        prompt_tokens=prompt,
        completion_tokens=completed,
        total_tokens=prompt + completed,
        prompt_tokens_details=wire.CachedTokens(sum(end.cached_tokens for end in ends)),
    )


def _numbers(row: bytes) -> list[float]:
    numbers = array("f", row)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
