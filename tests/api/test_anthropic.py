"""Anthropic's dialect on the wire: what is read from a request, what is written, and what is refused by name."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import pytest

from runner.conversation import Message, ToolCall, ToolChoice, ToolSpec
from runner.errors import InvalidRequest
from runner.inference.requests import Chat, Preview
from runner.protocol.commands import Constraint
from tests.api.fakes import TEXT, THOUGHT
from tests.api.serving import Reply, Served
from tests.api.test_failures import ROWS
from tests.api.test_streams import QUICK, read_until
from tests.api.tooled import Tooled

WHOLE, THOUGHTS = "".join(TEXT), "".join(THOUGHT)
HI = [{"role": "user", "content": "Hi"}]
ASK = {"model": "demo", "max_tokens": 5, "messages": HI}
PNG = base64.b64encode(b"\x89PNG").decode()
LOOK = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}
KINDS = {400: "invalid_request_error", 404: "not_found_error", 499: "invalid_request_error", 529: "overloaded_error"}
VERSION = {"anthropic_version": "2023-06-01"}


@pytest.fixture
def tooled() -> Iterator[Served]:
    with Served(service=Tooled()) as served:
        yield served


def asked(server: Served, **fields: Any) -> Chat:
    """What the service was asked, for a request with these fields."""
    reply = server.post("/v1/messages", {**ASK, **fields})
    assert reply.status == 200, reply.body
    seen = server.service.seen.pop()
    assert isinstance(seen, Chat)
    return seen


def refused(server: Served, **fields: Any) -> str:
    """Why a request with these fields is not taken."""
    body = {name: value for name, value in {**ASK, **fields}.items() if value is not ...}
    reply = server.post("/v1/messages", body)
    assert reply.status == 400, reply.body
    assert reply.json["type"] == "error"
    assert reply.json["error"]["type"] == "invalid_request_error"
    assert server.service.seen == []
    return str(reply.json["error"]["message"])


def events(reply: Reply) -> list[dict[str, Any]]:
    """The events of a stream, each held to its name."""
    assert reply.headers["Content-Type"] == "text/event-stream"
    assert reply.body.endswith(b"\n\n")
    found = []
    for block in reply.body[:-2].split(b"\n\n"):
        name, data = block.split(b"\n")
        found.append(json.loads(data.removeprefix(b"data: ")))
        assert name == b"event: " + found[-1]["type"].encode()
    return found


def streamed(server: Served, model: str, **fields: Any) -> list[dict[str, Any]]:
    return events(server.post("/v1/messages", {**ASK, "model": model, "stream": True, **fields}))


def gathered(stream: list[dict[str, Any]]) -> dict[str, Any]:
    """The message that a stream adds up to, with the order of its events held to the rules."""
    message, is_open = stream[0]["message"], False
    assert message["stop_reason"] is None
    assert stream[1] == {"type": "ping"}
    for event in stream[2:-2]:
        if event["type"] == "content_block_start":
            assert not is_open
            is_open = True
            message["content"].append(event["content_block"])
        assert is_open
        assert event["index"] == len(message["content"]) - 1
        block = message["content"][-1]
        if event["type"] == "content_block_stop":
            is_open = False
            if block["type"] == "tool_use":
                block["input"] = json.loads(block["input"] or "{}")
        elif event["type"] == "content_block_delta":
            kind = event["delta"]["type"].removesuffix("_delta")
            if kind == "input_json":
                block["input"] = (block["input"] or "") + event["delta"]["partial_json"]
            else:
                block[kind] += event["delta"][kind]
    assert not is_open
    assert stream[-2]["type"] == "message_delta"
    assert stream[-1] == {"type": "message_stop"}
    return {**message, **stream[-2]["delta"], "usage": stream[-2]["usage"]}


class TestAnswer:
    """A whole message, and the same as a stream."""

    def test_a_message(self, server: Served) -> None:
        message = server.post("/v1/messages?beta=true", ASK).json
        assert message.pop("id").startswith("msg_")
        assert message == {
            "type": "message",
            "role": "assistant",
            "model": "demo",
            "content": [{"type": "text", "text": WHOLE}],
            "stop_reason": "end_turn",
            "stop_sequence": None,
            "usage": {
                "input_tokens": 4,
                "cache_creation_input_tokens": 0,
                "cache_read_input_tokens": 3,
                "output_tokens": len(TEXT),
            },
        }

    def test_a_stream_event_by_event(self, server: Served) -> None:
        stream = streamed(server, "demo", thinking={"type": "enabled", "budget_tokens": 1024})
        start = stream[0]["message"]
        assert (start["content"], start["stop_reason"], start["model"]) == ([], None, "demo")
        assert start["usage"] == {
            "input_tokens": 4,
            "cache_creation_input_tokens": 0,
            "cache_read_input_tokens": 3,
            "output_tokens": 0,
        }
        thought, text = {"type": "thinking", "thinking": "", "signature": ""}, {"type": "text", "text": ""}
        assert stream[1:] == [
            {"type": "ping"},
            {"type": "content_block_start", "index": 0, "content_block": thought},
            *(
                {"type": "content_block_delta", "index": 0, "delta": {"type": "thinking_delta", "thinking": each}}
                for each in THOUGHT
            ),
            {"type": "content_block_delta", "index": 0, "delta": {"type": "signature_delta", "signature": "runner"}},
            {"type": "content_block_stop", "index": 0},
            {"type": "content_block_start", "index": 1, "content_block": text},
            *(
                {"type": "content_block_delta", "index": 1, "delta": {"type": "text_delta", "text": each}}
                for each in TEXT
            ),
            {"type": "content_block_stop", "index": 1},
            {
                "type": "message_delta",
                "delta": {"stop_reason": "end_turn", "stop_sequence": None},
                "usage": {**start["usage"], "output_tokens": len(TEXT)},
            },
            {"type": "message_stop"},
        ]

    def test_a_call_comes_as_parts_of_its_json(self, tooled: Served) -> None:
        stream = streamed(tooled, "demo", tools=[LOOK])
        call = {"type": "tool_use", "id": "call_0", "name": "look", "input": {}}
        begun = stream.index({"type": "content_block_start", "index": 1, "content_block": call})
        assert [event["delta"]["partial_json"] for event in stream[begun + 1 : begun + 4]] == ['{"where":', '"up', '"}']
        assert stream[begun + 4] == {"type": "content_block_stop", "index": 1}

    @pytest.mark.parametrize(
        ("model", "content", "reason"),
        [
            (
                "demo",
                [
                    {"type": "text", "text": "I look.\n\n"},
                    {"type": "tool_use", "id": "call_0", "name": "look", "input": {"where": "up"}},
                    {"type": "tool_use", "id": "call_1", "name": "find", "input": {}},
                ],
                "tool_use",
            ),
            (
                "quiet",
                [
                    {"type": "thinking", "thinking": THOUGHTS, "signature": "runner"},
                    {"type": "tool_use", "id": "call_0", "name": "look", "input": {"where": "up"}},
                ],
                "tool_use",
            ),
            ("blank", [{"type": "text", "text": "\n "}], "end_turn"),
            ("spoken", [{"type": "text", "text": "\n a\n"}], "end_turn"),
            ("mute", [], "end_turn"),
            ("closed", [{"type": "text", "text": "a"}], "end_turn"),
            ("stopped", [{"type": "text", "text": "a"}], "stop_sequence"),
        ],
    )
    def test_streams_add_up_to_the_whole(self, tooled: Served, model: str, content: list[Any], reason: str) -> None:
        fields = {"stop_sequences": ["END", "STOP"], "tools": [LOOK]}
        whole = tooled.post("/v1/messages", {**ASK, "model": model, **fields}).json
        stream = gathered(streamed(tooled, model, **fields))
        assert whole["content"] == stream["content"] == content
        assert whole["stop_reason"] == stream["stop_reason"] == reason
        assert whole["stop_sequence"] == stream["stop_sequence"] == ("END" if model == "stopped" else None)
        assert whole["usage"] == stream["usage"]

    def test_a_call_that_was_cut_short_has_no_input(self, tooled: Served) -> None:
        message = tooled.post("/v1/messages", {**ASK, "model": "cut", "tools": [LOOK]}).json
        assert message["stop_reason"] == "max_tokens"
        assert message["content"] == [{"type": "tool_use", "id": "call_0", "name": "look", "input": {}}]
        assert streamed(tooled, "cut", tools=[LOOK])[-1] == {"type": "message_stop"}

    @pytest.mark.parametrize("stream", [False, True])
    def test_a_thought_out_of_sight_comes_back_with_its_block(self, server: Served, stream: bool) -> None:
        thinking = {"type": "enabled", "display": "omitted"}
        reply = server.post("/v1/messages", {**ASK, "thinking": thinking, "stream": stream})
        thought = (gathered(events(reply)) if stream else reply.json)["content"][0]
        assert thought["thinking"] == ""
        turns = [*HI, {"role": "assistant", "content": [thought, {"type": "text", "text": "a"}]}, *HI]
        server.service.seen.clear()
        assert asked(server, messages=turns).messages[1] == Message("assistant", "a", thinking=THOUGHTS)


class TestRequest:
    """From JSON to what the service is asked."""

    def test_options(self, server: Served) -> None:
        found = asked(
            server, temperature=0.5, top_p=0.9, top_k=40, stop_sequences=["x"], num_ctx=4096, keep_alive="1h",
            metadata={"user_id": "me"}, service_tier="auto", cache_control={"type": "ephemeral"},
            context_management={"edits": [{"type": "clear_tool_uses_20250919"}]}, container=None, mcp_servers=[],
        )  # fmt: skip
        options = {"temperature": 0.5, "top_p": 0.9, "top_k": 40, "stop": ["x"], "num_ctx": 4096, "num_predict": 5}
        assert found == Chat("demo", (Message("user", "Hi"),), options=options, keep_alive=3600.0)

    @pytest.mark.parametrize(
        ("system", "said"),
        [
            ("Be brief.", "Be brief."),
            ([{"type": "text", "text": "a", "cache_control": {"type": "ephemeral"}}, {"type": "text", "text": "b"}],
             "a\nb"),
            ([{"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.3.f0; cch=a1b2c;"},
              {"type": "text", "text": "You help."}], "You help."),
            ("x-anthropic-billing-header: cc_version=2.1; cch=00000;You help; a=b;", "You help; a=b;"),
            ("x-anthropic-billing-header: cc_version=2.1; cch=00000\nYou help.", "You help."),
            ("Say x-anthropic-billing-header: a=b;", "Say x-anthropic-billing-header: a=b;"),
        ],
    )  # fmt: skip
    def test_instructions_without_what_is_new_each_time(self, server: Served, system: Any, said: str) -> None:
        assert asked(server, system=system).messages[0] == Message("system", said)

    @pytest.mark.parametrize("system", [None, "", [], [{"type": "text", "text": ""}]])
    def test_no_instructions(self, server: Served, system: Any) -> None:
        assert asked(server, system=system).messages == (Message("user", "Hi"),)

    def test_a_conversation_with_tools(self, server: Served) -> None:
        turns = [
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
            {"role": "assistant", "content": [
                {"type": "thinking", "thinking": "hm", "signature": "elsewhere"},
                {"type": "redacted_thinking", "data": "xyz"},
                {"type": "text", "text": "I look.", "citations": None},
                {"type": "tool_use", "id": "t1", "name": "look", "input": {"where": "up"}, "caller": None},
                {"type": "tool_use", "id": "t2", "name": "find", "input": {}},
            ]},
            {"role": "user", "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "sky", "cache_control": {"type": "ephemeral"}},
                {"type": "tool_result", "tool_use_id": "t2", "is_error": True, "content": [
                    {"type": "text", "text": "no"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}},
                ]},
                {"type": "tool_result", "tool_use_id": "t3"},
                {"type": "text", "text": "go on"},
            ]},
            {"role": "user", "content": "please"},
            {"role": "assistant", "content": "Well"},
        ]  # fmt: skip
        calls = (ToolCall("look", {"where": "up"}, "t1"), ToolCall("find", {}, "t2"))
        assert asked(server, messages=turns).messages == (
            Message("user", "a\nb"),
            Message("assistant", "I look.", thinking="hm", tool_calls=calls),
            Message("tool", "sky", tool_name="look", tool_call_id="t1"),
            Message("tool", "Error: no", images=(b"\x89PNG",), tool_name="find", tool_call_id="t2"),
            Message("tool", "", tool_call_id="t3"),
            Message("user", "go on\nplease"),
            Message("assistant", "Well"),
        )

    def test_images_documents_and_search_results(self, server: Served) -> None:
        content = [
            {"type": "image", "source": {"type": "base64", "data": PNG}},
            {"type": "image", "source": {"type": "url", "url": f"data:image/png;base64,{PNG}"}},
            {"type": "document", "title": "T", "context": "C",
             "source": {"type": "text", "media_type": "text/plain", "data": "D"}},
            {"type": "document", "source": {"type": "content", "content": [{"type": "text", "text": "E"}]}},
            {"type": "search_result", "title": "F", "source": "http://f", "content": [{"type": "text", "text": "G"}]},
            {"type": "tool_reference", "tool_name": "look"},
        ]  # fmt: skip
        (message,) = asked(server, messages=[{"role": "user", "content": content}]).messages
        assert message == Message("user", "T\nC\nD\nE\nF\nhttp://f\nG\nlook", images=(b"\x89PNG", b"\x89PNG"))

    def test_instructions_within_the_conversation(self, server: Served) -> None:
        turns = [*HI, {"role": "system", "content": [{"type": "text", "text": "new rule"}]}, *HI]
        assert [turn.role for turn in asked(server, messages=turns).messages] == ["user", "system", "user"]

    def test_tools(self, server: Served) -> None:
        given = [
            {**LOOK, "cache_control": {"type": "ephemeral"}, "strict": True, "defer_loading": True},
            {"type": "custom", "name": "bare", "input_schema": {}},
            {"type": "bash_20250124", "name": "bash"},
            {"type": "text_editor_20250728", "name": "str_replace_based_edit_tool", "max_characters": 100},
            {"type": "memory_20250818", "name": "memory"},
            {"type": "tool_search_tool_regex_20251119", "name": "tool_search_tool_regex"},
        ]
        look, bare, bash, edit, memory = asked(server, tools=given).tools
        assert look == ToolSpec("look", "Looks.", {"type": "object", "properties": {}})
        assert bare == ToolSpec("bare", "", {"type": "object", "properties": {}})
        assert (bash.name, set(bash.parameters["properties"])) == ("bash", {"command", "restart"})
        assert edit.parameters["required"] == ["command", "path"]
        assert "delete" in memory.parameters["properties"]["command"]["enum"]

    @pytest.mark.parametrize(
        ("tools", "words"),
        [
            ([{**LOOK, "name": "a b<|im_end|>"}], "tools[0].name must be"),
            ([LOOK, LOOK], "names 'look' twice"),
            ([{**LOOK, "input_schema": {"type": "string"}}], "tools[0].input_schema must be"),
        ],
    )
    def test_tools_that_no_model_could_call(self, server: Served, tools: list[Any], words: str) -> None:
        reply = server.post("/v1/messages", {"model": "demo", "max_tokens": 5, "messages": HI, "tools": tools})
        assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")
        assert words in reply.json["error"]["message"]

    @pytest.mark.parametrize(
        ("given", "choice"),
        [
            (None, ToolChoice()),
            ({"type": "auto"}, ToolChoice()),
            ({"type": "auto", "disable_parallel_tool_use": True}, ToolChoice(parallel=False)),
            ({"type": "any"}, ToolChoice("required")),
            (
                {"type": "tool", "name": "look", "disable_parallel_tool_use": True},
                ToolChoice("required", "look", False),
            ),
            ({"type": "none"}, ToolChoice("none")),
        ],
    )
    def test_the_choice_of_tools(self, server: Served, given: Any, choice: ToolChoice) -> None:
        assert asked(server, tools=[LOOK], tool_choice=given).tool_choice == choice

    @pytest.mark.parametrize(
        ("model", "thinking", "effort", "think"),
        [
            ("demo", None, None, None),
            ("demo", {"type": "disabled"}, "high", False),
            ("demo", {"type": "enabled", "budget_tokens": 1024}, None, True),
            ("embedder", {"type": "enabled"}, None, True),  # and the model says that it can't
            ("demo", {"type": "adaptive"}, None, True),
            ("demo", {"type": "adaptive"}, "max", "high"),
            ("embedder", {"type": "adaptive"}, "low", None),
            ("nowhere", {"type": "adaptive"}, None, None),
        ],
    )
    def test_thoughts(self, server: Served, model: str, thinking: Any, effort: str | None, think: object) -> None:
        found = asked(server, model=model, thinking=thinking, output_config={"effort": effort})
        assert found.think == think
        assert found.variables == {}

    def test_effort_alone_reaches_templates_that_know_it(self, server: Served) -> None:
        found = asked(server, output_config={"effort": "xhigh"})
        assert (found.think, found.variables) == (None, {"reasoning_effort": "high"})

    @pytest.mark.parametrize("at", ["output_config.format", "output_format"])
    def test_a_form(self, server: Served, at: str) -> None:
        form = {"type": "json_schema", "schema": {"type": "object"}}
        fields = {"output_format": form} if at == "output_format" else {"output_config": {"format": form}}
        assert asked(server, **fields).constraint == Constraint("schema", '{"type":"object"}', f"{at}.schema")

    def test_what_is_new_to_us_is_ignored(self, server: Served) -> None:
        turns = [{"role": "user", "novel": 1, "content": [{"type": "text", "text": "Hi", "novel": {"a": 1}}]}]
        plain = asked(server)
        thinking = {"type": "disabled", "novel": 1}
        assert asked(server, messages=turns, novel=[1], output_config={"task_budget": {"total": 1}}) == plain
        assert asked(server, thinking=thinking).think is False

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"model": ...}, "model is required"),
            ({"max_tokens": ...}, "max_tokens is required"),
            ({"max_tokens": 0}, "max_tokens must be at least 1"),
            ({"max_tokens": "5"}, "max_tokens must be a whole number"),
            ({"messages": ...}, "messages must hold at least one message"),
            ({"messages": []}, "messages must hold at least one message"),
            ({"messages": [{"role": "user"}]}, "messages[0].content is required"),
            ({"messages": [{"role": "tool", "content": ""}]}, "messages[0].role must be user, assistant or system"),
            (
                {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
                "messages[0].content[0].text is required",
            ),
            ({"system": [{"type": "image"}]}, "system[0].type 'image' is not supported; text is"),
            ({"stop_sequences": "x"}, "stop_sequences must be a list"),
            ({"thinking": {"type": "much"}}, "thinking.type must be enabled, disabled or adaptive"),
            ({"thinking": {"type": "enabled", "budget_tokens": 0}}, "thinking.budget_tokens must be between"),
            ({"output_config": {"effort": "some"}}, "output_config.effort must be"),
            ({"output_config": {"format": {"type": "json_schema"}}}, "output_config.format.schema is required"),
            ({"output_format": {"type": "xml"}}, "output_format.type must be json_schema"),
            ({"tools": [{"name": "x"}]}, "tools[0].input_schema is required"),
            ({"tools": [{"input_schema": {}}]}, "tools[0].name is required"),
            ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools[0].type 'web_search_20250305'"),
            ({"tools": [{"type": "computer_20250124", "name": "computer"}]}, "tools[0].type 'computer_20250124'"),
            ({"tool_choice": {"type": "any"}}, "tool_choice.type any needs tools"),
            ({"tools": [LOOK], "tool_choice": {"type": "tool"}}, "tool_choice.name is required"),
            ({"tools": [LOOK], "tool_choice": {"type": "tool", "name": "x"}}, "tool_choice.name 'x' is none of the"),
            ({"tools": [LOOK], "tool_choice": {"type": "all"}}, "tool_choice.type must be auto, any, tool or none"),
            ({"mcp_servers": [{"type": "url", "url": "http://x"}]}, "mcp_servers is not supported yet"),
            ({"keep_alive": "soon"}, "keep_alive takes"),
        ],
    )
    def test_what_is_wrong_is_named(self, server: Served, fields: dict[str, Any], words: str) -> None:
        assert words in refused(server, **fields)

    @pytest.mark.parametrize(
        ("role", "block", "words"),
        [
            ("user", {"type": "image"}, ".source is required"),
            ("user", {"type": "image", "source": {"type": "base64", "data": "?"}}, ".source.data is not base64"),
            (
                "user",
                {"type": "image", "source": {"type": "url", "url": "ftp://x/y.png"}},
                ".source.url must be a data:",
            ),
            ("user", {"type": "image", "source": {"type": "file", "file_id": "f"}}, ".source.type 'file' is not"),
            (
                "user",
                {"type": "document", "source": {"type": "base64", "data": "JVBE"}},
                ".source.type 'base64' is not",
            ),
            ("user", {"type": "document", "source": {"type": "text"}}, ".source.data is required"),
            ("user", {"type": "tool_result", "content": "x"}, ".tool_use_id is required"),
            ("user", {"type": "tool_use", "id": "a", "name": "b"}, ".type 'tool_use' is not supported"),
            ("user", {"type": "container_upload"}, ".type 'container_upload' is not supported"),
            ("assistant", {"type": "tool_result", "tool_use_id": "a"}, ".type 'tool_result' is not supported"),
            ("assistant", {"type": "server_tool_use", "id": "a"}, ".type 'server_tool_use' is not supported"),
            ("assistant", {"type": "tool_use", "name": "b"}, ".id is required"),
        ],
    )
    def test_blocks_that_are_not_taken(self, server: Served, role: str, block: Any, words: str) -> None:
        message = refused(server, messages=[{"role": role, "content": [block]}])
        assert message.startswith(f"messages[0].content[0]{words}")

    def test_nesting_is_as_deep_as_it_can_mean_something(self, server: Served) -> None:
        within: dict[str, Any] = {"type": "text", "text": "x"}
        for _ in range(300):
            within = {"type": "search_result", "title": "t", "content": [within]}
        message = refused(server, messages=[{"role": "user", "content": [within]}])
        assert message.startswith("messages[0].content[0].content[0].type 'search_result' is not supported")

    def test_a_call_that_nobody_answered_cannot_be_gone_on_from(self, server: Served) -> None:
        call = {"type": "tool_use", "id": "t1", "name": "look", "input": {}}
        assert "no tool_result follows" in refused(server, messages=[*HI, {"role": "assistant", "content": [call]}])

    def test_what_claude_code_sends(self, server: Served) -> None:
        """As it is known to ask models that it doesn't know."""
        ephemeral = {"type": "ephemeral"}
        body = {
            "model": "demo",
            "max_tokens": 32000,
            "stream": True,
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "medium"},
            "context_management": {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]},
            "metadata": {"user_id": "user_0_account__session_0"},
            "system": [
                {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.329.b0a; cch=0f1a2;"},
                {"type": "text", "text": "You are an agent.", "cache_control": ephemeral},
            ],
            "tools": [{**LOOK, "input_schema": {"$schema": "x", "type": "object", "additionalProperties": False}}],
            "messages": [
                {"role": "user", "content": [{"type": "text", "text": "Hi", "cache_control": ephemeral}]},
            ],
        }  # fmt: skip
        headers = {
            "anthropic_version": "2023-06-01",
            "anthropic_beta": "claude-code-20250219",
            "Authorization": "Bearer x",
        }
        reply = server.post("/v1/messages?beta=true", body, **headers)
        assert gathered(events(reply))["stop_reason"] == "end_turn"
        (seen,) = server.service.seen
        assert isinstance(seen, Chat)
        assert seen.messages == (Message("system", "You are an agent."), Message("user", "Hi"))
        assert (seen.think, seen.tools[0].name) == ("medium", "look")


