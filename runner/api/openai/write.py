"""Runner's answers as OpenAI's JSON: events of a stream, whole answers, and errors. Knows no HTTP."""

from __future__ import annotations

import base64
import sys
import time
import uuid
from array import array
from collections.abc import AsyncIterator, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from msgspec import UNSET

from runner import __version__
from runner.api.body import to_json
from runner.api.failures import Failure
from runner.api.openai import calling, wire
from runner.api.openai.usage import Running, usage_of
from runner.api.streams import Call, Choice, Framing, Whole, closing
from runner.api.timings import Timings, timings_of
from runner.inference.requests import AnswerPart, CallPart, Chat, Complete, Embedded, Finished, Outcome, Piece
from runner.protocol.events import Logprob

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
        self,
        choices: list[wire.Kind],
        usage: wire.Usage | msgspec.UnsetType | None,
        timings: Timings | msgspec.UnsetType = UNSET,
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
                timings=timings,
            )
        )


async def chat_events(
    asked: Chat, parts: AsyncIterator[AnswerPart], options: wire.StreamOptions | None, as_function: bool = False
) -> AsyncIterator[bytes]:
    """The stream of /v1/chat/completions: for each choice its role, deltas and the reason for the end; the usage as
    `options` want it. `as_function` tells of calls the way it was done before there were tools."""
    envelope = Envelope.of("chatcmpl", "chat.completion.chunk", asked.model)
    usage = Running(options)
    unopened = set(range(asked.choices))

    def chunk(choice: int, timings: Timings | msgspec.UnsetType = UNSET, **fields: Any) -> bytes:
        # The role not before the first part: until then an error still gets a status of its own.
        opening = b""
        if choice in unopened:
            unopened.discard(choice)
            first = fields["delta"]
            content = None if first.tool_calls or first.function_call else ""
            opening = chunk(choice, delta=wire.Delta(role="assistant", content=content))
        return opening + envelope.chunk([wire.ChunkChoice(index=choice, **fields)], usage.now(), timings)

    async with closing(parts):
        async for part in parts:
            if isinstance(part, Piece):
                usage.take(part)
                for delta, logprobs in _deltas(part, as_function):
                    yield chunk(part.choice, delta=delta, logprobs=logprobs)
                continue
            timings = timings_of([part]) if isinstance(part, Finished) else UNSET
            last = UNSET if usage.is_wanted else timings
            yield chunk(part.choice, last, delta=wire.Delta(), finish_reason=_finish(part.reason, as_function))
            if isinstance(part, Finished) and usage.is_wanted:
                yield envelope.chunk([], usage_of([part]), timings)


def _deltas(part: Piece, as_function: bool) -> Iterator[tuple[wire.Delta, wire.Logprobs | None]]:
    """What a piece adds to its choice. The log-probabilities are of the content: a call has none."""
    if part.call is not None:
        for call in _call_deltas(part.call):
            if not as_function:
                yield wire.Delta(tool_calls=[call]), None
            elif call.index == 0:  # all that there is room for
                yield wire.Delta(function_call=call.function), None
        return
    logprobs = _logprobs(part.logprobs) if part.logprobs and not part.in_thought else None
    if part.text or part.thinking or (logprobs and logprobs.content):
        thought = part.thinking or UNSET
        yield wire.Delta(content=part.text or UNSET, reasoning_content=thought, reasoning=thought), logprobs


def _call_deltas(call: CallPart) -> Iterator[calling.CallDelta]:
    """The name with arguments that are still to come, as clients expect a call to begin, and a piece of them."""
    if call.name:
        function = calling.CalledFunction(name=call.name, arguments="")
        yield calling.CallDelta(index=call.index, id=call.id, type="function", function=function)
    if call.arguments:
        yield calling.CallDelta(index=call.index, function=calling.CalledFunction(arguments=call.arguments))


def _finish(reason: Outcome, as_function: bool) -> str:
    return "function_call" if as_function and reason == "tool_calls" else reason


async def text_events(
    asked: Complete, parts: AsyncIterator[tuple[int, AnswerPart]], options: wire.StreamOptions | None
) -> AsyncIterator[bytes]:
    """The stream of /v1/completions, in which several prompts' answers, asked for alike, may be mixed."""
    envelope = Envelope.of("cmpl", "text_completion", asked.model)
    usage = Running(options)
    ends: list[Finished] = []
    async with closing(parts):
        async for prompt, part in parts:
            index = prompt * asked.choices + part.choice
            if isinstance(part, Piece):
                usage.take(part)
                logprobs = _text_logprobs(part.logprobs, asked.logprobs) if part.logprobs else None
                if part.text or part.thinking or logprobs:
                    text = part.thinking + part.text
                    yield envelope.chunk([wire.TextChoice(index=index, text=text, logprobs=logprobs)], usage.now())
                continue
            timings = timings_of([part]) if isinstance(part, Finished) and not usage.is_wanted else UNSET
            last = wire.TextChoice(index=index, text="", finish_reason=part.reason)
            yield envelope.chunk([last], usage.now(), timings)
            if isinstance(part, Finished):
                ends.append(part)
    if usage.is_wanted:
        yield envelope.chunk([], usage_of(ends), timings_of(ends))


