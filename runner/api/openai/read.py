"""OpenAI's JSON to Runner's requests. Checks shapes and names the field at fault; what options mean, others know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

from msgspec import structs

from runner.api import adapters, loading, tools, values
from runner.api.openai import calling, forms, variables, wire
from runner.conversation import Message, Role, ThinkLevel, ToolCall
from runner.errors import InvalidRequest, Unsupported
from runner.inference.requests import MOST_ALTERNATIVES, MOST_CHOICES, Chat, Complete, Embed

_ROLES = {
    "system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool",
    "function": "tool",
}  # fmt: skip
MOST_PROMPTS = 256
_TOKEN_LIMIT = 2**31


def chat(body: wire.ChatRequest) -> Chat:
    """Raises InvalidRequest naming the field."""
    values.refuse(body, wire.FIELDS["/v1/chat/completions"].later)
    model = values.required(body.model, "model")
    if not body.messages:
        raise InvalidRequest("messages must hold at least one message", field="messages")
    longest, field = body.max_tokens, "max_tokens"
    if body.max_completion_tokens is not None:
        longest, field = body.max_completion_tokens, "max_completion_tokens"
    _check_continuation(body, body.messages[-1].role == "assistant")
    specs, choice = _tools(body)
    thinking, told = variables.split(body.chat_template_kwargs)
    return Chat(
        model=model,
        messages=_messages(body.messages),
        tools=specs,
        tool_choice=choice,
        think=_think(body, thinking),
        variables=told,
        options=_options(body, longest, field),
        keep_alive=values.keep_alive(body.keep_alive),
        priority=values.priority(body.service_tier, body.priority),
        choices=values.between(body.n, "n", 1, MOST_CHOICES) or 1,
        logprobs=values.logprobs(body.logprobs, body.top_logprobs),
        constraint=forms.asked(body),
        prediction=_prediction(body.prediction),
        lora=adapters.read(body.lora),
    )


def completions(body: wire.CompletionRequest) -> tuple[Complete, ...]:
    """One request for each prompt, in their order. Raises InvalidRequest naming the field."""
    values.refuse(body, wire.FIELDS["/v1/completions"].later)
    model = values.required(body.model, "model")
    prompts = _texts_or_tokens(body.prompt, "prompt")
    if len(prompts) > MOST_PROMPTS:
        raise InvalidRequest(f"prompt must hold at most {MOST_PROMPTS} prompts, not {len(prompts)}", field="prompt")
    choices = values.between(body.n, "n", 1, MOST_CHOICES) or 1
    if body.best_of not in (None, choices):
        raise Unsupported(f"best_of is not supported where it isn't n, which is {choices}", field="best_of")
    if body.echo and body.suffix:
        raise InvalidRequest("echo has no place beside a suffix", field="echo")
    first = Complete(
        model=model,
        prompt=prompts[0],
        raw=True,
        suffix=body.suffix or None,
        options=_options(body, body.max_tokens, "max_tokens", least=0 if body.echo else 1),
        keep_alive=values.keep_alive(body.keep_alive),
        priority=values.priority(body.service_tier, body.priority),
        choices=choices,
        logprobs=_text_logprobs(body.logprobs),
        echo=bool(body.echo),
        constraint=forms.asked(body),
        lora=adapters.read(body.lora),
    )
    return tuple(replace(first, prompt=prompt) for prompt in prompts)


def embeddings(body: wire.EmbeddingsRequest) -> Embed:
    """Raises InvalidRequest naming the field."""
    model = values.required(body.model, "model")
    if body.encoding_format not in (None, "float", "base64"):
        raise InvalidRequest("encoding_format must be float or base64", field="encoding_format")
    if body.dimensions is not None and body.dimensions < 1:
        raise InvalidRequest("dimensions must be at least 1", field="dimensions")
    return Embed(
        model=model,
        inputs=_texts_or_tokens(body.input, "input"),
        dimensions=body.dimensions,
        options=loading.options(body),
        keep_alive=values.keep_alive(body.keep_alive),
        priority=values.priority(None, body.priority),
        truncate=False,
        lora=adapters.read(body.lora),
    )


def _text_logprobs(value: int | bool | None) -> int | None:
    if value is True:
        raise InvalidRequest(f"logprobs must be a number of tokens from 0 to {MOST_ALTERNATIVES}", field="logprobs")
    return None if value is False else values.between(value, "logprobs", 0, MOST_ALTERNATIVES)


def _options(body: wire.Sampling, longest: int | None, field: str, *, least: int = 1) -> Mapping[str, Any]:
    given = {ours: getattr(body, theirs) for theirs, ours in wire.OPTIONS.items()}
    options = loading.options(body) | {name: value for name, value in given.items() if value is not None}
    if body.stop:
        options["stop"] = [body.stop] if isinstance(body.stop, str) else body.stop
    if longest is not None:
        if longest < least:
            raise InvalidRequest(f"{field} must be at least {least}", field=field)
        options["num_predict"] = longest
    return options


def _prediction(given: wire.Prediction | None) -> str | None:
    if given is None:
        return None
    if given.type != "content":
        raise InvalidRequest("prediction.type must be content", field="prediction.type")
    text, images = _content(given.content, "prediction.content")
    if images:
        raise InvalidRequest("prediction.content must be text", field="prediction.content")
    return text or None


def _think(body: wire.ChatRequest, told: Mapping[str, Any]) -> bool | ThinkLevel | None:
    """Whether, and how long, in the words of templates and of other servers; the most explicit first."""
    enabled = variables.flag(told, "enable_thinking")
    if enabled is None:
        enabled = variables.flag(told, "thinking")
    level = values.think(told.get("reasoning_effort"), "chat_template_kwargs.reasoning_effort")
    if level is None:
        level = values.think(body.reasoning_effort, "reasoning_effort")
    if level is None and body.reasoning:
        level = values.think(body.reasoning.effort, "reasoning.effort")
    return level if enabled is None else enabled and (level or True)


def offers_functions(body: wire.ChatRequest) -> bool:
    """Whether calls are to be told the way they were before there were tools."""
    return bool(body.functions)


def _tools(body: wire.ChatRequest) -> calling.Offered:
    if not body.functions and body.function_call in (None, "none", "auto"):
        return calling.offered(body.tools, body.tool_choice, body.parallel_tool_calls)
    if body.tools:
        field = "functions" if body.functions else "function_call"
        raise InvalidRequest(f"{field} has no place beside tools", field=field)
    return calling.offered_before(body.functions, body.function_call)


def _check_continuation(body: wire.ChatRequest, begun: bool) -> None:
    """A last message of the assistant's is continued, and no other can be; clients that say so must say just that."""
    if body.continue_final_message and not begun:
        field = "continue_final_message"
        raise InvalidRequest(f"{field} needs a last message of the assistant's", field=field)
    if body.continue_final_message and body.add_generation_prompt:
        field = "add_generation_prompt"
        raise InvalidRequest(f"{field} and continue_final_message exclude each other", field=field)
    for field, value in (
        ("continue_final_message", body.continue_final_message is False and begun),
        ("add_generation_prompt", body.add_generation_prompt is False and not begun),
    ):
        if value:
            raise Unsupported(
                f"{field} can't be false here: a last message of the assistant's is continued, any other is answered",
                field=field,
            )


