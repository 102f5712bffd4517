"""Anthropic's JSON, as structs: what is read, what is written, and what becomes of each field.

Shapes only; knows no request of ours. Every field of a request may be null, as clients send it, and keys that are not
here (`cache_control`, citations) are ignored wherever they stand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from runner.api import adapters, loading
from runner.api.fields import Answers, Fields


class Source(msgspec.Struct, kw_only=True):
    """Where an image or a document is, by its `type`: base64 and text hold `data`, content holds text or blocks."""

    type: str
    data: str | None = None
    url: str | None = None
    media_type: str | None = None
    content: str | list[Block] | None = None


class Block(msgspec.Struct, kw_only=True):
    """One block of a message's content, by its `type`. A search result's `source` is a text."""

    type: str
    text: str | None = None
    thinking: str | None = None
    signature: str | None = None
    source: Source | str | None = None
    title: str | None = None
    context: str | None = None
    id: str | None = None
    name: str | None = None
    input: dict[str, Any] | None = None
    tool_use_id: str | None = None
    tool_name: str | None = None
    content: str | list[Block] | dict[str, Any] | None = None
    is_error: bool | None = None


class Message(msgspec.Struct, kw_only=True):
    """One turn that the client sends."""

    role: str
    content: str | list[Block]


class Tool(msgspec.Struct, kw_only=True):
    """A tool that the model may call: the client's own, or one that Anthropic has defined, by its `type`."""

    name: str | None = None
    type: str | None = None
    description: str | None = None
    input_schema: dict[str, Any] | None = None


class ToolChoice(msgspec.Struct, kw_only=True):
    type: str
    name: str | None = None
    disable_parallel_tool_use: bool | None = None


class Thinking(msgspec.Struct, kw_only=True):
    """`budget_tokens` bounds nothing: a thought counts towards `max_tokens`, and ends by itself."""

    type: str
    budget_tokens: int | None = None
    display: str | None = None


class Format(msgspec.Struct, kw_only=True):
    type: str
    schema: Any = None


class OutputConfig(msgspec.Struct, kw_only=True):
    effort: str | None = None
    format: Format | None = None


class CountRequest(loading.Loading, kw_only=True):
    """What makes up a prompt; up to `num_cpu_moe`, and from `keep_alive` on, fields that Anthropic doesn't have."""

    model: str | None = None
    messages: list[Message] | None = None
    system: str | list[Block] | None = None
    tools: list[Tool] | None = None
    tool_choice: ToolChoice | None = None
    thinking: Thinking | None = None
    output_config: OutputConfig | None = None
    output_format: Format | None = None
    mcp_servers: Any = None
    container: Any = None
    keep_alive: Any = None
    lora: list[adapters.Adapter] | None = None


class MessagesRequest(CountRequest, kw_only=True):
    max_tokens: int | None = None
    stream: bool | None = None
    stop_sequences: list[str] | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None


OPTIONS: tuple[str, ...] = ("temperature", "top_p", "top_k")
"""Wire fields that Runner's table of parameters calls the same."""

_NO_ACCOUNT = "Runner keeps no accounts, and nobody looks requests up by this"
_ONE_MACHINE = "there is one tier, one speed and one place: this machine"
_IGNORED: Mapping[str, str] = {
    "metadata": _NO_ACCOUNT,
    "user_profile_id": _NO_ACCOUNT,
    "workspace_id": _NO_ACCOUNT,
    "diagnostics": _NO_ACCOUNT,
    "service_tier": _ONE_MACHINE,
    "speed": _ONE_MACHINE,
    "inference_geo": _ONE_MACHINE,
    "cache_control": "equal prefixes are found without marks",
    "context_management": "nothing is taken out of a conversation; one that is too long is refused",
    "betas": "what is here is here for everybody",
}
_LATER: Mapping[str, tuple[object, ...]] = {"mcp_servers": (), "container": ()}
FIELDS: Mapping[str, Fields] = {
    "/v1/messages": Fields(MessagesRequest, _LATER, _IGNORED),
    "/v1/messages/count_tokens": Fields(
        CountRequest, _LATER, {**_IGNORED, "max_tokens": "the answer is not counted", "stream": "there is one number"}
    ),
}
"""What becomes of each field, endpoint by endpoint."""


class Usage(msgspec.Struct, kw_only=True):
    """`input_tokens` are those that were computed: with the two others, they make up the prompt."""

    input_tokens: int
    cache_creation_input_tokens: int
    cache_read_input_tokens: int
    output_tokens: int


class TextBlock(msgspec.Struct, kw_only=True, tag="text"):
    text: str = ""


class ThinkingBlock(msgspec.Struct, kw_only=True, tag="thinking"):
    thinking: str = ""
    signature: str = ""


class ToolUseBlock(msgspec.Struct, kw_only=True, tag="tool_use"):
    id: str
    name: str
    input: dict[str, Any] = {}


Content = TextBlock | ThinkingBlock | ToolUseBlock


class Answer(msgspec.Struct, kw_only=True, tag="message"):
    id: str
    role: str = "assistant"
    model: str
    content: list[Content]
    stop_reason: str | None = None
    stop_sequence: str | None = None
    usage: Usage


class MessageStart(msgspec.Struct, kw_only=True, tag="message_start"):
    message: Answer


class Ping(msgspec.Struct, tag="ping"):
    pass


class BlockStart(msgspec.Struct, kw_only=True, tag="content_block_start"):
    index: int
    content_block: Content


class TextDelta(msgspec.Struct, kw_only=True, tag="text_delta"):
    text: str


class ThinkingDelta(msgspec.Struct, kw_only=True, tag="thinking_delta"):
    thinking: str


class SignatureDelta(msgspec.Struct, kw_only=True, tag="signature_delta"):
    signature: str


class InputDelta(msgspec.Struct, kw_only=True, tag="input_json_delta"):
    """A part of the JSON text of a call's input."""

    partial_json: str


Delta = TextDelta | ThinkingDelta | SignatureDelta | InputDelta


class BlockDelta(msgspec.Struct, kw_only=True, tag="content_block_delta"):
    index: int
    delta: Delta


class BlockStop(msgspec.Struct, kw_only=True, tag="content_block_stop"):
    index: int


BlockEvent = BlockStart | BlockDelta | BlockStop


class End(msgspec.Struct, kw_only=True):
    stop_reason: str
    stop_sequence: str | None = None


class MessageDelta(msgspec.Struct, kw_only=True, tag="message_delta"):
    delta: End
    usage: Usage


class MessageStop(msgspec.Struct, tag="message_stop"):
    pass


class Count(msgspec.Struct):
    input_tokens: int


class Model(msgspec.Struct, kw_only=True, tag="model"):
    id: str
    display_name: str
    created_at: str
    lifecycle: str = "active"


class Models(msgspec.Struct, kw_only=True):
    data: list[Model]
    has_more: bool
    first_id: str | None
    last_id: str | None


class Fault(msgspec.Struct, kw_only=True):
    type: str
    message: str


class Error(msgspec.Struct, kw_only=True, tag="error"):
    error: Fault
    request_id: str


ANSWERS: Mapping[str, Answers] = {
    "/v1/messages": Answers(Answer, (MessageStart, Ping, BlockStart, BlockDelta, BlockStop, MessageDelta, MessageStop)),
    "/v1/messages/count_tokens": Answers(Count),
    "/api/hello": Answers(dict[str, str]),
}
"""What comes back, endpoint by endpoint."""
