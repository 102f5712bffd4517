"""llama-server's JSON, and vLLM's where both have the path: what is read, what is written, what becomes of each field.

Shapes only; knows no request of ours. Every field of a request may be null, as clients send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from runner.api import adapters
from runner.api.fields import Answers, Fields
from runner.api.timings import Timings


class Part(msgspec.Struct, kw_only=True):
    """One part of a message's content; text is the only `type`."""

    type: str
    text: str | None = None


class Called(msgspec.Struct):
    """`arguments` is JSON text."""

    name: str
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    function: Called
    id: str | None = None


class Message(msgspec.Struct, kw_only=True):
    """One turn, as chat completions have it, without images."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


class Function(msgspec.Struct, kw_only=True):
    """`parameters` is a JSON Schema."""

    name: str
    description: str | None = None
    parameters: dict[str, Any] | None = None


class Tool(msgspec.Struct, kw_only=True):
    function: Function
    type: str | None = None


class Conversation(msgspec.Struct, kw_only=True):
    """What the chat template is given."""

    model: str | None = None
    messages: list[Message] | None = None
    tools: list[Tool] | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    chat_template: Any = None


class TokenizeRequest(Conversation, kw_only=True):
    """One of `content` (llama-server), `prompt` and `messages` (vLLM)."""

    content: str | None = None
    add_special: bool | None = None
    parse_special: bool | None = None
    with_pieces: bool | None = None
    prompt: str | None = None
    add_special_tokens: bool | None = None
    return_token_strs: bool | None = None
    media_io_kwargs: Any = None
    mm_processor_kwargs: Any = None


class DetokenizeRequest(msgspec.Struct, kw_only=True):
    model: str | None = None
    tokens: list[int] | None = None


class TemplateRequest(Conversation, kw_only=True):
    pass


class Extra(msgspec.Struct, kw_only=True):
    """A piece of other code that may help."""

    text: str
    filename: str | None = None


class InfillRequest(msgspec.Struct, kw_only=True):
    """`prompt` is what stands between the prefix and the cursor. The last two are Runner's own."""

    model: str | None = None
    input_prefix: str | None = None
    input_suffix: str | None = None
    input_extra: list[Extra] | None = None
    prompt: str | None = None
    stream: bool | None = None
    n_predict: int | None = None
    temperature: float | None = None
    top_k: int | None = None
    top_p: float | None = None
    min_p: float | None = None
    typical_p: float | None = None
    top_n_sigma: float | None = None
    xtc_probability: float | None = None
    xtc_threshold: float | None = None
    repeat_last_n: int | None = None
    repeat_penalty: float | None = None
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    dry_multiplier: float | None = None
    dry_base: float | None = None
    dry_allowed_length: int | None = None
    dry_penalty_last_n: int | None = None
    dry_sequence_breakers: list[str] | None = None
    mirostat: int | None = None
    mirostat_tau: float | None = None
    mirostat_eta: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    ignore_eos: bool | None = None
    logit_bias: dict[str, Any] | list[Any] | None = None
    grammar: str | None = None
    json_schema: Any = None
    response_fields: list[str] | None = None
    n_cmpl: Any = None
    n_probs: Any = None
    post_sampling_probs: Any = None
    return_tokens: Any = None
    lora: list[adapters.Adapter] | None = None
    dynatemp_range: Any = None
    min_keep: Any = None
    keep_alive: Any = None
    num_ctx: int | None = None


OPTIONS: Mapping[str, str] = {
    "n_predict": "num_predict",
    **{
        name: name
        for name in (
            "temperature", "top_k", "top_p", "min_p", "typical_p", "top_n_sigma", "xtc_probability", "xtc_threshold",
            "repeat_last_n", "repeat_penalty", "presence_penalty", "frequency_penalty", "dry_multiplier", "dry_base",
            "dry_allowed_length", "dry_penalty_last_n", "dry_sequence_breakers", "mirostat", "mirostat_tau",
            "mirostat_eta", "seed", "ignore_eos", "num_ctx",
        )
    },
}  # fmt: skip
"""Fields of /infill, and what Runner's table of parameters calls them."""

