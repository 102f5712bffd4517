"""llama-server's and vLLM's JSON to Runner's requests. Checks shapes and names the field at fault.

Which model is meant where none is named, the caller knows.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import msgspec

from runner.api import adapters, forms, tools, values
from runner.api.llamacpp import wire
from runner.conversation import Message, Role, ToolCall, ToolSpec
from runner.errors import InvalidRequest, Unsupported
from runner.inference.requests import Chat, Complete, Detokenize, Preview, Tokenize

_ROLES = {"system": "system", "developer": "system", "user": "user", "assistant": "assistant", "tool": "tool"}
MOST_TEXT = 2 * 1024 * 1024  # characters to tokenise at once; an answer of more would keep everybody waiting
MOST_TOKENS = 512 * 1024
_TOKEN_LIMIT = 2**31
_SEPARATOR = "\n\n--- snippet ---\n\n"
_BAN = -100.0


def tokenize(body: wire.TokenizeRequest, model: str) -> Tokenize | Preview:
    """A text, or a conversation as the template renders it. Raises InvalidRequest naming the field."""
    values.refuse(body, wire.FIELDS["/tokenize"].later)
    given = [name for name in ("content", "prompt", "messages") if getattr(body, name) is not None]
    if not given:
        raise InvalidRequest("content is required, or prompt, or messages", field="content")
    if len(given) > 1:
        raise InvalidRequest(f"{given[0]} and {given[1]} exclude each other", field=given[1])
    if body.messages is not None:
        return Preview(_chat(body, model))
    if body.content is not None:
        text = _bounded(body.content, "content")
        return Tokenize(model, text, special=body.parse_special is not False, bos=bool(body.add_special))
    text = _bounded(body.prompt or "", "prompt")
    return Tokenize(model, text, special=True, bos=body.add_special_tokens is not False)


def detokenize(body: wire.DetokenizeRequest, model: str) -> Detokenize:
    """Raises InvalidRequest naming the field."""
    if body.tokens is None:
        raise InvalidRequest("tokens is required", field="tokens")
    if len(body.tokens) > MOST_TOKENS:
        raise InvalidRequest(f"tokens must hold at most {MOST_TOKENS} ids, not {len(body.tokens)}", field="tokens")
    if body.tokens and not 0 <= min(body.tokens) <= max(body.tokens) < _TOKEN_LIMIT:
        wrong = next(index for index, token in enumerate(body.tokens) if not 0 <= token < _TOKEN_LIMIT)
        raise InvalidRequest(f"tokens[{wrong}] is no token id", field=f"tokens[{wrong}]")
    return Detokenize(model, tuple(body.tokens))


def template(body: wire.TemplateRequest, model: str) -> Preview:
    """Raises InvalidRequest naming the field."""
    values.refuse(body, wire.FIELDS["/apply-template"].later)
    return Preview(_chat(body, model))


def infill(body: wire.InfillRequest, model: str) -> Complete:
    """Raises InvalidRequest naming the field."""
    values.refuse(body, wire.FIELDS["/infill"].later)
    for field in ("input_prefix", "input_suffix"):
        if getattr(body, field) is None:
            raise InvalidRequest(f"{field} is required", field=field)
    extra = "".join(f"{_SEPARATOR}{each.text}" for each in body.input_extra or ())
    return Complete(
        model=model,
        prompt=f"{extra}{_SEPARATOR if extra else ''}{body.input_prefix}{body.prompt or ''}",
        raw=True,
        suffix=body.input_suffix,
        options=_options(body),
        keep_alive=values.keep_alive(body.keep_alive),
        truncate=True,
        constraint=forms.only((forms.grammar(body.grammar, "grammar"), forms.schema(body.json_schema, "json_schema"))),
        lora=adapters.read(body.lora),
    )


def settings(body: wire.InfillRequest) -> Mapping[str, Any]:
    """The options that the request gave, under its own names."""
    given = {name: getattr(body, name) for name in (*wire.OPTIONS, "stop", "logit_bias", "grammar", "json_schema")}
    return {name: value for name, value in given.items() if value is not None}


def _bounded(text: str, field: str) -> str:
    if len(text) > MOST_TEXT:
        raise InvalidRequest(f"{field} must hold at most {MOST_TEXT} characters, not {len(text)}", field=field)
    return text


def _options(body: wire.InfillRequest) -> Mapping[str, Any]:
    given = {ours: getattr(body, theirs) for theirs, ours in wire.OPTIONS.items()}
    options = {name: value for name, value in given.items() if value is not None}
    if body.stop:
        options["stop"] = [body.stop] if isinstance(body.stop, str) else body.stop
    if body.logit_bias:
        options["logit_bias"] = _biases(body.logit_bias)
    return options


def _biases(given: dict[str, Any] | list[Any]) -> Mapping[str, Any]:
    """By token id; what they must be is checked with the options."""
    pairs = list(given.items()) if isinstance(given, dict) else given
    found: dict[str, Any] = {}
    for index, pair in enumerate(pairs):
        if not isinstance(pair, tuple | list) or len(pair) != 2:
            field = f"logit_bias[{index}]"
            raise InvalidRequest(f"{field} must be a token id and a number", field=field)
        token, bias = pair
        found[str(token)] = _BAN if bias is False else bias
    return found


def _chat(body: wire.Conversation, model: str) -> Chat:
    if not body.messages:
        raise InvalidRequest("messages must hold at least one message", field="messages")
    _check_ending(body, body.messages[-1].role == "assistant")
    return Chat(
        model=model,
        messages=tuple(_message(each, f"messages[{index}]") for index, each in enumerate(body.messages)),
        tools=tuple(_tool(tool, f"tools[{index}]") for index, tool in enumerate(body.tools or ())),
        think=_think(body.chat_template_kwargs or {}),
    )


def _check_ending(body: wire.Conversation, is_open: bool) -> None:
    """A last message of the assistant's is gone on with, and after any other an answer begins."""
    if body.continue_final_message and body.add_generation_prompt:
        field = "continue_final_message"
        raise InvalidRequest(f"{field} and add_generation_prompt exclude each other", field=field)
    if body.continue_final_message and not is_open:
        field = "continue_final_message"
        raise InvalidRequest(f"{field} needs a last message of the assistant's", field=field)
    if body.add_generation_prompt is False and not is_open:
        raise Unsupported("add_generation_prompt false is not supported", field="add_generation_prompt")


