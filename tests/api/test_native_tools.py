"""Tools in the dialect of Ollama's clients: offered, chosen among, called, answered."""

from typing import Any

import pytest

from runner.conversation import Message, ToolCall, ToolChoice, ToolSpec
from runner.inference.requests import Chat
from tests.api.fakes import CALLS, TEXT
from tests.api.serving import Served

HI = [{"role": "user", "content": "Hi"}]
CALLED = [
    {
        "id": CALLS[0].id,
        "function": {"index": 0, "name": "look_up", "arguments": {"place": "Zürich 👋\u2028", "days": 2}},
    },
    {"id": CALLS[3].id, "function": {"index": 1, "name": "now", "arguments": {}}},
]
PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
TOOL = {"type": "function", "function": {"name": "look_up", "description": "The weather.", "parameters": PARAMETERS}}


@pytest.mark.parametrize(("model", "said"), [("caller", "".join(TEXT)), ("callonly", "")])
def test_calls_are_told_whole(server: Served, model: str, said: str) -> None:
    body = {"model": model, "messages": HI, "tools": [TOOL], "logprobs": True}
    whole = server.post("/api/chat", {**body, "stream": False}).json
    assert whole["message"] == {"role": "assistant", "content": said, "tool_calls": CALLED}
    assert (whole["done"], whole["done_reason"]) == (True, "stop")
    lines = server.post("/api/chat", body).lines
    assert [line["message"] for line in lines if "tool_calls" in line["message"]] == [
        {"role": "assistant", "content": "", "tool_calls": [call]} for call in CALLED
    ]
    assert "".join(line["message"]["content"] for line in lines) == said
    assert lines[-1]["message"] == {"role": "assistant", "content": ""}
    assert [line["done_reason"] for line in lines if line["done"]] == ["stop"]
    assert not [line for line in lines if "logprobs" in line]


def test_a_call_that_broke_off_is_not_shown(server: Served) -> None:
    body = {"model": "callcut", "messages": HI, "tools": [TOOL]}
    whole = server.post("/api/chat", {**body, "stream": False}).json
    assert whole["message"] == {"role": "assistant", "content": ""}
    assert whole["done_reason"] == "length"
    assert [line.get("done_reason") for line in server.post("/api/chat", body).lines] == ["length"]
    late = server.post("/api/chat", {**body, "model": "calllate"})
    assert (late.status, late.json["code"]) == (500, "worker_crashed")  # nothing had been told yet


def test_tools_as_the_service_sees_them(server: Served) -> None:
    made = [{"function": {"index": 0, "name": "a", "arguments": '{"b": 1}'}}]
    messages = [
        *HI,
        {"role": "assistant", "content": "", "tool_calls": made},
        {"role": "tool", "content": "sun", "tool_name": "a"},
        {"role": "tool", "content": "sun", "name": "b"},
    ]
    for choice in (None, "auto", "none", "required", {"type": "function", "function": {"name": "now"}}):
        tools = [TOOL, {"function": {"name": "now"}}]
        body = {"model": "demo", "messages": messages, "tools": tools, "tool_choice": choice}
        assert server.post("/api/chat", body).status == 200, choice
    chats = [each for each in server.service.seen if isinstance(each, Chat)]
    assert [each.tool_choice for each in chats] == [
        ToolChoice(), ToolChoice(), ToolChoice("none"), ToolChoice("required"), ToolChoice("required", "now"),
    ]  # fmt: skip
    assert chats[0].tools == (
        ToolSpec("look_up", "The weather.", PARAMETERS),
        ToolSpec("now", "", {"type": "object", "properties": {}}),
    )
    assert chats[0].messages[1:] == (
        Message("assistant", tool_calls=(ToolCall("a", {"b": 1}),)),
        Message("tool", "sun", tool_name="a"),
        Message("tool", "sun", tool_name="b"),
    )


def offered(name: str, **more: object) -> dict[str, Any]:
    return {"tools": [{"function": {"name": name, **more}}]}


def made(arguments: object) -> dict[str, Any]:
    calls = [{"function": {"name": "f", "arguments": arguments}}]
    return {"messages": [{"role": "assistant", "tool_calls": calls}]}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        ({"tools": {}}, "tools must be a list of tools"),
        ({"tools": ["f"]}, "tools[0] must be an object"),
        ({"tools": [{}]}, "tools[0].function is required"),
        ({"tools": [{"type": "web_search"}]}, "tools[0].type 'web_search' is not supported"),
        ({"tools": [{"function": {}}]}, "tools[0].function.name is required"),
        ({"tools": [TOOL, TOOL]}, "tools names 'look_up' twice"),
        (
            {"tools": [{"function": {"name": f"f{n}"}} for n in range(513)]},
            "tools must hold at most 512 tools, not 513",
        ),
        (offered("a b"), "tools[0].function.name must be"),
        (offered("f" * 129), "tools[0].function.name must be"),
        (offered("f\n"), "tools[0].function.name must be"),
        (offered("f", parameters=[]), "tools[0].function.parameters must be an object"),
        (offered("f", parameters={"type": "string"}), "tools[0].function.parameters must be a JSON Schema of type"),
        ({**offered("f"), "tool_choice": "any"}, "tool_choice must be none, auto, required"),
        ({**offered("f"), "tool_choice": {"function": {"name": "g"}}}, "tool_choice.function.name is 'g'"),
        ({**offered("f"), "tool_choice": 1}, "tool_choice must be"),
        ({"tool_choice": "required"}, "tool_choice needs tools"),
        (made("[]"), "messages[0].tool_calls[0].function.arguments must be a JSON object"),
        (made('{"a": "\\ud83d"}'), "messages[0].tool_calls[0].function.arguments must be a JSON object"),
        (made('{"a": ' + "[" * 100_000), "messages[0].tool_calls[0].function.arguments must be a JSON object"),
        (made([1]), "messages[0].tool_calls[0].function.arguments must be"),
    ],
)
def test_tools_that_cannot_be(server: Served, body: dict[str, Any], words: str) -> None:
    reply = server.post("/api/chat", {"model": "demo", "messages": HI, **body})
    assert reply.status == 400
    assert reply.json["error"].startswith(words)
    assert server.service.seen == []
