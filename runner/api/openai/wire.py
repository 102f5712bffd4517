"""OpenAI's JSON, as structs: what is read, what is written, and what becomes of each field.

Shapes only; knows no request of ours. Every field of a request may be null, as clients send it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Generic, TypeVar

import msgspec
from msgspec import UNSET, UnsetType

from runner.api import adapters, loading
from runner.api.fields import Answers, Fields
from runner.api.openai import calling
from runner.api.openai.forms import Form
from runner.api.timings import Timings


class ImageURL(msgspec.Struct):
    url: str


class Part(msgspec.Struct, kw_only=True):
    """One part of a message's content, by its `type`."""

    type: str
    text: str | None = None
    refusal: str | None = None
    image_url: ImageURL | str | None = None


class Function(msgspec.Struct):
    """A call of a function. `arguments` is JSON text."""

    name: str
    arguments: str | None = None


class ToolCall(msgspec.Struct):
    function: Function
    id: str | None = None


class Message(msgspec.Struct, kw_only=True):
    """One turn that the client sends."""

    role: str
    content: str | list[Part] | None = None
    name: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[ToolCall] | None = None
    function_call: Function | None = None
    tool_call_id: str | None = None


class StreamOptions(msgspec.Struct, kw_only=True):
    """`continuous_usage_stats`, which is vLLM's, wants the usage so far with every event."""

    include_usage: bool | None = None
    continuous_usage_stats: bool | None = None


class Reasoning(msgspec.Struct):
    effort: str | None = None


class Sampling(Form, kw_only=True):
    """What both kinds of completion have in common; OpenAI lacks the fields of `Loading` and those from `top_k` on."""

    model: str | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    seed: int | None = None
    stop: str | list[str] | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    n: int | None = None
    logit_bias: dict[str, float] | None = None
    top_k: int | None = None
    min_p: float | None = None
    repetition_penalty: float | None = None
    ignore_eos: bool | None = None
    min_tokens: int | None = None
    draft_num_predict: int | None = None
    prompt_lookup_num_tokens: int | None = None
    keep_alive: Any = None
    lora: list[adapters.Adapter] | None = None
    service_tier: str | None = None
    priority: int | None = None
    stop_token_ids: Any = None
    allowed_token_ids: Any = None
    bad_words: Any = None
    include_stop_str_in_output: Any = None
    prompt_logprobs: Any = None


class Prediction(msgspec.Struct, kw_only=True):
    """What the answer is expected to be much like; `type` is content."""

    type: str | None = None
    content: str | list[Part] | None = None


class ChatRequest(Sampling, kw_only=True):
    messages: list[Message] | None = None
    max_completion_tokens: int | None = None
    reasoning_effort: str | None = None
    reasoning: Reasoning | None = None
    chat_template_kwargs: dict[str, Any] | None = None
    add_generation_prompt: bool | None = None
    continue_final_message: bool | None = None
    tools: list[calling.Tool] | None = None
    tool_choice: str | calling.ChosenTool | None = None
    parallel_tool_calls: bool | None = None
    functions: list[calling.OfferedFunction] | None = None
    function_call: str | calling.NamedFunction | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    modalities: Any = None
    audio: Any = None
    prediction: Prediction | None = None
    web_search_options: Any = None


class CompletionRequest(Sampling, kw_only=True):
    """`prompt` is a string, a list of strings, a list of token ids, or a list of such lists. `logprobs` is a number of
    alternatives; false is as good as null. `best_of` may be as many as `n`."""

    prompt: Any = None
    suffix: str | None = None
    echo: bool | None = None
    best_of: int | None = None
    logprobs: int | bool | None = None


class EmbeddingsRequest(loading.Loading, kw_only=True):
    """`input` takes what `prompt` takes."""

    model: str | None = None
    input: Any = None
    encoding_format: str | None = None
    dimensions: int | None = None
    keep_alive: Any = None
    lora: list[adapters.Adapter] | None = None
    priority: int | None = None