def _messages(given: list[wire.Message]) -> tuple[Message, ...]:
    """The conversation. A tool's result gets the name of the tool that was called, for templates that ask for it."""
    names: dict[str, str] = {}
    found: list[Message] = []
    for index, each in enumerate(given):
        message = _message(each, f"messages[{index}]")
        names |= {call.id: call.name for call in message.tool_calls if call.id}
        if message.role == "tool" and not message.tool_name and message.tool_call_id:
            message = structs.replace(message, tool_name=names.get(message.tool_call_id))
        found.append(message)
    return tuple(found)


def _message(message: wire.Message, at: str) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        raise InvalidRequest(f"{at}.role must be one of {', '.join(_ROLES)}", field=f"{at}.role")
    content, images = _content(message.content, f"{at}.content")
    return Message(
        role=cast("Role", role),
        content=content,
        images=images,
        thinking=message.reasoning_content or message.reasoning or None,
        tool_calls=_calls(message, at),
        tool_name=message.name if role == "tool" else None,
        tool_call_id=message.tool_call_id,
    )


def _content(content: str | list[wire.Part] | None, at: str) -> tuple[str, tuple[bytes, ...]]:
    if content is None or isinstance(content, str):
        return content or "", ()
    texts: list[str] = []
    images: list[bytes] = []
    for index, part in enumerate(content):
        field = f"{at}[{index}]"
        if part.type == "text":
            texts.append(_given(part.text, f"{field}.text"))
        elif part.type == "refusal":
            texts.append(_given(part.refusal, f"{field}.refusal"))
        elif part.type == "image_url":
            images.append(_image(part.image_url, f"{field}.image_url"))
        else:
            raise Unsupported(f"{field}.type {part.type[:40]!r} is not supported; text and image_url are", field=field)
    return "\n".join(texts), tuple(images)


def _given(text: str | None, field: str) -> str:
    if text is None:
        raise InvalidRequest(f"{field} is required", field=field)
    return text


def _image(image: wire.ImageURL | str | None, field: str) -> bytes:
    url = image.url if isinstance(image, wire.ImageURL) else image
    if not url:
        raise InvalidRequest(f"{field} is required", field=field)
    return values.image_at(url, field)


def _calls(message: wire.Message, at: str) -> tuple[ToolCall, ...]:
    made = [
        (f"{at}.tool_calls[{index}].function", each.function, each.id)
        for index, each in enumerate(message.tool_calls or ())
    ]
    if message.function_call is not None:
        made.append((f"{at}.function_call", message.function_call, None))
    return tuple(
        ToolCall(function.name, tools.arguments(function.arguments, f"{field}.arguments"), call_id)
        for field, function, call_id in made
    )


def _texts_or_tokens(value: object, field: str) -> tuple[str | tuple[int, ...], ...]:
    """A string, a list of strings, a list of token ids, or a list of such lists; never empty."""
    if isinstance(value, str):
        return (value,)
    if isinstance(value, list) and value:
        if all(isinstance(each, str) for each in value):
            return tuple(value)
        if _are_tokens(value):
            return (tuple(value),)
        if all(isinstance(each, list) and each and _are_tokens(each) for each in value):
            return tuple(tuple(each) for each in value)
    if value is None or value == []:
        raise InvalidRequest(f"{field} is required", field=field)
    raise InvalidRequest(
        f"{field} must be a string, a list of strings, a list of token ids or a list of such lists", field=field
    )


def _are_tokens(value: list[object]) -> bool:
    return all(type(each) is int and 0 <= each < _TOKEN_LIMIT for each in value)
