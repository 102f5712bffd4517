"""Tools in the dialect of OpenAI's clients: offered, chosen among, called, answered; and what templates are told."""

from typing import Any

import pytest

from runner.conversation import Message, ToolCall, ToolChoice, ToolSpec
from runner.inference.requests import Chat
from tests.api.fakes import CALLS, TEXT
from tests.api.serving import Served

PATH = "/v1/chat/completions"
HI = [{"role": "user", "content": "Hi"}]
PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}}, "required": ["place"]}
LOOK_UP = {"name": "look_up", "description": "The weather.", "parameters": PARAMETERS}
TOOLS = [{"type": "function", "function": {**LOOK_UP, "strict": True}}, {"function": {"name": "now"}}]
SPECS = (ToolSpec("look_up", "The weather.", PARAMETERS), ToolSpec("now", "", {"type": "object", "properties": {}}))
CHAT = {"model": "demo", "messages": HI, "tools": TOOLS}
ARGUMENTS = CALLS[1].arguments + CALLS[2].arguments
CALLED = [
    {"id": CALLS[0].id, "type": "function", "function": {"name": "look_up", "arguments": ARGUMENTS}},
    {"id": CALLS[3].id, "type": "function", "function": {"name": "now", "arguments": "{}"}},
]


def the_chat(server: Served) -> Chat:
    (seen,) = server.service.seen
    assert isinstance(seen, Chat)
    return seen


@pytest.mark.parametrize(("model", "said"), [("caller", "".join(TEXT)), ("callonly", None)])
def test_calls_at_once(server: Served, model: str, said: str | None) -> None:
    reply = server.post(PATH, {**CHAT, "model": model, "logprobs": True}).json
    (choice,) = reply["choices"]
    assert choice["message"] == {"role": "assistant", "content": said, "tool_calls": CALLED, "refusal": None}
    assert choice["finish_reason"] == "tool_calls"
    assert choice["logprobs"]["content"] == []  # they are the content's


