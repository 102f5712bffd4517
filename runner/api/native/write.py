"""Runner's answers as Ollama's JSON: lines of a stream, whole answers, and errors.

Times are RFC 3339 with six fractional digits and a numeric offset, which every client's parser takes; durations are
nanoseconds. Knows no HTTP.
"""

from __future__ import annotations

import sys
from array import array
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TypedDict

import msgspec

from runner.api.body import to_json
from runner.api.failures import Failure
from runner.api.native import answers, context
from runner.api.streams import NOTHING, Call, Calls, Choice, Framing, Whole, closing
from runner.inference.requests import AnswerPart, Embedded, Finished, Piece, Told
from runner.protocol.events import Logprob


def error(failure: Failure) -> bytes:
    """An error as the whole body."""
    return to_json(answers.Error(error=failure.message, code=failure.code))


def _error_line(failure: Failure) -> bytes:
    return error(failure) + b"\n"


NDJSON = Framing("application/x-ndjson", failed=_error_line)


def moment(at: datetime | None = None) -> str:
    """A time, now by default, as clients parse it."""
    return (at or datetime.now(UTC)).astimezone(UTC).isoformat(timespec="microseconds")


def line(value: msgspec.Struct) -> bytes:
    """One line of NDJSON."""
    return to_json(value) + b"\n"


async def generate_lines(
    model: str, parts: AsyncIterator[AnswerPart], begun: context.Turns | None = None
) -> AsyncIterator[bytes]:
    """The stream of /api/generate. What was `begun` with this prompt can be gone on with after the answer."""
    texts: list[str] = []
    async with closing(parts):
        async for part in parts:
            if isinstance(part, Finished):
                yield line(_generated_end(model, part, context=_context(begun, "".join(texts))))
            elif isinstance(part, Piece) and _says_something(part):
                texts.append(part.text)
                yield line(
                    answers.Generated(
                        model=model,
                        created_at=moment(),
                        response=part.text,
                        thinking=part.thinking,
                        logprobs=_logprobs(part.logprobs),
                        done=False,
                    )
                )


async def chat_lines(model: str, parts: AsyncIterator[AnswerPart]) -> AsyncIterator[bytes]:
    """The stream of /api/chat. Clients read a call's arguments as an object, so it waits until it is whole."""
    calls = Calls()
    async with closing(parts):
        async for part in parts:
            if isinstance(part, Finished):
                yield line(_chatted_end(model, part))
            elif isinstance(part, Piece) and part.call is not None:
                if call := calls.take(part.call):
                    yield _chat_line(model, answers.Turn(role="assistant", content="", tool_calls=_calls([call])))
            elif isinstance(part, Piece) and _says_something(part):
                turn = answers.Turn(role="assistant", content=part.text, thinking=part.thinking)
                yield _chat_line(model, turn, part.logprobs)


def _chat_line(model: str, turn: answers.Turn, logprobs: Sequence[Logprob] = ()) -> bytes:
    return line(
        answers.Chatted(model=model, created_at=moment(), message=turn, logprobs=_logprobs(logprobs), done=False)
    )


def generated(model: str, whole: Whole, begun: context.Turns | None = None) -> bytes:
    """All of /api/generate at once; `begun` as in its stream."""
    (said,) = whole.choices
    return to_json(_generated_end(model, whole.finished, said, context=_context(begun, said.text)))


def chatted(model: str, whole: Whole) -> bytes:
    """All of /api/chat at once."""
    return to_json(_chatted_end(model, whole.finished, *whole.choices))


def generate_residency(model: str, reason: str) -> bytes:
    """What /api/generate says when it only loaded or unloaded."""
    return to_json(answers.Generated(model=model, created_at=moment(), response="", done=True, done_reason=reason))


def chat_residency(model: str, reason: str) -> bytes:
    """What /api/chat says when it only loaded or unloaded."""
    turn = answers.Turn(role="assistant", content="")
    return to_json(answers.Chatted(model=model, created_at=moment(), message=turn, done=True, done_reason=reason))


def generate_preview(model: str, prompt: Told, images: int) -> bytes:
    """What /api/generate says when it only renders the prompt."""
    shown = answers.DebugInfo(rendered_template=prompt.text, image_count=images)
    return to_json(answers.Generated(model=model, created_at=moment(), response="", done=False, debug_info=shown))


