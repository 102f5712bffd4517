"""The events of /v1/responses, whatever an answer consists of: they tell the response, in order and nothing else."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from runner.api.failures import Failure
from runner.api.openai.responses import wire
from runner.api.openai.responses.read import read
from runner.api.openai.responses.store import ResponseStore
from runner.api.openai.responses.write import Writing
from runner.api.streams import Patience
from runner.inference.requests import AnswerPart, CallPart, Finished, Piece, Timings
from runner.protocol.events import Logprob

END = Finished("stop", 3, 5, Timings())
BROKEN = Failure(500, "worker_crashed", "the worker died")
TOOLS = [wire.Tool(type="function", name="f"), wire.Tool(type="custom", name="c")]
# What delta belongs to what part of an item, and the event that tells it whole.
GROWS = {
    "response.output_text": ("content", "text"),
    "response.reasoning_text": ("content", "text"),
    "response.reasoning_summary_text": ("summary", "text"),
    "response.function_call_arguments": (None, "arguments"),
    "response.custom_tool_call_input": (None, "input"),
}


def call(index: int, name: str, arguments: Sequence[str], whole: bool) -> list[Piece]:
    """One tool call in parts."""
    first = CallPart(index, f"call_{index}", name)
    rest = [CallPart(index, arguments=each) for each in arguments]
    end = [CallPart(index, complete=True)] if whole else []
    return [Piece(call=part, tokens=1) for part in (first, *rest, *end)]


TEXT = st.text(max_size=3)
CALLS = st.tuples(
    st.sampled_from(["f", "c", "made_up"]), st.lists(st.text('{}"a:', max_size=3), max_size=3), st.booleans()
)
RUNS = st.lists(
    st.one_of(
        st.builds(lambda text: ("thinking", text), TEXT),
        st.builds(lambda text: ("text", text), TEXT),
        st.builds(lambda made: ("call", made), CALLS),
    ),
    max_size=8,
)


def pieces(runs: list[Any]) -> list[Piece]:
    found: list[Piece] = []
    for index, (kind, value) in enumerate(runs):
        if kind == "call":
            found += call(index, *value)
        else:
            found.append(Piece(**{kind: value}, tokens=1, in_thought=kind == "thinking"))
    return found


async def events_of(runs: list[Any], reason: str, summary: str | None) -> list[dict[str, Any]]:
    """The stream of an answer that consists of this; without a reason to end, it breaks off."""
    body = wire.ResponseRequest(model="m", input="x", tools=TOOLS, reasoning=wire.Reasoning(summary=summary))
    kept: list[str] = []
    writing = Writing(read(body, ResponseStore(1, 1000)), body, lambda response: kept.append(response.status))

    async def parts() -> AsyncIterator[AnswerPart]:
        for piece in pieces(runs):
            yield piece
        if not reason:
            raise ConnectionError
        yield Finished(reason, 3, 5, Timings())  # type: ignore[arg-type]

    told = b""
    try:
        async for frames in writing.stream(parts(), Patience()):
            told += frames
    except ConnectionError:
        told += writing.framing.failed(BROKEN)
    assert kept == ([{"length": "incomplete"}.get(reason, "completed")] if reason else [])
    return [json.loads(block.split(b"\ndata: ")[1]) for block in told.split(b"\n\n")[:-1]]


@given(runs=RUNS, reason=st.sampled_from(["stop", "tool_calls", "length", ""]), summary=st.sampled_from([None, "auto"]))
async def test_items_come_one_after_the_other_and_add_up(runs: list[Any], reason: str, summary: str | None) -> None:
    events = await events_of(runs, reason, summary)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    assert [event["type"] for event in events[:2]] == ["response.created", "response.in_progress"]
    ends = {"stop": "completed", "tool_calls": "completed", "length": "incomplete", "": "failed"}
    last = events.pop()
    assert last["type"] == f"response.{ends[reason]}"
    assert last["response"]["status"] == ends[reason]
    output: list[dict[str, Any]] = []
    open_item: dict[str, Any] | None = None
    grown = ""
    for event in events[2:]:
        kind, _, verb = event["type"].rpartition(".")
        if event["type"] == "response.output_item.added":
            assert open_item is None
            open_item, grown = event["item"], ""
            assert open_item["status"] == "in_progress"
            assert event["output_index"] == len(output)
        elif event["type"] == "response.output_item.done":
            assert open_item is not None
            assert (event["item"]["id"], event["output_index"]) == (open_item["id"], len(output))
            output.append(event["item"])
            open_item = None
        else:
            assert open_item is not None
            assert (event["item_id"], event["output_index"]) == (open_item["id"], len(output))
            if kind in GROWS and verb == "delta":
                grown += event["delta"]
            elif kind in GROWS:
                assert event[GROWS[kind][1]] == grown
    if open_item is not None:
        # What was growing when it broke off: told in the response, and never told as done.
        assert not reason
        *whole, cut = last["response"]["output"]
        assert (whole, cut["id"], cut["status"]) == (output, open_item["id"], "incomplete")
    else:
        assert last["response"]["output"] == output
    if reason:
        thoughts = "".join(value for kind, value in runs if kind == "thinking")
        texts = "".join(value for kind, value in runs if kind == "text")
        assert thoughts == "".join(
            part["text"] for item in output if item["type"] == "reasoning"
            for part in item["summary" if summary else "content"]
        )  # fmt: skip
        assert texts == "".join(item["content"][0]["text"] for item in output if item["type"] == "message")
        assert len([item for item in output if item["type"].endswith("call")]) == sum(
            kind == "call" for kind, _ in runs
        )


async def test_a_token_without_text_has_its_score() -> None:
    body = wire.ResponseRequest(model="m", input="x", top_logprobs=1)
    writing = Writing(read(body, ResponseStore(0, 0)), body, lambda response: None)

    async def parts() -> AsyncIterator[AnswerPart]:
        yield Piece(thinking="h", logprobs=(Logprob(b"h", -1.0, 0),), in_thought=True)
        yield Piece(text="a\ufffd", logprobs=(Logprob(b"a", -0.5, 0), Logprob(b"\xf0", -0.25, 1)))
        yield Piece(logprobs=(Logprob(b"\x9f", -0.125, 1), Logprob(b"<end>", -2.0, 2, is_end=True)))
        yield END

    told = json.loads(await writing.whole(parts()))
    (part,) = told["output"][1]["content"]
    assert part["text"] == "a\ufffd"
    assert [each["bytes"] for each in part["logprobs"]] == [[0x61], [0xF0], [0x9F]]
    assert [each["token"] for each in part["logprobs"]] == ["a", "\\xf0", "\\x9f"]
