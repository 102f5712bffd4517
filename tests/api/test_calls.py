"""Tool calls in any parts, of any choices mixed: what a dialect streams is what it says whole."""

import asyncio
import json
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from runner.api import streams
from runner.api.native import write as native
from runner.api.openai import write as openai
from runner.inference.requests import AnswerPart, CallPart, Chat, ChoiceEnded, Finished, Piece, Timings

TEXTS = st.text(min_size=1, max_size=8)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text()
OBJECTS = st.dictionaries(st.text(), SCALARS | st.lists(SCALARS, max_size=3), max_size=3)


@dataclass(frozen=True)
class Said:
    """One choice: what is thought, said and called, and the parts in which that comes."""

    text: str
    thought: str
    calls: tuple[tuple[str, Any], ...]
    pieces: tuple[Piece, ...]


@st.composite
def choices(draw: st.DrawFn, index: int) -> Said:
    texts, thoughts = draw(st.lists(TEXTS, max_size=3)), draw(st.lists(TEXTS, max_size=2))
    calls = draw(st.lists(st.tuples(st.sampled_from(["look_up", "now"]), OBJECTS), max_size=3))
    pieces = [Piece(thinking=each, tokens=1, choice=index, in_thought=True) for each in thoughts]
    pieces += [Piece(text=each, tokens=1, choice=index) for each in texts]
    for number, (name, arguments) in enumerate(calls):
        text = json.dumps(arguments, indent=draw(st.sampled_from([None, 2])), ensure_ascii=draw(st.booleans()))
        cuts = sorted(draw(st.sets(st.integers(0, len(text)), max_size=3)) | {0, len(text)})
        bits = [text[start:end] for start, end in pairwise(cuts)]
        if draw(st.booleans()):  # the name may come before any argument, and the end after all of them
            bits = ["", *bits, ""]
        for place, bit in enumerate(bits):
            opening = {"id": f"call_{index}_{number}", "name": name} if place == 0 else {}
            part = CallPart(number, arguments=bit, complete=place == len(bits) - 1, **opening)
            pieces.append(Piece(call=part, tokens=1, choice=index))
    return Said("".join(texts), "".join(thoughts), tuple(calls), tuple(pieces))


def mixed(draw: st.DrawFn, said: Sequence[Said]) -> list[AnswerPart]:
    """The parts of all choices, each choice's in their order, and the ends behind them."""
    left = [list(each.pieces) for each in said]
    parts: list[AnswerPart] = []
    while any(left):
        index = draw(st.sampled_from([index for index, pieces in enumerate(left) if pieces]))
        parts.append(left[index].pop(0))
    reasons = ["tool_calls" if each.calls else "stop" for each in said]
    parts += [ChoiceEnded(index, reasons[index]) for index in range(1, len(said))]  # type: ignore[arg-type]
    return [*parts, Finished(reasons[0], 3, len(parts), Timings())]  # type: ignore[arg-type]


@st.composite
def answers(draw: st.DrawFn, most: int) -> tuple[list[Said], list[AnswerPart]]:
    said = [draw(choices(index)) for index in range(draw(st.integers(1, most)))]
    return said, mixed(draw, said)


async def coming(parts: Iterable[AnswerPart]) -> AsyncIterator[AnswerPart]:
    for part in parts:
        yield part


def joined(frames: AsyncIterator[bytes]) -> bytes:
    async def read() -> bytes:
        return b"".join([frame async for frame in frames])

    return asyncio.run(read())


def whole(parts: Iterable[AnswerPart]) -> streams.Whole:
    async def read() -> streams.Whole:
        return (await streams.collect((coming(parts),)))[0]

    return asyncio.run(read())


@settings(max_examples=80, deadline=None)
@given(answers(3))
def test_in_openais_dialect(answer: tuple[list[Said], list[AnswerPart]]) -> None:
    said, parts = answer
    asked = Chat("demo", (), choices=len(said))
    at_once = json.loads(openai.chat_completion(asked, whole(parts)))["choices"]
    events = joined(openai.chat_events(asked, coming(parts), None)).removesuffix(b"\n\n").split(b"\n\n")
    messages: list[dict[str, Any]] = [{"content": "", "reasoning": "", "calls": [], "ends": []} for _ in said]
    for event in events:
        (choice,) = json.loads(event.removeprefix(b"data: "))["choices"]
        message, delta = messages[choice["index"]], choice["delta"]
        message["content"] += delta.get("content") or ""
        message["reasoning"] += delta.get("reasoning") or ""
        message["ends"] += [choice["finish_reason"]] if choice["finish_reason"] else []
        for call in delta.get("tool_calls", ()):
            if "id" in call:
                assert call["index"] == len(message["calls"])
                assert call["function"]["arguments"] == ""
                message["calls"].append(call)
            else:
                message["calls"][call["index"]]["function"]["arguments"] += call["function"]["arguments"]
    for each, message, choice in zip(said, messages, at_once, strict=True):
        assert message["content"] == each.text
        assert (choice["message"]["content"] or "") == each.text
        assert message["reasoning"] == choice["message"].get("reasoning", "") == each.thought
        assert message["ends"] == [choice["finish_reason"]]
        streamed = [{key: call[key] for key in ("id", "type", "function")} for call in message["calls"]]
        assert streamed == choice["message"].get("tool_calls", [])
        assert [(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in streamed] == list(
            each.calls
        )


@settings(max_examples=80, deadline=None)
@given(answers(1))
def test_in_ollamas_dialect(answer: tuple[list[Said], list[AnswerPart]]) -> None:
    ((said,), parts) = answer
    lines = joined(native.chat_lines("demo", coming(parts))).removesuffix(b"\n").split(b"\n")
    messages = [json.loads(line)["message"] for line in lines]
    message = json.loads(native.chatted("demo", whole(parts)))["message"]
    assert "".join(each["content"] for each in messages) == message["content"] == said.text
    assert "".join(each.get("thinking", "") for each in messages) == message.get("thinking", "") == said.thought
    calls = [call for each in messages for call in each.get("tool_calls", ())]
    assert calls == message.get("tool_calls", [])
    assert [(call["function"]["name"], call["function"]["arguments"]) for call in calls] == list(said.calls)
    assert [call["function"]["index"] for call in calls] == list(range(len(calls)))