class TestTokens:
    """/v1/messages/count_tokens."""

    def test_the_whole_prompt_counts(self, server: Served) -> None:
        body = {"model": "demo", "system": "be brief", "messages": HI, "tools": [LOOK]}
        assert server.post("/v1/messages/count_tokens?beta=true", body).json == {
            "input_tokens": len("system: be brief\nuser: Hi\nlook\n")
        }
        (seen,) = server.service.seen
        assert isinstance(seen, Preview)
        assert seen.of == Chat(
            "demo",
            (Message("system", "be brief"), Message("user", "Hi")),
            (ToolSpec("look", "Looks.", {"type": "object", "properties": {}}),),
        )

    def test_failures(self, server: Served) -> None:
        reply = server.post("/v1/messages/count_tokens", {"model": "missing", "messages": HI})
        assert (reply.status, reply.json["error"]["type"]) == (404, "not_found_error")
        assert server.post("/v1/messages/count_tokens", {"model": "demo"}).status == 400


class TestFailures:
    """One failure, one answer; here in Anthropic's words."""

    @pytest.mark.parametrize("stream", [False, True])
    @pytest.mark.parametrize("row", ROWS, ids=lambda row: str(row[0]))
    def test_before_the_first_token(
        self, server: Served, row: tuple[str, int, str, str, dict[str, str]], stream: bool
    ) -> None:
        model, status, code, words, headers = row
        if stream and model in ("unended", "dropped"):
            error = streamed(server, model)[-1]
            assert (error["type"], error["error"]["type"]) == ("error", KINDS.get(status, "api_error"))
            return
        reply = server.post("/v1/messages", {**ASK, "model": model, "stream": stream})
        assert reply.status == (529 if code == "server_busy" else status)
        assert headers.items() <= reply.headers.items()
        assert reply.json.keys() == {"type", "error", "request_id"}
        assert reply.json["error"].keys() == {"type", "message"}
        assert reply.json["error"]["type"] == KINDS.get(reply.status, "api_error")
        if model == "overflow":
            words = "prompt is too long: 9000 tokens > 4096 maximum"
        assert words in reply.json["error"]["message"]
        assert reply.json["request_id"] == reply.headers["request-id"] == reply.headers["X-Request-Id"]

    def test_after_the_first_token(self, server: Served) -> None:
        stream = streamed(server, "late")
        kinds = [event["type"] for event in stream]
        assert kinds == ["message_start", "ping", "content_block_start", *["content_block_delta"] * 2, "error"]
        assert stream[-1]["error"] == {"type": "api_error", "message": "the model's worker ended with signal 9"}

    def test_options_go_by_the_dialects_own_names(self, server: Served) -> None:
        server.service.FAILURES["named"] = InvalidRequest("option stop has too many", field="options.stop")
        reply = server.post("/v1/messages", {**ASK, "model": "named"})
        del server.service.FAILURES["named"]
        assert reply.json["error"]["message"] == "stop_sequences: option stop has too many"

    def test_a_key_by_either_header(self) -> None:
        with Served(api_key="sk-right") as server:
            missing = server.post("/v1/messages", ASK)
            assert (missing.status, missing.json["error"]["type"]) == (401, "authentication_error")
            assert server.post("/v1/messages", ASK, x_api_key="sk-wrong").status == 401
            assert server.post("/v1/messages", ASK, x_api_key="sk-right").status == 200
            assert server.post("/v1/messages", ASK, Authorization="Bearer sk-right").status == 200

    def test_others(self, server: Served) -> None:
        strange = server.post("/v1/messages", ASK, Host="evil.com")
        assert (strange.status, strange.json["error"]["type"]) == (403, "permission_error")
        lost = server.get("/v1/messages/batches")
        assert (lost.status, lost.json["error"]["type"]) == (404, "not_found_error")
        assert server.get("/v1/messages").status == 405
        with Served(max_body=1024) as small:
            large = small.post("/v1/messages", {**ASK, "system": "x" * 2000})
            assert (large.status, large.json["error"]["type"]) == (413, "request_too_large")

    def test_a_ping_while_a_model_loads(self) -> None:
        with Served(patience=QUICK) as server, server.connect() as connection:
            body = json.dumps({**ASK, "model": "loads", "stream": True}).encode()
            head = f"POST /v1/messages HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(body)}\r\n\r\n"
            connection.sendall(head.encode() + body)
            early = read_until(connection, b'event: ping\ndata: {"type":"ping"}\n\n')
            assert early.startswith(b"HTTP/1.1 200 OK\r\n")
            assert b"message_start" not in early
            server.service.release.set()
            read_until(connection, b'event: message_stop\ndata: {"type":"message_stop"}\n\n')