OPTIONS: Mapping[str, str] = {
    "temperature": "temperature",
    "top_p": "top_p",
    "seed": "seed",
    "frequency_penalty": "frequency_penalty",
    "presence_penalty": "presence_penalty",
    "top_k": "top_k",
    "min_p": "min_p",
    "repetition_penalty": "repeat_penalty",
    "ignore_eos": "ignore_eos",
    "min_tokens": "min_tokens",
    "draft_num_predict": "draft_num_predict",
    "prompt_lookup_num_tokens": "prompt_lookup_num_tokens",
    "logit_bias": "logit_bias",
}
"""Wire fields and what Runner's table of parameters calls them."""

_NO_ACCOUNT = "Runner keeps no accounts, and nobody looks requests up by this"
_IGNORED: Mapping[str, str] = {
    "user": _NO_ACCOUNT,
    "metadata": _NO_ACCOUNT,
    "store": _NO_ACCOUNT,
    "safety_identifier": _NO_ACCOUNT,
    "prompt_cache_key": "equal prefixes are found without a key",
    "prompt_cache_retention": "how long prefixes are kept is the machine's affair",
}
_OTHERS: Mapping[str, str] = {
    "guided_decoding_backend": "there is one",
    "guided_whitespace_pattern": "blanks in JSON are fixed, and no reader of JSON minds them",
    "response_format.json_schema.name": "the schema says it all",
    "response_format.json_schema.description": "the schema says it all",
    "response_format.json_schema.strict": "the schema is kept to, or refused, in either case",
    "skip_special_tokens": "special tokens are never text of an answer",
    "spaces_between_special_tokens": "special tokens are never text of an answer",
    "cache_prompt": "what was computed of a prompt is always kept",
    "id_slot": "where a request runs is the engine's affair",
}
_LATER: Mapping[str, tuple[object, ...]] = dict.fromkeys(
    ("stop_token_ids", "allowed_token_ids", "bad_words", "include_stop_str_in_output", "prompt_logprobs"), ()
)
FIELDS: Mapping[str, Fields] = {
    "/v1/chat/completions": Fields(
        ChatRequest,
        {
            **_LATER,
            "modalities": (["text"],),
            "audio": (),
            "web_search_options": (),
        },
        {
            **_IGNORED,
            **_OTHERS,
            "verbosity": "models here have no such setting",
            "tools[].function.strict": "a call that is demanded keeps to its schema in either case",
            "functions[].strict": "a call that is demanded keeps to its schema in either case",
        },
    ),
    "/v1/completions": Fields(
        CompletionRequest,
        _LATER,
        {"user": _NO_ACCOUNT, **_OTHERS},
    ),
    "/v1/embeddings": Fields(EmbeddingsRequest, {}, {"user": _NO_ACCOUNT}),
}
"""What becomes of each field, endpoint by endpoint."""


class CachedTokens(msgspec.Struct):
    cached_tokens: int


class PredictedTokens(msgspec.Struct, kw_only=True):
    """Of the tokens that were drafted for the answer, those that came true and those that didn't."""

    accepted_prediction_tokens: int
    rejected_prediction_tokens: int


class Usage(msgspec.Struct, kw_only=True):
    """`completion_tokens_details` come with an answer that something was drafted for."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: CachedTokens
    completion_tokens_details: PredictedTokens | UnsetType = UNSET


class Answer(msgspec.Struct, kw_only=True):
    """A whole answer's message; a thought goes by both names that clients read. Calls with nothing said beside them
    leave `content` null. `function_call` is for those who offered `functions`."""

    role: str
    content: str | None
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[calling.Call] | UnsetType = UNSET
    function_call: calling.CalledFunction | UnsetType = UNSET
    refusal: None = None


class Alternative(msgspec.Struct, kw_only=True):
    """A token that could have stood here. `bytes` may be a part of a character, which `token` then writes escaped."""

    token: str
    logprob: float
    bytes: list[int]


class TokenLogprob(Alternative, kw_only=True):
    """A token of the answer, and the likeliest in its place."""

    top_logprobs: list[Alternative]


class Logprobs(msgspec.Struct, kw_only=True):
    """Of the message's content; a thought before it is left aside."""

    content: list[TokenLogprob]
    refusal: None = None


