"""OpenAI's JSON to Runner's requests. Checks shapes and names the field at fault; what options mean, others know."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import msgspec

from runner.api import forms, values
from runner.api.openai import wire
from runner.conversation import Message, Role, ThinkLevel, ToolCall
from runner.errors import InvalidRequest, Unsupported
from runner.inference.requests import MOST_ALTERNATIVES, MOST_CHOICES, Chat, Complete, Embed
from runner.protocol.commands import Constraint

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
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
    return Chat(
        model=model,
        messages=tuple(_message(each, f"messages[{index}]") for index, each in enumerate(body.messages)),
        think=_think(body),
        options=_options(body, longest, field),
        keep_alive=values.keep_alive(body.keep_alive),
        choices=values.between(body.n, "n", 1, MOST_CHOICES) or 1,
        logprobs=values.logprobs(body.logprobs, body.top_logprobs),
        constraint=_form(body),
        prediction=_prediction(body.prediction),
    )


def completions(body: wire.CompletionRequest) -> tuple[Complete, ...]:
    """One request for each prompt, in their order. Raises InvalidRequest naming the field."""
    values.refuse(body, wire.FIELDS["/v1/completions"].later)
    model = values.required(body.model, "model")
    prompts = _texts_or_tokens(body.prompt, "prompt")
    if len(prompts) > MOST_PROMPTS:
        raise InvalidRequest(f"prompt must hold at most {MOST_PROMPTS} prompts, not {len(prompts)}", field="prompt")
    if body.echo and body.suffix:
        raise InvalidRequest("echo has no place beside a suffix", field="echo")
    first = Complete(
        model=model,
        prompt=prompts[0],
        raw=True,
        suffix=body.suffix or None,
        options=_options(body, body.max_tokens, "max_tokens", least=0 if body.echo else 1),
        keep_alive=values.keep_alive(body.keep_alive),
        choices=values.between(body.n, "n", 1, MOST_CHOICES) or 1,
        logprobs=_text_logprobs(body.logprobs),
        echo=bool(body.echo),
        constraint=_form(body),
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
        keep_alive=values.keep_alive(body.keep_alive),
        truncate=False,
    )


def _text_logprobs(value: int | bool | None) -> int | None:
    if value is True:
        raise InvalidRequest(f"logprobs must be a number of tokens from 0 to {MOST_ALTERNATIVES}", field="logprobs")
    return None if value is False else values.between(value, "logprobs", 0, MOST_ALTERNATIVES)


def _options(body: wire.Sampling, longest: int | None, field: str, *, least: int = 1) -> Mapping[str, Any]:
    given = {ours: getattr(body, theirs) for theirs, ours in wire.OPTIONS.items()}
    options = {name: value for name, value in given.items() if value is not None}
    if body.stop:
        options["stop"] = [body.stop] if isinstance(body.stop, str) else body.stop
    if longest is not None:
        if longest < least:
            raise InvalidRequest(f"{field} must be at least {least}", field=field)
        options["num_predict"] = longest
    return options


def _form(body: wire.Sampling) -> Constraint | None:
    """What the answer must look like, in OpenAI's words, in vLLM's two ways, or in llama-server's."""
    also = body.structured_outputs or wire.StructuredOutputs()
    if also.structural_tag is not None:
        field = "structured_outputs.structural_tag"
        raise Unsupported(f"{field} is not supported; json, regex, choice and grammar are", field=field)
    return forms.only(
        (
            _response_format(body.response_format),
            forms.schema(body.guided_json, "guided_json"),
            forms.regex(body.guided_regex, "guided_regex"),
            forms.choice(body.guided_choice, "guided_choice"),
            forms.grammar(body.guided_grammar, "guided_grammar"),
            forms.schema(also.json, "structured_outputs.json"),
            forms.regex(also.regex, "structured_outputs.regex"),
            forms.choice(also.choice, "structured_outputs.choice"),
            forms.grammar(also.grammar, "structured_outputs.grammar"),
            forms.any_object("structured_outputs.json_object") if also.json_object else None,
            forms.schema(body.json_schema, "json_schema"),
            forms.grammar(body.grammar, "grammar"),
        )
    )


def _response_format(form: wire.ResponseFormat | None) -> Constraint | None:
    kind = form.type if form else None
    if form is None or kind == "text":
        return None
    if kind == "json_object":
        return forms.schema(form.schema, "response_format.schema") or forms.any_object("response_format")
    if kind != "json_schema":
        raise InvalidRequest(
            "response_format.type must be text, json_object or json_schema", field="response_format.type"
        )
    field = "response_format.json_schema.schema"
    found = forms.schema(form.json_schema.schema, field) if form.json_schema else None
    if found is None:
        raise InvalidRequest(f"{field} is required", field=field)
    return found


def _prediction(given: wire.Prediction | None) -> str | None:
    if given is None:
        return None
    if given.type != "content":
        raise InvalidRequest("prediction.type must be content", field="prediction.type")
    text, images = _content(given.content, "prediction.content")
    if images:
        raise InvalidRequest("prediction.content must be text", field="prediction.content")
    return text or None


def _think(body: wire.ChatRequest) -> bool | ThinkLevel | None:
    """Three ways in which clients ask, the most explicit first."""
    variables = dict(body.chat_template_kwargs or {})
    enabled = variables.pop("enable_thinking", None)
    for name in variables:
        field = f"chat_template_kwargs.{name[:100]}"
        raise Unsupported(f"{field} is not supported; enable_thinking is", field=field)
    if enabled is not None:
        if not isinstance(enabled, bool):
            field = "chat_template_kwargs.enable_thinking"
            raise InvalidRequest(f"{field} must be true or false", field=field)
        return enabled
    if body.reasoning_effort is not None:
        return values.think(body.reasoning_effort, "reasoning_effort")
    return values.think(body.reasoning.effort, "reasoning.effort") if body.reasoning else None


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
        tool_calls=tuple(
            _tool_call(call, f"{at}.tool_calls[{index}]") for index, call in enumerate(message.tool_calls or ())
        ),
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


def _tool_call(call: wire.ToolCall, at: str) -> ToolCall:
    field = f"{at}.function.arguments"
    try:
        arguments = msgspec.json.decode(call.function.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        raise InvalidRequest(f"{field} must be a JSON object", field=field) from None
    if not isinstance(arguments, dict):
        raise InvalidRequest(f"{field} must be a JSON object", field=field)
    return ToolCall(call.function.name, arguments, call.id)


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
