"""Calls on their way up, over real worker processes that write what they are told."""

from __future__ import annotations

import json
from typing import Any

import pytest

from runner.conversation import Message, ToolChoice, ToolSpec
from runner.inference.requests import AnswerPart, CallPart, Chat, ChoiceEnded, Finished, Piece
from runner.protocol.commands import Constraint
from tests.inference.conftest import TOOLS_CHAT, Make, Served

CALL = '<tool_call>{"name":"add","arguments":{"a":1,"b":[2]}}</tool_call>'
TOOLS = (ToolSpec("add"), ToolSpec("sub"))


@pytest.fixture(autouse=True)
def model(make: Make) -> None:
    make("m", template=TOOLS_CHAT)


async def parts(served: Served, said: str, choice: ToolChoice | None = None, **more: Any) -> list[AnswerPart]:
    message = Message("user", f"say:{said}")
    request = Chat("m", (message,), **{"tools": TOOLS, "tool_choice": choice or ToolChoice(), **more})
    return [part async for part in served.service.generate(request)]


def text(told: list[AnswerPart]) -> str:
    return "".join(part.text for part in told if isinstance(part, Piece))


def calls(told: list[AnswerPart]) -> list[CallPart]:
    return [part.call for part in told if isinstance(part, Piece) and part.call]


async def test_a_call_comes_apart_from_the_words_before_it(served: Served) -> None:
    told = await parts(served, f"let me see {CALL} {CALL}")
    assert text(told) == "let me see"
    found = calls(told)
    assert [(each.index, each.name) for each in found if each.name] == [(0, "add"), (1, "add")]
    assert json.loads("".join(each.arguments for each in found if not each.index)) == {"a": 1, "b": [2]}
    assert len({each.id for each in found if each.id}) == 2
    assert isinstance(told[-1], Finished)
    assert told[-1].reason == "tool_calls"
    assert sum(part.tokens for part in told if isinstance(part, Piece)) == told[-1].completion_tokens


@pytest.mark.parametrize("said", [CALL[:40], f"{CALL}{CALL[:40]}"])
async def test_a_call_that_breaks_off_is_none_to_be_made(served: Served, said: str) -> None:
    told = await parts(served, said)
    assert not calls(told)[-1].complete
    assert isinstance(told[-1], Finished)
    assert told[-1].reason == "stop"


async def test_words_alone_end_as_they_did(served: Served) -> None:
    told = await parts(served, "no tools needed")
    assert text(told) == "no tools needed"
    assert isinstance(told[-1], Finished)
    assert told[-1].reason == "stop"


@pytest.mark.parametrize(
    "more",
    [
        {"tools": ()},
        {"choice": ToolChoice("none")},
        {"constraint": Constraint("choice", '["x"]')},
    ],
)
async def test_where_no_call_is_wanted_its_markers_are_text(served: Served, more: dict[str, Any]) -> None:
    told = await parts(served, CALL, **more)
    assert text(told) == CALL
    assert isinstance(told[-1], Finished)
    assert told[-1].reason == "stop"


async def test_not_in_parallel_each_choice_ends_with_its_first_call(served: Served) -> None:
    told = await parts(served, f"{CALL} {CALL} and more", ToolChoice(parallel=False), choices=2)
    for choice in range(2):
        found = [part.call for part in told if isinstance(part, Piece) and part.call and part.choice == choice]
        assert [each.index for each in found if each.name] == [0]
        assert found[-1].complete
    assert text(told) == ""
    ended = [part for part in told if isinstance(part, ChoiceEnded)]
    assert [each.reason for each in ended] == ["tool_calls"]
    assert isinstance(told[-1], Finished)
    assert told[-1].reason == "tool_calls"
    assert {ended[0].choice, told[-1].choice} == {0, 1}
    await served.idle()


async def test_scores_are_of_the_answers_words(served: Served) -> None:
    told = await parts(served, f"let me see {CALL} then rest", logprobs=0)
    scored = [each.token.decode() for part in told if isinstance(part, Piece) for each in part.logprobs]
    assert scored == ["let", " me", " see", " then", " rest"]
    for part in told:
        assert not (isinstance(part, Piece) and part.call and part.logprobs)
