"""What clients send to /v1/responses, as the service sees it, and what is refused."""

import base64
import json
from typing import Any

import pytest
from backports import zstd

from runner.conversation import Message, ToolCall, ToolChoice, ToolSpec
from runner.inference.requests import Chat
from runner.protocol.commands import Constraint
from tests.api.responding import ASK, PATH, answer, fault
from tests.api.serving import Served

PNG = "data:image/png;base64," + base64.b64encode(b"pixels").decode()
HI = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "Hi"}]}
CALL = {"type": "function_call", "call_id": "c1", "name": "look_up", "arguments": '{"a": 1}'}
MADE = ToolCall("look_up", {"a": 1}, "c1")


def seen(server: Served, **more: Any) -> Chat:
    """What becomes of a request."""
    answer(server, **more)
    request = server.service.seen[-1]
    assert isinstance(request, Chat)
    return request


def thought(text: str) -> dict[str, Any]:
    return {"type": "reasoning", "id": "rs_1", "summary": [], "content": [{"type": "reasoning_text", "text": text}]}


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def test_everything_at_once(server: Served) -> None:
    request = seen(
        server,
        instructions="Be brief",
        reasoning={"effort": "high"},
        max_output_tokens=5,
        temperature=0.5,
        top_p=0.9,
        top_logprobs=2,
        truncation="auto",
        seed=7,
        stop="END",
        top_k=3,
        min_p=0.1,
        repetition_penalty=1.1,
        num_ctx=2048,
        keep_alive="5m",
        parallel_tool_calls=False,
        text={"format": {"type": "json_schema", "name": "n", "schema": {"type": "object"}, "strict": True}},
    )
    assert request == Chat(
        model="demo",
        messages=(Message("system", "Be brief"), Message("user", "Hi")),
        tool_choice=ToolChoice("auto", None, False),
        think="high",
        options={
            "temperature": 0.5, "top_p": 0.9, "seed": 7, "top_k": 3, "min_p": 0.1, "repeat_penalty": 1.1,
            "num_ctx": 2048, "stop": ["END"], "num_predict": 5,
        },
        keep_alive=300.0,
        truncate=True,
        logprobs=2,
        constraint=Constraint("schema", '{"type":"object"}', field="text.format.schema"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("items", "messages"),
    [
        ([HI], [Message("user", "Hi")]),
        ([{"role": "user", "content": "Hi"}], [Message("user", "Hi")]),
        (
            [{**HI, "content": [{"type": "input_text", "text": "What?"}, {"type": "input_image", "image_url": PNG}]}],
            [Message("user", "What?", (b"pixels",))],
        ),
        (
            [{"role": "developer", "content": "A"}, {"role": "system", "content": "B"}, HI],
            [Message("system", "A\n\nB"), Message("user", "Hi")],
        ),
        # One turn, however many items it has; the thought before the next one is that one's.
        (
            [HI, thought("hm"), said("I look."), CALL, {**CALL, "call_id": "c2"}],
            [Message("user", "Hi"), Message("assistant", "I look.", thinking="hm",
                                            tool_calls=(MADE, ToolCall("look_up", {"a": 1}, "c2")))],
        ),
        (
            [HI, thought("hm"), said("One."), thought("so"), said("Two.")],
            [Message("user", "Hi"), Message("assistant", "One.", thinking="hm"),
             Message("assistant", "Two.", thinking="so")],
        ),
        (
            [HI, CALL, {"type": "function_call_output", "call_id": "c1", "output": "42"}, said("So 42.")],
            [Message("user", "Hi"), Message("assistant", tool_calls=(MADE,)),
             Message("tool", "42", tool_name="look_up", tool_call_id="c1"), Message("assistant", "So 42.")],
        ),
        (
            [HI, CALL, {"type": "function_call_output", "call_id": "c1", "output": [
                {"type": "input_text", "text": "a"}, {"type": "input_image", "image_url": PNG}]}],
            [Message("user", "Hi"), Message("assistant", tool_calls=(MADE,)),
             Message("tool", "a", (b"pixels",), tool_name="look_up", tool_call_id="c1")],
        ),
        (
            [HI, {"type": "custom_tool_call", "call_id": "c1", "name": "patch", "input": "***"},
             {"type": "custom_tool_call_output", "call_id": "c1", "output": "Done"}],
            [Message("user", "Hi"), Message("assistant", tool_calls=(ToolCall("patch", {"input": "***"}, "c1"),)),
             Message("tool", "Done", tool_name="patch", tool_call_id="c1")],
        ),
        (
            [HI, {**CALL, "namespace": "mcp__x__"}],
            [Message("user", "Hi"), Message("assistant", tool_calls=(ToolCall("mcp__x__look_up", {"a": 1}, "c1"),))],
        ),
        # A thought comes back as it went out; what other servers have sealed is theirs.
        (
            [HI, {"type": "reasoning", "summary": [], "encrypted_content": "runner:hm"}, said("x")],
            [Message("user", "Hi"), Message("assistant", "x", thinking="hm")],
        ),
        (
            [HI, {"type": "reasoning", "summary": [{"type": "summary_text", "text": "s"}],
                  "encrypted_content": "gAAAAB"}, said("x")],
            [Message("user", "Hi"), Message("assistant", "x", thinking="s")],
        ),
        (
            [HI, {"type": "web_search_call", "id": "ws_1", "status": "completed", "action": {"type": "search"}}],
            [Message("user", "Hi")],
        ),
    ],
)  # fmt: skip
def test_items_become_turns(server: Served, items: list[Any], messages: list[Message]) -> None:
    assert list(seen(server, input=items).messages) == messages


FUNCTIONS = [
    {"type": "function", "name": "a", "description": "d", "parameters": {"type": "object"}, "strict": True},
    {"type": "web_search", "external_web_access": False},
    {"type": "local_shell"},
    {"type": "namespace", "name": "ns", "description": "", "tools": [{"type": "function", "name": "b"}]},
    {"type": "custom", "name": "patch", "description": "Edits.",
     "format": {"type": "grammar", "syntax": "lark", "definition": 'start: "x"'}},
]  # fmt: skip


def test_tools_that_can_be_called(server: Served) -> None:
    request = seen(server, tools=FUNCTIONS)
    assert [tool.name for tool in request.tools] == ["a", "ns__b", "patch"]
    assert request.tools[0] == ToolSpec("a", "d", {"type": "object", "properties": {}})
    assert request.tools[2].parameters["required"] == ["input"]
    assert 'start: "x"' in request.tools[2].description
    echo = answer(server, tools=FUNCTIONS)["tools"]
    assert [tool["type"] for tool in echo] == ["function", "namespace", "custom"]
    assert echo[0] == FUNCTIONS[0]


def test_tools_may_come_with_the_items(server: Served) -> None:
    more = {"type": "additional_tools", "role": "developer", "tools": FUNCTIONS[:1]}
    assert [tool.name for tool in seen(server, input=[more, HI]).tools] == ["a"]


@pytest.mark.parametrize(
    ("choice", "expected", "shown"),
    [
        (None, ToolChoice(), 3),
        ("none", ToolChoice("none"), 3),
        ("required", ToolChoice("required"), 3),
        ({"type": "function", "name": "a"}, ToolChoice("required", "a"), 3),
        ({"type": "function", "name": "b", "namespace": "ns"}, ToolChoice("required", "ns__b"), 3),
        ({"type": "custom", "name": "patch"}, ToolChoice("required", "patch"), 3),
        (
            {"type": "allowed_tools", "mode": "required",
             "tools": [{"type": "function", "name": "a"}, {"type": "web_search"}]},
            ToolChoice("required"), 1,
        ),
    ],
)  # fmt: skip
def test_tool_choice(server: Served, choice: object, expected: ToolChoice, shown: int) -> None:
    request = seen(server, tools=FUNCTIONS, tool_choice=choice)
    assert (request.tool_choice, len(request.tools)) == (expected, shown)


def image(url: str) -> list[dict[str, Any]]:
    return [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]


@pytest.mark.parametrize(
    ("more", "field"),
    [
        ({"model": ""}, "model"),
        ({"input": None}, "input"),
        ({"input": []}, "input"),
        ({"input": 5}, "input"),
        ({"input": [{"role": "robot", "content": "x"}]}, "input[0].role"),
        ({"input": [{"role": "user", "content": [{"type": "input_file"}]}]}, "input[0].content[0].type"),
        ({"input": [{"role": "user", "content": [{"type": "input_text"}]}]}, "input[0].content[0].text"),
        ({"input": image("ftp://example.com/a.png")}, "input[0].content[0].image_url"),
        ({"input": image("data:image/png;base64,!")}, "input[0].content[0].image_url"),
        ({"input": [{"type": "computer_call"}]}, "input[0].type"),
        ({"input": [{**CALL, "arguments": "[1]"}]}, "input[0].arguments"),
        ({"input": [{**CALL, "arguments": "{"}]}, "input[0].arguments"),
        ({"input": [{**CALL, "name": None}]}, "input[0].name"),
        ({"input": [{"type": "function_call_output", "output": "x"}]}, "input[0].call_id"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].id"),
        ({"tools": [{"type": "file_search"}]}, "tools[0].type"),
        ({"tools": [{"type": "mcp", "server_label": "x"}]}, "tools[0].type"),
        ({"tools": [{"type": "function"}]}, "tools[0].name"),
        ({"tools": [{"type": "function", "name": "f", "parameters": [1]}]}, "tools[0].parameters"),
        ({"tools": FUNCTIONS + FUNCTIONS[:1]}, "tools[5].name"),
        ({"tools": [{"type": "namespace", "name": "n", "tools": [{"type": "function"}]}]}, "tools[0].tools[0].name"),
        ({"tool_choice": "perhaps"}, "tool_choice"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tool_choice": {"type": "function", "name": "z"}}, "tool_choice.name"),
        ({"tool_choice": {"type": "web_search_preview"}}, "tool_choice.type"),
        ({"tool_choice": {"type": "allowed_tools", "tools": [{"name": "z"}]}}, "tool_choice.tools[0].name"),
        ({"text": {"format": {"type": "xml"}}}, "text.format.type"),
        ({"text": {"format": {"type": "json_schema", "name": "n"}}}, "text.format.schema"),
        ({"reasoning": {"effort": "some"}}, "reasoning.effort"),
        ({"reasoning": {"summary": "long"}}, "reasoning.summary"),
        ({"truncation": "some"}, "truncation"),
        ({"max_output_tokens": 0}, "max_output_tokens"),
        ({"max_output_tokens": 2**40}, "max_output_tokens"),
        ({"top_logprobs": 21}, "top_logprobs"),
        ({"temperature": "hot"}, "temperature"),
        ({"metadata": []}, "metadata"),
    ],
)
def test_what_is_wrong_is_named(server: Served, more: dict[str, Any], field: str) -> None:
    error = fault(server, **more)
    assert error["param"] == field
    assert field in error["message"]


def test_what_is_nested_too_deeply_is_no_bug(server: Served) -> None:
    """The depth at which JSON can't be read isn't quite the one at which it can't be written."""
    statuses = []
    for depth in range(850, 1000):
        schema = '{"a":' * depth + "1" + "}" * depth
        tools = f'[{{"type": "function", "name": "f", "parameters": {schema}}}]'
        reply = server.ask("POST", PATH, f'{{"model": "demo", "input": "x", "tools": {tools}}}'.encode())
        statuses.append(reply.status)
        if reply.status == 400:
            assert "nested too deeply" in reply.json["error"]["message"]
    assert set(statuses) == {200, 400}


def test_what_codex_sends(server: Served) -> None:
    """Version 0.169, the second request of a session that thinks: all its fields, and its body compressed."""

    def message(role: str, text: str) -> dict[str, Any]:
        return {"type": "message", "id": f"msg_{text}", "role": role, "content": [{"type": "input_text", "text": text}]}

    function = {"type": "function", "description": "d", "strict": False, "parameters": {"type": "object"}}
    body = {
        "model": "demo",
        "input": [
            message("developer", "You are Codex."),
            message("developer", "<skills>"),
            message("user", "<environment>"),
            message("user", "List"),
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "hm"}], "content": None,
             "encrypted_content": "runner:hm"},
            {"type": "function_call", "status": "completed", "id": "fc_1", "name": "exec_command",
             "arguments": '{"cmd": "ls"}', "call_id": "c1"},
            {"type": "function_call_output", "id": "fco_1", "call_id": "c1", "output": "a.py"},
        ],
        "tools": [
            {**function, "name": "exec_command"},
            {"type": "namespace", "name": "multi_agent_v1", "description": "d",
             "tools": [{**function, "name": "wait_agent"}]},
            {"type": "web_search", "external_web_access": False},
        ],
        "tool_choice": "auto",
        "parallel_tool_calls": True,
        "reasoning": {"effort": "low", "summary": "auto"},
        "store": False,
        "stream": True,
        "include": ["reasoning.encrypted_content"],
        "prompt_cache_key": "0199-a",
        "client_metadata": {"x-codex-installation-id": "1"},
    }  # fmt: skip
    packed = zstd.compress(json.dumps(body).encode())
    reply = server.ask("POST", PATH, packed, {"Content-Type": "application/json", "Content-Encoding": "zstd"})
    assert reply.status == 200
    assert b"event: response.completed\n" in reply.body
    (request,) = server.service.seen
    assert isinstance(request, Chat)
    assert request.messages == (
        Message("system", "You are Codex.\n\n<skills>"),
        Message("user", "<environment>"),
        Message("user", "List"),
        Message("assistant", thinking="hm", tool_calls=(ToolCall("exec_command", {"cmd": "ls"}, "c1"),)),
        Message("tool", "a.py", tool_name="exec_command", tool_call_id="c1"),
    )
    assert [tool.name for tool in request.tools] == ["exec_command", "multi_agent_v1__wait_agent"]
    assert len(server.responses) == 0


def test_the_tokens_of_a_request_are_counted(server: Served) -> None:
    reply = server.post(f"{PATH}/input_tokens", {**ASK, "instructions": "Be brief"})
    assert reply.json == {"object": "response.input_tokens", "input_tokens": len("system: Be brief\nuser: Hi\n")}
    assert len(server.responses) == 0
    assert server.post(f"{PATH}/input_tokens", {**ASK, "model": "missing"}).status == 404