def test_calls_as_a_stream(server: Served) -> None:
    events = server.post(PATH, {**CHAT, "model": "caller", "logprobs": True, "stream": True}).events
    assert events.pop() == "[DONE]"
    choices = [event["choices"][0] for event in events]
    assert [choice["delta"] for choice in choices] == [
        {"role": "assistant", "content": ""},
        *({"content": text} for text in TEXT),
        {"tool_calls": [{"index": 0, **CALLED[0], "function": {"name": "look_up", "arguments": ""}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": CALLS[1].arguments}}]},
        {"tool_calls": [{"index": 0, "function": {"arguments": CALLS[2].arguments}}]},
        {"tool_calls": [{"index": 1, **CALLED[1], "function": {"name": "now", "arguments": ""}}]},
        {"tool_calls": [{"index": 1, "function": {"arguments": "{}"}}]},
        {},
    ]
    assert [choice["finish_reason"] for choice in choices] == [None] * (len(choices) - 1) + ["tool_calls"]


def test_a_stream_of_calls_alone_has_no_content(server: Served) -> None:
    events = server.post(PATH, {**CHAT, "model": "callonly", "stream": True}).events[:-1]
    assert events[0]["choices"][0]["delta"] == {"role": "assistant", "content": None}
    assert [event["choices"][0]["delta"].get("content") for event in events[1:]] == [None] * 6


def test_calls_of_several_choices(server: Served) -> None:
    body = {**CHAT, "model": "callonly", "n": 3}
    choices = server.post(PATH, body).json["choices"]
    assert [(choice["message"]["tool_calls"], choice["finish_reason"]) for choice in choices] == [
        (CALLED, "tool_calls")
    ] * 3
    events = [event["choices"][0] for event in server.post(PATH, {**body, "stream": True}).events[:-1]]
    for index in range(3):
        mine = [choice for choice in events if choice["index"] == index]
        deltas = [call for choice in mine for call in choice["delta"].get("tool_calls", ())]
        assert [call["id"] for call in deltas if "id" in call] == [call["id"] for call in CALLED]
        assert "".join(call["function"]["arguments"] for call in deltas) == ARGUMENTS + "{}"
        assert mine[-1]["finish_reason"] == "tool_calls"


def test_a_call_that_broke_off(server: Served) -> None:
    (choice,) = server.post(PATH, {**CHAT, "model": "callcut"}).json["choices"]
    assert choice["finish_reason"] == "length"
    assert choice["message"]["tool_calls"][0]["function"] == {"name": "look_up", "arguments": CALLS[1].arguments}
    assert server.post(PATH, {**CHAT, "model": "calllate"}).json["error"]["code"] == "worker_crashed"
    events = server.post(PATH, {**CHAT, "model": "calllate", "stream": True}).events
    assert events[-1]["error"]["code"] == "worker_crashed"
    assert [event["choices"][0]["finish_reason"] for event in events[:-1]] == [None] * 3


def test_functions_are_called_as_before_there_were_tools(server: Served) -> None:
    body = {"model": "callonly", "messages": HI, "functions": [LOOK_UP], "function_call": {"name": "look_up"}}
    (choice,) = server.post(PATH, body).json["choices"]
    function = {"name": "look_up", "arguments": ARGUMENTS}
    assert choice["message"] == {"role": "assistant", "content": None, "function_call": function, "refusal": None}
    assert choice["finish_reason"] == "function_call"
    choices = [event["choices"][0] for event in server.post(PATH, {**body, "stream": True}).events[:-1]]
    deltas = [choice["delta"]["function_call"] for choice in choices if "function_call" in choice["delta"]]
    assert deltas[0] == {"name": "look_up", "arguments": ""}
    assert "".join(delta["arguments"] for delta in deltas) == ARGUMENTS
    assert choices[-1]["finish_reason"] == "function_call"
    for seen in server.service.seen:
        assert isinstance(seen, Chat)
        assert (seen.tools, seen.tool_choice) == (SPECS[:1], ToolChoice("required", "look_up", parallel=False))


def named(name: str) -> dict[str, Any]:
    return {"type": "function", "function": {"name": name}}


def allowed(mode: str, *names: str) -> dict[str, Any]:
    return {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named(name) for name in names]}}


@pytest.mark.parametrize(
    ("body", "specs", "choice"),
    [
        ({}, SPECS, ToolChoice()),
        ({"tool_choice": "auto", "parallel_tool_calls": True}, SPECS, ToolChoice()),
        ({"tool_choice": None, "parallel_tool_calls": False}, SPECS, ToolChoice(parallel=False)),
        ({"tool_choice": "none"}, SPECS, ToolChoice("none")),
        ({"tool_choice": "required"}, SPECS, ToolChoice("required")),
        ({"tool_choice": named("now")}, SPECS, ToolChoice("required", "now")),
        ({"tool_choice": allowed("auto", "now")}, SPECS[1:], ToolChoice()),
        ({"tool_choice": allowed("required", "now", "look_up")}, SPECS, ToolChoice("required")),
        ({"tools": [], "tool_choice": "none"}, (), ToolChoice("none")),
        ({"tools": None, "parallel_tool_calls": True}, (), ToolChoice()),
        ({"tools": None, "functions": [LOOK_UP]}, SPECS[:1], ToolChoice(parallel=False)),
        ({"functions": [], "function_call": "auto"}, SPECS, ToolChoice()),
    ],
)
def test_what_may_be_called(
    server: Served, body: dict[str, Any], specs: tuple[ToolSpec, ...], choice: ToolChoice
) -> None:
    reply = server.post(PATH, {**CHAT, **body})
    assert reply.status == 200, reply.body
    assert (the_chat(server).tools, the_chat(server).tool_choice) == (specs, choice)


def test_calls_and_their_results_in_a_conversation(server: Served) -> None:
    calls = [
        {"id": "a", "type": "function", "function": {"name": "look_up", "arguments": '{"place": "Bern"}'}},
        {"id": "b", "type": "function", "function": {"name": "now", "arguments": ""}},
    ]
    parts = [{"type": "text", "text": "sun,"}, {"type": "text", "text": "25°"}]
    messages = [
        *HI,
        {"role": "assistant", "content": None, "tool_calls": calls},
        {"role": "tool", "tool_call_id": "b", "content": "noon"},
        {"role": "tool", "tool_call_id": "a", "content": parts},
        {"role": "assistant", "content": None, "function_call": {"name": "now", "arguments": "{}"}},
        {"role": "function", "name": "now", "content": "one"},
    ]
    assert server.post(PATH, {**CHAT, "messages": messages}).status == 200
    assert the_chat(server).messages[1:] == (
        Message("assistant", tool_calls=(ToolCall("look_up", {"place": "Bern"}, "a"), ToolCall("now", {}, "b"))),
        Message("tool", "noon", tool_name="now", tool_call_id="b"),
        Message("tool", "sun,\n25°", tool_name="look_up", tool_call_id="a"),
        Message("assistant", tool_calls=(ToolCall("now", {}),)),
        Message("tool", "one", tool_name="now"),
    )


def made(arguments: str) -> dict[str, Any]:
    calls = [{"id": "a", "type": "function", "function": {"name": "f", "arguments": arguments}}]
    return {"messages": [{"role": "assistant", "tool_calls": calls}]}


@pytest.mark.parametrize(
    ("body", "field", "words"),
    [
        ({"tools": "f"}, "tools", "must be a list of tools"),
        ({"tools": [1]}, "tools[0]", "must be an object"),
        ({"tools": [{"type": "function"}]}, "tools[0].function", "is required"),
        ({"tools": [{"type": "custom", "custom": {}}]}, "tools[0].type", "'custom' is not supported; function is"),
        ({"tools": [{"function": {"name": 1}}]}, "tools[0].function.name", "must be a string"),
        ({"tools": [{"function": {"name": ""}}]}, "tools[0].function.name", "is required"),
        ({"tools": [{"function": {"name": "<f>"}}]}, "tools[0].function.name", "must be 1 to 128 letters"),
        ({"tools": TOOLS * 2}, "tools", "names 'look_up' twice"),
        ({"tool_choice": "any"}, "tool_choice", "must be none, auto, required"),
        ({"tool_choice": 5}, "tool_choice", "must be"),
        ({"tool_choice": {"type": "custom"}}, "tool_choice.type", "is not supported"),
        ({"tool_choice": {"function": {"name": "now"}}}, "tool_choice.type", "is required"),
        ({"tool_choice": {"type": "function"}}, "tool_choice.function.name", "is required"),
        ({"tool_choice": named("other")}, "tool_choice.function.name", "'other', which is none of the tools"),
        ({"tool_choice": allowed("auto")}, "tool_choice.allowed_tools.tools", "is required"),
        ({"tool_choice": allowed("none", "now")}, "tool_choice.allowed_tools.mode", "must be auto or required"),
        (
            {"tool_choice": allowed("auto", "other")},
            "tool_choice.allowed_tools.tools[0].function.name",
            "none of the tools",
        ),
        ({"tools": [], "tool_choice": "required"}, "tool_choice", "needs tools"),
        ({"parallel_tool_calls": "no"}, "parallel_tool_calls", "must be true or false"),
        ({"functions": [LOOK_UP]}, "functions", "has no place beside tools"),
        ({"function_call": {"name": "now"}}, "function_call", "has no place beside tools"),
        ({"tools": None, "functions": {}}, "functions", "must be a list of functions"),
        ({"tools": None, "function_call": {"name": "f"}}, "function_call.name", "none of the tools"),
        ({"tools": None, "functions": [LOOK_UP], "function_call": "required"}, "function_call", "must be none, auto"),
        (made('{"a": "\\ud83d"}'), "messages[0].tool_calls[0].function.arguments", "must be a JSON object"),
        (made('{"a": 1} x'), "messages[0].tool_calls[0].function.arguments", "must be a JSON object"),
        (made('{"a": ' * 100_000), "messages[0].tool_calls[0].function.arguments", "must be a JSON object"),
        ({"chat_template_kwargs": []}, "chat_template_kwargs", "must be an object"),
        ({"chat_template_kwargs": {"messages": "x"}}, "chat_template_kwargs.messages", "is not supported"),
        ({"chat_template_kwargs": {"bos_token": "x"}}, "chat_template_kwargs.bos_token", "is not supported"),
        ({"chat_template_kwargs": {"enable_thinking": 1}}, "chat_template_kwargs.enable_thinking", "true or false"),
        ({"chat_template_kwargs": {"reasoning_effort": "wild"}}, "chat_template_kwargs.reasoning_effort", "must be"),
        ({"chat_template_kwargs": {"date_string": ["x"]}}, "chat_template_kwargs.date_string", "a text of at most"),
        ({"chat_template_kwargs": {"date_string": "x" * 4097}}, "chat_template_kwargs.date_string", "at most 4096"),
        ({"chat_template_kwargs": {"thinking_budget": 2**60}}, "chat_template_kwargs.thinking_budget", "a number"),
        ({"continue_final_message": True}, "continue_final_message", "needs a last message of the assistant's"),
        ({"add_generation_prompt": False}, "add_generation_prompt", "can't be false here"),
    ],
)
def test_what_cannot_be_is_named(server: Served, body: dict[str, Any], field: str, words: str) -> None:
    reply = server.post(PATH, {**CHAT, **body})
    assert reply.status == 400
    assert reply.json["error"]["param"] == field
    assert reply.json["error"]["message"].startswith(field)
    assert words in reply.json["error"]["message"]
    assert server.service.seen == []


def test_half_a_surrogate_in_a_tool_is_no_json(server: Served) -> None:
    text = b'{"model": "demo", "messages": [], "tools": [{"function": {"name": "f", "parameters": {"\\ud83d": 1}}}]}'
    reply = server.ask("POST", PATH, text)
    assert reply.status == 400
    assert "surrogate" in reply.json["error"]["message"]


def test_what_templates_are_told(server: Served) -> None:
    told = {"preserve_thinking": True, "thinking_budget": 512, "date_string": "1 May", "clear_thinking": None}
    assert server.post(PATH, {**CHAT, "chat_template_kwargs": {**told, "thinking": False}}).status == 200
    del told["clear_thinking"]
    assert (the_chat(server).variables, the_chat(server).think) == (told, False)


@pytest.mark.parametrize(
    ("told", "effort", "think"),
    [
        ({"thinking": True}, None, True),
        ({"enable_thinking": False, "thinking": True}, None, False),
        ({"reasoning_effort": "high"}, "low", "high"),
        ({"enable_thinking": True}, "medium", "medium"),
        ({"enable_thinking": True}, "none", True),
        ({}, None, None),
    ],
)
def test_templates_words_for_thinking(server: Served, told: dict[str, Any], effort: str | None, think: object) -> None:
    server.post(PATH, {**CHAT, "chat_template_kwargs": told, "reasoning_effort": effort})
    assert the_chat(server).think == think


def test_a_begun_answer_is_gone_on_with(server: Served) -> None:
    begun = [*HI, {"role": "assistant", "content": "Well,"}]
    said = {"add_generation_prompt": False, "continue_final_message": True}
    assert server.post(PATH, {**CHAT, "messages": begun, **said}).status == 200
    assert the_chat(server).messages[-1] == Message("assistant", "Well,")
    for body, field in (
        ({**said, "add_generation_prompt": True}, "add_generation_prompt"),
        ({"continue_final_message": False}, "continue_final_message"),
    ):
        reply = server.post(PATH, {**CHAT, "messages": begun, **body})
        assert (reply.status, reply.json["error"]["param"]) == (400, field)
