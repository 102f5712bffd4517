"""The official anthropic client, unmodified: what it sends is taken, and what it gets it understands."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import anthropic
import pytest
from anthropic.types import TextBlock, ThinkingBlock, ToolUseBlock

from tests.api.fakes import TEXT, THOUGHT
from tests.api.serving import Served
from tests.api.tooled import Tooled

WHOLE = "".join(TEXT)
HI: Any = [{"role": "user", "content": "Hi"}]
LOOK: Any = {"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}


@pytest.fixture
def ai(server: Served) -> Iterator[anthropic.Anthropic]:
    with anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=2) as client:
        yield client


@pytest.fixture
def tooled() -> Iterator[anthropic.Anthropic]:
    with (
        Served(service=Tooled()) as served,
        anthropic.Anthropic(base_url=served.url, api_key="none", max_retries=0) as client,
    ):
        yield client


def test_a_message(ai: anthropic.Anthropic) -> None:
    message = ai.messages.create(
        model="demo", max_tokens=50, messages=HI, thinking={"type": "enabled", "budget_tokens": 1024}
    )
    thought, text = message.content
    assert isinstance(thought, ThinkingBlock)
    assert isinstance(text, TextBlock)
    assert (thought.thinking, text.text, message.stop_reason) == ("".join(THOUGHT), WHOLE, "end_turn")
    assert (message.usage.input_tokens, message.usage.cache_read_input_tokens) == (4, 3)
    assert message._request_id


def test_a_stream(ai: anthropic.Anthropic) -> None:
    with ai.messages.stream(model="demo", max_tokens=50, messages=HI, thinking={"type": "adaptive"}) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    thought = message.content[0]
    assert isinstance(thought, ThinkingBlock)
    assert (thought.thinking, thought.signature) == ("".join(THOUGHT), "runner")
    assert text == WHOLE
    assert (message.usage.input_tokens, message.usage.output_tokens) == (4, len(TEXT))


def test_raw_events(ai: anthropic.Anthropic) -> None:
    kinds = [event.type for event in ai.messages.create(model="demo", max_tokens=9, messages=HI, stream=True)]
    assert kinds == [
        "message_start",
        "content_block_start",
        *["content_block_delta"] * len(TEXT),
        "content_block_stop",
        "message_delta",
        "message_stop",
    ]


@pytest.mark.parametrize("is_beta", [False, True])
def test_a_turn_with_tools_and_the_next(tooled: anthropic.Anthropic, is_beta: bool) -> None:
    messages: Any = tooled.beta.messages if is_beta else tooled.messages
    with messages.stream(model="demo", max_tokens=50, messages=HI, tools=[LOOK], tool_choice={"type": "any"}) as stream:
        message = stream.get_final_message()
    assert message.stop_reason == "tool_use"
    calls = [block for block in message.content if block.type == "tool_use"]
    assert [(call.id, call.name, call.input) for call in calls] == [
        ("call_0", "look", {"where": "up"}),
        ("call_1", "find", {}),
    ]
    results: Any = [{"type": "tool_result", "tool_use_id": call.id, "content": "sky"} for call in calls]
    turns: Any = [*HI, {"role": "assistant", "content": message.content}, {"role": "user", "content": results}]
    assert messages.create(model="spoken", max_tokens=5, messages=turns, tools=[LOOK]).content[0].text == "\n a\n"


def test_a_call_at_once(tooled: anthropic.Anthropic) -> None:
    message = tooled.messages.create(model="quiet", max_tokens=50, messages=HI, tools=[LOOK])
    call = message.content[1]
    assert isinstance(call, ToolUseBlock)
    assert call.input == {"where": "up"}


def test_a_stop_sequence(tooled: anthropic.Anthropic) -> None:
    message = tooled.messages.create(model="stopped", max_tokens=5, messages=HI, stop_sequences=["END"])
    assert (message.stop_reason, message.stop_sequence) == ("stop_sequence", "END")


def test_tokens(ai: anthropic.Anthropic) -> None:
    count = ai.messages.count_tokens(model="demo", messages=HI, system="be brief", tools=[LOOK])
    assert count.input_tokens == len("system: be brief\nuser: Hi\nlook\n")


def test_models(ai: anthropic.Anthropic, server: Served) -> None:
    server.models.aliased["claude-demo"] = "demo"
    every = ["demo:latest", "embedder:latest", "hf.co/org/repo:Q4_K_M", "claude-demo"]
    assert [model.id for model in ai.models.list(limit=2)] == every  # page after page
    assert ai.models.retrieve("claude-demo").display_name == "claude-demo"


@pytest.mark.parametrize(
    ("model", "error", "kind", "tries"),
    [
        ("missing", anthropic.NotFoundError, "not_found_error", 1),
        ("overflow", anthropic.BadRequestError, "invalid_request_error", 1),
        ("huge", anthropic.InternalServerError, "api_error", 1),
        ("broken", anthropic.InternalServerError, "api_error", 1),
        ("crash", anthropic.InternalServerError, "api_error", 3),
    ],
)
def test_failures_are_tried_again_only_where_that_may_help(
    ai: anthropic.Anthropic, server: Served, model: str, error: type[anthropic.APIStatusError], kind: str, tries: int
) -> None:
    with pytest.raises(error) as caught:
        ai.messages.create(model=model, max_tokens=5, messages=HI)
    assert len(server.service.seen) == tries
    assert caught.value.type == kind
    assert caught.value.request_id == caught.value.response.headers["x-request-id"]


def test_a_full_queue(server: Served) -> None:
    with (
        anthropic.Anthropic(base_url=server.url, api_key="none", max_retries=0) as ai,
        pytest.raises(anthropic.APIStatusError) as caught,
    ):
        ai.messages.create(model="busy", max_tokens=5, messages=HI)
    assert (caught.value.status_code, caught.value.type) == (529, "overloaded_error")


def test_a_failure_in_mid_stream(ai: anthropic.Anthropic) -> None:
    said: list[str] = []
    with (
        pytest.raises(anthropic.APIStatusError, match="signal 9") as caught,
        ai.messages.stream(model="late", max_tokens=5, messages=HI) as stream,
    ):
        said.extend(stream.text_stream)
    assert said == list(TEXT[:2])
    assert caught.value.type == "api_error"


def test_a_key_by_either_header() -> None:
    with Served(api_key="sk-right") as server:
        with anthropic.Anthropic(base_url=server.url, api_key="sk-wrong") as wrong:
            with pytest.raises(anthropic.AuthenticationError) as caught:
                wrong.messages.create(model="demo", max_tokens=5, messages=HI)
            assert caught.value.type == "authentication_error"
        ways: list[Any] = [{"api_key": "sk-right"}, {"auth_token": "sk-right"}]
        for given in ways:
            with anthropic.Anthropic(base_url=server.url, **given) as right:
                assert right.messages.create(model="demo", max_tokens=5, messages=HI).content
