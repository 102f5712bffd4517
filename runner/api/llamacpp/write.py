"""Runner's answers as llama-server's and vLLM's JSON: events of a stream, whole answers, and errors. Knows no HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec

from runner.api.body import to_json
from runner.api.failures import Failure
from runner.api.llamacpp import wire
from runner.api.streams import Framing, Whole, closing
from runner.api.timings import timings_of
from runner.inference.requests import AnswerPart, Complete, Finished, Piece, Told

_NAMES = {ours: theirs for theirs, ours in wire.OPTIONS.items()} | {"suffix": "input_suffix"}
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    503: "unavailable_error",
}
_REASONS = {"context_length_exceeded": "exceed_context_size_error", "unsupported_feature": "not_supported_error"}


def error(failure: Failure) -> bytes:
    """An error as the whole body, and as the data of an event."""
    field = failure.field and failure.field.removeprefix("options.")
    tokens, limit = failure.overflow or (0, 0)
    usual = "invalid_request_error" if failure.status < 500 else "server_error"
    return to_json(
        wire.Error(
            error=wire.Fault(
                code=failure.status,
                message=failure.message,
                type=_REASONS.get(failure.code) or _TYPES.get(failure.status, usual),
                reason=failure.code,
                param=_NAMES.get(field, field) if field else None,
                n_prompt_tokens=tokens,
                n_ctx=limit,
            )
        )
    )


def _error_event(failure: Failure) -> bytes:
    return b"data: " + error(failure) + b"\n\n"


SSE = Framing("text/event-stream", failed=_error_event, heartbeat=b": still working\n\n")
"""There is no terminator of its own: the last event says `stop`."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of an infill's end is told: all, or `only` some of its fields; `settings` as the request gave them."""

    settings: Mapping[str, Any]
    only: Sequence[str] | None = None


def tokens(told: Told, with_pieces: bool) -> bytes:
    """All of /tokenize for llama-server's clients."""
    if not with_pieces:
        return to_json(wire.Tokens(tokens=list(told.tokens)))
    pieces = zip(told.tokens, told.pieces, strict=True)
    return to_json(
        wire.Tokens(tokens=[wire.TokenPiece(id=token, piece=_text_or_bytes(each)) for token, each in pieces])
    )


def count(told: Told, context_length: int, with_strings: bool) -> bytes:
    """All of /tokenize for vLLM's clients."""
    return to_json(
        wire.TokenCount(
            count=len(told.tokens),
            max_model_len=context_length,
            tokens=list(told.tokens),
            token_strs=[each.decode("utf-8", "replace") for each in told.pieces] if with_strings else None,
        )
    )


def text(told: Told) -> bytes:
    """All of /detokenize."""
    return to_json(wire.Text(content=told.text, prompt=told.text))


def rendered(told: Told) -> bytes:
    """All of /apply-template."""
    return to_json(wire.Rendered(prompt=told.text))


async def infill_events(asked: Complete, parts: AsyncIterator[AnswerPart], wanted: Wanted) -> AsyncIterator[bytes]:
    """The stream of /infill."""
    predicted, has_new_line = 0, False
    async with closing(parts):
        async for part in parts:
            if isinstance(part, Finished):
                yield _event(_end(asked.model, part, wanted, has_new_line=has_new_line))
            elif isinstance(part, Piece):
                predicted += part.tokens
                said = part.thinking + part.text
                has_new_line = has_new_line or "\n" in said
                if said:
                    yield _event(wire.InfillChunk(index=0, content=said, stop=False, tokens_predicted=predicted))


def infilled(asked: Complete, whole: Whole, wanted: Wanted) -> bytes:
    """All of /infill at once."""
    choice = whole.choices[0]
    content = choice.thinking + choice.text
    return to_json(_end(asked.model, whole.finished, wanted, content, has_new_line="\n" in content))


def _end(model: str, end: Finished, wanted: Wanted, content: str = "", *, has_new_line: bool) -> object:
    said = wire.Infilled(
        index=0,
        content=content,
        tokens=[],
        stop=True,
        model=model,
        tokens_predicted=end.completion_tokens,
        tokens_evaluated=end.prompt_tokens,
        generation_settings=dict(wanted.settings),
        has_new_line=has_new_line,
        truncated=end.truncated_tokens > 0,
        stop_type="limit" if end.reason == "length" else "word" if end.stop is not None else "eos",
        stopping_word=end.stop or "",
        tokens_cached=end.cached_tokens,
        timings=timings_of([end]),
    )
    return said if not wanted.only else _picked(said, wanted.only)


def _picked(said: wire.Infilled, fields: Sequence[str]) -> Mapping[str, Any]:
    """These fields of all that could be said, under the paths that asked for them. What isn't there is left out."""
    everything = msgspec.to_builtins(said)
    found: dict[str, Any] = {}
    for path in fields:
        value: Any = everything
        for name in path.split("/"):
            value = value.get(name, msgspec.UNSET) if isinstance(value, dict) else msgspec.UNSET
        if value is not msgspec.UNSET:
            found[path] = value
    return found


def _event(value: object) -> bytes:
    return b"data: " + to_json(value) + b"\n\n"


def _text_or_bytes(piece: bytes) -> str | list[int]:
    try:
        return piece.decode()
    except UnicodeDecodeError:
        return list(piece)