class Choice(msgspec.Struct, kw_only=True):
    index: int
    message: Answer
    logprobs: Logprobs | None = None
    finish_reason: str


class ChatCompletion(msgspec.Struct, kw_only=True):
    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[Choice]
    usage: Usage
    timings: Timings


class Delta(msgspec.Struct, kw_only=True):
    role: str | UnsetType = UNSET
    content: str | UnsetType | None = UNSET
    reasoning_content: str | UnsetType = UNSET
    reasoning: str | UnsetType = UNSET
    tool_calls: list[calling.CallDelta] | UnsetType = UNSET
    function_call: calling.CalledFunction | UnsetType = UNSET


class ChunkChoice(msgspec.Struct, kw_only=True):
    index: int
    delta: Delta
    logprobs: Logprobs | None = None
    finish_reason: str | None = None


class TextLogprobs(msgspec.Struct, kw_only=True):
    """Lists of equal length, one value for each token; the one that ended the text is among them.

    `text_offset` counts characters. The first token of an echoed prompt has neither a log-probability nor alternatives.
    """

    text_offset: list[int]
    token_logprobs: list[float | None]
    tokens: list[str]
    top_logprobs: list[dict[str, float] | None] | None


class TextChoice(msgspec.Struct, kw_only=True):
    index: int
    text: str
    logprobs: TextLogprobs | None = None
    finish_reason: str | None = None


Kind = TypeVar("Kind", bound=msgspec.Struct)


class Chunk(msgspec.Struct, Generic[Kind], kw_only=True):
    """One event of a stream. `usage` is unset without include_usage, and null before the end with it. `timings` come
    with the last event of an answer."""

    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[Kind]
    usage: Usage | UnsetType | None = UNSET
    timings: Timings | UnsetType = UNSET


class Completion(msgspec.Struct, kw_only=True):
    id: str
    object: str
    created: int
    model: str
    system_fingerprint: str
    choices: list[TextChoice]
    usage: Usage
    timings: Timings


class Embedding(msgspec.Struct, kw_only=True):
    """`embedding` is a list of numbers, or base64 of little-endian float32."""

    object: str
    index: int
    embedding: list[float] | str


class EmbeddingsUsage(msgspec.Struct, kw_only=True):
    prompt_tokens: int
    total_tokens: int


class Embeddings(msgspec.Struct, kw_only=True):
    object: str
    data: list[Embedding]
    model: str
    usage: EmbeddingsUsage


class Model(msgspec.Struct, kw_only=True):
    """From `type` on, what clients of Anthropic's read. `parent`, which is vLLM's, is of a model with adapters: another
    on the same weights without any, if there is one."""

    id: str
    object: str
    created: int
    owned_by: str
    type: str
    display_name: str
    created_at: str
    parent: str | UnsetType = UNSET


class Fault(msgspec.Struct, kw_only=True):
    message: str
    type: str
    param: str | None
    code: str


class Error(msgspec.Struct, kw_only=True):
    error: Fault


class Models(msgspec.Struct, kw_only=True):
    """All of /v1/models."""

    object: str
    data: list[Model]


ANSWERS: Mapping[str, Answers] = {
    "/v1/chat/completions": Answers(ChatCompletion, Chunk[ChunkChoice]),
    "/v1/completions": Answers(Completion, Chunk[TextChoice]),
    "/v1/embeddings": Answers(Embeddings),
    "/v1/models": Answers(Models),
    "/v1/models/{name}": Answers(Model),
}
"""What comes back, endpoint by endpoint."""