_MODEL = "may be left out while exactly one model is loaded"
_CONVERSATION: Mapping[str, str] = {
    "model": _MODEL,
    "messages[].role": "system, developer, user, assistant or tool",
    "messages[].content[].type": "`text`",
    "messages[].name": "the tool's, with role tool",
    "tools[].type": "`function`",
    "messages[].tool_calls[].function.arguments": "the text of a JSON object",
    "chat_template_kwargs": "`enable_thinking`; others are rejected by name",
    "add_generation_prompt": "false is rejected, unless the last message is the assistant's",
    "continue_final_message": "a last message of the assistant's is always continued; true is rejected without one",
}
_SLOTS = "requests are not bound to slots; a prefix is found wherever it stands"
FIELDS: Mapping[str, Fields] = {
    "/tokenize": Fields(
        TokenizeRequest,
        {"chat_template": (), "media_io_kwargs": (), "mm_processor_kwargs": ()},
        notes={
            **_CONVERSATION,
            "content": "llama-server's form, of at most 2,097,152 characters; excludes `prompt` and `messages`",
            "prompt": "vLLM's form of a text; as long as `content` may be",
            "messages": "vLLM's form of a conversation",
            "add_special": "with `content`; false by default",
            "parse_special": "with `content`; true by default",
            "with_pieces": "with `content`",
            "add_special_tokens": "with `prompt`, true by default; a conversation has what its template gives",
            "return_token_strs": "with `prompt` or `messages`",
        },
    ),
    "/detokenize": Fields(
        DetokenizeRequest, notes={"model": _MODEL, "tokens": "ids of the model's vocabulary; at most 524,288"}
    ),
    "/apply-template": Fields(TemplateRequest, {"chat_template": ()}, notes=_CONVERSATION),
    "/infill": Fields(
        InfillRequest,
        {
            "n_cmpl": (1,),
            "n_probs": (0,),
            "post_sampling_probs": (),
            "return_tokens": (),
            "dynatemp_range": (0, 0.0),
            "min_keep": (0,),
        },
        {
            "samplers": "the chain keeps llama.cpp's order; each sampler is switched by its own field",
            "cache_prompt": "what was computed is always found again",
            "n_cache_reuse": "what was computed is found by its beginning",
            "id_slot": _SLOTS,
            "n_keep": "a prompt that is too long is cut farthest from the gap",
            "n_discard": "Runner never shifts the context",
            "n_indent": "the editor knows better where an answer leaves the block",
            "t_max_prompt_ms": "who leaves ends the work at once",
            "t_max_predict_ms": "who leaves ends the work at once",
            "dynatemp_exponent": "of no effect without dynatemp_range",
            "timings_per_token": "timings come with the end",
            "return_progress": "a long prompt is told by comments that keep the connection alive",
            "sse_ping_interval": "comments come after ten silent seconds",
        },
        notes={
            "model": _MODEL,
            "input_extra": "stands before the prefix, and is the first to go where the whole is too long",
            "input_extra[].filename": "not told to the model",
            "prompt": "joined to the prefix",
            "stream": "server-sent events; the last has `stop`: true",
            "logit_bias": "an object or pairs, of token ids and numbers; false stands for -100",
            "grammar": "GBNF or Lark",
            "response_fields": "of the last event or the whole answer; a path such as `timings/prompt_n` is lifted",
            "keep_alive": "seconds, or a duration such as `5m`",
        },
    ),
}
"""What becomes of each field, endpoint by endpoint."""


class TokenPiece(msgspec.Struct, kw_only=True):
    """A token and its text, or its bytes where they are a part of a character."""

    id: int
    piece: str | list[int]


class Tokens(msgspec.Struct, kw_only=True):
    """llama-server's answer, to `content`."""

    tokens: list[int | TokenPiece]


class TokenCount(msgspec.Struct, kw_only=True, omit_defaults=True):
    """vLLM's answer, to `prompt` and `messages`."""

    count: int
    max_model_len: int
    tokens: list[int]
    token_strs: list[str] | None = None


class Text(msgspec.Struct, kw_only=True):
    """The text of tokens, by both names that clients read."""

    content: str
    prompt: str


class Rendered(msgspec.Struct, kw_only=True):
    prompt: str


class InfillChunk(msgspec.Struct, kw_only=True):
    """One event before the last."""

    index: int
    content: str
    stop: bool
    tokens_predicted: int


class Infilled(msgspec.Struct, kw_only=True):
    """The whole answer, or the last event of a stream. `response_fields` may leave less of it.

    `tokens` is always empty; `generation_settings` are those that the request gave; `tokens_cached` are those of the
    prompt that needed no computing.
    """

    index: int
    content: str
    tokens: list[int]
    stop: bool
    model: str
    tokens_predicted: int
    tokens_evaluated: int
    generation_settings: dict[str, Any]
    has_new_line: bool
    truncated: bool
    stop_type: str
    stopping_word: str
    tokens_cached: int
    timings: Timings


class Fault(msgspec.Struct, kw_only=True, omit_defaults=True):
    """`code` is the HTTP status, `type` llama-server's word; `reason` is Runner's code, `param` the field at fault. The
    last two come with a prompt that is too long."""

    code: int
    message: str
    type: str
    reason: str
    param: str | None = None
    n_prompt_tokens: int = 0
    n_ctx: int = 0


class Error(msgspec.Struct, kw_only=True):
    error: Fault


ANSWERS: Mapping[str, Answers] = {
    "/tokenize": Answers((Tokens, TokenCount)),
    "/detokenize": Answers(Text),
    "/apply-template": Answers(Rendered),
    "/infill": Answers((Infilled, dict[str, Any]), (InfillChunk, Infilled, dict[str, Any])),
}
"""What comes back."""