class TestModels:
    """/v1/models, which has two shapes, and what else is probed for."""

    def test_a_list(self, server: Served) -> None:
        listed = server.get("/v1/models?limit=1000", **VERSION)
        first = {
            "type": "model",
            "id": "demo:latest",
            "display_name": "demo:latest",
            "created_at": "2026-08-21T10:11:12+00:00",
            "lifecycle": "active",
        }
        assert listed.json["data"][0] == first
        assert listed.json["has_more"] is False
        assert (listed.json["first_id"], listed.json["last_id"]) == ("demo:latest", "hf.co/org/repo:Q4_K_M")
        assert "request-id" in listed.headers
        assert server.get("/v1/models/demo", **VERSION).json == first
        assert server.get("/v1/models").json["object"] == "list"
        assert "request-id" not in server.get("/v1/models").headers

    def test_pages(self, server: Served) -> None:
        def page(query: str) -> tuple[list[str], bool]:
            found = server.get(f"/v1/models?{query}", **VERSION).json
            return [each["id"] for each in found["data"]], found["has_more"]

        every = ["demo:latest", "embedder:latest", "hf.co/org/repo:Q4_K_M"]
        assert page("limit=2") == (every[:2], True)
        assert page("limit=2&after_id=embedder:latest") == (every[2:], False)
        assert page("limit=1&before_id=hf.co/org/repo:Q4_K_M") == (every[1:2], True)
        assert page("limit=2&before_id=hf.co/org/repo:Q4_K_M") == (every[:2], False)
        assert page("after_id=hf.co/org/repo:Q4_K_M") == ([], False)
        for query in ("limit=0", "limit=1001", "limit=x", "limit=²", "after_id=nobody"):
            reply = server.get(f"/v1/models?{query.replace('²', '%C2%B2')}", **VERSION)
            assert (reply.status, reply.json["error"]["type"]) == (400, "invalid_request_error")

    def test_names_that_stand_for_models(self, server: Served) -> None:
        server.models.aliased["claude-demo"] = "demo"
        for headers in (VERSION, {}):
            assert server.get("/v1/models", **headers).json["data"][-1]["id"] == "claude-demo"
            assert server.get("/v1/models/claude-demo", **headers).json["id"] == "claude-demo"
            assert server.get("/v1/models/demo", **headers).json["id"] == "demo:latest"

    def test_a_model_that_is_not_there(self, server: Served) -> None:
        reply = server.get("/v1/models/nothing", **VERSION)
        assert (reply.status, reply.json["error"]["type"]) == (404, "not_found_error")

    def test_a_probe(self, server: Served) -> None:
        assert server.ask("HEAD", "/api/hello").status == 200
        assert server.ask("HEAD", "/").status == 200