def _think(variables: Mapping[str, Any]) -> bool | None:
    for name in variables:
        if name != "enable_thinking":
            field = f"chat_template_kwargs.{name[:100]}"
            raise Unsupported(f"{field} is not supported; enable_thinking is", field=field)
    enabled = variables.get("enable_thinking")
    if enabled is not None and not isinstance(enabled, bool):
        field = "chat_template_kwargs.enable_thinking"
        raise InvalidRequest(f"{field} must be true or false", field=field)
    return enabled


def _tool(tool: wire.Tool, at: str) -> ToolSpec:
    if tool.type not in (None, "function"):
        raise InvalidRequest(f"{at}.type must be function", field=f"{at}.type")
    function = tool.function
    return tools.spec(function.name, function.description, function.parameters, f"{at}.function")


def _message(message: wire.Message, at: str) -> Message:
    role = _ROLES.get(message.role)
    if role is None:
        raise InvalidRequest(f"{at}.role must be one of {', '.join(_ROLES)}", field=f"{at}.role")
    return Message(
        role=cast("Role", role),
        content=_content(message.content, f"{at}.content"),
        thinking=message.reasoning_content or None,
        tool_calls=tuple(
            _tool_call(call, f"{at}.tool_calls[{index}]") for index, call in enumerate(message.tool_calls or ())
        ),
        tool_name=message.name if role == "tool" else None,
        tool_call_id=message.tool_call_id,
    )


def _content(content: str | list[wire.Part] | None, at: str) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    for index, part in enumerate(content):
        field = f"{at}[{index}]"
        if part.type != "text":
            raise Unsupported(f"{field}.type {part.type[:40]!r} is not supported here; text is", field=f"{field}.type")
        if part.text is None:
            raise InvalidRequest(f"{field}.text is required", field=f"{field}.text")
    return "\n".join(part.text or "" for part in content)


def _tool_call(call: wire.ToolCall, at: str) -> ToolCall:
    field = f"{at}.function.arguments"
    try:
        arguments = msgspec.json.decode(call.function.arguments or "{}")
    except (msgspec.DecodeError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict):
        raise InvalidRequest(f"{field} must be the text of a JSON object", field=field)
    return ToolCall(call.function.name, arguments, call.id)