def chat_preview(model: str, prompt: Told, images: int) -> bytes:
    """What /api/chat says when it only renders the prompt."""
    shown = answers.DebugInfo(rendered_template=prompt.text, image_count=images)
    turn = answers.Turn(role="assistant", content="")
    return to_json(answers.Chatted(model=model, created_at=moment(), message=turn, done=False, debug_info=shown))


def embedded(model: str, vectors: Embedded | None) -> bytes:
    """All of /api/embed; None where there was nothing to embed."""
    timings = vectors.timings if vectors else None
    return to_json(
        answers.Embedded(
            model=model,
            embeddings=rows(vectors) if vectors else [],
            total_duration=timings.total if timings else 0,
            load_duration=timings.load if timings else 0,
            prompt_eval_count=vectors.prompt_tokens if vectors else 0,
        )
    )


def embedding(vectors: Embedded | None) -> bytes:
    """All of /api/embeddings."""
    return to_json(answers.Vector(embedding=rows(vectors)[0] if vectors else []))


def rows(vectors: Embedded) -> list[list[float]]:
    """Packed little-endian float32 as lists of numbers."""
    numbers = array("f", vectors.data)
    if sys.byteorder == "big":
        numbers.byteswap()
    values = numbers.tolist()
    return [values[start : start + vectors.width] for start in range(0, len(values), vectors.width)]


class _Counts(TypedDict):
    total_duration: int
    load_duration: int
    prompt_eval_count: int
    prompt_eval_cached_count: int
    prompt_eval_duration: int
    eval_count: int
    eval_duration: int
    draft_count: int
    draft_accepted_count: int
    truncated_tokens: int
    queue_duration: int


def _counts(end: Finished) -> _Counts:
    return {
        "total_duration": end.timings.total,
        "load_duration": end.timings.load,
        "prompt_eval_count": end.prompt_tokens,
        "prompt_eval_cached_count": end.cached_tokens,
        "prompt_eval_duration": end.timings.prefill,
        "eval_count": end.completion_tokens,
        "eval_duration": end.timings.decode,
        "draft_count": end.drafted_tokens,
        "draft_accepted_count": end.accepted_tokens,
        "truncated_tokens": end.truncated_tokens,
        "queue_duration": end.timings.queue,
    }


def _context(begun: context.Turns | None, said: str) -> list[int]:
    return [] if begun is None else context.pack((*begun, ("assistant", said)))


def _generated_end(model: str, end: Finished, said: Choice = NOTHING, *, context: list[int]) -> answers.Generated:
    return answers.Generated(
        model=model,
        created_at=moment(),
        response=said.text,
        thinking=said.thinking,
        logprobs=_logprobs(said.thought_logprobs + said.logprobs),
        done=True,
        done_reason=_reason(end),
        context=context,
        **_counts(end),
    )


def _chatted_end(model: str, end: Finished, said: Choice = NOTHING) -> answers.Chatted:
    return answers.Chatted(
        model=model,
        created_at=moment(),
        message=answers.Turn(
            role="assistant", content=said.text, thinking=said.thinking, tool_calls=_calls(said.calls)
        ),
        logprobs=_logprobs(said.thought_logprobs + said.logprobs),
        done=True,
        done_reason=_reason(end),
        **_counts(end),
    )


def _reason(end: Finished) -> str:
    """Ollama knows no other word for an answer that ended in calls."""
    return "stop" if end.reason == "tool_calls" else end.reason


def _calls(calls: Sequence[Call]) -> list[answers.Call]:
    """Those that are whole: of one that broke off there is no object to show, and done_reason says why."""
    return [
        answers.Call(
            id=call.id,
            function=answers.CalledFunction(
                index=call.index,
                name=call.name,
                # As the model wrote it, but in one line.
                arguments=msgspec.Raw(msgspec.json.format(call.arguments.encode() or b"{}", indent=-1)),
            ),
        )
        for call in calls
        if call.complete
    ]


def _says_something(part: Piece) -> bool:
    return bool(part.text or part.thinking or any(not logprob.is_end for logprob in part.logprobs))


def _logprobs(logprobs: Sequence[Logprob]) -> list[answers.Logprob]:
    """Of the tokens of a thought and of the answer; the one that ended it is not told."""
    return [
        answers.Logprob(
            token=_written(each.token),
            logprob=each.logprob or 0.0,
            bytes=list(each.token),
            top_logprobs=[
                answers.Alternative(token=_written(other.token), logprob=other.logprob, bytes=list(other.token))
                for other in each.top
            ],
        )
        for each in logprobs
        if not each.is_end
    ]


def _written(token: bytes) -> str:
    return token.decode("utf-8", "replace")