def chat_completion(asked: Chat, whole: Whole, as_function: bool = False) -> bytes:
    """All of /v1/chat/completions at once; `as_function` as in its stream."""
    envelope = Envelope.of("chatcmpl", "chat.completion", asked.model)
    return to_json(
        wire.ChatCompletion(
            id=envelope.id,
            object=envelope.object,
            created=envelope.created,
            model=asked.model,
            system_fingerprint=FINGERPRINT,
            choices=[
                wire.Choice(
                    index=index,
                    message=_answer(choice, as_function),
                    logprobs=_logprobs(choice.logprobs) if asked.logprobs is not None else None,
                    finish_reason=_finish(choice.reason, as_function),
                )
                for index, choice in enumerate(whole.choices)
            ],
            usage=usage_of([whole.finished]),
            timings=timings_of([whole.finished]),
        )
    )


def _answer(choice: Choice, as_function: bool) -> wire.Answer:
    answer = wire.Answer(
        role="assistant",
        content=choice.text or (None if choice.calls else ""),
        reasoning_content=choice.thinking or UNSET,
        reasoning=choice.thinking or UNSET,
    )
    if choice.calls and as_function:
        answer.function_call = _called(choice.calls[0])
    elif choice.calls:
        answer.tool_calls = [calling.Call(id=call.id, type="function", function=_called(call)) for call in choice.calls]
    return answer


def _called(call: Call) -> calling.CalledFunction:
    return calling.CalledFunction(name=call.name, arguments=call.arguments)


def completion(asked: Complete, wholes: Sequence[Whole]) -> bytes:
    """All of /v1/completions at once, of prompts that were asked for alike."""
    envelope = Envelope.of("cmpl", "text_completion", asked.model)
    choices = [choice for whole in wholes for choice in whole.choices]
    return to_json(
        wire.Completion(
            id=envelope.id,
            object=envelope.object,
            created=envelope.created,
            model=asked.model,
            system_fingerprint=FINGERPRINT,
            choices=[
                wire.TextChoice(
                    index=index,
                    text=choice.thinking + choice.text,
                    logprobs=_text_logprobs(choice.logprobs, asked.logprobs),
                    finish_reason=choice.reason,
                )
                for index, choice in enumerate(choices)
            ],
            usage=usage_of([whole.finished for whole in wholes]),
            timings=timings_of([whole.finished for whole in wholes]),
        )
    )


def _logprobs(logprobs: Sequence[Logprob]) -> wire.Logprobs:
    """Of a chat: the token that ended the answer is no content."""
    return wire.Logprobs(
        content=[
            wire.TokenLogprob(
                token=_written(each.token),
                logprob=each.logprob or 0.0,
                bytes=list(each.token),
                top_logprobs=[
                    wire.Alternative(token=_written(other.token), logprob=other.logprob, bytes=list(other.token))
                    for other in each.top
                ],
            )
            for each in logprobs
            if not each.is_end
        ]
    )


def _text_logprobs(logprobs: Sequence[Logprob], top: int | None) -> wire.TextLogprobs | None:
    """Of a completion. Evaluations count tokens, so the one that ended the text is among them."""
    if top is None:
        return None
    return wire.TextLogprobs(
        text_offset=[each.offset for each in logprobs],
        token_logprobs=[each.logprob for each in logprobs],
        tokens=[_written(each.token, "bytes:") for each in logprobs],
        top_logprobs=[_alternatives(each) for each in logprobs] if top else None,
    )


def _alternatives(logprob: Logprob) -> dict[str, float] | None:
    """The likeliest tokens, and the one that stands here whether it is among them or not."""
    if logprob.logprob is None:
        return None
    found = {_written(other.token, "bytes:"): other.logprob for other in reversed(logprob.top)}
    found.setdefault(_written(logprob.token, "bytes:"), logprob.logprob)
    return dict(sorted(found.items(), key=lambda item: -item[1]))


def _written(token: bytes, prefix: str = "") -> str:
    """A token as text; the bytes of one that is no whole text are written out."""
    try:
        return token.decode()
    except UnicodeDecodeError:
        return prefix + "".join(f"\\x{byte:02x}" for byte in token)


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


def _numbers(row: bytes) -> list[float]:
    numbers = array("f", row)
    if sys.byteorder == "big":
        numbers.byteswap()
    return numbers.tolist()
