"""What /v1/responses answers, as structs: the response, its items and their parts, and the events of a stream.

Shapes only. An event's `sequence_number` is set when it is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from runner.api.fields import Answers
from runner.api.openai.responses import wire
from runner.api.openai.wire import TokenLogprob
from runner.api.timings import Timings


class OutputText(msgspec.Struct, kw_only=True, tag_field="type", tag="output_text"):
    text: str
    annotations: list[Any] = []
    logprobs: list[TokenLogprob] = []


class ReasoningText(msgspec.Struct, kw_only=True, tag_field="type", tag="reasoning_text"):
    text: str


class SummaryText(msgspec.Struct, kw_only=True, tag_field="type", tag="summary_text"):
    text: str


class Message(msgspec.Struct, kw_only=True, tag_field="type", tag="message"):
    id: str
    status: str
    role: str = "assistant"
    content: list[OutputText]


class Reasoning(msgspec.Struct, kw_only=True, tag_field="type", tag="reasoning"):
    """A thought: in `content`, or in `summary` where the client asked for one."""

    id: str
    status: str
    summary: list[SummaryText]
    content: list[ReasoningText] | UnsetType = UNSET
    encrypted_content: str | UnsetType = UNSET


class FunctionCall(msgspec.Struct, kw_only=True, tag_field="type", tag="function_call"):
    """`arguments` is JSON text; it may be cut short in a call that is incomplete."""

    id: str
    status: str
    call_id: str
    name: str
    arguments: str
    namespace: str | UnsetType = UNSET


class CustomCall(msgspec.Struct, kw_only=True, tag_field="type", tag="custom_tool_call"):
    id: str
    status: str
    call_id: str
    name: str
    input: str
    namespace: str | UnsetType = UNSET


Item = Message | Reasoning | FunctionCall | CustomCall


class CachedTokens(msgspec.Struct, kw_only=True):
    cached_tokens: int
    cache_write_tokens: int = 0


class ReasoningTokens(msgspec.Struct, kw_only=True):
    reasoning_tokens: int


class Usage(msgspec.Struct, kw_only=True):
    input_tokens: int
    input_tokens_details: CachedTokens
    output_tokens: int
    output_tokens_details: ReasoningTokens
    total_tokens: int


class Fault(msgspec.Struct, kw_only=True):
    code: str
    message: str


class Incomplete(msgspec.Struct, kw_only=True):
    reason: str


class Response(msgspec.Struct, kw_only=True):
    """The answer, with what was asked for beside it. `store` says whether the next request can refer to it."""

    id: str
    object: str = "response"
    created_at: int
    status: str
    completed_at: int | None = None
    background: bool = False
    error: Fault | None = None
    incomplete_details: Incomplete | None = None
    instructions: str | None
    max_output_tokens: int | None
    max_tool_calls: None = None
    model: str
    output: list[Item]
    parallel_tool_calls: bool
    previous_response_id: str | None
    prompt_cache_key: str | None
    reasoning: wire.Reasoning
    safety_identifier: str | None
    service_tier: str = "default"
    store: bool
    temperature: float | None
    text: wire.TextConfig
    tool_choice: str | wire.ToolChoice
    tools: list[wire.Tool]
    top_logprobs: int
    top_p: float | None
    truncation: str
    usage: Usage | None = None
    user: str | None
    metadata: dict[str, str]
    timings: Timings | UnsetType = UNSET


class InputTokens(msgspec.Struct, kw_only=True):
    """How long a request is, without an answer."""

    object: str = "response.input_tokens"
    input_tokens: int


class Deleted(msgspec.Struct, kw_only=True):
    id: str
    object: str = "response"
    deleted: bool = True


class Event(msgspec.Struct, kw_only=True, tag_field="type"):
    """The root of them all."""

    sequence_number: int = 0


class _OfResponse(Event, kw_only=True):
    response: Response


class Created(_OfResponse, tag="response.created"):
    pass


class InProgress(_OfResponse, tag="response.in_progress"):
    """Also what a client hears from time to time while its model loads or reads a long prompt."""


class Completed(_OfResponse, tag="response.completed"):
    pass


class Cut(_OfResponse, tag="response.incomplete"):
    pass


class Failed(_OfResponse, tag="response.failed"):
    pass


class _OfItem(Event, kw_only=True):
    output_index: int


class ItemAdded(_OfItem, kw_only=True, tag="response.output_item.added"):
    item: Item


class ItemDone(_OfItem, kw_only=True, tag="response.output_item.done"):
    item: Item


class _WithinItem(_OfItem, kw_only=True):
    item_id: str


class _OfContent(_WithinItem, kw_only=True):
    content_index: int = 0


class PartAdded(_OfContent, kw_only=True, tag="response.content_part.added"):
    part: OutputText | ReasoningText


class PartDone(_OfContent, kw_only=True, tag="response.content_part.done"):
    part: OutputText | ReasoningText


class TextDelta(_OfContent, kw_only=True, tag="response.output_text.delta"):
    delta: str
    logprobs: list[TokenLogprob]


class TextDone(_OfContent, kw_only=True, tag="response.output_text.done"):
    text: str
    logprobs: list[TokenLogprob]


class ReasoningDelta(_OfContent, kw_only=True, tag="response.reasoning_text.delta"):
    delta: str


class ReasoningDone(_OfContent, kw_only=True, tag="response.reasoning_text.done"):
    text: str


class _OfSummary(_WithinItem, kw_only=True):
    summary_index: int = 0


class SummaryPartAdded(_OfSummary, kw_only=True, tag="response.reasoning_summary_part.added"):
    part: SummaryText


class SummaryPartDone(_OfSummary, kw_only=True, tag="response.reasoning_summary_part.done"):
    part: SummaryText


class SummaryDelta(_OfSummary, kw_only=True, tag="response.reasoning_summary_text.delta"):
    delta: str


class SummaryDone(_OfSummary, kw_only=True, tag="response.reasoning_summary_text.done"):
    text: str


class ArgumentsDelta(_WithinItem, kw_only=True, tag="response.function_call_arguments.delta"):
    delta: str


class ArgumentsDone(_WithinItem, kw_only=True, tag="response.function_call_arguments.done"):
    name: str
    arguments: str


class InputDelta(_WithinItem, kw_only=True, tag="response.custom_tool_call_input.delta"):
    delta: str


class InputDone(_WithinItem, kw_only=True, tag="response.custom_tool_call_input.done"):
    input: str


ANSWERS: Mapping[str, Answers] = {
    "/v1/responses": Answers(
        Response,
        (
            Created,
            InProgress,
            Completed,
            Cut,
            Failed,
            ItemAdded,
            ItemDone,
            PartAdded,
            PartDone,
            TextDelta,
            TextDone,
            ReasoningDelta,
            ReasoningDone,
            SummaryPartAdded,
            SummaryPartDone,
            SummaryDelta,
            SummaryDone,
            ArgumentsDelta,
            ArgumentsDone,
            InputDelta,
            InputDone,
        ),
    ),
    "/v1/responses/input_tokens": Answers(InputTokens),
    "/v1/responses/{id}": Answers((Response, Deleted)),
    "/v1/responses/{id}/input_items": Answers(dict[str, Any]),
    "/v1/responses/{id}/cancel": Answers(Response),
}
"""What comes back, endpoint by endpoint."""
