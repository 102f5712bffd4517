"""Ollama's JSON to Runner's requests. Checks shapes and names the field at fault; what options mean, others know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from registry.digests import Digest
from registry.errors import BadDigest
from registry.resolve import Forms, Pin, Publication, Wanted
from runner.api import adapters, forms, tools, values
from runner.api.native import context, wire
from runner.config import parse_size
from runner.conversation import Message, Role, ToolCall, ToolChoice, ToolSpec
from runner.errors import InvalidRequest, Unsupported
from runner.inference.requests import Chat, Complete, Embed
from runner.protocol.commands import Constraint

_FORMS = ("docker", "cncf", "both")
_ROLES = ("system", "user", "assistant", "tool")


@dataclass(frozen=True, slots=True)
class Load:
    """An empty prompt: bring the model into memory, or keep it there for longer."""

    model: str
    options: Mapping[str, Any]
    keep_alive: float | None


@dataclass(frozen=True, slots=True)
class Unload:
    """An empty prompt with keep_alive 0."""

    model: str


def model_of(body: wire.Named) -> str:
    """The model that a body names, by `model` or by the older `name`."""
    return values.required(body.model or body.name, "model")


def pull(body: wire.PullRequest) -> Wanted:
    """What to pull. Raises InvalidRequest naming the field."""
    if (body.digests or body.digest) and not body.revision:
        raise InvalidRequest("digests need the revision that they are of", field="revision")
    pin = None
    if body.revision:
        digests = [(title, _digest(text, f"digests[{title[:100]!r}]")) for title, text in (body.digests or {}).items()]
        pin = Pin(body.revision, tuple(digests), _digest(body.digest, "digest") if body.digest else None)
    try:
        rate = parse_size(body.limit_rate or 0)
    except ValueError as error:
        raise InvalidRequest(f"limit_rate {error}", field="limit_rate") from None
    return Wanted(reference=model_of(body), name=body.called, pin=pin, insecure=body.insecure or False, rate=rate)


def push(body: wire.PushRequest, model: str) -> Publication:
    """What to push; `model` is the name of the one that is meant. Raises InvalidRequest naming the field."""
    form = body.form or "docker"
    if form not in _FORMS:
        raise InvalidRequest(f"format must be {', '.join(_FORMS[:-1])} or {_FORMS[-1]}", field="format")
    return Publication(
        model=model, target=body.target or None, form=cast("Forms", form), insecure=body.insecure or False
    )


def _digest(text: str, at: str) -> Digest:
    try:
        return Digest.parse(text)
    except BadDigest as error:
        raise InvalidRequest(f"{at}: {error}", field=at.partition("[")[0]) from None


def generate(body: wire.GenerateRequest) -> Complete | Chat | Load | Unload:
    """A text to continue, or, with the `context` of an earlier answer, a conversation. Raises InvalidRequest naming the
    field."""
    values.refuse(body, wire.FIELDS["/api/generate"].later)
    model, keep_alive = model_of(body), values.keep_alive(body.keep_alive)
    think, images = values.think(body.think), _images(body.images, "images")
    logprobs = values.logprobs(body.logprobs, body.top_logprobs)
    if not body.prompt and not body.suffix and not images:
        return _residency(model, body.options, keep_alive)
    form = _form(body.format)
    for field in ("system", "context") if body.raw else ():
        if getattr(body, field):
            raise InvalidRequest(f"{field} has no place in a raw prompt", field=field)
    asked = Complete(
        model=model,
        prompt=body.prompt or "",
        raw=bool(body.raw),
        suffix=body.suffix or None,
        system=body.system or None,
        images=images,
        think=think,
        options=body.options or {},
        keep_alive=keep_alive,
        truncate=body.truncate is not False,
        logprobs=logprobs,
        constraint=form,
        template=body.template or None,
        lora=adapters.read(body.lora),
    )
    return _conversation(asked, body) if body.context else asked


def _conversation(asked: Complete, body: wire.GenerateRequest) -> Chat:
    """The same as the next turn of the conversation that `context` stands for."""
    for field in ("suffix", "template"):
        if getattr(body, field):
            raise InvalidRequest(f"context has no place beside {field}", field="context")
    system = (Message("system", asked.system),) if asked.system else ()
    turn = Message("user", body.prompt or "", images=asked.images)
    return Chat(
        model=asked.model,
        messages=(*system, *context.unpack(body.context or ()), turn),
        think=asked.think,
        options=asked.options,
        keep_alive=asked.keep_alive,
        truncate=asked.truncate,
        logprobs=asked.logprobs,
        constraint=asked.constraint,
        lora=asked.lora,
    )


def chat(body: wire.ChatRequest) -> Chat | Load | Unload:
    """Raises InvalidRequest naming the field."""
    values.refuse(body, wire.FIELDS["/api/chat"].later)
    model, keep_alive = model_of(body), values.keep_alive(body.keep_alive)
    think = values.think(body.think)
    logprobs = values.logprobs(body.logprobs, body.top_logprobs)
    if not body.messages:
        return _residency(model, body.options, keep_alive)
    specs = tools.distinct([_tool(each, f"tools[{index}]") for index, each in enumerate(body.tools or ())], "tools")
    return Chat(
        model=model,
        messages=tuple(_message(each, f"messages[{index}]") for index, each in enumerate(body.messages)),
        tools=specs,
        tool_choice=_choice(body.tool_choice, specs),
        think=think,
        options=body.options or {},
        keep_alive=keep_alive,
        truncate=body.truncate is not False,
        logprobs=logprobs,
        constraint=_form(body.format),
        lora=adapters.read(body.lora),
    )


def embed(body: wire.EmbedRequest) -> Embed | Load | Unload:
    """Raises InvalidRequest naming the field."""
    model, keep_alive = model_of(body), values.keep_alive(body.keep_alive)
    inputs = _inputs(body.input)
    if not inputs:
        return _residency(model, body.options, keep_alive)
    if body.dimensions is not None and body.dimensions < 1:
        raise InvalidRequest("dimensions must be at least 1", field="dimensions")
    return Embed(
        model=model,
        inputs=inputs,
        dimensions=body.dimensions,
        options=body.options or {},
        keep_alive=keep_alive,
        truncate=body.truncate is not False,
        lora=adapters.read(body.lora),
    )


def embeddings(body: wire.EmbeddingsRequest) -> Embed | Load | Unload:
    """The older form of `embed`."""
    model, keep_alive = model_of(body), values.keep_alive(body.keep_alive)
    if not body.prompt:
        return _residency(model, body.options, keep_alive)
    return Embed(
        model=model,
        inputs=(body.prompt,),
        options=body.options or {},
        keep_alive=keep_alive,
        lora=adapters.read(body.lora),
    )


def _form(value: object) -> Constraint | None:
    """`json`, or a JSON Schema; the empty string asks for nothing."""
    if value == "json":
        return forms.any_object("format")
    if value is None or value == "":
        return None
    if not isinstance(value, dict):
        raise InvalidRequest('format must be "json" or a JSON Schema, which is an object', field="format")
    return forms.schema(value, "format")


def _residency(model: str, options: Mapping[str, Any] | None, keep_alive: float | None) -> Load | Unload:
    return Unload(model) if keep_alive == 0 else Load(model, options or {}, keep_alive)


def _inputs(value: object) -> tuple[str, ...]:
    texts = [value] if isinstance(value, str) else value
    if texts is None or texts in ([], [""]):
        return ()
    if not isinstance(texts, list) or not all(isinstance(text, str) for text in texts):
        raise InvalidRequest("input must be a string or a list of strings", field="input")
    return tuple(texts)


def _tool(tool: wire.Tool, at: str) -> ToolSpec:
    _check_type(tool, at)
    if tool.function is None:
        raise InvalidRequest(f"{at}.function is required", field=f"{at}.function")
    return tools.spec(tool.function.name, tool.function.description, tool.function.parameters, f"{at}.function")


def _choice(choice: str | wire.Tool | None, specs: Sequence[ToolSpec]) -> ToolChoice:
    if not isinstance(choice, wire.Tool):
        return tools.choice(choice or None, specs, "tool_choice")
    _check_type(choice, "tool_choice")
    return tools.named(choice.function.name if choice.function else None, specs, "tool_choice.function.name")


def _check_type(tool: wire.Tool, at: str) -> None:
    if tool.type not in (None, "", "function"):
        raise Unsupported(f"{at}.type {tool.type[:40]!r} is not supported; function is", field=f"{at}.type")


def _message(message: wire.Message, at: str) -> Message:
    if message.role not in _ROLES:
        raise InvalidRequest(f"{at}.role must be one of {', '.join(_ROLES)}", field=f"{at}.role")
    return Message(
        role=cast("Role", message.role),
        content=message.content or "",
        images=_images(message.images, f"{at}.images"),
        thinking=message.thinking or None,
        tool_calls=tuple(
            _call(call, f"{at}.tool_calls[{index}].function") for index, call in enumerate(message.tool_calls or ())
        ),
        tool_name=message.tool_name or (message.name if message.role == "tool" else None),
        tool_call_id=message.tool_call_id,
    )


def _call(call: wire.ToolCall, at: str) -> ToolCall:
    return ToolCall(call.function.name, tools.arguments(call.function.arguments, f"{at}.arguments"), call.id)


def _images(texts: Sequence[str] | None, at: str) -> tuple[bytes, ...]:
    return tuple(values.image(text, f"{at}[{index}]") for index, text in enumerate(texts or ()))
