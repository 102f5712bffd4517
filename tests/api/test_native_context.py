"""The `context` of /api/generate: numbers out, and the same conversation in again."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from runner.api.native import context
from runner.conversation import Message
from runner.errors import InvalidRequest
from runner.inference.requests import Chat
from runner.protocol.commands import Constraint
from tests.api.fakes import TEXT
from tests.api.serving import Served


@pytest.mark.parametrize("stream", [False, True])
def test_a_conversation_goes_on_from_its_context(server: Served, stream: bool) -> None:
    def ask(body: dict[str, Any]) -> Any:
        reply = server.post("/api/generate", {"model": "demo", "stream": stream, "think": True, **body})
        return (reply.lines[-1] if stream else reply.json)["context"]

    first = ask({"prompt": "I am Ann 👋", "images": ["iVBO"]})
    assert all(type(number) is int and 0 <= number < 2**24 for number in first)
    second = ask({"prompt": "Who am I?", "context": first, "system": "Be brief.", "options": {"seed": 1}})
    ask({"prompt": "Thanks", "context": second, "format": "json", "keep_alive": 5})
    said = Message("assistant", "".join(TEXT))
    turns = (Message("user", "I am Ann 👋"), said, Message("user", "Who am I?"))
    system = Message("system", "Be brief.")
    later = (*turns, said, Message("user", "Thanks"))
    form = Constraint("json")
    assert server.service.seen[1:] == [
        Chat("demo", (system, *turns), think=True, options={"seed": 1}, truncate=True),
        Chat("demo", later, think=True, keep_alive=5.0, truncate=True, constraint=form),
    ]


@settings(max_examples=200, deadline=None)
@given(st.lists(st.tuples(st.sampled_from(["user", "assistant"]), st.text()), max_size=6))
def test_what_was_packed_comes_out_again(turns: list[tuple[Any, str]]) -> None:
    found = context.unpack(context.pack(tuple(turns)))
    assert [(each.role, each.content) for each in found] == turns


@settings(max_examples=300, deadline=None)
@given(st.lists(st.integers(-(2**70), 2**70), max_size=8) | st.lists(st.integers(0, 2**24)), st.booleans())
def test_numbers_of_others_are_refused(numbers: list[int], marked: bool) -> None:
    with pytest.raises(InvalidRequest, match="context must be what an earlier answer"):
        context.unpack([context.pack(())[0], *numbers] if marked else numbers)


def test_a_very_long_conversation_is_not_handed_out() -> None:
    assert context.pack((("user", "a" * 2**22),)) == []
    assert context.unpack(context.pack((("user", "a" * 2**21),)))[0].content == "a" * 2**21


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"context": [1, 2, 3]}, "context must be what an earlier answer of Runner's gave"),
        ({"context": "x"}, "context must be a list of whole numbers"),
        ({"context": [1.5]}, "context[0] must be a whole number"),
        ({"context": [1], "raw": True}, "context has no place in a raw prompt"),
        ({"context": [1], "suffix": "x"}, "context has no place beside suffix"),
    ],
)
def test_a_context_that_cannot_be(server: Served, body: dict[str, Any], words: str) -> None:
    reply = server.post("/api/generate", {"model": "demo", "prompt": "x", **body})
    assert reply.status == 400
    assert reply.json["error"].startswith(words)
    assert server.service.seen == []


@pytest.mark.parametrize("extra", [{"raw": True}, {"suffix": "}"}])
def test_what_is_no_conversation_has_no_context(server: Served, extra: dict[str, Any]) -> None:
    assert "context" not in server.post("/api/generate", {"model": "demo", "prompt": "x", **extra}).lines[-1]
