"""What clients send to /v1/responses, as structs, and what becomes of each field.

Shapes only; knows no request of ours. Every field may be null, as clients send it. What is written stands in `events`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from runner.api import adapters, loading
from runner.api.fields import Fields


class Part(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One part of a content, an output or a thought, by its `type`."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: str | None = None
    detail: str | None = None


class Item(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One thing that was said or done, by its `type`; without one, a message. `arguments` is JSON text."""

    type: str | None = None
    id: str | None = None
    status: str | None = None
    role: str | None = None
    content: str | list[Part] | None = None
    summary: list[Part] | None = None
    encrypted_content: str | None = None
    call_id: str | None = None
    namespace: str | None = None
    name: str | None = None
    arguments: str | None = None
    input: str | None = None
    output: str | list[Part] | None = None
    tools: list[Tool] | None = None


class CustomFormat(msgspec.Struct, kw_only=True, omit_defaults=True):
    """What the input of a custom tool looks like: any text, or a grammar."""

    type: str | None = None
    syntax: str | None = None
    definition: str | None = None


class Tool(msgspec.Struct, kw_only=True, omit_defaults=True):
    """Something that the model may use, by its `type`; a namespace holds `tools` of its own."""

    type: str
    name: str | None = None
    description: str | None = None
    parameters: Any = None
    strict: bool | None = None
    format: CustomFormat | None = None
    tools: list[Tool] | None = None


class ToolName(msgspec.Struct, kw_only=True, omit_defaults=True):
    """A tool that was defined elsewhere in the request."""

    type: str | None = None
    name: str | None = None
    namespace: str | None = None


class ToolChoice(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One tool by its name, or with `allowed_tools` the few that may be called for now."""

    type: str
    name: str | None = None
    namespace: str | None = None
    mode: str | None = None
    tools: list[ToolName] | None = None


class Reasoning(msgspec.Struct, kw_only=True):
    effort: str | None = None
    summary: str | None = None


class TextFormat(msgspec.Struct, kw_only=True, omit_defaults=True):
    """`strict` changes nothing: the schema is kept to, or refused, in either case."""

    type: str | None = None
    name: str | None = None
    description: str | None = None
    schema: Any = None
    strict: bool | None = None


class TextConfig(msgspec.Struct, kw_only=True, omit_defaults=True):
    format: TextFormat | None = None
    verbosity: str | None = None


class CountRequest(loading.Loading, kw_only=True):
    """What a prompt is made of, and how it is gone on from. Up to `num_cpu_moe`, and from `frequency_penalty` on,
    fields that OpenAI doesn't have here, as the other endpoints take them."""

    model: str | None = None
    input: str | list[Item] | None = None
    instructions: str | None = None
    previous_response_id: str | None = None
    store: bool | None = None
    tools: list[Tool] | None = None
    tool_choice: str | ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    text: TextConfig | None = None
    reasoning: Reasoning | None = None
    include: list[str] | None = None
    max_output_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_logprobs: int | None = None
    truncation: str | None = None
    background: Any = None
    conversation: Any = None
    prompt: Any = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    stop: str | list[str] | None = None
    seed: int | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    keep_alive: Any = None
    lora: list[adapters.Adapter] | None = None
    service_tier: str | None = None


class ResponseRequest(CountRequest, kw_only=True):
    """All that an answer depends on; what it doesn't is told again in the answer."""

    stream: bool | None = None
    metadata: dict[str, str] | None = None
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None


OPTIONS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "seed": "seed",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
}
"""Wire fields and what Runner's table of parameters calls them."""

UNUSED_TOOLS: Mapping[str, str] = {
    "web_search": "coding assistants always offer it; Runner searches nothing",
    "web_search_preview": "as web_search",
    "web_search_2025_08_26": "as web_search",
    "web_search_preview_2025_03_11": "as web_search",
    "image_generation": "coding assistants always offer it; models here make no images",
    "local_shell": "coding assistants offer a function beside it that does the same",
    "tool_search": "the model sees all tools at once",
}
"""Types of `tools` that are left out, and why that is harmless: OpenAI would run them itself."""

UNUSED_ITEMS: Mapping[str, str] = {
    "web_search_call": "it holds no results, only that something was searched for",
    "image_generation_call": "models here make no images",
    "ghost_snapshot": "it is a client's own note",
}
"""Types of `input` that are left out, and why that is harmless."""

_SCHEMA = "the schema says it all"
_LATER: Mapping[str, tuple[object, ...]] = {"background": (), "conversation": (), "prompt": ()}
_IGNORED: Mapping[str, str] = {
    "stream_options": "nothing is obfuscated",
    "max_tool_calls": "it counts calls of tools that the server runs, and there are none",
    "prompt_cache_options": "equal prefixes are found without being told",
    "prompt_cache_retention": "how long prefixes are kept is the machine's affair",
    "context_management": "nothing is compacted: a prompt that is too long is refused with both numbers",
    "moderation": "nothing is moderated",
    "text.verbosity": "models here have no such setting",
    "text.format.name": _SCHEMA,
    "text.format.description": _SCHEMA,
    "text.format.strict": "the schema is kept to, or refused, in either case",
    "tools[].strict": "it changes nothing about how calls are made",
    "input[].content[].detail": "there is one way to look at an image",
    **{f"tools[type={name}]": why for name, why in UNUSED_TOOLS.items()},
    **{f"input[type={name}]": why for name, why in UNUSED_ITEMS.items()},
}
_TOLD = dict.fromkeys(("stream", "metadata", "user", "safety_identifier", "prompt_cache_key"), "tokens are counted")
FIELDS: Mapping[str, Fields] = {
    "/v1/responses": Fields(ResponseRequest, _LATER, _IGNORED),
    "/v1/responses/input_tokens": Fields(CountRequest, _LATER, {**_IGNORED, **_TOLD}),
}
"""What becomes of each field."""
